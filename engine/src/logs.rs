//! Which log stands behind a URL.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use eventlog::embedded::{Embedded, Options};
use eventlog::files::{Disk, Files};
use eventlog::log::{EventLog, ReadLog, Trim};
use eventlog::stream::Log;

/// A place where logs are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LogUrl {
    /// A folder, with one folder for each log in it.
    Embedded(PathBuf),
}

/// An open log, by what is asked of it.
pub(crate) struct OpenLog {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) trim: Arc<dyn Trim>,
}

impl OpenLog {
    pub(crate) fn reader(&self) -> Arc<dyn ReadLog> {
        Arc::clone(&self.log) as Arc<dyn ReadLog>
    }
}

impl LogUrl {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some(("embedded", "")) => bail!("embedded: needs a folder, such as embedded:./data"),
            Some(("embedded", folder)) => Ok(Self::Embedded(folder.into())),
            _ => bail!("expected embedded:FOLDER, the one kind of log that this version has"),
        }
    }

    /// Returns the files of one of the logs, to read them, also beside a running house.
    pub(crate) fn files(&self, log: Log) -> Result<Disk> {
        let Self::Embedded(folder) = self;
        let folder = folder.join(log.as_str());
        let none = || format!("there is no {log} log in {}", folder.display());
        let files = Disk::existing(&folder).with_context(none)?;
        ensure!(!files.list().with_context(none)?.is_empty(), none());
        Ok(files)
    }

    /// Opens one of the logs; says in the log lines what a crash had left behind.
    pub(crate) fn open(&self, log: Log) -> Result<OpenLog> {
        let Self::Embedded(folder) = self;
        let folder = folder.join(log.as_str());
        let named = || format!("the {log} log in {}", folder.display());
        let files = Disk::open(&folder).with_context(named)?;
        let (opened, report) =
            Embedded::open(Arc::new(files), log, Options::default()).with_context(named)?;
        match report.cut {
            None => tracing::info!(%log, entries = report.entries, "log opened"),
            Some(cut) => tracing::warn!(
                %log,
                entries = report.entries,
                segment = cut.segment,
                byte = cut.byte,
                bytes = cut.bytes,
                offset = cut.offset.0,
                "log opened; its end was not whole and has been cut"
            ),
        }
        let opened = Arc::new(opened);
        Ok(OpenLog { log: opened.clone(), trim: opened })
    }
}
