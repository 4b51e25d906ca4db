//! Layers, defaults and mistakes.

use super::*;

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
    assert_eq!(configuration.read_store.file(), std::path::Path::new("data/read.db"));
    let Retention { market_days, market_bytes } = configuration.retention;
    assert_eq!((market_days.get(), market_bytes.get()), (7, 20_000_000_000));
}

#[test]
fn the_read_store_stands_in_the_data_folder_or_beside_the_ledger() {
    let store = |text: &str| {
        let (_file, serve) = file(text);
        let configuration = configured(&serve, variables(&[])).unwrap();
        configuration.read_store.file().display().to_string()
    };

    assert_eq!(store("data = 'd'"), "d/read.db");
    assert_eq!(store("log = 'embedded:l'"), "l/read.db");
    assert_eq!(store("data = 'd'\nlog = 'embedded:l'"), "d/read.db");
    assert_eq!(store("data = 'd'\nread_store = 'sqlite:r.db'"), "r.db");

    let mut serve = Serve { read_store: Some("postgres://a".to_owned()), ..Serve::default() };
    let said = mistake(&serve, &[]);
    assert!(said.starts_with("read_store = \"postgres://a\" is no read store: expected"), "{said}");
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
    let text =
        "listen = 'file:1'\ndata = 'file'\nlog = 'embedded:file'\n[ws]\norigins = ['http://a']";
    let (_file, mut serve) = file(text);
    let pairs = [("ENTASIS_LISTEN", "variable:1"), ("ENTASIS_LOG", "embedded:variable")];
    let listen = |serve: &Serve, pairs| configured(serve, variables(pairs)).unwrap().listen;

    assert_eq!(listen(&serve, &[]), "file:1");
    assert_eq!(listen(&serve, &pairs), "variable:1");
    serve.listen = Some("flag:1".to_owned());
    assert_eq!(listen(&serve, &pairs), "flag:1");

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
    assert!(mistake(&plain, &[("ENTASIS_LOG", "nats://host")]).contains("embedded:FOLDER"));
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
