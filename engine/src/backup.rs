//! `entasis backup`: copies all that a house knows, also while it runs.
//!
//! What is copied first is never ahead of what is copied after: the read store, whose snapshots
//! name entries of both logs, then the ledger, which names entries of the market log, then that.

use std::fs::File;
use std::io;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use commands::clock::Clock;
use eventlog::embedded::copy;
use eventlog::files::Disk;
use eventlog::stream::Log;

use crate::command_line::Backup;
use crate::configuration::Configuration;
use crate::manifest::{Copied, Held, Manifest};
use crate::read_store;
use crate::unfinished::{self, Unfinished};
use crate::{hashed, logs};

/// How often a backup begins anew because retention went past its snapshots meanwhile. Retention
/// runs far less often than a backup takes.
const TRIES_MAX: usize = 5;

pub(crate) async fn run(
    backup: &Backup,
    configuration: &Configuration,
    clock: &dyn Clock,
) -> Result<()> {
    let ledger = files(configuration, Log::Ledger)?;
    let market = files(configuration, Log::Market)?;
    let store = configuration.read_store.file();
    let store = store.filter(|store| !backup.without_read_store && store.exists());

    let unfinished = Unfinished::begin(&backup.target)?;
    let made_at = clock.now();
    let mut tries = 1..=TRIES_MAX;
    let manifest = loop {
        ensure!(tries.next().is_some(), "the market log was trimmed each time it was copied");
        let first = copy::first(&market, Log::Market)?;
        let mut files = Vec::new();
        if let Some(store) = store {
            files.push(copy_store(store, unfinished.folder()).await?);
        }
        let held_ledger = copy_log(&ledger, Log::Ledger, unfinished.folder(), &mut files)?;
        let held_market = copy_log(&market, Log::Market, unfinished.folder(), &mut files)?;
        // A snapshot that was copied before a trim may need what was dropped.
        if store.is_none() || held_market.first == first {
            break Manifest::new(made_at, held_ledger, held_market, files);
        }
        unfinished.begin_anew()?;
    };
    manifest.write(unfinished.folder())?;
    unfinished.finish()?;
    manifest.tell("backup", &backup.target, backup.json)
}

/// Returns the files of a log. What stands behind a broker has none; what stands in a database is a
/// cache, and left out.
fn files(configuration: &Configuration, log: Log) -> Result<Disk> {
    let url = configuration.log(log);
    let folder = url.folder(log).with_context(|| {
        format!(
            "the {log} log in {url} is copied by other means: entasis log copy --from {url} --to \
             embedded:DIR"
        )
    })?;
    logs::files(&folder, log)
}

async fn copy_store(from: &Path, folder: &Path) -> Result<Copied> {
    let to = folder.join(read_store::FILE);
    let named =
        || format!("the read store {} (--without-read-store leaves it out)", from.display());
    projections::store::copy(from, &to).await.with_context(named)?;
    let hash = || -> io::Result<_> { hashed::pour(&mut File::open(&to)?, &mut io::sink()) };
    let (bytes, sha256) = hash().with_context(named)?;
    Ok(Copied { path: read_store::FILE.to_owned(), bytes, sha256 })
}

fn copy_log(from: &Disk, log: Log, folder: &Path, files: &mut Vec<Copied>) -> Result<Held> {
    let folder = folder.join(log.as_str());
    let named = || format!("the {log} log");
    let to = Disk::open(&folder).with_context(named)?;
    let copied = copy::copy(from, &to, log).with_context(named)?;
    unfinished::sync(&folder).with_context(named)?;
    if let Some(cut) = copied.cut {
        tracing::warn!(
            %log,
            segment = cut.segment,
            byte = cut.byte,
            bytes = cut.bytes,
            "the end of the log is not whole and was left out"
        );
    }
    files.extend(copied.files.into_iter().map(|file| Copied {
        path: format!("{log}/{}", file.name),
        bytes: file.bytes,
        sha256: file.sha256,
    }));
    Ok(Held { first: copied.first, head: copied.head, head_hash: copied.head_hash })
}
