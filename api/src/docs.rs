//! The documents of the API and of the WebSocket, and the page that shows the first without asking
//! anybody outside.

use std::collections::BTreeSet;

use bytes::Bytes;
use poem::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
};
use poem::http::{HeaderValue, StatusCode};
use poem::{Endpoint, Request, Response, Result, Route, get};
use poem_openapi::{OpenApi, OpenApiService, Webhook};
use serde_json::{Map, Value, json};

use crate::consistency::AFTER;
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

/// Those that an operation may give besides when it may change something.
const COMMAND_ERRORS: [(&str, &str); 4] = [
    ("409", "The same command is still being carried out."),
    ("413", "The body is too large."),
    ("415", "The body is not JSON."),
    ("422", "The key was used for another command."),
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
    let mut asked = BTreeSet::new();
    for (method, operation) in operations(&mut document) {
        asked.extend(body_asked(operation));
        let id = operation.get("operationId").and_then(Value::as_str).map(str::to_owned);
        let may_change = method != "get";
        if may_change {
            add_parameters(operation, &[key_parameter()]);
        } else if is_tagged(operation, "Portfolio") {
            add_parameters(operation, &token_parameters());
        }
        let Some(responses) = operation.get_mut("responses") else { continue };
        if let Some((status, example)) = id.as_deref().and_then(example) {
            let body = format!("/{status}/content/application~1json; charset=utf-8");
            let body = responses.pointer_mut(&body);
            put(body.expect("what has an example has a body"), "example", example);
        }
        for response in responses.as_object_mut().into_iter().flat_map(Map::values_mut) {
            add_headers(response, &["X-Request-Id", "X-Views-At"]);
        }
        let more = if may_change { COMMAND_ERRORS.as_slice() } else { &[] };
        for (status, description) in ERRORS.iter().chain(more) {
            put(responses, status, error_response(status, description));
        }
        if may_change {
            for response in responses.as_object_mut().into_iter().flat_map(Map::values_mut) {
                add_headers(response, &["Idempotency-Key"]);
            }
        }
    }
    let components = document.get_mut("components").expect("the document has bodies");
    put(components, "headers", headers());
    let schemas = components.get_mut("schemas").expect("the document has bodies");
    for (name, schema) in schemas.as_object_mut().into_iter().flatten() {
        allow_null(schema);
        if asked.contains(name) {
            put(schema, "additionalProperties", false.into());
        }
    }
    put(schemas, "ErrorBody", error_body());
    document
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

/// What the door reads of every request that looks at an account.
fn token_parameters() -> [Value; 2] {
    let token = |name: &str, place: &str| {
        json!({
            "name": name,
            "in": place,
            "description": "The token of a command that the answer must show; it waits up to two \
                            seconds for it.",
            "required": false,
            "schema": {"type": "string", "pattern": "^ledger:[0-9]+$"},
        })
    };
    [token(AFTER, "query"), token("X-Consistency-Token", "header")]
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
        "Idempotency-Key": header("What the command is called: by its client, or else by us."),
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

/// The specification's own examples, with our additive keys behind, and the status that they come
/// with.
fn example(operation_id: &str) -> Option<(u16, Value)> {
    match operation_id {
        "market_price" => Some((
            200,
            json!({
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
            }),
        )),
        "market_history" => Some((
            200,
            json!({
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
            }),
        )),
        "market_orderbook" => Some((
            200,
            json!({
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
            }),
        )),
        "portfolio_positions" => Some((
            200,
            json!({
                "positions": [{
                    "symbol": "BTC-USDT",
                    "size": "1.5",
                    "entry_price": "64000.00",
                    "current_price": "65000.00",
                    "pnl": "1500.00",
                    "timestamp": "2024-03-21T09:30:00Z",
                    "position_id": "pos_3s6wpmk11hy1twvxd1cd2a9q6n",
                    "type": "long",
                    "leverage": "1",
                    "margin": "96000.00",
                    "liquidation_price": null,
                    "realized_pnl": "0.00",
                    "opened_at": "2024-03-21T09:29:00Z",
                    "fees": "38.40",
                    "funding": "0.00",
                    "margin_ratio": "0.003590",
                    "stop_loss": null,
                    "take_profit": null,
                    "status": "open",
                    "age_ms": 120,
                    "stale": false,
                }],
                "next_cursor": null,
            }),
        )),
        "open_position" => Some((
            201,
            json!({
                "position_id": "pos_3s6wpmk11hy1twvxd1cd2a9q6n",
                "status": "success",
                "timestamp": "2024-03-21T09:30:00Z",
                "symbol": "BTC-USDT",
                "type": "long",
                "size": "1.5",
                "entry_price": "64000.00",
                "cost": "96000.00",
                "fee": "38.40",
                "margin": "96000.00",
                "liquidation_price": null,
                "basis": "book_vwap",
                "market": {"stream": "market-binance.BTC-USDT", "version": 41},
                "entry": {"stream": "account-demo", "version": 3},
                "token": "ledger:1234",
                "effect": "opened",
                "realized": "0.00",
                "leverage": "1",
            }),
        )),
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
