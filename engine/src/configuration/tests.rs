//! Layers, defaults and mistakes.

use std::os::unix::ffi::OsStringExt;

use super::*;
use crate::configuration::door::{TlsChoice, TokenKeysAt};

mod nodes;

fn variables(pairs: &[(&str, &str)]) -> Map<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn mistake(serve: &Serve, pairs: &[(&str, &str)]) -> String {
    format!("{:#}", configured(serve, variables(pairs)).unwrap_err())
}

fn file(text: &str) -> (tempfile::NamedTempFile, Serve) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let config = Some(file.path().to_owned());
    (file, Serve { config, ..Serve::default() })
}

#[test]
fn without_a_word_there_are_defaults() {
    let configuration = configured(&Serve::default(), variables(&[])).unwrap();

    assert_eq!(configuration.listen, LISTEN_DEFAULT);
    assert_eq!(configuration.ledger, LogUrl::Embedded(DATA_DEFAULT.into()));
    assert_eq!(configuration.market, configuration.ledger);
    assert_eq!(configuration.feeds, ["simulated".parse().unwrap()]);
    assert_eq!(configuration.read_store.to_string(), "sqlite:data/read.db");
    let Retention { market_days, market_bytes } = configuration.retention;
    assert_eq!((market_days.get(), market_bytes.get()), (7, 20_000_000_000));
}

#[test]
fn the_read_store_stands_in_the_data_folder_or_beside_the_ledger() {
    let store = |text: &str| {
        let (_file, serve) = file(text);
        let configuration = configured(&serve, variables(&[])).unwrap();
        configuration.read_store.file().unwrap().display().to_string()
    };

    assert_eq!(store("data = 'd'"), "d/read.db");
    assert_eq!(store("log = 'embedded:l'"), "l/read.db");
    assert_eq!(store("data = 'd'\nlog = 'embedded:l'"), "d/read.db");
    assert_eq!(store("data = 'd'\nread_store = 'sqlite:r.db'"), "r.db");

    let mut serve = Serve { read_store: Some("mysql://a".to_owned()), ..Serve::default() };
    let said = mistake(&serve, &[]);
    assert!(said.starts_with("read_store = \"mysql://a\" is no read store: expected"), "{said}");
    serve.read_store = Some("sqlite:".to_owned());
    assert!(mistake(&serve, &[]).ends_with("needs a file, such as sqlite:./data/read.db"));
}

#[test]
fn what_is_kept_of_the_market_log_can_be_set_and_is_never_nothing() {
    let pairs =
        [("ENTASIS_RETENTION__MARKET_DAYS", "30"), ("ENTASIS_RETENTION__MARKET_BYTES", "1000000")];
    let retention = configured(&Serve::default(), variables(&pairs)).unwrap().retention;

    assert_eq!((retention.market_days.get(), retention.market_bytes.get()), (30, 1_000_000));
    for (key, value) in [("MARKET_DAYS", "0"), ("MARKET_BYTES", "0"), ("MARKET_DAYS", "a")] {
        let name = format!("ENTASIS_RETENTION__{key}");
        assert!(!mistake(&Serve::default(), &[(&name, value)]).is_empty());
    }
}

#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
    let text = "listen = '127.0.0.1:1'\ndata = 'file'\nlog = 'embedded:file'\n\
                [ws]\norigins = ['http://a']";
    let (_file, mut serve) = file(text);
    let pairs = [("ENTASIS_LISTEN", "127.0.0.2:1"), ("ENTASIS_LOG", "embedded:variable")];
    let listen = |serve: &Serve, pairs| configured(serve, variables(pairs)).unwrap().listen;

    assert_eq!(listen(&serve, &[]), "127.0.0.1:1");
    assert_eq!(listen(&serve, &pairs), "127.0.0.2:1");
    serve.listen = Some("127.0.0.3:1".to_owned());
    assert_eq!(listen(&serve, &pairs), "127.0.0.3:1");

    let configuration = configured(&serve, variables(&pairs)).unwrap();
    assert_eq!(configuration.ledger, LogUrl::Embedded("variable".into()));
    assert_eq!(configuration.ws.origins, ["http://a"]);
}

#[test]
fn lists_in_variables_are_separated_by_spaces() {
    let pairs =
        [("ENTASIS_FEED", "simulated?seed=3"), ("ENTASIS_WS__ORIGINS", "http://a https://b")];
    let configuration = configured(&Serve::default(), variables(&pairs)).unwrap();

    assert_eq!(configuration.feeds, ["simulated?seed=3".parse().unwrap()]);
    assert_eq!(configuration.ws.origins, ["http://a", "https://b"]);
}

#[test]
fn a_variable_is_taken_as_it_stands_and_an_empty_one_not_at_all() {
    let pairs = [("ENTASIS_DATA", "007"), ("ENTASIS_LISTEN", ""), ("ENTASIS_FEED", "")];
    let configuration = configured(&Serve::default(), variables(&pairs)).unwrap();

    assert_eq!(configuration.ledger, LogUrl::Embedded("007".into()));
    assert_eq!(configuration.listen, LISTEN_DEFAULT);
    assert_eq!(configuration.feeds, ["simulated".parse().unwrap()]);
}

#[test]
fn a_mistake_names_what_is_wrong() {
    let (_file, serve) = file("lisen = 'x'");
    assert!(mistake(&serve, &[]).contains("lisen"), "{}", mistake(&serve, &[]));

    let plain = Serve::default();
    assert!(mistake(&plain, &[("ENTASIS_LISTN", "x")]).contains("listn"));
    assert!(mistake(&plain, &[("ENTASIS_FEED", "binnce")]).contains("binnce"));
    assert!(mistake(&plain, &[("ENTASIS_LOG", "kafka://host")]).contains("embedded:FOLDER"));
    assert!(mistake(&plain, &[("ENTASIS_FEED", "simulated simulated?seed=9")]).contains("seeds"));
    assert!(mistake(&plain, &[("ENTASIS_LISTEN", "nonsense")]).contains("HOST:PORT"));
    let recording = "recording:missing.rec?venue=binance&symbol=BTC-USDT";
    assert!(mistake(&plain, &[("ENTASIS_FEED", recording)]).contains("missing.rec"));
    let missing = Serve { config: Some("/no/such/file.toml".into()), ..Serve::default() };
    assert!(mistake(&missing, &[]).contains("file.toml"));
}

#[test]
fn variables_of_the_test_run_are_no_keys() {
    assert!(configured(&Serve::default(), variables(&[("ENTASIS_TEST_REQUIRE", "1")])).is_ok());
}

#[test]
fn a_venue_can_be_reached_elsewhere() {
    let (_file, serve) = file("[venues.binance]\nws_url = 'ws://127.0.0.1:9'");
    let pairs = [("ENTASIS_VENUES__BINANCE_USDM__REST_URL", "http://127.0.0.1:8")];
    let configuration = configured(&serve, variables(&pairs)).unwrap();

    let addresses = |venue: &str| configuration.venues.get(&venue.parse().unwrap()).cloned();
    assert_eq!(
        addresses("binance"),
        Some(Addresses { ws_url: Some("ws://127.0.0.1:9".to_owned()), rest_url: None })
    );
    assert_eq!(
        addresses("binance_usdm"),
        Some(Addresses { ws_url: None, rest_url: Some("http://127.0.0.1:8".to_owned()) })
    );
    assert_eq!(configuration.books, BookRecording::All);
}

#[test]
fn an_address_that_cannot_be_one_is_a_mistake() {
    for (text, word) in [
        ("[venues.binance]\nws_url = 'http://a'", "venues.binance.ws_url"),
        ("[venues.binance]\nrest_url = 'ws://a'", "venues.binance.rest_url"),
        ("[venues.binanse]\nrest_url = 'http://a'", "venues.binanse"),
        ("[venues.binance]\nurl = 'http://a'", "url"),
        ("books = 'some'", "books"),
    ] {
        let (_file, serve) = file(text);
        let mistake = mistake(&serve, &[]);
        assert!(mistake.contains(word), "{text}: {mistake}");
    }
}

#[test]
fn a_door_that_others_can_reach_needs_tls_or_a_proxy_that_ends_it() {
    let tls = |text: &str| {
        let (_file, serve) = file(text);
        configured(&serve, variables(&[])).map(|configuration| configuration.door.tls)
    };
    let plain = |behind_proxy| TlsChoice::Plain { behind_proxy };
    let files = TlsChoice::Files { certificate: "c.pem".into(), key: "k.pem".into() };

    assert_eq!(tls("").unwrap(), plain(false));
    for listen in ["127.0.0.1:0", "[::1]:0", "localhost:0", "127.8.9.1:80"] {
        assert_eq!(tls(&format!("listen = '{listen}'")).unwrap(), plain(false), "{listen}");
    }
    for listen in ["0.0.0.0:80", "[::]:80", "192.0.2.1:80", "[::ffff:192.0.2.1]:80"] {
        let said = format!("{:#}", tls(&format!("listen = '{listen}'")).unwrap_err());
        assert!(said.contains("not loopback") && said.contains("tls.mode"), "{listen}: {said}");
        let proxy = format!("listen = '{listen}'\n[tls]\nmode = 'proxy'");
        assert_eq!(tls(&proxy).unwrap(), plain(true), "{listen}");
        let own = format!("listen = '{listen}'\n[tls]\ncertificate = 'c.pem'\nkey = 'k.pem'");
        assert_eq!(tls(&own).unwrap(), files, "{listen}");
    }
    let own = "listen = 'api.example:0'\n[tls]\nself_signed = true";
    assert_eq!(tls(own).unwrap(), TlsChoice::SelfSigned { host: "api.example".to_owned() });
}

#[test]
fn a_certificate_needs_its_key_and_no_proxy() {
    for (text, word) in [
        ("[tls]\ncertificate = 'c'", "go together"),
        ("[tls]\nkey = 'k'", "go together"),
        ("[tls]\nmode = 'proxy'\nself_signed = true", "proxy"),
        ("[tls]\nmode = 'proxy'\ncertificate = 'c'\nkey = 'k'", "proxy"),
        ("[tls]\nmode = 'off'", "mode"),
        ("[auth]\ntoken_keys = 'k'\nsecret = 's'", "one of the two"),
        ("[limits]\nrequests_max = 0", "limits.requests_max"),
        ("[limits]\nconnections_max = 0", "limits.connections_max"),
        ("[limits]\nconnections_max = 9000000000000000000", "limits.connections_max"),
        ("[limits]\nconnections_ip_max = 0", "limits.connections_ip_max"),
        ("[addresses]\nallow = ['10.0.0.0/33']", "addresses.allow"),
        ("[addresses]\ntrusted_proxies = ['proxy.example']", "addresses.trusted_proxies"),
        ("node = 'a.b'", "node"),
    ] {
        let (_file, serve) = file(text);
        let mistake = mistake(&serve, &[]);
        assert!(mistake.contains(word), "{text}: {mistake}");
    }
}

#[test]
fn the_rules_of_the_door_are_as_configured() {
    let (_file, serve) = file(
        "[limits]\nrequests_max = 5000\nfailures_ip_max = 3\n\
         [addresses]\nallow = ['10.0.0.0/8', '::1']\n[ws]\nanonymous_market = false",
    );
    let pairs = [("ENTASIS_ADDRESSES__DENY", "10.1.0.0/16 10.2.3.4")];
    let door = configured(&serve, variables(&pairs)).unwrap().door;

    let texts = |networks: &[domain::network::Network]| {
        networks.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(texts(&door.rules.allow), ["10.0.0.0/8", "::1/128"]);
    assert_eq!(texts(&door.rules.deny), ["10.1.0.0/16", "10.2.3.4/32"]);
    assert_eq!((door.rules.requests_max, door.rules.failures_ip_max), (5_000, 3));
    // Ten accounts of one address are not refused before they are asked who they are.
    assert_eq!(door.rules.requests_ip_max, 50_000);
    assert!(!door.rules.anonymous_market);
    assert_eq!(door.node.as_str(), "node-1");
}

#[test]
fn a_secret_of_the_environment_is_not_told() {
    let pairs = [("ENTASIS_AUTH__SECRET", "a-secret-that-nobody-is-to-read-anywhere")];
    let configuration = configured(&Serve::default(), variables(&pairs)).unwrap();

    assert!(!format!("{configuration:?}").contains("a-secret"));
    assert!(matches!(configuration.door.token_keys, TokenKeysAt::Secret(_)));
}

#[test]
fn a_secret_is_not_told_where_the_configuration_is_wrong() {
    for text in [
        "[auth]\nsecret = 'canary-5e1f9a7c3b2d4806",
        "[auth]\nsecret = canary-5e1f9a7c3b2d4806",
        "[auth]\nsecret = 'canary-5e1f9a7c3b2d4806' 'x'",
        "[auth]\nsecret = ['canary-5e1f9a7c3b2d4806']",
        "[auth]\nsecret = { canary-5e1f9a7c3b2d4806 = 1 }",
    ] {
        let (_file, serve) = file(text);
        let mistake = mistake(&serve, &[]);
        assert!(!mistake.contains("canary"), "{mistake}");
        assert!(mistake.contains("line 2") || mistake.contains("auth.secret"), "{mistake}");
    }
    let bytes = OsString::from_vec(b"canary-\xff".to_vec());
    let said = ours([("ENTASIS_AUTH__SECRET".into(), bytes)].into_iter()).unwrap_err();
    assert_eq!(format!("{said:#}"), "ENTASIS_AUTH__SECRET is no text");
}

#[test]
fn data_is_found_whatever_the_door_of_its_house_is() {
    let (file, _) = file("listen = '0.0.0.0:8080'\ndata = 'elsewhere'");
    let place = Place { data: None, config: Some(file.path().to_owned()) };

    let configuration = configured(&serve_of_place(&place), variables(&[])).unwrap();
    assert_eq!(configuration.ledger, LogUrl::Embedded("elsewhere".into()));
}
