//! What is judged of logs, and what looking at them leaves alone.

use std::num::{NonZeroU32, NonZeroU64};

use eventlog::entry::Offset;
use eventlog::kurrent::TESTED;
use eventlog::log::{Durability, Standing};
use tempfile::TempDir;

use super::*;
use crate::command_line::Demo;
use crate::configuration::{self, Retention};
use crate::doctor::log::Found;
use crate::logs::LogUrl;

const RETENTION: Retention = Retention {
    market_days: NonZeroU32::new(7).unwrap(),
    market_bytes: NonZeroU64::new(20_000_000_000).unwrap(),
};

fn open(durability: Durability, standing: Standing) -> Found {
    Found::Open { durability, standing, head: Offset(5) }
}

/// Returns what is said of a log at a place, as one text, with the worst of its levels.
fn judged(url: &str, log: Log, least: Option<Durability>, found: &Found) -> (Level, String) {
    let url = LogUrl::parse(url).unwrap();
    let is_made_by_start = false;
    let asked =
        Asked { log, url: &url, durability_min: least, retention: RETENTION, is_made_by_start };
    let findings = asked.judge(found);
    let is = |level| findings.iter().any(|finding| finding.level == level);
    let level = match (is(Level::Problem), is(Level::Warning)) {
        (true, _) => Level::Problem,
        (false, true) => Level::Warning,
        (false, false) => Level::Ok,
    };
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    (level, lines.join("\n") + "\n")
}

fn configuration(folder: &TempDir) -> Configuration {
    let data = Some(folder.path().join("data"));
    configuration::of_demo(&Demo { data, ..Demo::default() }).unwrap()
}

#[test]
fn a_log_that_keeps_less_than_is_demanded_is_a_problem() {
    let ledger =
        |url: &str, least, found| judged(url, Log::Ledger, least, &open(found, Standing::Good));

    assert_eq!(ledger("embedded:d", None, Durability::Fsync).0, Level::Ok);
    assert_eq!(ledger("nats://a", Some(Durability::Quorum), Durability::Quorum).0, Level::Ok);
    let (level, said) = ledger("nats://a", Some(Durability::Quorum), Durability::Fsync);
    assert_eq!(level, Level::Problem);
    assert!(said.contains("durability_min is quorum") && said.contains("nats.monitors"), "{said}");
    let (level, said) = ledger("nats://a", None, Durability::Os);
    assert_eq!(level, Level::Warning, "nobody has demanded more");
    assert!(said.contains("not a loss of power"), "{said}");
}

#[test]
fn what_was_not_run_against_a_server_is_a_warning_that_says_so() {
    let found = open(Durability::Quorum, Standing::Good);

    let (level, said) = judged("kurrentdb://a", Log::Ledger, None, &found);
    assert_eq!(level, Level::Warning);
    assert!(said.contains(TESTED) && said.contains("tests/contract-kurrent"), "{said}");
    let (_, said) = judged("kurrentdb://a", Log::Market, None, &found);
    assert!(said.contains("by age alone") && !said.contains("20.0 GB"), "{said}");
    let (_, said) = judged("nats://a", Log::Market, None, &found);
    assert!(said.contains("20.0 GB") && said.contains("2.15.1"), "{said}");
}

#[test]
fn a_log_that_fares_badly_brings_what_to_do() {
    let (reason, advice) = ("no space".to_owned(), Some("restart the node".to_owned()));
    let down = Standing::Down { reason: reason.clone(), advice: advice.clone() };
    let degraded = Standing::Degraded { reason, advice };

    for (standing, expected) in [(down, Level::Problem), (degraded, Level::Warning)] {
        let found = open(Durability::Quorum, standing);
        let (level, said) = judged("nats://a", Log::Ledger, None, &found);
        assert_eq!(level, expected);
        assert!(said.contains("no space\n") && said.contains("→ restart the node"), "{said}");
    }
}

#[test]
fn what_is_not_there_is_a_problem_where_no_start_makes_it() {
    for (url, expected) in [("embedded:d", Level::Ok), ("nats://a", Level::Problem)] {
        let (level, said) = judged(url, Log::Ledger, None, &Found::Nothing);
        assert_eq!(level, expected, "{said}");
        assert_eq!(said.contains("entasis log create"), expected == Level::Problem, "{said}");
    }
    let closed = Found::Closed("it is gone".to_owned());
    for url in ["embedded:d", "nats://a", "kurrentdb://a"] {
        let (level, said) = judged(url, Log::Ledger, None, &closed);
        assert_eq!(level, Level::Problem, "{said}");
        assert!(said.contains("it is gone\n") && said.contains('→'), "{said}");
    }
}

#[test]
fn problems_and_warnings_are_counted() {
    assert_eq!(summary(1, 0), "1 problem and 0 warnings");
    assert_eq!(summary(2, 1), "2 problems and 1 warning");
}

#[tokio::test]
async fn a_log_is_looked_at_beside_the_house_that_writes_it_and_none_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let configuration = configuration(&folder);
    let opener = Opener::for_copies(&configuration);
    let look = async || log::look(&opener, &configuration.ledger, Log::Ledger).await;

    assert!(matches!(look().await, Found::Nothing));
    assert!(!folder.path().join("data").exists());
    let held = opener.open(&configuration.ledger, Log::Ledger).await.unwrap();
    assert_eq!(held.log.head().await, Ok(Offset(0)));
    let found = look().await;
    let is_as_it_is = matches!(
        &found,
        Found::Open { durability: Durability::Fsync, standing: Standing::Good, head: Offset(0) }
    );
    assert!(is_as_it_is, "{found:?}");
}

#[tokio::test]
async fn what_nobody_answers_for_is_closed_and_its_secret_is_not_told() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = listener.local_addr().unwrap();
    drop(listener);
    let folder = tempfile::tempdir().unwrap();
    let opener = &Opener::for_copies(&configuration(&folder));
    let [nats, kurrent] = ["nats", "esdb"].map(|scheme| async move {
        let url = LogUrl::parse(&format!("{scheme}://ann:canary@{gone}")).unwrap();
        log::look(opener, &url, Log::Market).await
    });

    let (nats, kurrent) = tokio::join!(nats, kurrent);
    for found in [nats, kurrent] {
        let Found::Closed(why) = found else { panic!("{found:?}") };
        assert!(why.contains(&gone.to_string()) && !why.contains("canary"), "{why}");
    }
}
