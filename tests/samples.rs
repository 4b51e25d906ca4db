//! The specification's samples do what they say: as they stand there, with only host, token and key
//! put in. And the page on which one tries the API out works without the rest of the world.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::browser::{Page, Site, visit};
use crate::house::{House, folder};
use crate::tools::{not_run, project, tool};

/// Copies of the specification's words.
const WEBSOCKET_SAMPLE: &str = include_str!("samples/websocket.js");
const REST_SAMPLE: &str = include_str!("samples/rest.py");

/// Time after which a test fails rather than wait for a sample.
const SAMPLE_MAX: Duration = Duration::from_mins(1);

/// Puts a value in the place of words that the specification leaves to the reader.
fn put_in(sample: &str, words: &str, value: &str) -> String {
    assert!(sample.contains(words), "the sample says nothing of {words}");
    sample.replace(words, value)
}

fn websocket_sample(house: &House) -> String {
    let sample = put_in(WEBSOCKET_SAMPLE, "api.example.com", &house.host);
    match house.scheme.as_str() {
        "https" => put_in(&sample, "ws://", "wss://"),
        _ => sample,
    }
}

/// Returns whether this is what the sample prints for a tick: `BTC-USDT: 65432.10`.
fn is_price_line(line: &str) -> bool {
    line.strip_prefix("BTC-USDT: ").is_some_and(is_price)
}

/// Returns whether this is a price with two digits or more after the point.
fn is_price(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('.')
        .is_some_and(|(whole, fraction)| digits(whole) && digits(fraction) && fraction.len() >= 2)
}

#[test]
fn the_samples_are_the_specifications_own_words() {
    let path = project().join("../shared/design/SPEC.md");
    let Ok(specification) = std::fs::read_to_string(path) else {
        return not_run("the specification is not beside the project");
    };

    assert!(specification.contains(&format!("```javascript\n{WEBSOCKET_SAMPLE}```")));
    assert!(specification.contains(&format!("```python\n{REST_SAMPLE}```")));
}

#[tokio::test]
async fn the_websocket_sample_prints_prices_in_node() {
    let Some(node) = tool("node") else { return };
    for words in DEMOS {
        prints_prices(&node, words).await;
    }
}

async fn prints_prices(node: &Path, words: &[&str]) {
    let folder = folder();
    let house = House::start(&folder, words.iter().copied()).await;
    let script = folder.path().join("sample.js");
    std::fs::write(&script, websocket_sample(&house)).unwrap();

    let mut sample = Command::new(node)
        .arg(script)
        .env("NODE_EXTRA_CA_CERTS", folder.path().join(CERTIFICATE))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(sample.stdout.take().unwrap()).lines();

    for _ in 0..3 {
        let line = timeout(SAMPLE_MAX, lines.next_line()).await.unwrap().unwrap().unwrap();
        assert!(is_price_line(&line), "{line}");
    }
}

#[tokio::test]
async fn the_websocket_sample_prints_prices_in_a_page_of_a_listed_origin() {
    let Some(chromium) = tool("chromium") else { return };
    let folder = folder();
    let site = Site::new().await;
    let origin = site.origin.clone();
    let configuration = format!("[ws]\norigins = [\"{origin}\"]\n");
    std::fs::write(folder.path().join("house.toml"), configuration).unwrap();
    let words = ["serve", "--feed", "simulated", "--config", "house.toml"];
    let house = House::start(&folder, words).await;
    site.run(&websocket_sample(&house));

    let mut page = Page::open(&chromium, &origin);

    for _ in 0..3 {
        let said = page.console().await;
        assert!(said.split('"').any(is_price_line), "{said}");
    }
}

#[tokio::test]
async fn the_websocket_sample_gets_nothing_in_a_page_of_another_origin() {
    let Some(chromium) = tool("chromium") else { return };
    let folder = folder();
    let house = House::start(&folder, ["demo"]).await;
    let site = Site::new().await;
    let origin = site.origin.clone();
    let and_tell = "ws.onclose = (event) => console.log(`closed: ${event.code}`);\n";
    site.run(&(websocket_sample(&house) + and_tell));

    let mut page = Page::open(&chromium, &origin);

    // Why, a browser does not tell the page; the house does.
    let said = page.console().await;
    assert!(said.contains("closed: 1006"), "{said}");
    let log = house.said();
    assert!(log.contains(r#""path":"/ws/market","status":403"#), "{log}");
}

/// How the samples reach a house: plain as a newcomer does, or over TLS, trusting the certificate
/// that the house has made itself.
const DEMOS: [&[&str]; 2] = [&["demo"], &["demo", "--tls-self-signed"]];

/// The file of that certificate.
const CERTIFICATE: &str = "data/demo/self_signed.pem";

/// Runs the REST sample with host, token and key put in, then asks; returns what it prints.
async fn rest_sample(python: &Path, folder: &TempDir, house: &House, ask: &str) -> Value {
    let url = format!("{}://{}", house.scheme, house.host);
    let sample = put_in(REST_SAMPLE, "https://api.example.com", &url);
    // As in the specification, both are sent.
    let token = house.token("demo", "trader").await;
    let key = house.api_key("demo", "trader").await;
    let sample = put_in(&put_in(&sample, "{token}", &token), "your-api-key", &key);
    let ask = ask.replace("{token}", &token).replace("{key}", &key);
    let script = folder.path().join("sample.py");
    std::fs::write(&script, format!("{sample}\nimport json\n{ask}")).unwrap();

    let mut run = Command::new(python);
    run.arg(script).env("REQUESTS_CA_BUNDLE", folder.path().join(CERTIFICATE));
    let output = timeout(SAMPLE_MAX, run.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn the_rest_sample_gets_a_price() {
    let Some(python) = tool("python") else { return };
    for words in DEMOS {
        let folder = folder();
        let house = House::start(&folder, words.iter().copied()).await;
        house.until("/v1/market/price/BTC-USDT", |answer| answer.status == 200).await;
        let ask = "print(json.dumps(get_market_price('BTC-USDT')))\n";
        let price = rest_sample(&python, &folder, &house, ask).await;
        assert_is_price(&price);
    }
}

fn assert_is_price(price: &Value) {
    let keys: Vec<&String> = price.as_object().unwrap().keys().take(5).collect();
    assert_eq!(keys, ["symbol", "price", "timestamp", "volume", "exchange"]);
    assert_eq!(price["symbol"], "BTC-USDT");
    assert!(is_price(price["price"].as_str().unwrap()), "{price}");
    assert!(price["timestamp"].as_str().unwrap().ends_with('Z'), "{price}");
}

#[tokio::test]
async fn the_rest_sample_opens_a_position() {
    let Some(python) = tool("python") else { return };
    let folder = folder();
    let house = House::start(&folder, DEMOS[1].iter().copied()).await;
    house.until("/v1/market/price/BTC-USDT", |answer| answer.status == 200).await;
    // The sample forgets that its headers are those of the function before.
    let ask = "headers = {'Authorization': 'Bearer {token}', 'X-API-Key': '{key}'}\n\
               print(json.dumps(create_position('BTC-USDT', 0.25)))\n";
    let opened = rest_sample(&python, &folder, &house, ask).await;
    let keys: Vec<&String> = opened.as_object().unwrap().keys().take(3).collect();
    assert_eq!(keys, ["position_id", "status", "timestamp"], "{opened}");
    assert_eq!(opened["status"], "success");
    let held = house.get("/v1/portfolio/positions").await.body;
    let position = &held["positions"][0];
    let keys: Vec<&String> = position.as_object().unwrap().keys().take(6).collect();
    assert_eq!(keys, ["symbol", "size", "entry_price", "current_price", "pnl", "timestamp"]);
    assert_eq!(position["position_id"], opened["position_id"]);
    assert_eq!(position["size"], "0.25");
}

#[tokio::test]
async fn the_page_of_the_documents_shows_every_operation_and_asks_nobody_else() {
    let Some(chromium) = tool("chromium") else { return };
    let folder = folder();
    let house = House::start(&folder, ["demo"]).await;
    let document = house.until("/openapi.json", |answer| answer.status == 200).await.body;
    let origin = format!("http://{}", house.host);

    let visit = visit(&chromium, &origin, "/docs").await;

    let paths = document["paths"].as_object().unwrap();
    assert!(paths.keys().any(|path| path.ends_with("/market/price/{symbol}")), "{document}");
    for path in paths.keys() {
        // Swagger UI lets long paths break before each slash.
        let shown = visit.html.replace("<wbr>", "").replace('\u{200b}', "");
        assert!(shown.contains(path), "{path} is not shown");
    }
    assert!(!visit.requests.is_empty(), "the page asks at least for the document");
    for url in visit.requests {
        let is_ours = url.starts_with(&format!("{origin}/")) || url.starts_with("data:");
        assert!(is_ours, "the page asks for {url}");
    }
}
