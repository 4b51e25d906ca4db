//! What a node among several is told: its broker, its database, what it does.

use eventlog::log::Durability;

use super::*;
use crate::configuration::nats::Identity;
use crate::roles::Role;

fn of(text: &str, pairs: &[(&str, &str)]) -> Result<Configuration> {
    let (_file, serve) = file(text);
    configured(&serve, variables(pairs))
}

#[test]
fn a_node_finds_its_logs_at_a_broker_and_the_rest_at_home() {
    let text = "log = 'nats://a:1,b:2'\ndata = 'd'";
    let configuration = of(text, &[]).unwrap();

    assert_eq!(configuration.ledger, LogUrl::parse("nats://a:1,b:2").unwrap());
    assert_eq!(configuration.market, configuration.ledger);
    assert_eq!(configuration.read_store.to_string(), "sqlite:d/read.db");
    assert_eq!(configuration.door.private.data(), std::path::Path::new("d"));

    let apart = of("log = 'nats://a/p'\nmarket_log = 'embedded:m'", &[]).unwrap();
    assert_eq!(apart.ledger.to_string(), "nats://a:4222/p");
    assert_eq!(apart.market, LogUrl::Embedded("m".into()));
    assert_eq!(apart.read_store.to_string(), "sqlite:data/read.db");
}

#[test]
fn a_broker_is_spoken_to_as_configured() {
    let plain = of("", &[]).unwrap().nats;
    assert!(matches!(plain.identity, Identity::Nobody));
    assert_eq!((plain.prefix.as_str(), plain.replicas, plain.create), ("entasis", 1, true));
    assert!(!plain.tls && !plain.sync_always, "nothing is taken for granted");

    let text =
        "[nats]\nuser = 'engine'\ntls_ca = 'ca.pem'\nprefix = 'e2'\nreplicas = 3\ncreate = false";
    let pairs = [
        ("ENTASIS_NATS__PASSWORD", "canary"),
        ("ENTASIS_NATS__SYNC_ALWAYS", "true"),
        ("ENTASIS_NATS__MONITORS", "http://a:8222 http://b:8222"),
    ];
    let configuration = of(text, &pairs).unwrap();
    let nats = &configuration.nats;
    assert!(matches!(&nats.identity, Identity::User { user, .. } if user == "engine"));
    assert_eq!((nats.prefix.as_str(), nats.replicas, nats.create), ("e2", 3, false));
    assert!(nats.tls && nats.sync_always);
    assert_eq!(nats.monitors, ["http://a:8222", "http://b:8222"]);
    assert!(!format!("{configuration:?}").contains("canary"));
}

#[test]
fn a_mistake_about_a_broker_names_what_is_wrong() {
    for (text, word) in [
        ("[nats]\nuser = 'u'", "go together"),
        ("[nats]\npassword = 'p'", "go together"),
        ("[nats]\ncredentials = 'c'\nnkey = 'n'", "one of the three"),
        ("[nats]\nprefix = 'a.b'", "nats.prefix"),
        ("[nats]\nreplicas = 0", "nats.replicas"),
        ("[nats]\nreplicas = 6", "nats.replicas"),
        ("[nats]\nmonitors = ['n1:8222']", "nats.monitors"),
        ("[nats]\nurl = 'a'", "url"),
        ("log = 'nats://'", "log = \"nats://\" is no log: expected nats://HOST"),
        ("market_log = 'kurrentdb://a'", "market_log = \"kurrentdb://a\" is no log"),
        ("durability_min = 'always'", "durability_min = \"always\""),
        ("roles = ['door', 'dor']", "dor"),
        ("[metrics]\nlisten = '9464'", "metrics.listen"),
        ("[postgres]\nuser = 'u'", "user"),
    ] {
        let mistake = format!("{:#}", of(text, &[]).unwrap_err());
        assert!(mistake.contains(word), "{text}: {mistake}");
    }
}

#[test]
fn a_secret_in_a_url_is_not_told_where_the_url_is_wrong() {
    for text in [
        "log = 'nats://user:canary@a,,b'",
        "log = 'tls://user:canary@a'",
        "market_log = 'nats://canary@a'",
        "read_store = 'postgres://user:canary@host'",
        "read_store = 'mysql://user:canary@host/d'",
        "read_store = 'postgres://user@host/d?password=canary'",
        "read_store = 'postgres://user@host/d?password=c@canary'",
        "[nats]\npassword = ['canary']",
        "[postgres]\npassword = ['canary']",
    ] {
        let mistake = format!("{:#}", of(text, &[]).unwrap_err());
        assert!(!mistake.contains("canary"), "{mistake}");
    }
    let text = "log = 'nats://user:canary@a'\nread_store = 'postgres://user:canary@host/d'";
    let configuration = of(text, &[]).unwrap();
    let told = format!("{configuration:?} {} {}", configuration.ledger, configuration.read_store);
    assert!(!told.contains("canary"), "{told}");
}

#[test]
fn a_database_and_its_password_can_be_told_apart() {
    let pairs = [
        ("ENTASIS_READ_STORE", "postgres://entasis@db:5432/entasis"),
        ("ENTASIS_POSTGRES__PASSWORD", "canary"),
    ];
    let configuration = of("", &pairs).unwrap();

    assert_eq!(configuration.read_store.to_string(), "postgres://entasis@db:5432/entasis");
    assert_eq!(configuration.read_store.file(), None);
    assert!(!format!("{configuration:?}").contains("canary"));
}

#[test]
fn a_node_does_everything_unless_it_is_told_what() {
    let roles = |text: &str, pairs: &[(&str, &str)]| of(text, pairs).unwrap().roles.to_string();

    assert_eq!(roles("", &[]), "door, feeds, guardian, jobs");
    assert_eq!(roles("roles = ['jobs', 'door']", &[]), "door, jobs");
    for words in ["guardian jobs", "guardian,jobs", "guardian, jobs"] {
        assert_eq!(roles("roles = ['door']", &[("ENTASIS_ROLES", words)]), "guardian, jobs");
    }
    let serve = Serve { roles: vec!["feeds".to_owned()], ..Serve::default() };
    let configuration = configured(&serve, variables(&[("ENTASIS_ROLES", "door")])).unwrap();
    assert!(configuration.roles.have(Role::Feeds) && !configuration.roles.have(Role::Door));
}

#[test]
fn what_an_acknowledged_entry_must_survive_can_be_demanded() {
    let least = |text: &str| of(text, &[]).unwrap().durability_min;

    assert_eq!(least(""), None);
    assert_eq!(least("durability_min = 'quorum'"), Some(Durability::Quorum));
    assert_eq!(least("durability_min = 'fsync'"), Some(Durability::Fsync));
}
