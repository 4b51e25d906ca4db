//! What the files of the deployment say, read as the programs do that they are for.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::tools::{project, tool};

/// The engines' configurations, in deploy/.
const ENGINES: [&str; 2] = ["engine.toml", "engine.kurrent.toml"];

/// A value for whatever `.env.example` leaves empty. As long as the longest must be.
pub(crate) fn secret(name: &str) -> String {
    format!("{}0123456789abcdefghij", name.to_lowercase().replace('_', ""))
}

/// Returns the lines of `.env.example`, with a secret wherever there is to be one.
pub(crate) fn filled() -> String {
    let fill = |line: &str| match line.strip_suffix('=') {
        Some(name) if !line.starts_with('#') => format!("{name}={}\n", secret(name)),
        _ => format!("{line}\n"),
    };
    text(".env.example").lines().map(fill).collect()
}

/// Returns the text of a file of the project.
pub(crate) fn text(name: &str) -> String {
    let path = project().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Reads the files with the variables of these lines; `None` where there is no Python.
///
/// `compose` is docker-compose.yml with the variables put in, `engines` the engines' configurations by
/// the names of their files, `wrong` what breaks the schema or has no value, `asked` and `known` the
/// names of variables.
pub(crate) fn told(variables: &str) -> Option<Value> {
    told_of(&text("docker-compose.yml"), variables)
}

/// The same of another compose file.
pub(crate) fn told_of(compose: &str, variables: &str) -> Option<Value> {
    let python = tool("python")?;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [compose, env] = [("compose", compose), ("env", variables)].map(|(name, text)| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a temporary folder that takes a file");
        path
    });
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("deployment");
    let output = Command::new(python)
        .arg(here.join("compose.py"))
        .arg(compose)
        .arg(here.join("compose-spec.json"))
        .arg(env)
        .args(ENGINES.map(|name| project().join("deploy").join(name)))
        .output()
        .expect("a Python that starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    Some(serde_json::from_slice(&output.stdout).expect("the script prints JSON"))
}

/// Returns the words of a list of text.
pub(crate) fn words(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|word| word.as_str().expect("a word")).collect()
}

/// Returns the parts of a service's mounts: what is mounted, where to, and whether it may be written.
pub(crate) fn mounts(service: &Value) -> Vec<(&str, &str, bool)> {
    words(&service["volumes"])
        .into_iter()
        .map(|mount| match mount.split(':').collect::<Vec<_>>()[..] {
            [from, to] => (from, to, true),
            [from, to, "ro"] => (from, to, false),
            _ => panic!("{mount} is no mount"),
        })
        .collect()
}

/// Returns the configuration of an engine, which is mounted into its service.
pub(crate) fn engine_of<'a>(told: &'a Value, service: &str) -> &'a Value {
    let mounts = mounts(&told["compose"]["services"][service]);
    let file = mounts.iter().find(|(_, to, _)| *to == "/etc/entasis/engine.toml");
    let (file, _, _) = file.unwrap_or_else(|| panic!("{service} has no configuration"));
    &told["engines"][file.strip_prefix("./deploy/").expect("it stands in deploy/")]
}
