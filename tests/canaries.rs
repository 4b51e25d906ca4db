//! No secret reaches a log line. Every secret that a test has or plants is written down beside the
//! logs of all houses, and `tests/run` looks for each in all of them as its last step.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::header::AUTHORIZATION;
use serde_json::json;
use tokio::time::sleep;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::house::{House, folder};

/// Returns the folder where logs and secrets are kept; `None` when nobody will look at them.
fn kept() -> Option<PathBuf> {
    std::env::var_os("ENTASIS_TEST_LOGS").map(PathBuf::from)
}

/// Writes down a secret that no log may hold.
pub(crate) fn plant(secret: &str) {
    assert!(secret.len() >= 16 && !secret.contains('\n'), "a secret that can be looked for");
    let Some(folder) = kept() else { return };
    let file = OpenOptions::new().create(true).append(true).open(folder.join("secrets"));
    // One write: tests run beside each other.
    let written = file.and_then(|mut file| file.write_all(format!("{secret}\n").as_bytes()));
    written.expect("a folder for logs and secrets");
}

/// Keeps what a house has said.
pub(crate) fn keep_log(log: &Path) {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let Some(folder) = kept() else { return };
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("{}-{number}.log", std::process::id());
    if let Err(error) = fs::copy(log, folder.join("logs").join(name)) {
        // A house whose folder has gone said nothing any more.
        eprintln!("{} is not kept: {error}", log.display());
    }
}

/// What is planted is wrong as a credential and right as a secret: somebody mistyped theirs.
#[tokio::test]
async fn what_is_presented_as_a_secret_stands_in_no_log_however_much_is_logged() {
    let folder = folder();
    let house = House::start_talking(&folder, ["demo"], "trace").await;
    let canary = |place: &str| {
        let secret = format!("canary-{place}-5e1f9a7c3b2d4806");
        plant(&secret);
        secret
    };
    let client = reqwest::Client::new();
    let url = |path: &str| format!("http://{}{path}", house.host);
    let price = url("/v1/market/price/BTC-USDT");

    for (request, status) in [
        (client.get(&price).header(AUTHORIZATION, format!("Bearer {}", canary("bearer"))), 401),
        (client.get(&price).header(AUTHORIZATION, format!("Basic {}", canary("basic"))), 401),
        (client.get(&price).header("X-API-Key", canary("key")), 401),
        (client.get(&price).header("X-API-Key", format!("ent_live_{}", canary("live"))), 401),
        (client.get(format!("{price}?api_key={}", canary("query"))), 401),
        (client.post(url("/v1/auth/token")).header("X-API-Key", canary("exchange")), 401),
        (client.get(url(&format!("/ws/market?token={}", canary("socket")))), 400),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{}", answer.url());
    }
    // Good ones, too.
    let token = house.token("demo", "trader").await;
    let key = house.api_key("demo", "trader").await;
    let both = client.post(url("/v1/auth/token")).header("X-API-Key", &key);
    let exchanged: serde_json::Value = both.send().await.unwrap().json().await.unwrap();
    plant(exchanged["token"].as_str().unwrap());
    let both =
        client.get(url("/v1/portfolio/account")).bearer_auth(&token).header("X-API-Key", &key);
    assert_eq!(both.send().await.unwrap().status(), 200);

    let (mut socket, _) =
        connect_async(format!("ws://{}/ws/market?v=1", house.host)).await.unwrap();
    for (id, message) in [
        json!({"action": "auth", "token": canary("message-token")}),
        json!({"action": "auth", "api_key": canary("message-key")}),
        json!({"action": "auth", "api_key": key}),
    ]
    .into_iter()
    .enumerate()
    {
        let mut message = message;
        message["id"] = id.into();
        socket.send(Message::text(message.to_string())).await.unwrap();
        let said = socket.next().await.unwrap().unwrap();
        assert!(said.to_text().unwrap().contains(&format!("\"id\":{id}")), "{said}");
    }
    drop(socket);
    // It was heard, and more was said of it than is by default.
    while !house.said().contains("\"DEBUG\"") {
        sleep(Duration::from_millis(20)).await;
    }
    let said = house.said();
    assert!(said.contains("\"status\":401"), "{said}");
    for place in ["bearer", "basic", "key", "live", "query", "exchange", "socket", "message"] {
        assert!(!said.contains(&format!("canary-{place}")), "{place}");
    }
    assert!(!said.contains(&token) && !said.contains(&key));
}
