// Kept in a file of its own, so that the page needs no inline script.
window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  // Nothing is asked of a validator outside.
  validatorUrl: null,
});
