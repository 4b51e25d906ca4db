//! The documents of the API and of the WebSocket, and the page that shows the first without asking
//! anybody outside.

use bytes::Bytes;
use poem::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
};
use poem::http::{HeaderValue, StatusCode};
use poem::{Endpoint, Request, Response, Result, Route, get};
use poem_openapi::{OpenApi, OpenApiService, Webhook};
use serde_json::{Map, Value, json};

use crate::entity;
use crate::operations::PREFIXES;

/// The answers that any operation may give instead of its own.
const ERRORS: [(&str, &str); 6] = [
    ("400", "The request cannot be understood."),
    ("404", "There is no such thing."),
    ("405", "The path has no such method; `Allow` says which it has."),
    ("429", "Too many requests; `Retry-After` says when to come again."),
    ("500", "Our fault."),
    ("503", "Not now; `Retry-After` says when to come again."),
];

/// The page needs styles in its elements; its scripts are all ours.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                           img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'";

/// Returns the document: what poem writes, and what it leaves out.
pub fn document<T: OpenApi + 'static, W: Webhook + 'static>(
    service: &OpenApiService<T, W>,
) -> Value {
    let mut document: Value =
        serde_json::from_str(&service.spec()).expect("poem writes its document as JSON");
    let servers: Vec<Value> = PREFIXES.iter().map(|prefix| json!({"url": prefix})).collect();
    put(&mut document, "servers", servers.into());
    for operation in operations(&mut document) {
        let id = operation.get("operationId").and_then(Value::as_str).map(str::to_owned);
        let Some(responses) = operation.get_mut("responses") else { continue };
        if let Some(example) = id.as_deref().and_then(example) {
            let body = responses.pointer_mut("/200/content/application~1json; charset=utf-8");
            put(body.expect("what has an example has a body"), "example", example);
        }
        for response in responses.as_object_mut().into_iter().flat_map(Map::values_mut) {
            add_headers(response, &["X-Request-Id", "X-Views-At"]);
        }
        for (status, description) in ERRORS {
            put(responses, status, error_response(status, description));
        }
    }
    let components = document.get_mut("components").expect("the document has bodies");
    put(components, "headers", headers());
    let schemas = components.get_mut("schemas").expect("the document has bodies");
    schemas.as_object_mut().into_iter().flat_map(Map::values_mut).for_each(allow_null);
    put(schemas, "ErrorBody", error_body());
    document
}

fn operations(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    let methods = paths.into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut);
    methods.flat_map(Map::values_mut)
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

fn error_response(status: &str, description: &str) -> Value {
    let body = json!({"schema": {"$ref": "#/components/schemas/ErrorBody"}});
    let mut response = json!({
        "description": description,
        "content": {"application/json; charset=utf-8": body, "application/problem+json": body},
    });
    let extra = match status {
        "405" => "Allow",
        "429" | "503" => "Retry-After",
        _ => "Content-Language",
    };
    add_headers(&mut response, &["X-Request-Id", extra]);
    response
}

fn headers() -> Value {
    let header =
        |description: &str| json!({"description": description, "schema": {"type": "string"}});
    json!({
        "X-Request-Id": header("The id of the request: the client's own where it sent one."),
        "X-Views-At": header("How far the views had come in each log: ledger:12, market:3456"),
        "Allow": header("The methods that the path has."),
        "Retry-After": header("Seconds after which to come again."),
        "Content-Language": header("ko, or en where Accept-Language prefers it."),
    })
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

/// The specification's own examples, with our additive keys behind.
fn example(operation_id: &str) -> Option<Value> {
    match operation_id {
        "market_price" => Some(json!({
            "symbol": "BTC-USDT",
            "price": "65432.10",
            "timestamp": "2024-03-21T09:30:00Z",
            "volume": "123.45",
            "exchange": "binance",
            "age_ms": 120,
            "stale": false,
            "quantity": "1.23",
            "taker": "buy",
            "trade_id": 3_482_051_177_u64,
            "quote_volume": "8044233.15",
            "open_24h": "64000.00",
            "change_24h": "1432.10",
            "change_24h_percent": "2.24",
            "window": "24h_rolling",
            "resolution": "1m",
            "entry": {"stream": "market-binance.BTC-USDT", "version": 41},
        })),
        "market_history" => Some(json!({
            "symbol": "BTC-USDT",
            "data": [{
                "timestamp": "2024-03-21T09:00:00Z",
                "open": "65000.00",
                "high": "65100.00",
                "low": "64900.00",
                "close": "65050.00",
                "volume": "234.56",
                "quote_volume": "15249587.20",
                "taker_buy": "120.01",
                "trades": 812,
                "first_trade_id": 3_482_050_366_u64,
                "last_trade_id": 3_482_051_177_u64,
                "closed": true,
                "source": "built",
                "revision": 0,
            }],
            "interval": "1h",
            "exchange": "binance",
            "gaps": [],
            "next_cursor": null,
        })),
        "market_orderbook" => Some(json!({
            "symbol": "BTC-USDT",
            "bids": [["65000.00", "1.234"], ["64999.00", "2.345"]],
            "asks": [["65001.00", "1.234"], ["65002.00", "2.345"]],
            "timestamp": "2024-03-21T09:30:00.123Z",
            "exchange": "binance",
            "synced": true,
            "verified": true,
            "age_ms": 120,
            "stale": false,
            "last_update_id": 50_093_239_218_u64,
            "entry": {"stream": "market-binance.BTC-USDT", "version": 41},
        })),
        _ => None,
    }
}

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
    let bundle = include_bytes!("../assets/swagger-ui-bundle.js.gz");
    let style = include_bytes!("../assets/swagger-ui.css.gz");
    routes
        .at(
            "/openapi.json",
            get(Asset::text(document.to_string(), "application/json; charset=utf-8")),
        )
        .at(
            "/asyncapi.json",
            get(Asset::text(
                include_str!("../assets/asyncapi.json"),
                "application/json; charset=utf-8",
            )),
        )
        .at("/docs", get(Asset::text(include_str!("../assets/swagger-ui.html"), html)))
        .at("/docs/init.js", get(Asset::text(include_str!("../assets/swagger-ui-init.js"), script)))
        .at("/docs/swagger-ui-bundle.js", get(Asset::gzipped(bundle, script)))
        .at("/docs/swagger-ui.css", get(Asset::gzipped(style, "text/css; charset=utf-8")))
        .at(
            "/docs/LICENSE.txt",
            get(Asset::text(
                include_str!("../assets/swagger-ui.LICENSE.txt"),
                "text/plain; charset=utf-8",
            )),
        )
}
