//! The rules of the house that a compiler does not keep. It counts no lines.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::tools::project;

/// What each crate may import of the others. A new arrow is a decision first: docs/decisions.
const ARROWS: [(&str, &[&str]); 10] = [
    ("domain", &[]),
    ("analysis", &[]),
    ("eventlog", &["domain"]),
    ("feeds", &["domain"]),
    ("commands", &["domain", "eventlog"]),
    ("projections", &["domain", "eventlog", "analysis"]),
    ("api", &["domain", "eventlog", "commands", "projections"]),
    ("jobs", &["domain", "eventlog", "analysis", "commands", "projections"]),
    ("engine", &EVERYTHING),
    ("tests", &EVERYTHING),
];
const EVERYTHING: [&str; 8] =
    ["domain", "eventlog", "analysis", "feeds", "commands", "projections", "api", "jobs"];

/// What must not be found beneath a crate, however deep: no I/O and no chance under the rules, no
/// HTTP under what only records and folds, no second web framework (axum is there, beneath the client of
/// KurrentDB, and deny.toml holds it there), no C library for TLS.
const ABSENT: [(&str, &[&str]); 6] = [
    ("domain", &["tokio", "async-trait", "futures-util", "tracing", "rand", "uuid"]),
    ("analysis", &["tokio", "async-trait", "futures-util", "tracing"]),
    ("eventlog", &["poem", "hyper"]),
    ("commands", &["poem", "hyper"]),
    ("projections", &["poem", "hyper"]),
    ("engine", &["actix-web", "warp", "rocket", "openssl", "native-tls", "rsa"]),
];

/// Names that say nothing of what a file is for; and the one that hides the name of its module.
const NAMES: [&str; 6] = ["utils.rs", "common.rs", "types.rs", "misc.rs", "manager.rs", "mod.rs"];

/// How no line of Rust begins, and why.
const LINES: [(&str, &str); 3] = [
    ("#[ignore", "a test that does not run asserts nothing"),
    ("#[should_panic", "say which error, and compare it"),
    ("pub use ", "import from where a thing is defined"),
];

/// What holds on one machine or in one place only, and so in no file.
const PLACES: [&str; 7] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("py", "pi.org"),
    concat!("np", "mjs.org"),
    concat!("deb.", "debian.org"),
    concat!("index.", "crates.io"),
];

/// Fails with all that is wrong, not only with the first of it.
fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// Runs a program in the project and returns what it prints.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(project()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8(output.stdout).expect("a program that prints text")
}

/// The files of the project, with those that are not committed yet: names from its root on.
fn files() -> Vec<String> {
    let list = output("git", &["ls-files", "--cached", "--others", "--exclude-standard"]);
    let is_there = |name: &&str| project().join(name).is_file();
    list.lines().filter(is_there).map(ToOwned::to_owned).collect()
}

/// Returns a file's text; none where it is no text.
fn text(name: &str) -> Option<String> {
    String::from_utf8(std::fs::read(project().join(name)).expect("a listed file")).ok()
}

/// The Rust files, with their text.
fn sources() -> Vec<(String, String)> {
    let is_rust = |name: &String| has_extension(name, "rs");
    let read = |name: String| text(&name).map(|text| (name, text));
    files().into_iter().filter(is_rust).filter_map(read).collect()
}

fn has_extension(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found == extension)
}

/// The crates of the workspace, as cargo sees them.
fn crates() -> BTreeMap<String, Value> {
    let metadata =
        output(env!("CARGO"), &["metadata", "--no-deps", "--offline", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&metadata).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("a workspace has packages");
    let named = |package: &Value| {
        (package["name"].as_str().expect("a package has a name").to_owned(), package.clone())
    };
    packages.iter().map(named).collect()
}

/// The values of one key in a list of objects: of a crate's dependencies, of its targets.
fn all<'a>(list: &'a Value, key: &str) -> Vec<&'a str> {
    list.as_array().into_iter().flatten().filter_map(|one| one[key].as_str()).collect()
}

#[test]
fn arrows_point_down() {
    let crates = crates();
    let arrows = BTreeMap::from(ARROWS);
    let mut wrong = Vec::new();
    for (name, package) in &crates {
        let Some(allowed) = arrows.get(name.as_str()) else {
            wrong.push(format!("{name} has no place in the house yet: ARROWS"));
            continue;
        };
        for import in all(&package["dependencies"], "name") {
            if crates.contains_key(import) && !allowed.contains(&import) {
                wrong.push(format!("{name} must not import {import}"));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn nothing_stands_on_what_it_must_not() {
    let crates = crates();
    let mut wrong = Vec::new();
    for (name, absent) in ABSENT.into_iter().filter(|(name, _)| crates.contains_key(*name)) {
        let tree = ["tree", "--offline", "--edges", "normal", "--prefix", "none", "-p", name];
        for line in output(env!("CARGO"), &tree).lines() {
            if absent.iter().any(|found| line.split(' ').next() == Some(found)) {
                wrong.push(format!("{name} stands on {line}"));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn every_crate_keeps_the_lints_and_has_no_tests_elsewhere() {
    let mut wrong = Vec::new();
    for (name, package) in crates() {
        let manifest = text(&format!("{name}/Cargo.toml")).expect("folder name = crate name");
        if !manifest.contains("[lints]\nworkspace = true") {
            wrong.push(format!("{name}/Cargo.toml does not inherit the lints"));
        }
        let is_test = |target: &&Value| target["kind"] == serde_json::json!(["test"]);
        let tests = package["targets"].as_array().into_iter().flatten().filter(is_test).count();
        if tests != usize::from(name == "tests") {
            wrong.push(format!("{name} has {tests} test binaries; tests/ has the only one"));
        }
    }
    assert_none(&wrong);
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = |(_, text): &(String, String)| !text.starts_with("//!");
    let wrong: Vec<String> = sources().into_iter().filter(silent).map(|(name, _)| name).collect();
    assert_none(&wrong);
}

#[test]
fn files_are_named_for_their_subject() {
    let nameless = |name: &String| {
        Path::new(name).file_name().is_some_and(|name| NAMES.iter().any(|banned| name == *banned))
    };
    let wrong: Vec<String> = files().into_iter().filter(nameless).collect();
    assert_none(&wrong);
}

#[test]
fn no_line_begins_as_it_must_not() {
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        for (place, line) in text.lines().enumerate() {
            for (start, why) in LINES {
                if line.trim_start().starts_with(start) {
                    wrong.push(format!("{name}:{}: {start}: {why}", place + 1));
                }
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn nothing_names_one_machine_or_one_mirror() {
    let mut wrong = Vec::new();
    for name in files() {
        let Some(text) = text(&name) else { continue };
        for (place, line) in text.lines().enumerate() {
            for found in PLACES.into_iter().filter(|one| line.contains(one)) {
                wrong.push(format!("{name}:{}: {found}", place + 1));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn the_paths_in_the_map_exist() {
    let map = text("ARCHITECTURE.md").expect("ARCHITECTURE.md is text");
    let is_path = |words: &&str| {
        let ends = [".rs", ".md", ".toml", "/"].iter().any(|end| words.ends_with(end));
        // Not addresses, not patterns, not sentences.
        ends && !words.starts_with('/') && !words.contains(['*', '{', '<', '…', ' ', ':'])
    };
    // Between the first pair of backticks, the second, and so on.
    let quoted = map.split('`').skip(1).step_by(2);
    let files = files();
    // A file is often called by its last names alone.
    let is_missing = |path: &&str| {
        let is_file = |file: &String| file == path || file.ends_with(&format!("/{path}"));
        !project().join(path).is_dir() && !files.iter().any(is_file)
    };
    let wrong: Vec<String> =
        quoted.filter(is_path).filter(is_missing).map(ToOwned::to_owned).collect();
    assert_none(&wrong);
}
