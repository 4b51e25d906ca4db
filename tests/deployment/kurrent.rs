//! What is there for a KurrentDB that somebody has, with the double in its place: the deployed engine,
//! which proves that the files fit to each other and to it, not that the server starts; and the suite
//! in one file.

use std::process::{Output, Stdio};
use std::time::Duration;

use eventlog::kurrent::double::Double;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;

use super::place::{Engine, Place};
use super::running::until_priced;
use crate::house::folder;
use crate::tools::{is_long, not_run, project};

/// Times after which a test fails rather than wait: a build from nothing on a busy machine, and the
/// suite.
const BUILD_MAX: Duration = Duration::from_hours(1);
const SUITE_MAX: Duration = Duration::from_mins(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_deployed_engine_on_a_kurrent_double_finds_there_what_it_has_put_there() {
    let double = Double::start().expect("a double on a free port");
    let Some(place) = Place::on_kurrentdb(double.port(0)) else { return };
    let engine = place.start_engine("k1").await;
    let client = Client::new();
    let operator = place.token("k1", "olga", "operator").await;
    let alice = place.token("k1", "alice", "trader").await;
    let accounts = format!("{}/v1/operator/accounts", url(&engine));
    let send = async |url: String, token: &str, body: Value| {
        let answer = client.post(url).bearer_auth(token).json(&body).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };

    let (status, said) = send(accounts.clone(), &operator, json!({"account": "alice"})).await;
    assert_eq!(status, StatusCode::CREATED, "{said}");
    let deposits = format!("{accounts}/alice/deposits");
    let (status, said) = send(deposits, &operator, json!({"amount": "100000.00"})).await;
    assert!(status.is_success(), "{said}");
    until_priced(&client, &engine, &alice).await;
    let order = json!({"symbol": "BTC-USDT", "size": "0.1", "type": "long", "leverage": "10"});
    let (status, said) = send(positions(&engine), &alice, order).await;
    assert_eq!(status, StatusCode::CREATED, "{said}");
    let opened: Value = serde_json::from_str(&said).unwrap();
    let id = opened["position_id"].as_str().expect("an id");
    engine.house.stop().await;

    // In a folder that has nothing: what it knows now comes from KurrentDB.
    let engine = place.start_engine("k1").await;
    let seen = client.get(positions(&engine)).bearer_auth(&alice).send().await.unwrap();
    assert_eq!(seen.status(), StatusCode::OK);
    let seen = seen.text().await.unwrap();
    assert!(seen.contains(id), "{seen}");
    let health = client.get(format!("{}/health", url(&engine))).send().await.unwrap();
    let health: Value = serde_json::from_str(&health.text().await.unwrap()).unwrap();
    for log in ["ledger", "market"] {
        assert_eq!(health[log]["backend"], "kurrentdb", "{health}");
    }
}

fn url(engine: &Engine) -> String {
    format!("http://{}", engine.house.host)
}

fn positions(engine: &Engine) -> String {
    format!("{}/v1/portfolio/positions", url(engine))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_in_one_file_asks_a_kurrent_double_with_nothing_beside_it() {
    if !is_long() {
        return not_run("a build of its own: only tests/long does it");
    }
    let double = Double::start().expect("a double on a free port");
    let folder = folder();
    let suite = folder.path().join("suite");
    let mut building = Command::new(project().join("tests/contract-kurrent"));
    building.arg("--build").arg(&suite);
    let built = ended(building, BUILD_MAX).await;
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));

    let mut ask = Command::new(&suite);
    ask.env_clear().env("ENTASIS_TEST_KURRENT", double.url());
    ask.args(["--nocapture", "kurrent::tests::server_of_ones_own::"]).current_dir(folder.path());
    let asked = ended(ask, SUITE_MAX).await;
    let said = String::from_utf8_lossy(&asked.stderr);
    assert!(asked.status.success(), "{said}");
    assert!(said.contains("what must survive of a copy does"), "{said}");
}

async fn ended(mut command: Command, within: Duration) -> Output {
    let command = command.stdin(Stdio::null()).kill_on_drop(true);
    timeout(within, command.output()).await.expect("it ends").expect("it starts")
}
