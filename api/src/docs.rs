//! The document of the API: what poem writes of it, and what only the door knows.
//!
//! Beside it stand the answers that it shows (`docs/example`), and the page that shows it
//! (`docs/page`).

use std::collections::BTreeSet;

use poem_openapi::{OpenApi, OpenApiService, Webhook};
use serde_json::{Map, Value, json};

use crate::consistency::AFTER;
use crate::operations::{self, Access, PREFIXES, Row};

pub mod page;

mod example;

/// The answers that any operation may give instead of its own.
const ERRORS: [(&str, &str); 9] = [
    ("400", "The request cannot be understood."),
    ("401", "Nobody was let in: credentials are missing, or one of them is not good."),
    ("403", "Not for whoever asks, or not from there."),
    ("404", "There is no such thing."),
    ("405", "The path has no such method; `Allow` says which it has."),
    ("414", "Path and query are too long."),
    ("429", "Too many requests; `Retry-After` says when to come again."),
    ("500", "Our fault."),
    ("503", "Not now; `Retry-After` says when to come again."),
];

/// Those that an operation may give besides when it takes a body.
const BODY_ERRORS: [(&str, &str); 3] = [
    ("408", "The body took too long."),
    ("413", "The body is too large."),
    ("415", "The body is not JSON, or not plain."),
];

/// And those of a command, which is named.
const COMMAND_ERRORS: [(&str, &str); 2] = [
    ("409", "The same command is still being carried out."),
    ("422", "The key was used for another command."),
];

/// Answers to somebody who was not let in, so that there is nothing to count for them.
const UNCOUNTED: [&str; 3] = ["401", "403", "405"];

/// The body of which any field may be left out, but not all.
const STOPS_ASKED: &str = "SetStopsBody";

/// What parameters look like that are read as texts: by operation and name.
const SHAPES: [(&str, &str, &str); 2] = [
    ("market_history", "cursor", "^[fu]-?[0-9]{1,15}$"),
    (
        "portfolio_positions",
        "cursor",
        r"^[oc][0-9]{1,15}\.pos_[0-7][0-9abcdefghjkmnpqrstvwxyz]{25}$",
    ),
];

/// How the two kinds of credentials are called in the document.
const BEARER: &str = "Bearer";
const API_KEY: &str = "ApiKey";

/// Returns the document: what poem writes, and what it leaves out.
pub fn document<T: OpenApi + 'static, W: Webhook + 'static>(
    service: &OpenApiService<T, W>,
) -> Value {
    let mut document: Value =
        serde_json::from_str(&service.spec()).expect("poem writes its document as JSON");
    let servers: Vec<Value> = PREFIXES.iter().map(|prefix| json!({"url": prefix})).collect();
    put(&mut document, "servers", servers.into());
    let mut asked = BTreeSet::new();
    for (method, operation) in operations(&mut document) {
        asked.extend(body_asked(operation));
        let id = operation.get("operationId").and_then(Value::as_str);
        let Some(row) = id.and_then(operations::row_of) else { continue };
        let (changes, is_command) = (method != "get", row.is_command(method != "get"));
        secure(operation, row);
        shape_parameters(operation, row.id);
        if is_command {
            add_parameters(operation, &[key_parameter()]);
        } else if is_tagged(operation, "Portfolio") {
            add_parameters(operation, &[token_parameter()]);
        }
        let Some(responses) = operation.get_mut("responses") else { continue };
        if let Some((status, example)) = example::of(row.id) {
            let body = format!("/{status}/content/application~1json; charset=utf-8");
            let body = responses.pointer_mut(&body);
            put(body.expect("what has an example has a body"), "example", example);
        }
        for response in responses.as_object_mut().into_iter().flat_map(Map::values_mut) {
            add_headers(response, &["X-Request-Id", "X-Views-At"]);
            add_headers(response, &RATE_HEADERS.map(|(name, _)| name));
            if is_command {
                add_headers(response, &["Idempotency-Key"]);
            }
        }
        let of_body = if changes { BODY_ERRORS.as_slice() } else { &[] };
        let of_command = if is_command { COMMAND_ERRORS.as_slice() } else { &[] };
        for (status, _) in ERRORS.iter().chain(of_body).chain(of_command) {
            let reference = json!({"$ref": format!("#/components/responses/{status}")});
            put(responses, status, reference);
        }
    }
    let components = document.get_mut("components").expect("the document has bodies");
    put(components, "headers", headers());
    put(components, "responses", error_responses());
    put(components, "securitySchemes", security_schemes());
    let schemas = components.get_mut("schemas").expect("the document has bodies");
    for (name, schema) in schemas.as_object_mut().into_iter().flatten() {
        // One of its fields must be there, so null would be no way to leave one out.
        if name == STOPS_ASKED {
            put(schema, "minProperties", 1.into());
        } else {
            allow_null(schema);
        }
        if asked.contains(name) {
            put(schema, "additionalProperties", false.into());
        }
    }
    put(schemas, "ErrorBody", error_body());
    document
}

/// Says what an operation asks of whoever asks for it.
fn secure(operation: &mut Value, row: Row) {
    let (schemes, needs): (&[&str], String) = match row.access {
        Access::Anybody => (&[BEARER, API_KEY], "Needs a token or an API key.".to_owned()),
        Access::Key => (&[API_KEY], "Needs an API key, and no token.".to_owned()),
        Access::Token => (&[BEARER], "Needs a token.".to_owned()),
        Access::Scope(scope) => (&[BEARER, API_KEY], format!("Needs the scope `{scope}`.")),
    };
    let schemes: Vec<Value> = schemes.iter().map(|scheme| json!({*scheme: []})).collect();
    put(operation, "security", schemes.into());
    let described = match operation.get("description").and_then(Value::as_str) {
        Some(description) => format!("{description}\n\n{needs}"),
        None => needs,
    };
    put(operation, "description", described.into());
}

/// Says what an operation's parameters look like, where poem does not know it.
fn shape_parameters(operation: &mut Value, id: &str) {
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        let is_named = |name: &str| parameter.get("name").is_some_and(|found| found == name);
        let mut shapes = SHAPES.iter().filter(|(of, name, _)| *of == id && is_named(name));
        if let Some((_, _, pattern)) = shapes.next() {
            let schema = parameter.get_mut("schema").expect("a parameter has a schema");
            put(schema, "pattern", (*pattern).into());
        }
    }
}

/// The ways of saying who one is. Whoever presents both must be the same by both.
fn security_schemes() -> Value {
    json!({
        BEARER: {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "A token: `POST auth/token` gives one for an API key.",
        },
        API_KEY: {
            "type": "apiKey",
            "in": "header",
            "name": "X-API-Key",
            "description": "An API key: an administrator gives it, and shows it once.",
        },
    })
}

/// Returns the operations, each with its method.
fn operations(document: &mut Value) -> impl Iterator<Item = (String, &mut Value)> {
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    let methods = paths.into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut);
    methods.flatten().map(|(method, operation)| (method.clone(), operation))
}

/// Returns the name of the body that an operation asks for. A field that it does not name is refused.
fn body_asked(operation: &Value) -> Option<String> {
    let content = operation.get("requestBody")?.get("content")?.as_object()?;
    let reference = content.values().next()?.pointer("/schema/$ref")?.as_str()?;
    reference.strip_prefix("#/components/schemas/").map(str::to_owned)
}

fn is_tagged(operation: &Value, tag: &str) -> bool {
    let tags = operation.get("tags").and_then(Value::as_array);
    tags.into_iter().flatten().any(|found| found == tag)
}

fn add_parameters(operation: &mut Value, parameters: &[Value]) {
    let operation = operation.as_object_mut().expect("an operation is an object");
    let known = operation.entry("parameters").or_insert_with(|| json!([]));
    known.as_array_mut().expect("parameters are a list").extend_from_slice(parameters);
}

/// What the door reads of every request that may change something.
fn key_parameter() -> Value {
    json!({
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Makes it happen once, however often it is sent: 1 to 255 printable \
                        characters. Without one we make one; the answer says which.",
        "required": false,
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    })
}

/// What the door reads of every request that looks at an account. The header is told in words alone:
/// whoever makes up requests from the document takes it for one of their own.
fn token_parameter() -> Value {
    json!({
        "name": AFTER,
        "in": "query",
        "description": "The token of a command that the answer must show; it waits up to two \
                        seconds for it. The header `X-Consistency-Token` says the same.",
        "required": false,
        "schema": {"type": "string", "pattern": "^ledger:[0-9]{1,15}$"},
    })
}

/// What may be missing in our bodies is written as null.
fn allow_null(schema: &mut Value) {
    let required = schema.get("required").cloned().unwrap_or_default();
    let required =
        |name: &str| required.as_array().into_iter().flatten().any(|required| required == name);
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (name, property) in properties.into_iter().flatten() {
        if !required(name) {
            put(property, "nullable", true.into());
        }
    }
}

fn put(object: &mut Value, key: &str, value: Value) {
    let object = object.as_object_mut().expect("this part of the document is an object");
    object.insert(key.to_owned(), value);
}

fn add_headers(response: &mut Value, names: &[&str]) {
    let reference = |name: &&str| json!({"$ref": format!("#/components/headers/{name}")});
    let headers = response.as_object_mut().expect("a response is an object").entry("headers");
    let headers = headers.or_insert_with(|| json!({}));
    for name in names {
        put(headers, name, reference(name));
    }
}

/// The answers of all operations that tell why there is no other.
fn error_responses() -> Value {
    let errors = ERRORS.iter().chain(&BODY_ERRORS).chain(&COMMAND_ERRORS);
    errors.map(|(status, why)| ((*status).to_owned(), error_response(status, why))).collect()
}

fn error_response(status: &str, description: &str) -> Value {
    let body = json!({"schema": {"$ref": "#/components/schemas/ErrorBody"}});
    let mut response = json!({
        "description": description,
        "content": {"application/json; charset=utf-8": body, "application/problem+json": body},
    });
    add_headers(&mut response, &["X-Request-Id", "Content-Language"]);
    match status {
        "401" => add_headers(&mut response, &["WWW-Authenticate"]),
        "405" => add_headers(&mut response, &["Allow"]),
        "429" | "503" => add_headers(&mut response, &["Retry-After"]),
        _ => {}
    }
    if !UNCOUNTED.contains(&status) {
        add_headers(&mut response, &RATE_HEADERS.map(|(name, _)| name));
        // Of a command alone; the others have no name.
        add_headers(&mut response, &["Idempotency-Key"]);
    }
    response
}

/// What the answers to an account say of its limit, and what it means.
const RATE_HEADERS: [(&str, &str); 5] = [
    ("RateLimit-Policy", "How many requests (q) an account has in how many seconds (w)."),
    ("RateLimit", "How many are left (r); seconds (t) until all are again, or one where none is."),
    ("X-RateLimit-Limit", "The q of RateLimit-Policy."),
    ("X-RateLimit-Remaining", "The r of RateLimit."),
    ("X-RateLimit-Reset", "The t of RateLimit."),
];

fn headers() -> Value {
    let header =
        |description: &str| json!({"description": description, "schema": {"type": "string"}});
    let mut headers = json!({
        "X-Request-Id": header("The id of the request: the client's own where it sent one."),
        "X-Views-At": header("How far the views had come in each log: ledger:12, market:3456"),
        "Idempotency-Key": header("What the command is called: by its client, or else by us."),
        "Allow": header("The methods that the path has."),
        "Retry-After": header("Seconds after which to come again."),
        "Content-Language": header("ko, or en where Accept-Language prefers it."),
        "WWW-Authenticate": header("How to say who one is."),
    });
    for (name, description) in RATE_HEADERS {
        put(&mut headers, name, header(description));
    }
    headers
}

fn error_body() -> Value {
    json!({
        "type": "object",
        "title": "ErrorBody",
        "required": ["code", "message", "request_id", "detail", "errors"],
        "properties": {
            "code": {"type": "string", "description": "Never translated."},
            "message": {"type": "string"},
            "request_id": {"type": "string"},
            "detail": {"type": "string"},
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["field", "reason"],
                    "properties": {"field": {"type": "string"}, "reason": {"type": "string"}},
                },
            },
            "arithmetic": {
                "type": "object",
                "description": "The figures behind the detail, by name, where there are any.",
                "additionalProperties": {"type": "string"},
            },
        },
        "example": {
            "code": "MARKET_001",
            "message": "유효하지 않은 심볼",
            "request_id": "018e6038-5a40-7c3e-9d2a-0f6c1c9b7a11",
            "detail": "XYZ-USDT was never traded here",
            "errors": [],
        },
    })
}
