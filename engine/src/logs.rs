//! Which log stands behind a URL.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use eventlog::embedded::{Embedded, Options};
use eventlog::files::Disk;
use eventlog::log::EventLog;
use eventlog::stream::Log;

/// A place where logs are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LogUrl {
    /// A folder, with one folder for each log in it.
    Embedded(PathBuf),
}

impl LogUrl {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some(("embedded", "")) => bail!("embedded: needs a folder, such as embedded:./data"),
            Some(("embedded", folder)) => Ok(Self::Embedded(folder.into())),
            _ => bail!("expected embedded:FOLDER, the one kind of log that this version has"),
        }
    }

    /// Opens one of the logs; says in the log lines what a crash had left behind.
    pub(crate) fn open(&self, log: Log) -> Result<Arc<dyn EventLog>> {
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
        Ok(Arc::new(opened))
    }
}
