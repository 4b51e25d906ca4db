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
fn each_log_has_a_place_of_its_own_where_that_is_said() {
    for (ledger, market) in [
        ("kurrentdb://a:2113", "nats://b:4222"),
        ("kurrentdb://a:2113/p", "embedded:m"),
        ("embedded:l", "kurrentdb://a:2113,b:2113"),
        ("nats://b:4222", "kurrentdb+discover://a:2113"),
        ("kurrentdb://a:2113", "kurrentdb://b:2113"),
    ] {
        let configuration = of(&format!("log = '{ledger}'\nmarket_log = '{market}'"), &[]);
        let configuration = configuration.unwrap();
        let told = [&configuration.ledger, &configuration.market].map(ToString::to_string);
        assert_eq!(told, [ledger, market]);
    }
    let configuration = of("log = 'esdb://a'\ndata = 'd'", &[]).unwrap();
    assert_eq!(configuration.market, configuration.ledger);
    assert_eq!(configuration.read_store.to_string(), "sqlite:d/read.db");
}

#[test]
fn a_database_of_events_is_spoken_to_as_configured() {
    let plain = of("", &[]).unwrap().kurrent;
    assert!(plain.login.is_none() && plain.tls && plain.tls_ca.is_none());
    assert_eq!((plain.prefix.as_str(), plain.nodes), ("", None));

    let text = "[kurrent]\nuser = 'engine'\ntls_ca = 'ca.pem'\nprefix = 'e2_'";
    let pairs = [("ENTASIS_KURRENT__PASSWORD", "canary"), ("ENTASIS_KURRENT__NODES", "3")];
    let configuration = of(text, &pairs).unwrap();
    let kurrent = &configuration.kurrent;
    assert_eq!(kurrent.login.as_ref().map(|login| login.user.as_str()), Some("engine"));
    assert_eq!((kurrent.prefix.as_str(), kurrent.nodes.map(usize::from)), ("e2_", Some(3)));
    assert!(!format!("{configuration:?}").contains("canary"));
    assert!(!of("[kurrent]\ntls = false", &[]).unwrap().kurrent.tls);
}

#[test]
fn a_limit_of_bytes_is_refused_where_nobody_would_keep_it() {
    let limited = |place: &str| of(&format!("{place}\n[retention]\nmarket_bytes = 5"), &[]);

    let said = format!("{:#}", limited("log = 'kurrentdb://a'").unwrap_err());
    assert!(said.contains("market_bytes = 5") && said.contains("retention.market_days"), "{said}");
    for place in ["log = 'kurrentdb://a'\nmarket_log = 'embedded:m'", "log = 'nats://a'"] {
        assert_eq!(limited(place).unwrap().retention.market_bytes.get(), 5);
    }
    // What counts where nobody says anything is no wish of anybody.
    assert!(of("log = 'kurrentdb://a'\n[retention]\nmarket_days = 3", &[]).is_ok());
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
        ("market_log = 'kafka://a'", "market_log = \"kafka://a\" is no log"),
        ("log = 'esdb://a,'", "log = \"esdb://a,\" is no log: expected HOST"),
        ("[kurrent]\nuser = 'u'", "go together"),
        ("[kurrent]\npassword = 'p'", "go together"),
        ("[kurrent]\ntls = false\ntls_ca = 'c'", "kurrent.tls_ca"),
        ("[kurrent]\nprefix = 'a-b'", "kurrent.prefix"),
        ("[kurrent]\nnodes = 0", "nodes"),
        ("[kurrent]\nurl = 'a'", "url"),
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
        "log = 'kurrentdb://user:canary@a,,b'",
        "log = 'kurrent://user:canary@a'",
        "market_log = 'esdb://user:can/canary@a/b-c'",
        "log = 'esdb://user:pass@a?canary=1'",
        "log = 'esdb://canary@a'",
        "[kurrent]\npassword = ['canary']",
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
