//! The read store, in which views, kept states and the archive outlive the process: a file of one
//! node, or a PostgreSQL that several share. All of it is a cache: whatever is lost or damaged is folded
//! from the logs again.
//!
//! Read in this order: what a row holds (`rows`), snapshots of the views (`snapshots`) and how they are
//! written (`writing`), which of them stay (`thinning`) and whether they belong to the logs
//! (`belonging`), states of other parts of the house (`kept`), what is told of old hours and of accounts
//! (`archive`), who files it (`archivist`, with `accounts` for theirs and `paging` for how much is
//! read), what happens to one that is damaged (`anew`), who may write (`lease`) and who does a work for
//! all nodes (`leading`), how it fares (`health`), all SQL (`database`), and a PostgreSQL for tests
//! (`server`).

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use domain::time::Timestamp;
use eventlog::entry::Offset;
use eventlog::log::{LogError, ReadLog};
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use self::anew::set_aside;
use self::archive::{Archive, Progress, Section, Sections};
use self::archivist::{ArchivistError, Turn};
use self::belonging::Foreign;
use self::database::postgres::Address;
use self::database::{Database, Found, sqlite};
use self::health::{Health, StoreHealth};
use self::lease::file::FileLease;
use self::lease::{Lease, Work};
use self::rows::KeptCut;
use self::snapshots::{LoadedView, Logs, Snapshot, Written};
use crate::views::{Cut, Views};

pub mod rows;

pub mod snapshots;

mod thinning;

pub mod belonging;

mod kept;

pub mod archive;

pub mod archivist;

mod accounts;

mod paging;

mod writing;

mod anew;

mod lease;

pub mod leading;

pub mod health;

mod database;

#[cfg(any(test, feature = "postgres-server"))]
pub mod server;

/// Time from one snapshot to the next.
const REST: Duration = Duration::from_secs(10);

/// Time after which what failed is tried again; it doubles up to the second one.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_mins(1);

/// The same where several nodes share a store: a server that was away is back in seconds, and queries
/// wait for what it lacks.
const BACKOFF_SHARED_MAX: Duration = Duration::from_secs(5);

/// Time after which a node that follows looks how far another one has filed the archive.
const FOLLOW: Duration = Duration::from_millis(500);

/// Time after which a node that files the archive and has nothing to file says that it is there.
const SIGN: Duration = Duration::from_secs(4);

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
    /// What was there, on a server, is damaged or of another version. It has gone, and the store is
    /// empty.
    Emptied {
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

/// Where a store is.
enum Place {
    File(PathBuf),
    /// On a server that several nodes share, of whom this is one.
    Shared {
        node: String,
    },
}

/// Asks a PostgreSQL for a sign of life, and makes nothing there. No error tells the password of the URL.
pub async fn answers(url: &str) -> Result<(), StoreError> {
    Database::greet(Address::parse(url, "doctor")?).await
}

/// The read store of a node. Clones are the same store.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    place: Place,
    /// The open database; `None` when a file was set aside and none could be made since. The lock
    /// orders those who open it, and is held while they do.
    database: Mutex<Option<Arc<Database>>>,
    /// What is in the store. The lock orders snapshots, and is held while one is written.
    written: Mutex<Written>,
    lease: Lease,
    /// The works that this node does among all that share the store.
    leads: std::sync::Mutex<BTreeSet<&'static str>>,
    health: Health,
    sections: Sections,
    /// Woken when the archive must be held against its checksums again.
    suspected: Notify,
    /// When it was begun anew.
    began_anew: std::sync::Mutex<Option<Instant>>,
}

impl Store {
    /// Opens the store at `path`, or makes it. What is damaged is set aside.
    pub async fn open(path: &Path) -> Result<(Self, Opened), StoreError> {
        let lease = FileLease::new(path);
        let (database, opened) = match Database::open(path).await {
            Ok((database, Found::Made)) => (database, Opened::Made),
            Ok((database, Found::There | Found::Emptied(_))) => (database, Opened::There),
            Err(StoreError::Damaged(reason)) if lease.lock() => {
                let aside = set_aside(path)?;
                (Database::open(path).await?.0, Opened::SetAside { path: aside, reason })
            }
            Err(error) => return Err(error),
        };
        let place = Place::File(path.to_owned());
        Ok((Self::new(place, database, Lease::File(lease)), opened))
    }

    /// Connects to a PostgreSQL that several nodes may share, of whom this one is called `node`, and
    /// makes the store there where it is missing. No error tells the password of the URL.
    pub async fn connect(url: &str, node: &str) -> Result<(Self, Opened), StoreError> {
        let (database, found) = Database::connect(Address::parse(url, node)?).await?;
        let opened = match found {
            Found::Made => Opened::Made,
            Found::There => Opened::There,
            Found::Emptied(reason) => Opened::Emptied { reason },
        };
        let place = Place::Shared { node: node.to_owned() };
        Ok((Self::new(place, database, Lease::shared(node)), opened))
    }

    fn new(place: Place, database: Database, lease: Lease) -> Self {
        Self(Arc::new(Inner {
            place,
            database: Mutex::new(Some(Arc::new(database))),
            written: Mutex::default(),
            lease,
            leads: std::sync::Mutex::default(),
            health: Health::default(),
            sections: Sections::default(),
            suspected: Notify::new(),
            began_anew: std::sync::Mutex::default(),
        }))
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
        let database = self.database().await?;
        let mut loaded = Loaded::default();
        let mut damage = None;
        for view in Views::revisions() {
            let restored = written.load(view, &database, views, Logs { ledger, market }).await;
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
        drop(database);
        if let Some(reason) = damage {
            loaded.set_aside = self.begin_anew(&mut written, &reason).await?;
        }
        Ok(loaded)
    }

    /// Writes what changed since the last time, in one transaction that outlives a loss of power. After
    /// an error nothing is forgotten, and the next snapshot writes it too.
    ///
    /// Of nodes that share a store one writes; what the others have is as true, and they write nothing.
    pub async fn snapshot(&self, views: &Views, now: Timestamp) -> Result<Snapshot, StoreError> {
        let mut written = self.0.written.lock().await;
        let done = if self.is_shared() {
            self.write_shared(&mut written, views, now).await
        } else {
            // From here on the changes are ours: a snapshot that is given up does not lose them.
            written.take(views);
            self.write(&mut written, now).await
        };
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
        if !self.is_shared() {
            return Ok(self.0.written.lock().await.newest_cut());
        }
        // Whichever node wrote it.
        let database = self.database().await?;
        let mut read = database.read_long().await?;
        let newest = snapshots::newest_cut(&mut read).await?;
        read.roll_back().await?;
        Ok(newest)
    }

    /// Returns the cuts that are kept of a view at its revision, newest first.
    pub async fn cuts(&self, view: &str) -> Result<Vec<KeptCut>, StoreError> {
        let Some((name, revision)) = Views::revisions().into_iter().find(|(name, _)| *name == view)
        else {
            return Ok(Vec::new());
        };
        let database = self.database().await?;
        let mut read = database.read_long().await?;
        let cuts = read.cuts(name, revision).await?;
        read.roll_back().await?;
        Ok(cuts)
    }

    /// Restores a view from one of the cuts that are kept, without a word on which logs it belongs
    /// to; false when it does not read any more.
    pub async fn load_at(&self, views: &Views, cut: &KeptCut) -> Result<bool, StoreError> {
        let database = self.database().await?;
        let mut read = database.read_long().await?;
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

    /// Returns what this node does for all that share the store; nothing where it is alone.
    pub fn leases_held(&self) -> Vec<String> {
        if !self.is_shared() {
            return Vec::new();
        }
        let written = [(Work::Snapshots, "snapshots"), (Work::Archive, "archive")];
        let written = written.into_iter().filter(|(work, _)| self.0.lease.is_held(*work));
        let written = written.map(|(_, name)| name.to_owned());
        written.chain(self.leads().iter().map(|work| format!("lead {work}"))).collect()
    }

    pub fn archive(&self) -> Archive {
        Archive { store: self.clone() }
    }

    /// Files everything that the ledger holds now; returns the offset of the last entry. A node that
    /// follows another looks how far that one has come, and returns this.
    pub async fn catch_up_archive(&self, ledger: &dyn ReadLog) -> Result<Offset, ArchivistError> {
        self.turn_of_archivist(ledger).await.map(|turn| turn.applied)
    }

    async fn turn_of_archivist(&self, ledger: &dyn ReadLog) -> Result<Turn, ArchivistError> {
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

    /// Waits for what is being written and closes the store. Whoever opens it next finds it whole, and
    /// other nodes write it at once.
    pub async fn close(&self) {
        let database = self.0.database.lock().await.clone();
        if self.is_shared() {
            self.0.lease.release(database.as_deref()).await;
        }
        if let Some(database) = &database {
            database.close().await;
        }
        if !self.is_shared() {
            self.0.lease.release(None).await;
        }
    }

    async fn database(&self) -> Result<Arc<Database>, StoreError> {
        let mut database = self.0.database.lock().await;
        match (database.as_ref(), &self.0.place) {
            (Some(database), _) => Ok(database.clone()),
            (None, Place::File(path)) => {
                let (made, _) = Database::open(path).await?;
                Ok(database.insert(Arc::new(made)).clone())
            }
            (None, Place::Shared { .. }) => {
                Err(StoreError::Unreachable("the read store is closed".to_owned()))
            }
        }
    }

    /// Returns whether other nodes may write the same store.
    fn is_shared(&self) -> bool {
        matches!(self.0.place, Place::Shared { .. })
    }

    /// Returns what this node is called among those who share the store.
    fn node(&self) -> &str {
        match &self.0.place {
            Place::File(_) => "",
            Place::Shared { node } => node,
        }
    }

    fn leads(&self) -> MutexGuard<'_, BTreeSet<&'static str>> {
        self.0.leads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn backoff_max(&self) -> Duration {
        if self.is_shared() { BACKOFF_SHARED_MAX } else { BACKOFF_MAX }
    }

    fn suspect_archive(&self, section: Section) {
        self.progress(section).send_modify(|progress| {
            *progress = Progress { applied: progress.applied, ..Progress::default() };
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
            (rest, backoff) = (backoff, (backoff * 2).min(store.backoff_max()));
        }
    }
    if let Err(error) = store.snapshot(&views, now()).await {
        tracing::warn!(%error, "the last snapshot was not written: the next start folds more");
    }
}

/// Files what comes into the ledger, for as long as it can be read. Of nodes that share a store one
/// does; the others look how far it has come, and one of them goes on where it falls silent.
pub async fn archivist(store: Store, ledger: Arc<dyn ReadLog>) -> LogError {
    let mut backoff = BACKOFF_MIN;
    loop {
        match store.turn_of_archivist(ledger.as_ref()).await {
            Ok(turn) => {
                backoff = BACKOFF_MIN;
                let rest = async {
                    if turn.follows {
                        sleep(FOLLOW).await;
                        return Ok(());
                    }
                    let comes = ledger.wait_after(turn.applied);
                    if !store.is_shared() {
                        return comes.await;
                    }
                    timeout(SIGN, comes).await.unwrap_or(Ok(()))
                };
                tokio::select! {
                    waited = rest => if let Err(error) = waited {
                        return error;
                    },
                    () = store.0.suspected.notified() => {}
                }
            }
            Err(ArchivistError::Ledger(error)) => return error,
            Err(ArchivistError::Store(_)) => {
                sleep(backoff).await;
                backoff = (backoff * 2).min(store.backoff_max());
            }
        }
    }
}

/// Copies the store in the file at `from`, as it is at one moment, to a new file, beside a server that writes it.
pub async fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    sqlite::copy(from, to).await
}

#[cfg(test)]
mod tests;
