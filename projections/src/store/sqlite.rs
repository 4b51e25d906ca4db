//! All SQL of the read store, for SQLite: a file in WAL mode, one writer, a few readers. Here stand
//! the file and its tables, transactions, kept states, checkpoints and leases; `cuts`, `hours` and
//! `accounts` have the rest, by subject.
//!
//! What a row means and whether it is sound is said elsewhere (`rows`). A row that does not read is
//! `None` here; what SQLite itself calls damaged is [`StoreError::Damaged`].

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::time::Timestamp;
use eventlog::entry::{Hash, Offset, Version};
use eventlog::keep::Kept;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow,
};
use sqlx::{ConnectOptions, Connection, Row};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::StoreError;
use super::rows::{Checkpoint, checksum_of_kept};
use crate::views::Place;

pub(super) mod cuts;

pub(super) mod hours;

pub(super) mod accounts;

/// Readers at once. More wait: each is done in milliseconds.
const READERS_MAX: u32 = 4;

/// Time that a statement waits while another process writes.
const BUSY_PATIENCE: Duration = Duration::from_secs(5);

/// Bytes to which the write-ahead file is cut back after a great transaction.
const WAL_BYTES_KEPT: u64 = 64 << 20;

/// What stands in the file, by name. A file in which it stands otherwise is set aside.
const SCHEMA: [(&str, &str); 8] = [
    (
        "cut",
        "CREATE TABLE cut (view TEXT NOT NULL, revision BIGINT NOT NULL, number BIGINT NOT NULL, \
         taken_at BIGINT NOT NULL, ledger BIGINT NOT NULL, ledger_hash BLOB NOT NULL, \
         market BIGINT NOT NULL, market_hash BLOB NOT NULL, state_hash BLOB NOT NULL, \
         checksum BIGINT NOT NULL, PRIMARY KEY (view, revision, number))",
    ),
    (
        // `state` is NULL from the cut on at which the part had gone.
        "part",
        "CREATE TABLE part (view TEXT NOT NULL, revision BIGINT NOT NULL, name TEXT NOT NULL, \
         number BIGINT NOT NULL, state BLOB, PRIMARY KEY (view, revision, name, number))",
    ),
    ("part_number", "CREATE INDEX part_number ON part (view, revision, number)"),
    ("part_gone", "CREATE INDEX part_gone ON part (view, revision, name) WHERE state IS NULL"),
    (
        "kept",
        "CREATE TABLE kept (name TEXT NOT NULL, revision BIGINT NOT NULL, \
         version BIGINT NOT NULL, state BLOB NOT NULL, checksum BIGINT NOT NULL, \
         PRIMARY KEY (name))",
    ),
    (
        "archive",
        "CREATE TABLE archive (venue TEXT NOT NULL, instrument TEXT NOT NULL, \
         hour BIGINT NOT NULL, kind TEXT NOT NULL, version BIGINT NOT NULL, \
         candles TEXT NOT NULL, checksum BIGINT NOT NULL, \
         PRIMARY KEY (venue, instrument, hour, kind, version))",
    ),
    (
        "checkpoint",
        "CREATE TABLE checkpoint (reader TEXT NOT NULL, revision BIGINT NOT NULL, \
         ledger BIGINT NOT NULL, ledger_hash BLOB NOT NULL, row_count BIGINT NOT NULL, \
         row_sum BIGINT NOT NULL, checksum BIGINT NOT NULL, PRIMARY KEY (reader))",
    ),
    (
        "lease",
        "CREATE TABLE lease (name TEXT NOT NULL, owner TEXT NOT NULL, fence BIGINT NOT NULL, \
         expires_at BIGINT NOT NULL, PRIMARY KEY (name))",
    ),
];

/// What later versions have added. A file of an earlier one is given it when it is opened.
const SCHEMA_ADDED: [(&str, &str); 3] = [
    (
        "account_archive",
        "CREATE TABLE account_archive (account TEXT NOT NULL, kind TEXT NOT NULL, \
         place BIGINT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL, checksum BIGINT NOT NULL, \
         PRIMARY KEY (account, kind, place, name))",
    ),
    (
        "account_archive_name",
        "CREATE INDEX account_archive_name ON account_archive (account, kind, name)",
    ),
    (
        // What the archivist knows of positions that are open: these rows change, and go.
        "course",
        "CREATE TABLE course (account TEXT NOT NULL, position_id TEXT NOT NULL, \
         course TEXT NOT NULL, checksum BIGINT NOT NULL, PRIMARY KEY (account, position_id))",
    ),
];

/// What a commit outlives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outlives {
    /// A crash of the process. A loss of power may take it back, and all that came after it.
    Crash,
    /// A loss of power, together with all that came before it.
    PowerLoss,
}

/// An open file.
pub(super) struct Sqlite {
    path: PathBuf,
    writer: Connections,
    readers: Connections,
}

/// What is there under a path.
pub(super) enum Found {
    Made,
    There,
}

impl Sqlite {
    /// Opens the file, or makes it, and holds its schema against ours.
    pub(super) async fn open(path: &Path) -> Result<(Self, Found), StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(file(path)?)
            .busy_timeout(BUSY_PATIENCE)
            .disable_statement_logging();
        let writing = options
            .clone()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .pragma("journal_size_limit", WAL_BYTES_KEPT.to_string());
        let sqlite = Self {
            path: path.to_owned(),
            writer: Connections::new(writing, 1),
            readers: Connections::new(options.pragma("query_only", "ON"), READERS_MAX),
        };
        let found = sqlite.hold_against_schema().await.map_err(|error| sqlite.judged(error))?;
        Ok((sqlite, found))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Begins to write. There is one writer at a time; others wait.
    pub(super) async fn write(&self, outlives: Outlives) -> Result<Transaction<'_>, StoreError> {
        let mut transaction = self.writer.take().await?;
        match outlives {
            Outlives::Crash => transaction.run("PRAGMA synchronous = NORMAL").await?,
            Outlives::PowerLoss => transaction.run("PRAGMA synchronous = FULL").await?,
        }
        // With the lock from the beginning: what is read in it is then true at the commit.
        transaction.run("BEGIN IMMEDIATE").await?;
        Ok(transaction)
    }

    /// Begins to read: what is read in it is of one moment.
    pub(super) async fn read(&self) -> Result<Transaction<'_>, StoreError> {
        let mut transaction = self.readers.take().await?;
        transaction.run("BEGIN").await?;
        Ok(transaction)
    }

    /// Waits for what is being read and written, and closes the file.
    pub(super) async fn close(&self) {
        self.writer.close(1).await;
        self.readers.close(READERS_MAX).await;
    }

    /// Lets the file have no more than so many pages from the next write on, as on a full disk.
    #[cfg(test)]
    pub(super) fn limit_pages(&self, pages: u32) {
        self.writer.idle().clear();
        let mut options = self.writer.options.lock().unwrap_or_else(PoisonError::into_inner);
        *options = options.clone().pragma("max_page_count", pages.to_string());
    }

    async fn hold_against_schema(&self) -> Result<Found, StoreError> {
        let mut transaction = self.write(Outlives::Crash).await?;
        let stands = transaction.schema().await?;
        let missing = |schema: &'static [(&'static str, &'static str)]| {
            schema.iter().filter(|(name, statement)| {
                !stands.iter().any(|(found, text)| found == name && text == statement)
            })
        };
        let known = |(found, _): &(String, String)| {
            SCHEMA.iter().chain(&SCHEMA_ADDED).any(|(name, _)| found == name)
        };
        let whole = missing(&SCHEMA).next().is_none() && stands.iter().all(known);
        if whole {
            // What SQLite takes for read-only it lets begin to write, and fails at the first row.
            transaction.run("DELETE FROM lease WHERE FALSE").await?;
        }
        if stands.is_empty() || whole {
            for (_, statement) in missing(&SCHEMA).chain(missing(&SCHEMA_ADDED)) {
                transaction.run(statement).await?;
            }
            transaction.commit().await?;
            return Ok(if stands.is_empty() { Found::Made } else { Found::There });
        }
        transaction.roll_back().await?;
        if stands.iter().any(known) {
            return Err(StoreError::Damaged("its tables are not those of this version".to_owned()));
        }
        Err(StoreError::Unreachable(format!(
            "{} holds something else: give another file",
            self.path.display()
        )))
    }

    /// A file that may be written and that SQLite will not write has an altered header.
    fn judged(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Unreachable(reason)
                if reason.contains("(code: 8)")
                    && OpenOptions::new().write(true).open(&self.path).is_ok() =>
            {
                StoreError::Damaged(reason)
            }
            error => error,
        }
    }
}

/// Returns the path in full: SQLite reads some short ones as something else than a file.
fn file(path: &Path) -> Result<PathBuf, StoreError> {
    let told = |error| StoreError::Unreachable(format!("{}: {error}", path.display()));
    std::path::absolute(path).map_err(told)
}

/// Sets a file aside under a name of its own, in place of the one that was set aside before; returns
/// that name.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = beside(path, ".damaged");
    for ending in ["-wal", "-shm"] {
        match fs::rename(beside(path, ending), beside(&aside, ending)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // What was set aside before must not be read together with this file.
                match fs::remove_file(beside(&aside, ending)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            done => done?,
        }
    }
    fs::rename(path, &aside)?;
    Ok(aside)
}

/// Returns the path with `ending` after its file's name.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Writes a copy of the file as it is at one moment, while others may write it.
pub(super) async fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    if to.exists() {
        let reason = format!("{} is there already: give another file", to.display());
        return Err(StoreError::Unreachable(reason));
    }
    let options = SqliteConnectOptions::new()
        .filename(file(from)?)
        .read_only(true)
        .busy_timeout(BUSY_PATIENCE)
        .disable_statement_logging();
    let mut connection = options.connect().await.map_err(told)?;
    let target = to.to_str().ok_or_else(|| {
        StoreError::Unreachable(format!("{} is no text: give another name", to.display()))
    })?;
    sqlx::query("VACUUM INTO ?").bind(target).execute(&mut connection).await.map_err(told)?;
    connection.close().await.map_err(told)?;
    let synced = || File::open(to)?.sync_all();
    synced().map_err(|error| StoreError::Unreachable(format!("{}: {error}", to.display())))
}

/// Connections of one kind. One that failed, or was given up in the middle, is not used again.
struct Connections {
    options: Mutex<SqliteConnectOptions>,
    idle: Mutex<Vec<SqliteConnection>>,
    free: Semaphore,
}

impl Connections {
    fn new(options: SqliteConnectOptions, connections_max: u32) -> Self {
        Self {
            options: Mutex::new(options),
            idle: Mutex::default(),
            free: Semaphore::new(connections_max as usize),
        }
    }

    async fn take(&self) -> Result<Transaction<'_>, StoreError> {
        let closed = |_| StoreError::Unreachable("the read store is closed".to_owned());
        let permit = self.free.acquire().await.map_err(closed)?;
        let idle = self.idle().pop();
        let connection = if let Some(connection) = idle {
            connection
        } else {
            let options = self.options.lock().unwrap_or_else(PoisonError::into_inner).clone();
            options.connect().await.map_err(told)?
        };
        Ok(Transaction { connection, home: self, _permit: permit })
    }

    async fn close(&self, connections_max: u32) {
        // What is being written or read ends first.
        drop(self.free.acquire_many(connections_max).await);
        self.free.close();
        let idle = std::mem::take(&mut *self.idle());
        for connection in idle {
            if let Err(error) = connection.close().await {
                tracing::warn!(%error, "the read store did not close");
            }
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<SqliteConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is read or written at once. Dropped before its commit, it leaves nothing.
pub(super) struct Transaction<'a> {
    connection: SqliteConnection,
    home: &'a Connections,
    _permit: SemaphorePermit<'a>,
}

/// A statement with what is bound to it.
type Asked<'a> = sqlx::query::Query<'a, sqlx::Sqlite, SqliteArguments>;

/// The row of a lease.
pub(super) struct LeaseRow {
    pub(super) owner: String,
    pub(super) fence: u64,
    /// Seconds, by the database's clock.
    pub(super) expires_at: i64,
}

impl Transaction<'_> {
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        self.end("COMMIT").await
    }

    pub(super) async fn roll_back(self) -> Result<(), StoreError> {
        self.end("ROLLBACK").await
    }

    async fn end(mut self, statement: &'static str) -> Result<(), StoreError> {
        self.run(statement).await?;
        self.home.idle().push(self.connection);
        Ok(())
    }

    async fn run(&mut self, statement: &'static str) -> Result<(), StoreError> {
        self.done(sqlx::query(statement)).await.map(drop)
    }

    /// Asks, and returns all rows.
    async fn all(&mut self, query: Asked<'_>) -> Result<Vec<SqliteRow>, StoreError> {
        query.fetch_all(&mut self.connection).await.map_err(told)
    }

    /// Asks, and returns the row, if there is one.
    async fn one(&mut self, query: Asked<'_>) -> Result<Option<SqliteRow>, StoreError> {
        query.fetch_optional(&mut self.connection).await.map_err(told)
    }

    /// Does it, and returns how many rows it has changed.
    async fn done(&mut self, query: Asked<'_>) -> Result<u64, StoreError> {
        let done = query.execute(&mut self.connection).await.map_err(told)?;
        Ok(done.rows_affected())
    }

    async fn schema(&mut self) -> Result<Vec<(String, String)>, StoreError> {
        let rows = self
            .all(sqlx::query("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL"))
            .await?;
        let texts = |row: &SqliteRow| Some((text(row, 0)?, text(row, 1)?));
        rows.iter().map(texts).collect::<Option<_>>().ok_or_else(unreadable)
    }

    async fn is_ok(&mut self, statement: &'static str) -> Result<bool, StoreError> {
        let rows = self.all(sqlx::query(statement)).await?;
        Ok(rows.first().and_then(|row| text(row, 0)).is_some_and(|answer| answer == "ok"))
    }

    // What is kept under a name.

    /// Returns what is kept under a name; what is not sound is nothing.
    pub(super) async fn kept(&mut self, name: &str) -> Result<Option<Kept>, StoreError> {
        let row = self
            .one(
                sqlx::query("SELECT revision, version, state, checksum FROM kept WHERE name = ?")
                    .bind(name),
            )
            .await?;
        let kept = |row: SqliteRow| {
            let revision = u32::try_from(integer(&row, 0)?).ok()?;
            let version = Version(number(&row, 1)?);
            let kept = Kept { revision, version, state: bytes(&row, 2)? };
            (number(&row, 3)? == checksum_of_kept(name, &kept)).then_some(kept)
        };
        Ok(row.and_then(kept))
    }

    pub(super) async fn put_kept(&mut self, name: &str, kept: &Kept) -> Result<(), StoreError> {
        self.done(sqlx::query(
            "INSERT INTO kept (name, revision, version, state, checksum) VALUES (?, ?, ?, ?, ?) \
             ON CONFLICT (name) DO UPDATE SET revision = excluded.revision, \
             version = excluded.version, state = excluded.state, checksum = excluded.checksum",
        )
        .bind(name)
        .bind(i64::from(kept.revision))
        .bind(kept.version.0.cast_signed())
        .bind(kept.state.as_slice())
        .bind(checksum_of_kept(name, kept).cast_signed())
        ).await.map(drop)
    }

    // Checkpoints.

    async fn delete_checkpoint(&mut self, reader: &str) -> Result<(), StoreError> {
        self.done(sqlx::query("DELETE FROM checkpoint WHERE reader = ?").bind(reader))
            .await
            .map(drop)
    }

    /// Returns how far a reader has come: `None` when it never began, `Some(None)` when the row is
    /// not sound or of another revision.
    pub(super) async fn checkpoint(
        &mut self,
        reader: &str,
        revision: u32,
    ) -> Result<Option<Option<Checkpoint>>, StoreError> {
        let row = self.one(sqlx::query(
            "SELECT revision, ledger, ledger_hash, row_count, row_sum, checksum FROM checkpoint \
             WHERE reader = ?",
        )
        .bind(reader)
        ).await?;
        let checkpoint = |row: SqliteRow| {
            let ledger = Place { offset: Offset(number(&row, 1)?), hash: hash(&row, 2)? };
            let checkpoint = Checkpoint { ledger, rows: number(&row, 3)?, sum: number(&row, 4)? };
            let sound = integer(&row, 0)? == i64::from(revision)
                && number(&row, 5)? == checkpoint.checksum(reader, revision);
            sound.then_some(checkpoint)
        };
        Ok(row.map(checkpoint))
    }

    /// Moves a reader on from where it stood; false when it does not stand there.
    pub(super) async fn move_checkpoint(
        &mut self,
        (reader, revision): (&str, u32),
        from: Option<Checkpoint>,
        to: Checkpoint,
    ) -> Result<bool, StoreError> {
        let statement = match from {
            None => {
                "INSERT INTO checkpoint (revision, ledger, ledger_hash, row_count, row_sum, \
                 checksum, reader) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
            }
            Some(_) => {
                "UPDATE checkpoint SET revision = ?, ledger = ?, ledger_hash = ?, row_count = ?, \
                 row_sum = ?, checksum = ? \
                 WHERE reader = ? AND revision = ? AND ledger = ? AND row_count = ? AND row_sum = ?"
            }
        };
        let mut query = sqlx::query(statement)
            .bind(i64::from(revision))
            .bind(to.ledger.offset.0.cast_signed())
            .bind(to.ledger.hash.0.as_slice())
            .bind(to.rows.cast_signed())
            .bind(to.sum.cast_signed())
            .bind(to.checksum(reader, revision).cast_signed())
            .bind(reader);
        if let Some(from) = from {
            query = query
                .bind(i64::from(revision))
                .bind(from.ledger.offset.0.cast_signed())
                .bind(from.rows.cast_signed())
                .bind(from.sum.cast_signed());
        }
        Ok(self.done(query).await? == 1)
    }

    // Leases.

    /// Returns the time in seconds, by the database's clock: of several nodes, the one that all see.
    pub(super) async fn clock(&mut self) -> Result<i64, StoreError> {
        let row = sqlx::query("SELECT CAST(strftime('%s', 'now') AS INTEGER)")
            .fetch_one(&mut self.connection)
            .await
            .map_err(told)?;
        integer(&row, 0).ok_or_else(unreadable)
    }

    /// Returns who holds a lease; a row that does not read is nobody's.
    pub(super) async fn lease(&mut self, name: &str) -> Result<Option<LeaseRow>, StoreError> {
        let row = self
            .one(
                sqlx::query("SELECT owner, fence, expires_at FROM lease WHERE name = ?").bind(name),
            )
            .await?;
        let lease = |row: SqliteRow| {
            let (owner, fence) = (text(&row, 0)?, number(&row, 1)?);
            Some(LeaseRow { owner, fence, expires_at: integer(&row, 2)? })
        };
        Ok(row.and_then(lease))
    }

    pub(super) async fn put_lease(
        &mut self,
        name: &str,
        lease: &LeaseRow,
    ) -> Result<(), StoreError> {
        self.done(
            sqlx::query(
                "INSERT INTO lease (name, owner, fence, expires_at) VALUES (?, ?, ?, ?) \
             ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, fence = excluded.fence, \
             expires_at = excluded.expires_at",
            )
            .bind(name)
            .bind(&lease.owner)
            .bind(lease.fence.cast_signed())
            .bind(lease.expires_at),
        )
        .await
        .map(drop)
    }

    /// Moves the end of a lease; false when it is not held as `lease` says.
    pub(super) async fn renew_lease(
        &mut self,
        name: &str,
        lease: &LeaseRow,
    ) -> Result<bool, StoreError> {
        let put = self
            .done(
                sqlx::query(
                    "UPDATE lease SET expires_at = ? WHERE name = ? AND owner = ? AND fence = ?",
                )
                .bind(lease.expires_at)
                .bind(name)
                .bind(&lease.owner)
                .bind(lease.fence.cast_signed()),
            )
            .await?;
        Ok(put == 1)
    }
}

fn integer(row: &SqliteRow, column: usize) -> Option<i64> {
    row.try_get(column).ok()
}

fn number(row: &SqliteRow, column: usize) -> Option<u64> {
    integer(row, column).map(i64::cast_unsigned)
}

fn timestamp(row: &SqliteRow, column: usize) -> Option<Timestamp> {
    integer(row, column).map(Timestamp::from_micros)
}

fn text(row: &SqliteRow, column: usize) -> Option<String> {
    row.try_get(column).ok()
}

fn bytes(row: &SqliteRow, column: usize) -> Option<Vec<u8>> {
    row.try_get(column).ok()
}

fn hash(row: &SqliteRow, column: usize) -> Option<Hash> {
    bytes(row, column)?.try_into().ok().map(Hash)
}

fn unreadable() -> StoreError {
    StoreError::Damaged("a row does not read".to_owned())
}

/// Says what an error of SQLite means to us, by its result code.
fn told(error: sqlx::Error) -> StoreError {
    /// `SQLITE_ERROR`: a table or a column of ours is missing, because our statements are right.
    const MISSING: u32 = 1;
    const CORRUPT: u32 = 11;
    /// An index disagrees with its table, because we write no key twice.
    const CONSTRAINT: u32 = 19;
    const MISMATCH: u32 = 20;
    const NOT_A_DATABASE: u32 = 26;
    /// The file ends in the middle.
    const SHORT_READ: u32 = 522;

    let text = error.to_string();
    let sqlx::Error::Database(database) = error else { return StoreError::Unreachable(text) };
    let code = database.code().and_then(|code| code.parse::<u32>().ok()).unwrap_or_default();
    match code & 0xff {
        MISSING | CORRUPT | CONSTRAINT | MISMATCH | NOT_A_DATABASE => StoreError::Damaged(text),
        _ if code == SHORT_READ => StoreError::Damaged(text),
        _ => StoreError::Unreachable(text),
    }
}
