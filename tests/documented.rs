//! Whatever the document allows is answered as the document says, and whatever it does not allow is
//! refused: schemathesis asks, with all of its checks.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;

use crate::house::{House, folder};
use crate::tools::{project, times, tool};

/// Cases that are asked at least, in the ordinary run.
const CASES_MIN: u64 = 2_500;

/// How many times more the long run asks.
const LONGER: usize = 4;

/// Time after which a run fails rather than go on.
const RUN_MAX: Duration = Duration::from_mins(15);

/// The same run is the same questions. Another seed asks others.
const SEED: &str = "20240808";

/// What is asked: by whom, under which prefix, of which operations, and how much of each.
struct Run<'a> {
    prefix: &'a str,
    headers: Vec<String>,
    words: &'a [&'a str],
    examples: usize,
}

/// Asks, and returns how many cases there were. Fails with all that schemathesis has to say.
async fn ask(schemathesis: &Path, house: &House, run: Run<'_>) -> u64 {
    let report = tempfile::tempdir().unwrap();
    let seed = std::env::var("ENTASIS_TEST_SEED").unwrap_or_else(|_| SEED.to_owned());
    let mut command = Command::new(schemathesis);
    command
        .arg("--config-file")
        .arg(project().join("tests/schemathesis.toml"))
        .arg("run")
        .arg(format!("http://{}/openapi.json", house.host))
        .args(["--url", &format!("http://{}{}", house.host, run.prefix)])
        .args(["--checks", "all", "--continue-on-failure", "--no-shrink", "--warnings", "off"])
        .args(["--phases", "examples,coverage,fuzzing"])
        .args(["--seed", &seed, "--max-examples", &run.examples.to_string()])
        .args(["--generation-database", "none", "--request-timeout", "20"])
        .args(run.words);
    for header in &run.headers {
        command.args(["--header", header]);
    }
    // It leaves a folder of its own where it runs.
    command.current_dir(report.path()).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(RUN_MAX, command.output()).await.expect("a run in time").unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let cases = cases(&said).unwrap_or_else(|| panic!("no number of cases in {said}"));
    eprintln!("{}, {:?}: {cases} cases", run.prefix, run.words);
    cases
}

/// Reads how many cases a report tells of: `2547 generated, 2547 passed`.
fn cases(report: &str) -> Option<u64> {
    let (before, _) = report.split_once(" generated")?;
    before
        .rsplit(|letter: char| !letter.is_ascii_digit())
        .find(|word| !word.is_empty())?
        .parse()
        .ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemathesis_finds_nothing() {
    let Some(schemathesis) = tool("schemathesis") else { return };
    let folder = folder();
    // Out of the way: how often one may ask, and how often in vain.
    let limits = "[limits]\nrequests_max = 1000000\nfailures_ip_max = 1000000\n";
    std::fs::write(folder.path().join("house.toml"), limits).unwrap();
    let house = House::start(&folder, ["serve", "--config", "house.toml"]).await;
    for (path, body) in [
        ("operator/accounts", json!({ "account": "demo" })),
        ("operator/accounts/demo/deposits", json!({ "amount": "1000000" })),
    ] {
        assert_eq!(house.post(&format!("/v1/{path}"), &body).await.status, 201);
    }
    house.until("/v1/market/price/BTC-USDT", |answer| answer.status == 200).await;
    let bearer = async |account: &str, role: &str| {
        format!("Authorization: Bearer {}", house.token(account, role).await)
    };
    let key = async |account: &str, role: &str| {
        format!("X-API-Key: {}", house.api_key(account, role).await)
    };
    let of_operators = ["--include-path-regex", "/operator/"];
    let of_administrators = ["--include-path-regex", "/admin/"];
    // One that revokes what it asks with comes last, alone.
    let of_all_others =
        ["--exclude-path-regex", "/(operator|admin)/", "--exclude-operation-id", "revoke_token"];
    let longer = if times(1) > 1 { LONGER } else { 1 };
    let many = 36 * longer;
    let runs = [
        Run {
            prefix: "/api/v1",
            headers: vec![bearer("demo", "trader").await],
            words: &of_all_others,
            examples: many,
        },
        Run {
            prefix: "/v1",
            headers: vec![key("demo", "trader").await],
            words: &of_all_others,
            examples: many,
        },
        Run {
            prefix: "/api/v1",
            headers: vec![bearer("demo", "trader").await, key("demo", "trader").await],
            words: &of_all_others,
            examples: many / 4,
        },
        Run {
            prefix: "/v1",
            headers: vec![bearer("operator", "operator").await],
            words: &of_operators,
            examples: many,
        },
        Run {
            prefix: "/api/v1",
            headers: vec![key("operator", "operator").await],
            words: &of_operators,
            examples: many / 2,
        },
        Run {
            prefix: "/api/v1",
            headers: vec![key("administrator", "admin").await],
            words: &of_administrators,
            examples: many / 2,
        },
        Run {
            prefix: "/v1",
            headers: vec![bearer("demo", "trader").await],
            words: &["--include-operation-id", "revoke_token"],
            examples: 20,
        },
    ];
    let mut cases = 0;
    for run in runs {
        cases += ask(&schemathesis, &house, run).await;
    }

    assert!(cases >= CASES_MIN * longer as u64, "{cases} cases");
    // What may not be is said in the log, too.
    assert!(!house.said().contains("\"status\":500"));
    assert_eq!(house.get("/v1/portfolio/account").await.status, 200);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_the_limit_schemathesis_hears_429_as_documented() {
    let Some(schemathesis) = tool("schemathesis") else { return };
    let folder = folder();
    // With the limits of everybody.
    let house = House::start(&folder, ["demo"]).await;
    house.until("/v1/market/price/BTC-USDT", |answer| answer.status == 200).await;
    let token = house.token("demo", "trader").await;
    let client = reqwest::Client::new();
    let price = format!("http://{}/v1/market/price/BTC-USDT", house.host);
    let mut answered = Vec::new();
    for _ in 0..1_100 {
        let answer = client.get(&price).bearer_auth(&token).send().await.unwrap();
        answered.push(answer.status().as_u16());
    }
    // To wait until the price was there took some.
    let accepted = answered.iter().filter(|status| **status == 200).count();
    assert!((900..=1_000).contains(&accepted), "{accepted} were accepted");
    assert!(answered[accepted..].iter().all(|status| *status == 429), "{answered:?}");

    let refused = client.get(&price).bearer_auth(&token).send().await.unwrap();
    let headers = refused.headers().clone();
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    let wait: u64 = text("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(text("ratelimit-policy"), r#""default";q=1000;w=60"#);
    assert_eq!(text("ratelimit"), format!(r#""default";r=0;t={wait}"#));
    assert_eq!(
        (text("x-ratelimit-limit"), text("x-ratelimit-remaining")),
        ("1000".into(), "0".into())
    );
    let body: Value = refused.json().await.unwrap();
    assert_eq!((&body["code"], &body["message"]), (&json!("429"), &json!("요청 한도 초과")));

    // 429 is an answer of the document: all checks hold but those that expect to be let in.
    let run = Run {
        prefix: "/v1",
        headers: vec![format!("Authorization: Bearer {token}")],
        words: &[
            "--include-operation-id",
            "market_price",
            "--exclude-checks",
            "negative_data_rejection,positive_data_acceptance,unsupported_method,ignored_auth",
        ],
        examples: 20,
    };
    assert!(ask(&schemathesis, &house, run).await >= 20);
    // Another account is not meant.
    let other = house.token("other", "trader").await;
    assert_eq!(client.get(&price).bearer_auth(&other).send().await.unwrap().status(), 200);
}
