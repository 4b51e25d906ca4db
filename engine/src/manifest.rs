//! What a backup says of itself: the file that is written last, and read first.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use domain::time::Timestamp;
use eventlog::entry::{Hash, Offset};
use eventlog::stream::Log;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

const FORMAT: u32 = 1;

const FILE: &str = "manifest.json";

/// Everything in a backup, and what its logs hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    format: u32,
    /// The version of the program that wrote it.
    program: String,
    made_at: Timestamp,
    ledger: Held,
    market: Held,
    pub(crate) files: Vec<Copied>,
}

/// What a log in a backup holds; no hash when it holds no entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Held {
    pub(crate) first: Offset,
    pub(crate) head: Offset,
    pub(crate) head_hash: Option<Hash>,
}

/// A file of a backup. Its path is relative, with a slash between folder and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Copied {
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: Hash,
}

/// What is told to a program.
#[derive(Serialize)]
struct Summary<'a> {
    folder: &'a Path,
    made_at: Timestamp,
    ledger: &'a Held,
    market: &'a Held,
    files: usize,
    bytes: u64,
}

/// The file: the manifest as it is written, and the hash of just those bytes, so that no digit in
/// it changes unseen.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed<'a> {
    #[serde(borrow)]
    manifest: &'a RawValue,
    sha256: Hash,
}

impl Manifest {
    pub(crate) fn new(made_at: Timestamp, ledger: Held, market: Held, files: Vec<Copied>) -> Self {
        let program = env!("CARGO_PKG_VERSION").to_owned();
        Self { format: FORMAT, program, made_at, ledger, market, files }
    }

    pub(crate) fn held(&self, log: Log) -> &Held {
        match log {
            Log::Ledger => &self.ledger,
            Log::Market => &self.market,
        }
    }

    fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Says on standard output what there is now, and where.
    pub(crate) fn tell(&self, what: &str, place: &Path, as_json: bool) -> Result<()> {
        let mut out = std::io::stdout().lock();
        if as_json {
            let summary = Summary {
                folder: place,
                made_at: self.made_at,
                ledger: &self.ledger,
                market: &self.market,
                files: self.files.len(),
                bytes: self.bytes(),
            };
            writeln!(out, "{}", serde_json::to_string(&summary)?)?;
        } else {
            writeln!(out, "{what}: {}, as of {}", place.display(), self.made_at)?;
            for log in [Log::Ledger, Log::Market] {
                match self.held(log) {
                    Held { head_hash: None, .. } => writeln!(out, "the {log} log: no entries")?,
                    Held { first, head, .. } => {
                        writeln!(out, "the {log} log: entries {first} to {head}")?;
                    }
                }
            }
            writeln!(out, "{} files, {} bytes", self.files.len(), self.bytes())?;
        }
        Ok(out.flush()?)
    }

    /// Writes it into a folder, and makes it durable.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let manifest = serde_json::to_string_pretty(self)?;
        let sha256 = Hash::of(manifest.as_bytes());
        let write = || -> std::io::Result<()> {
            let mut file = File::create_new(folder.join(FILE))?;
            write!(file, "{{\"manifest\": {manifest},\n\"sha256\": \"{sha256}\"}}\n")?;
            file.sync_all()
        };
        write().with_context(|| format!("{FILE} cannot be written"))
    }

    /// Reads the manifest of a backup.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let file = folder.join(FILE);
        let named = || format!("{}", file.display());
        let text = fs::read_to_string(&file).with_context(|| {
            format!("{} is no backup: its {FILE} cannot be read", folder.display())
        })?;
        Self::parse(&text).with_context(named)
    }

    fn parse(text: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Sealed { manifest, sha256 } =
            serde_json::from_str(text).context("the manifest is damaged")?;
        let manifest = manifest.get();
        ensure!(Hash::of(manifest.as_bytes()) == sha256, "the manifest is damaged");
        let Format { format } = serde_json::from_str(manifest)?;
        if format != FORMAT {
            bail!("it has format {format}, and this version reads format {FORMAT}");
        }
        Ok(serde_json::from_str(manifest)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        let held = |head, head_hash| Held { first: Offset(1), head: Offset(head), head_hash };
        let file = |path: &str| Copied { path: path.to_owned(), bytes: 7, sha256: Hash::of(b"a") };
        Manifest::new(
            "2026-01-02T03:04:05.000006Z".parse().unwrap(),
            held(3, Some(Hash::of(b"b"))),
            held(0, None),
            vec![file("ledger/00000000000000000001.log"), file("read.db")],
        )
    }

    #[test]
    fn a_manifest_reads_as_it_was_written_and_no_byte_changes_unseen() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        assert!(format!("{:#}", Manifest::read(folder.path()).unwrap_err()).contains("no backup"));
        sample().write(folder.path()).unwrap();
        assert_eq!(Manifest::read(folder.path()).unwrap(), sample());

        let bytes = fs::read(&file).unwrap();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            fs::write(&file, &changed).unwrap();
            assert!(Manifest::read(folder.path()).is_err(), "byte {place}");
            // A last line without its end says the same.
            fs::write(&file, &bytes[..place]).unwrap();
            assert_eq!(Manifest::read(folder.path()).is_ok(), place + 1 == bytes.len());
        }
    }

    #[test]
    fn a_manifest_of_another_format_is_named() {
        let manifest = r#"{"format": 2, "new": true}"#;
        let sha256 = Hash::of(manifest.as_bytes());
        let text = format!(r#"{{"manifest": {manifest}, "sha256": "{sha256}"}}"#);

        let said = Manifest::parse(&text).unwrap_err().to_string();

        assert_eq!(said, "it has format 2, and this version reads format 1");
    }
}
