//! Which read store stands behind a URL.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use projections::store::{Opened, Store};

/// The name of the file in a data folder.
pub(crate) const FILE: &str = "read.db";

/// A place where snapshots and the archive are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReadStoreUrl {
    /// A file of `SQLite`.
    Sqlite(PathBuf),
}

impl ReadStoreUrl {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some(("sqlite", "")) => bail!("sqlite: needs a file, such as sqlite:./data/{FILE}"),
            Some(("sqlite", file)) => Ok(Self::Sqlite(file.into())),
            _ => bail!("expected sqlite:FILE, the one kind of read store that this version has"),
        }
    }

    /// Returns the read store of a data folder.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self::Sqlite(folder.join(FILE))
    }

    pub(crate) fn file(&self) -> &Path {
        let Self::Sqlite(file) = self;
        file
    }

    /// Opens the read store; says in the log lines what it had to set aside.
    pub(crate) async fn open(&self) -> Result<Store> {
        let file = self.file();
        let named = || format!("the read store {}", file.display());
        let (store, opened) = Store::open(file).await.with_context(named)?;
        let file = file.display();
        match opened {
            Opened::Made => tracing::info!(%file, "read store made"),
            Opened::There => tracing::info!(%file, "read store opened"),
            Opened::SetAside { path, reason } => tracing::error!(
                %file,
                reason,
                set_aside = %path.display(),
                "the read store is damaged, and is made anew from the logs"
            ),
        }
        Ok(store)
    }
}
