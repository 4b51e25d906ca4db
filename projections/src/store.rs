//! The read store: a file in which views, kept states and the archive outlive the process. All of it
//! is a cache: whatever is lost or damaged is folded from the logs again.
//!
//! Read in this order: what a row holds (`rows`), snapshots of the views (`snapshots`), which of them
//! stay (`thinning`) and whether they belong to the logs (`belonging`), states of other parts of the
//! house (`kept`), what is told of old hours and of accounts (`archive`), who files it (`archivist`,
//! with `accounts` for theirs), who may write (`lease`), how it fares (`health`), and all SQL (`sqlite`).

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::time::Timestamp;
use eventlog::entry::Offset;
use eventlog::log::{LogError, ReadLog};
use tokio::sync::{Mutex, Notify, watch};

use self::archive::{Archive, Progress, Section, Sections};
use self::archivist::ArchivistError;
use self::belonging::Foreign;
use self::health::{Health, StoreHealth};
use self::lease::Lease;
use self::rows::KeptCut;
use self::snapshots::{LoadedView, Logs, Snapshot, Written};
use self::sqlite::{Found, Outlives, Sqlite};
use crate::views::{Cut, Views};

pub mod rows;

pub mod snapshots;

mod thinning;

pub mod belonging;

mod kept;

pub mod archive;

pub mod archivist;

mod accounts;

mod lease;

pub mod health;

mod sqlite;

/// Time from one snapshot to the next.
const REST: Duration = Duration::from_secs(10);

/// Time after which what failed is tried again; it doubles up to the second one.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_mins(1);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// For now: asking again may help.
    #[error("the read store cannot be used: {0}")]
    Unreachable(String),
    #[error("the read store is damaged: {0}")]
    Damaged(String),
    /// It is sound, and was made from other logs. Whoever starts must stop here.
    #[error("{0}")]
    Foreign(Foreign),
}

/// What was found when a store was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// There was none; it is empty.
    Made,
    There,
    /// What was there is damaged. It stands under another name now, and the store is empty.
    SetAside {
        path: PathBuf,
        reason: String,
    },
}

/// What the views were restored from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    pub views: BTreeMap<&'static str, LoadedView>,
    /// The store was found damaged, was set aside under this name and begun anew.
    pub set_aside: Option<PathBuf>,
}

/// The read store of a node. Clones are the same store.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    path: PathBuf,
    /// The open file; `None` when it was set aside and none could be made since. The lock orders
    /// those who open it, and is held while they do.
    sqlite: Mutex<Option<Arc<Sqlite>>>,
    /// What is in the store. The lock orders snapshots, and is held while one is written.
    written: Mutex<Written>,
    lease: Lease,
    health: Health,
    sections: Sections,
    /// Woken when the archive must be held against its checksums again.
    suspected: Notify,
    /// It was set aside once already. A second time within a run the fault is not the file's.
    began_anew: AtomicBool,
}

impl Store {
    /// Opens the store at `path`, or makes it. What is damaged is set aside.
    pub async fn open(path: &Path) -> Result<(Self, Opened), StoreError> {
        let lease = Lease::new(path);
        let (sqlite, opened) = match Sqlite::open(path).await {
            Ok((sqlite, Found::Made)) => (sqlite, Opened::Made),
            Ok((sqlite, Found::There)) => (sqlite, Opened::There),
            Err(StoreError::Damaged(reason)) if lease.lock() => {
                let aside = set_aside(path)?;
                (Sqlite::open(path).await?.0, Opened::SetAside { path: aside, reason })
            }
            Err(error) => return Err(error),
        };
        let store = Self(Arc::new(Inner {
            path: path.to_owned(),
            sqlite: Mutex::new(Some(Arc::new(sqlite))),
            written: Mutex::default(),
            lease,
            health: Health::default(),
            sections: Sections::default(),
            suspected: Notify::new(),
            began_anew: AtomicBool::default(),
        }));
        Ok((store, opened))
    }

    /// Restores each view from its newest sound cut that belongs to these logs. What finds none is
    /// left empty.
    pub async fn load(
        &self,
        views: &Views,
        ledger: &dyn ReadLog,
        market: &dyn ReadLog,
    ) -> Result<Loaded, StoreError> {
        let mut written = self.0.written.lock().await;
        let sqlite = self.sqlite().await?;
        let mut loaded = Loaded::default();
        let mut damage = None;
        for view in Views::revisions() {
            let restored = written.load(view, &sqlite, views, Logs { ledger, market }).await;
            let restored = match restored {
                Err(StoreError::Damaged(reason)) => {
                    damage = Some(reason);
                    LoadedView::default()
                }
                restored => restored?,
            };
            loaded.views.insert(view.0, restored);
        }
        match archivist::hold(self, ledger).await {
            Err(StoreError::Damaged(reason)) => damage = Some(reason),
            held => held?,
        }
        drop(sqlite);
        if let Some(reason) = damage {
            loaded.set_aside = Some(self.begin_anew(&mut written, &reason).await?);
        }
        Ok(loaded)
    }

    /// Writes what changed since the last time, in one transaction that outlives a loss of power. After
    /// an error nothing is forgotten, and the next snapshot writes it too.
    pub async fn snapshot(&self, views: &Views, now: Timestamp) -> Result<Snapshot, StoreError> {
        let mut written = self.0.written.lock().await;
        // From here on the changes are ours: a snapshot that is given up does not lose them.
        written.take(views);
        let done = self.write(&mut written, now).await;
        match &done {
            Ok(_) => self.0.health.wrote(),
            Err(error @ StoreError::Damaged(reason)) => {
                if self.begin_anew(&mut written, reason).await.is_err() {
                    self.0.health.failed(error, now);
                }
            }
            Err(error) => self.0.health.failed(error, now),
        }
        done
    }

    /// Returns the newest cut that all views have in the store, and that no crash takes back: for
    /// each log the oldest of theirs. Retention must not go past it.
    pub async fn newest_cut(&self) -> Result<Option<Cut>, StoreError> {
        Ok(self.0.written.lock().await.newest_cut())
    }

    /// Returns the cuts that are kept of a view at its revision, newest first.
    pub async fn cuts(&self, view: &str) -> Result<Vec<KeptCut>, StoreError> {
        let Some((name, revision)) = Views::revisions().into_iter().find(|(name, _)| *name == view)
        else {
            return Ok(Vec::new());
        };
        let sqlite = self.sqlite().await?;
        let mut read = sqlite.read().await?;
        let cuts = read.cuts(name, revision).await?;
        read.roll_back().await?;
        Ok(cuts)
    }

    /// Restores a view from one of the cuts that are kept, without a word on which logs it belongs
    /// to; false when it does not read any more.
    pub async fn load_at(&self, views: &Views, cut: &KeptCut) -> Result<bool, StoreError> {
        let sqlite = self.sqlite().await?;
        let mut read = sqlite.read().await?;
        let loaded = snapshots::load_at(&mut read, cut, views).await?;
        read.roll_back().await?;
        Ok(loaded)
    }

    /// Returns how it fares.
    pub fn health(&self) -> StoreHealth {
        let progress = Section::ALL.map(|section| *self.progress(section).borrow());
        let applied = progress.iter().map(|progress| progress.applied).min().unwrap_or_default();
        self.0.health.tell(applied, progress.iter().all(|progress| progress.whole))
    }

    pub fn archive(&self) -> Archive {
        Archive { store: self.clone() }
    }

    /// Files everything that the ledger holds now; returns the offset of the last entry.
    pub async fn catch_up_archive(&self, ledger: &dyn ReadLog) -> Result<Offset, ArchivistError> {
        let done = archivist::catch_up(self, ledger).await;
        match &done {
            Ok(_) => self.0.health.filed(),
            Err(ArchivistError::Store(error)) => {
                self.heal(error).await;
                self.0.health.not_filed(error);
            }
            Err(ArchivistError::Ledger(_)) => {}
        }
        done
    }

    /// Waits for what is being written and closes the file. Whoever opens it next finds it whole.
    pub async fn close(&self) {
        let sqlite = self.0.sqlite.lock().await.clone();
        if let Some(sqlite) = sqlite {
            sqlite.close().await;
        }
        self.0.lease.release();
    }

    async fn write(&self, written: &mut Written, now: Timestamp) -> Result<Snapshot, StoreError> {
        let sqlite = self.sqlite().await?;
        if !written.is_due() {
            self.keep_lease(&sqlite).await?;
            return Ok(Snapshot::default());
        }
        // Retention drops what a snapshot covers: a loss of power must not take it back.
        let mut write = sqlite.write(Outlives::PowerLoss).await?;
        let held = self.0.lease.hold(&mut write).await?;
        let snapshot = written.write(&mut write, now).await?;
        write.commit().await?;
        self.0.lease.committed(held);
        written.committed();
        Ok(snapshot)
    }

    /// While nothing changes: nobody must take an idle process for one that has ended.
    async fn keep_lease(&self, sqlite: &Sqlite) -> Result<(), StoreError> {
        if self.0.lease.is_held() {
            let mut write = sqlite.write(Outlives::Crash).await?;
            let held = self.0.lease.hold(&mut write).await?;
            write.commit().await?;
            self.0.lease.committed(held);
        }
        Ok(())
    }

    async fn sqlite(&self) -> Result<Arc<Sqlite>, StoreError> {
        let mut sqlite = self.0.sqlite.lock().await;
        if let Some(sqlite) = sqlite.as_ref() {
            return Ok(sqlite.clone());
        }
        let (made, _) = Sqlite::open(&self.0.path).await?;
        Ok(sqlite.insert(Arc::new(made)).clone())
    }

    /// After an error that says that the file is damaged, begins anew.
    async fn heal(&self, error: &StoreError) {
        if let StoreError::Damaged(reason) = error {
            let mut written = self.0.written.lock().await;
            if let Err(error) = self.begin_anew(&mut written, reason).await {
                tracing::warn!(%error, "the read store could not be begun anew");
            }
        }
    }

    /// Sets the file aside and begins anew, with nothing written. Once: a second file that is damaged
    /// within a run points at something that a third would not mend.
    async fn begin_anew(&self, written: &mut Written, reason: &str) -> Result<PathBuf, StoreError> {
        if !self.0.lease.lock() || self.0.began_anew.swap(true, Ordering::Relaxed) {
            let reason = format!("{reason}; restart, and it is built anew from the logs");
            return Err(StoreError::Damaged(reason));
        }
        let mut sqlite = self.0.sqlite.lock().await;
        if let Some(old) = sqlite.take() {
            old.close().await;
        }
        *written = Written::nothing();
        self.0.lease.begin_anew();
        for section in Section::ALL {
            self.progress(section).send_replace(Progress::default());
        }
        let aside = set_aside(&self.0.path)?;
        tracing::error!(
            reason,
            set_aside = %aside.display(),
            "the read store is damaged, and is built anew from the logs"
        );
        *sqlite = Some(Arc::new(Sqlite::open(&self.0.path).await?.0));
        Ok(aside)
    }

    fn suspect_archive(&self, section: Section) {
        self.progress(section).send_modify(|progress| {
            (progress.checked, progress.whole) = (false, false);
        });
        self.0.suspected.notify_one();
    }

    fn lease(&self) -> &Lease {
        &self.0.lease
    }

    fn progress(&self, section: Section) -> &watch::Sender<Progress> {
        self.0.sections.of(section)
    }
}

/// Takes a snapshot every few seconds in which something changed, and a last one when `stop`
/// resolves. What cannot be written is kept, and tried again.
pub async fn snapshots(
    store: Store,
    views: Arc<Views>,
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    stop: impl Future<Output = ()> + Send,
) {
    let mut stop = pin!(stop);
    let mut backoff = BACKOFF_MIN;
    let mut rest = REST;
    loop {
        tokio::select! {
            () = &mut stop => break,
            () = tokio::time::sleep(rest) => {}
        }
        if store.snapshot(&views, now()).await.is_ok() {
            (rest, backoff) = (REST, BACKOFF_MIN);
        } else {
            (rest, backoff) = (backoff, (backoff * 2).min(BACKOFF_MAX));
        }
    }
    if let Err(error) = store.snapshot(&views, now()).await {
        tracing::warn!(%error, "the last snapshot was not written: the next start folds more");
    }
}

/// Files what comes into the ledger, for as long as it can be read.
pub async fn archivist(store: Store, ledger: Arc<dyn ReadLog>) -> LogError {
    let mut backoff = BACKOFF_MIN;
    loop {
        match store.catch_up_archive(ledger.as_ref()).await {
            Ok(applied) => {
                backoff = BACKOFF_MIN;
                tokio::select! {
                    waited = ledger.wait_after(applied) => if let Err(error) = waited {
                        return error;
                    },
                    () = store.0.suspected.notified() => {}
                }
            }
            Err(ArchivistError::Ledger(error)) => return error,
            Err(ArchivistError::Store(_)) => {
                tokio::time::sleep(backoff).await;
                backoff = (backoff * 2).min(BACKOFF_MAX);
            }
        }
    }
}

/// Copies the store at `from`, as it is at one moment, to a new file, beside a server that writes it.
pub async fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    sqlite::copy(from, to).await
}

fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    sqlite::set_aside(path).map_err(|error| {
        StoreError::Unreachable(format!("{} cannot be set aside: {error}", path.display()))
    })
}

#[cfg(test)]
mod tests;
