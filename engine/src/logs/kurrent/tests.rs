//! What KurrentDB is told of who we are and whom we trust.

use eventlog::kurrent::address::Address;

use super::*;
use crate::configuration::kurrent::KurrentKeys;
use crate::logs::LogUrl;

mod kurrent_double;

fn settings(keys: serde_json::Value) -> KurrentSettings {
    let keys: KurrentKeys = serde_json::from_value(keys).unwrap();
    KurrentSettings::of(keys).unwrap()
}

fn url(text: &str) -> Address {
    match LogUrl::parse(text).unwrap() {
        LogUrl::Kurrent(address) => address,
        other => panic!("{other}"),
    }
}

const RETENTION: Retention = Retention {
    market_days: std::num::NonZeroU32::new(3).unwrap(),
    market_bytes: std::num::NonZeroU64::MAX,
};

#[test]
fn who_the_url_says_that_we_are_counts_before_who_the_configuration_says() {
    let settings = settings(serde_json::json!({"user": "engine", "password": "canary"}));
    let login = |text: &str| options(&settings, &url(text), RETENTION).login;

    let configured = login("kurrentdb://a").unwrap();
    assert_eq!((configured.user.as_str(), configured.password.as_str()), ("engine", "canary"));
    assert_eq!(login("kurrentdb://ann:own@a"), None, "the address says it itself");
    assert!(!format!("{settings:?} {configured:?}").contains("canary"));
}

#[test]
fn what_is_configured_stands_where_the_url_says_nothing() {
    let given = settings(serde_json::json!({"tls": false, "prefix": "blue_", "nodes": 3}));
    let told = options(&given, &url("esdb://a"), RETENTION);
    assert_eq!((told.prefix.as_str(), told.nodes), ("blue_", Some(3)));
    assert_eq!(told.market_age, DAY * 3);

    let tls = |text: &str| to_ask(&given, &url(text)).unwrap().setting("tls").map(str::to_owned);
    assert_eq!(tls("esdb://a").as_deref(), Some("false"));
    assert_eq!(tls("esdb://a?tls=true").as_deref(), Some("true"));
    let plain = settings(serde_json::json!({}));
    let asked = to_ask(&plain, &url("esdb://a")).unwrap();
    assert_eq!((asked.setting("tls"), asked.setting(AUTHORITIES)), (None, None));
}

#[test]
fn authorities_that_do_not_read_are_named_before_anybody_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(path("ca.pem"), made.cert.pem()).unwrap();
    std::fs::write(path("empty.pem"), "").unwrap();
    std::fs::write(path("wrong.pem"), "-----BEGIN CERTIFICATE-----\n*\n").unwrap();
    let ask = |file: &str, text: &str| {
        let settings = settings(serde_json::json!({"tls_ca": path(file)}));
        to_ask(&settings, &url(text)).map_err(|error| format!("{error:#}"))
    };

    let asked = ask("ca.pem", "kurrentdb://a").unwrap();
    assert_eq!(asked.setting(AUTHORITIES), Some(path("ca.pem").as_str()));
    for file in ["none.pem", "empty.pem", "wrong.pem"] {
        let said = ask(file, "kurrentdb://a").unwrap_err();
        assert!(said.contains("kurrent.tls_ca") && said.contains(file), "{said}");
    }
    let in_url = format!("kurrentdb://a?tlsCaFile={}", path("empty.pem"));
    assert!(ask("ca.pem", &in_url).unwrap_err().contains("empty.pem"));
}
