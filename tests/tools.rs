//! What `tests/run` has installed, and what a test does where it has not.

use std::io::Write;
use std::path::{Path, PathBuf};

/// Returns the folder of the whole project.
pub(crate) fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate stands in the project")
}

/// Returns where a tool is. `tests/run` puts each of them, in the version that it pins, into
/// `.tools/bin`; no other place is looked at. Where it is missing the test does not run, and says
/// so; under `ENTASIS_TEST_REQUIRE=1` that is a failure.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    let path = project().join(".tools/bin").join(name);
    if path.exists() {
        return Some(path);
    }
    not_possible(&format!("{name} is missing; tests/run installs it"));
    None
}

/// Says that what a test needs is not to be had here; under `ENTASIS_TEST_REQUIRE=1` that is a
/// failure.
pub(crate) fn not_possible(why: &str) {
    let required = std::env::var_os("ENTASIS_TEST_REQUIRE").is_some_and(|value| value == "1");
    assert!(!required, "{why}");
    not_run(why);
}

/// Says that a test did not run, and why. The harness hides what a test that passes prints, but not
/// what goes to stderr by this way.
pub(crate) fn not_run(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    writeln!(std::io::stderr(), "not run: {test}: {why}").expect("stderr is open");
}

/// How many times more the long run does.
const LONG: usize = 50;

/// Whether this is the long run (`tests/long`).
pub(crate) fn is_long() -> bool {
    std::env::var_os("ENTASIS_TEST_LONG").is_some_and(|value| value == "1")
}

/// Returns how often something is tried: as often as is said, and more in the long run.
pub(crate) fn times(ordinary: usize) -> usize {
    if is_long() { ordinary * LONG } else { ordinary }
}
