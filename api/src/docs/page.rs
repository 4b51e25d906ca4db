//! The page that shows the document without asking anybody outside, and the documents themselves.

use bytes::Bytes;
use poem::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
};
use poem::http::{HeaderValue, StatusCode};
use poem::{Endpoint, Request, Response, Result, Route, get};
use serde_json::Value;

use crate::entity;

/// The page needs styles in its elements; its scripts are all ours.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                           img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'";

/// A file that is served as it is.
struct Asset {
    body: Bytes,
    content_type: &'static str,
    gzipped: bool,
    tag: String,
}

impl Asset {
    fn text(body: impl Into<Bytes>, content_type: &'static str) -> Self {
        let body = body.into();
        Self { tag: entity::tag(&body), body, content_type, gzipped: false }
    }

    fn gzipped(body: &'static [u8], content_type: &'static str) -> Self {
        Self { gzipped: true, ..Self::text(body, content_type) }
    }
}

impl Endpoint for Asset {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let held = request.headers().get(IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
        let mut response = if entity::holds(held, &self.tag) {
            Response::from(StatusCode::NOT_MODIFIED)
        } else {
            Response::from(self.body.clone())
        };
        let headers = response.headers_mut();
        headers.insert(ETAG, HeaderValue::try_from(&self.tag).expect("a tag is hexadecimal"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
        // Whoever reads this page is a browser, and every browser takes gzip.
        if self.gzipped {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Ok(response)
    }
}

/// Adds the documents and the page to the routes.
pub fn add(routes: Route, document: &Value) -> Route {
    let (html, script) = ("text/html; charset=utf-8", "text/javascript; charset=utf-8");
    let bundle = include_bytes!("../../assets/swagger-ui-bundle.js.gz");
    let style = include_bytes!("../../assets/swagger-ui.css.gz");
    routes
        .at(
            "/openapi.json",
            get(Asset::text(document.to_string(), "application/json; charset=utf-8")),
        )
        .at(
            "/asyncapi.json",
            get(Asset::text(
                include_str!("../../assets/asyncapi.json"),
                "application/json; charset=utf-8",
            )),
        )
        .at("/docs", get(Asset::text(include_str!("../../assets/swagger-ui.html"), html)))
        .at(
            "/docs/init.js",
            get(Asset::text(include_str!("../../assets/swagger-ui-init.js"), script)),
        )
        .at("/docs/swagger-ui-bundle.js", get(Asset::gzipped(bundle, script)))
        .at("/docs/swagger-ui.css", get(Asset::gzipped(style, "text/css; charset=utf-8")))
        .at(
            "/docs/LICENSE.txt",
            get(Asset::text(
                include_str!("../../assets/swagger-ui.LICENSE.txt"),
                "text/plain; charset=utf-8",
            )),
        )
}
