//! Where the recordings and reference answers are, and how their files read.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

/// Returns the folder of the recordings: `ENTASIS_DATA`, else `shared/data` beside the checkout.
/// Where there is none it says so, and the caller has nothing to test.
pub(crate) fn recordings() -> Option<PathBuf> {
    let folder = std::env::var_os("ENTASIS_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        PathBuf::from,
    );
    if folder.join("recordings").is_dir() {
        return Some(folder.canonicalize().expect("a folder that is there has a path"));
    }
    // Not `println!`: what a test that passes prints by that way is hidden.
    writeln!(std::io::stderr(), "skipped: no recordings").expect("stderr is open");
    None
}

/// Returns the small recording of the simulated venue that the project carries.
pub(crate) fn small_recording() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../feeds/samples/simulated_btcusdt.rec")
        .canonicalize()
        .expect("the project carries its sample recording")
}

/// Reads a text file, unpacked when its name ends in `.gz`.
pub(crate) fn text(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut text = String::new();
        GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).expect("a whole gzip file");
        return text;
    }
    String::from_utf8(bytes).expect("utf-8 text")
}

/// Reads a CSV file without quotes: its rows under its header.
pub(crate) fn rows(path: &Path) -> Vec<Vec<String>> {
    text(path)
        .lines()
        .skip(1)
        .map(|line| line.split(',').map(ToOwned::to_owned).collect())
        .collect()
}
