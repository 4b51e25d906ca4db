//! What holds for every request: errors, languages, ids, methods, limits.

use std::sync::Arc;
use std::time::Duration;

use commands::feed_status::FeedState;
use eventlog::memory::Memory;
use eventlog::stream::Log;
use poem::endpoint::make;
use poem::http::Method;
use poem::{Endpoint, Request, Response};

use crate::door::Door;
use crate::settings::{Backend, Settings};
use crate::tests::client::Client;
use crate::tests::house::{House, append, foundation, tick};

#[tokio::test]
async fn an_error_is_told_in_the_language_that_is_preferred() {
    let house = House::open().await;
    let path = "/api/v1/market/price/XYZ-USDT";

    let korean = house.get(path).await;
    assert_eq!(korean.json()["message"], "유효하지 않은 심볼");
    assert_eq!(korean.header("Content-Language"), Some("ko"));
    assert_eq!(korean.header("Vary"), Some("Accept-Language"));
    let keys: Vec<_> = korean.json().as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["code", "message", "request_id", "detail", "errors"]);

    let english = house.ask("GET", path, &[("Accept-Language", "en-GB, ko;q=0.1")]).await;
    assert_eq!(english.json()["message"], "invalid symbol");
    assert_eq!(english.header("Content-Language"), Some("en"));
}

#[tokio::test]
async fn an_error_is_a_problem_document_where_one_is_asked_for() {
    let house = House::open().await;
    let accept = [("Accept", "application/problem+json")];
    let answer = house.ask("GET", "/nowhere", &accept).await;

    assert_eq!(answer.header("Content-Type"), Some("application/problem+json"));
    assert_eq!((answer.status, &answer.json()["code"]), (404, &"404".into()));
    assert_eq!(answer.json()["message"], "리소스 없음");
}

#[tokio::test]
async fn every_answer_carries_the_id_of_its_request() {
    let house = House::open().await;
    for path in ["/livez", "/nowhere", "/api/v1/market/symbols", "/v1/market/price/x", "/ws/market"]
    {
        let given = house.ask("GET", path, &[("X-Request-Id", "mine-1")]).await;
        assert_eq!(given.header("X-Request-Id"), Some("mine-1"), "{path}");

        let made = house.get(path).await;
        let id: uuid::Uuid = made.header("X-Request-Id").unwrap().parse().unwrap();
        assert_eq!(id.get_version_num(), 7, "{path}");
        if made.status >= 400 {
            assert_eq!(made.json()["request_id"], id.to_string(), "{path}");
        }
    }
    let long = "x".repeat(129);
    for id in ["two words", long.as_str()] {
        let answer = house.ask("GET", "/livez", &[("X-Request-Id", id)]).await;
        assert_ne!(answer.header("X-Request-Id"), Some(id));
    }
}

#[tokio::test]
async fn a_path_without_the_method_says_which_it_has() {
    let house = House::open().await;
    for path in ["/api/v1/market/price/BTC-USDT", "/v1/market/symbols", "/livez", "/ws/market"] {
        for method in ["POST", "DELETE", "OPTIONS"] {
            let answer = house.ask(method, path, &[("Content-Length", "0")]).await;

            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.header("Allow"), Some("GET, HEAD"), "{method} {path}");
            assert_eq!(answer.json()["code"], "405");
        }
    }
    let head = house.ask("HEAD", "/v1/market/symbols", &[]).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[tokio::test]
async fn a_path_knows_its_parameters() {
    let house = House::open().await;
    for path in ["/v1/market/symbols?limit=1", "/ws/market?v=1", "/v1/market/gaps/BTC-USDT?%66=1"] {
        let answer = house.get(path).await;

        assert_eq!((answer.status, &answer.json()["code"]), (400, &"400".into()), "{path}");
    }
}

#[tokio::test]
async fn what_does_not_exist_has_no_parameters_either() {
    let house = House::open().await;

    assert_eq!(house.get("/v1/nowhere?limit=1").await.status, 404);
    let posted = house.ask("POST", "/v1/market/symbols?limit=1", &[("Content-Length", "0")]).await;
    assert_eq!(posted.status, 405);
}

/// The door of an open house, around other routes.
fn door<E: Endpoint>(routes: E) -> Door<E> {
    let answer_patience = Duration::from_millis(20);
    let app = foundation(Settings { answer_patience, ..Settings::default() });
    app.opening.open();
    Door { routes, operations: Arc::default(), app: Arc::new(app) }
}

#[tokio::test]
async fn a_panic_is_our_fault_and_tells_nothing() {
    let broken = poem::endpoint::make_sync(|_| -> Response { panic!("a secret") });
    let answer = door(broken).call(Request::default()).await.unwrap();

    assert_eq!(answer.status(), 500);
    let body = answer.into_body().into_string().await.unwrap();
    assert!(body.contains(r#""message":"서버 내부 오류""#) && !body.contains("secret"), "{body}");
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_no_answer() {
    let slow = poem::endpoint::make(|_| std::future::pending::<Response>());
    let answer = door(slow).call(Request::default()).await.unwrap();

    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["Retry-After"], "5");
}

#[tokio::test]
async fn a_large_body_is_refused_however_it_comes() {
    let house = House::open().await;
    let body = "x".repeat(64 * 1024 + 1);
    let path = "/v1/portfolio/positions";
    let fields = house.fields(path, &[]);
    let head = format!("POST {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{fields}");
    let sized = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let chunked =
        format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());

    for request in [sized, chunked] {
        let answer = house.send(request).await;
        assert_eq!((answer.status, &answer.json()["code"]), (413, &"413".into()));
    }
}

#[tokio::test]
async fn a_body_that_no_field_announces_is_limited_too() {
    let told = make(|request: Request| async move {
        Ok::<_, poem::Error>(request.into_body().into_bytes().await?.len().to_string())
    });
    let door = door(told);
    for (bytes, status) in [(64 * 1024, 200), (64 * 1024 + 1, 413)] {
        // As HTTP/2 sends them: that there is a body shows only when it comes.
        let request = Request::builder().method(Method::POST).body("x".repeat(bytes));
        assert_eq!(door.get_response(request).await.status(), status, "{bytes}");
    }
}

#[tokio::test]
async fn every_answer_tells_a_browser_to_be_careful() {
    let house = House::open().await;
    for path in ["/livez", "/nowhere", "/docs", "/v1/market/symbols"] {
        let answer = house.get(path).await;

        assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"), "{path}");
        let policy = answer.header("Content-Security-Policy").unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{path}");
    }
}

/// A log that holds one trade, in a house that has not folded it yet.
async fn behind() -> House {
    let market = Arc::new(Memory::new(Log::Market));
    let ticks = vec![tick(1, "2024-03-21T09:30:00Z", "65432.10", "1.23")];
    append(&market, "market-binance.BTC-USDT", ticks).await;
    House::shut(market, Settings::default()).await
}

#[tokio::test]
async fn a_node_that_catches_up_answers_only_about_itself() {
    let house = behind().await;

    assert_eq!(house.get("/livez").await.status, 200);
    assert_eq!(house.get("/health").await.json()["market"]["head"], 1);
    let behind = house.get("/readyz").await;
    assert_eq!((behind.status, &behind.json()["status"]), (503, &"catching_up".into()));
    let progress = serde_json::json!({"applied": 0, "head": 1, "lag": 1});
    assert_eq!(behind.json()["views"]["market"], progress);

    for path in ["/v1/market/price/BTC-USDT", "/openapi.json", "/docs", "/nowhere", "/ws/market"] {
        let answer = house.get(path).await;

        assert_eq!((answer.status, &answer.json()["code"]), (503, &"SYS_001".into()), "{path}");
        assert_eq!(answer.header("Retry-After"), Some("5"), "{path}");
        assert!(answer.json()["detail"].to_string().contains("catching up"), "{path}");
    }
    assert_eq!(Client::connect(&house, "/ws/market", &[]).await.err(), Some(503));
}

#[tokio::test]
async fn a_node_is_open_once_its_house_says_so() {
    let house = behind().await;
    house.fold().await;
    assert_eq!(house.get("/v1/market/price/BTC-USDT").await.status, 503);

    house.opening.open();
    assert_eq!(house.get("/v1/market/price/BTC-USDT").await.status, 200);
    let ready = house.get("/readyz").await;
    assert_eq!((ready.status, &ready.json()["status"]), (200, &"ready".into()));
    assert_eq!(ready.json()["feeds"][0]["state"], "running");
}

#[tokio::test]
async fn a_listener_is_told_what_comes_after_the_opening_and_not_the_past() {
    let market = Arc::new(Memory::new(Log::Market));
    for id in 1..=200 {
        let ticks = vec![tick(id, "2024-03-21T09:30:00Z", &format!("{}.00", 60_000 + id), "1")];
        append(&market, "market-binance.BTC-USDT", ticks).await;
    }
    let house = House::shut(market, Settings::default()).await;
    house.fold().await;
    house.opening.open();

    let mut client = Client::open(&house).await;
    client.send(r#"{"action":"subscribe","channel":"market","symbols":["BTC-USDT"]}"#).await;
    assert!(client.next().await.contains(r#""price":"60200.00""#));
    let news = vec![tick(201, "2024-03-21T09:30:01Z", "60201.00", "1")];
    house.record("market-binance.BTC-USDT", news).await;
    assert!(client.next().await.contains(r#""price":"60201.00""#));
}

#[tokio::test]
async fn a_house_that_stops_before_it_was_open_ends() {
    let house = behind().await;
    assert_eq!(house.get("/livez").await.status, 200);

    house.stop.cancel();
    house.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_feed_that_ended_is_told_and_does_not_make_the_node_useless() {
    let house = House::open().await;
    house.feed.set_state(FeedState::Finished);
    let finished = house.get("/readyz").await;
    assert_eq!((finished.status, &finished.json()["status"]), (200, &"ready".into()));
    assert_eq!(finished.json()["feeds"][0]["state"], "finished");

    house.feed.set_state(FeedState::Failed("refused".into()));
    let failed = house.get("/readyz").await;
    assert_eq!((failed.status, &failed.json()["status"]), (200, &"degraded".into()));
    assert_eq!(failed.json()["feeds"][0]["error"], "refused");
}

#[tokio::test]
async fn a_node_says_what_its_logs_survive() {
    let house = House::open().await;
    let health = house.get("/health").await;

    assert_eq!(health.status, 200);
    assert_eq!(health.json()["market"]["durability"], "memory");
    assert_eq!(health.json()["ledger"]["head"], 0);
}

#[tokio::test]
async fn a_node_says_what_its_logs_stand_on_and_how_that_was_tried_out() {
    let tested = Some("in a laboratory");
    let market = Backend { name: "kurrentdb", tested };
    let house = House::with(Settings { market, ..Settings::default() }).await;
    let health = house.get("/health").await.json();

    assert_eq!(health["ledger"]["backend"], "embedded");
    assert!(health["ledger"].get("tested").is_none(), "{health}");
    let told = (&health["market"]["backend"], &health["market"]["tested"]);
    assert_eq!(told, (&"kurrentdb".into(), &"in a laboratory".into()));
}
