//! `entasis restore`: brings a backup back as a data folder, whole and checked, or not at all.

use std::fs::{self, File};
use std::io;
use std::path::{Component, Path};

use anyhow::{Context, Result, bail, ensure};
use eventlog::embedded::verify::{self, Verified};
use eventlog::files::Disk;
use eventlog::stream::Log;

use crate::command_line::Restore;
use crate::hashed;
use crate::manifest::{Copied, Held, Manifest};
use crate::unfinished::{self, Unfinished};

pub(crate) fn run(restore: &Restore) -> Result<()> {
    let manifest = Manifest::read(&restore.from)?;
    let unfinished = Unfinished::begin(&restore.data)?;
    for file in &manifest.files {
        bring(file, &restore.from, unfinished.folder())
            .with_context(|| restore.from.join(&file.path).display().to_string())?;
    }
    for log in [Log::Ledger, Log::Market] {
        check(log, manifest.held(log), unfinished.folder())
            .with_context(|| format!("the {log} log in {}", restore.from.display()))?;
    }
    unfinished.finish()?;
    manifest.tell("restored", &restore.data, restore.json)
}

/// Copies a file, and holds it against what the manifest says of it.
fn bring(file: &Copied, from: &Path, to: &Path) -> Result<()> {
    let path = Path::new(&file.path);
    let is_inside = path.components().all(|component| matches!(component, Component::Normal(_)));
    ensure!(is_inside, "the path of a file in a backup does not lead out of it");
    let target = to.join(path);
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut from = match File::open(from.join(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => bail!("the file is missing"),
        opened => opened?,
    };
    let mut out = File::create_new(&target)?;
    let (bytes, sha256) = hashed::pour(&mut from, &mut out)?;
    out.sync_all()?;
    let expected = file.bytes;
    ensure!(bytes == expected, "the file has {bytes} bytes, and had {expected}");
    ensure!(sha256 == file.sha256, "the file is damaged: its bytes have another hash");
    Ok(())
}

/// Reads the whole log that was brought, and holds it against what the manifest says of it.
fn check(log: Log, held: &Held, folder: &Path) -> Result<()> {
    let folder = folder.join(log.as_str());
    let files = Disk::existing(&folder)?;
    let Verified { first, head, head_hash, cut, .. } = verify::verify(&files, log)?;
    if let Some(cut) = cut {
        bail!("{}, byte {}: its end is not whole", cut.segment, cut.byte);
    }
    let found = Held { first, head, head_hash };
    ensure!(found == *held, "it is not what the manifest says: {found:?} in place of {held:?}");
    Ok(unfinished::sync(&folder)?)
}
