//! A read store in a file of `SQLite`, in WAL mode: one writer, a few readers.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{ConnectOptions, Connection};

use crate::store::StoreError;
use crate::store::database::schema::{SCHEMA, SCHEMA_ADDED};
use crate::store::database::values::Row;
use crate::store::database::{Database, Found, Outlives, Transaction, unreadable};

/// Readers at once. More wait: each is done in milliseconds.
pub(super) const READERS_MAX: u32 = 4;

/// Time that a statement waits while another process writes.
const BUSY_PATIENCE: Duration = Duration::from_secs(5);

/// Bytes to which the write-ahead file is cut back after a great transaction.
const WAL_BYTES_KEPT: u64 = 64 << 20;

// With the lock from the beginning: what is read in it is then true at the commit.
pub(super) const WRITE: &str = "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE";
pub(super) const WRITE_FOR_EVER: &str = "PRAGMA synchronous = FULL; BEGIN IMMEDIATE";
pub(super) const READ: &str = "BEGIN";

/// Returns how a file is opened for writing, and for reading.
pub(super) fn options(
    path: &Path,
) -> Result<(SqliteConnectOptions, SqliteConnectOptions), StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(file(path)?)
        .busy_timeout(BUSY_PATIENCE)
        .disable_statement_logging();
    let writing = options
        .clone()
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .pragma("journal_size_limit", WAL_BYTES_KEPT.to_string());
    Ok((writing, options.pragma("query_only", "ON")))
}

/// Makes our tables where there are none, and holds those that are there against ours.
pub(super) async fn hold_against_schema(database: &Database) -> Result<Found, StoreError> {
    let mut transaction = database.write(Outlives::Crash).await?;
    let stands = transaction.file_schema().await?;
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
        transaction.script("DELETE FROM lease WHERE FALSE").await?;
    }
    if stands.is_empty() || whole {
        for (_, statement) in missing(&SCHEMA).chain(missing(&SCHEMA_ADDED)) {
            transaction.script(statement).await?;
        }
        transaction.commit().await?;
        return Ok(if stands.is_empty() { Found::Made } else { Found::There });
    }
    transaction.roll_back().await?;
    if stands.iter().any(known) {
        return Err(StoreError::Damaged("its tables are not those of this version".to_owned()));
    }
    let reason = format!("{} holds something else: give another file", database.name());
    Err(StoreError::Unreachable(reason))
}

impl Transaction<'_> {
    async fn file_schema(&mut self) -> Result<Vec<(String, String)>, StoreError> {
        let statement = "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL";
        let texts = |row: &Row| Some((row.text(0)?, row.text(1)?));
        let rows = self.all(statement, &[]).await?;
        rows.iter().map(texts).collect::<Option<_>>().ok_or_else(unreadable)
    }
}

/// A file that may be written and that `SQLite` will not write has an altered header.
pub(super) fn judged(path: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Unreachable(reason)
            if reason.contains("(code: 8)")
                && OpenOptions::new().write(true).open(path).is_ok() =>
        {
            StoreError::Damaged(reason)
        }
        error => error,
    }
}

/// Returns the path in full: SQLite reads some short ones as something else than a file.
fn file(path: &Path) -> Result<PathBuf, StoreError> {
    let told = |error| StoreError::Unreachable(format!("{}: {error}", path.display()));
    std::path::absolute(path).map_err(told)
}

/// Sets a file aside under a name of its own, in place of the one that was set aside before; returns
/// that name.
pub(in crate::store) fn set_aside(path: &Path) -> io::Result<PathBuf> {
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
pub(in crate::store) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Writes a copy of the file as it is at one moment, while others may write it.
pub(in crate::store) async fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
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
    sqlx::query("VACUUM INTO $1").bind(target).execute(&mut connection).await.map_err(told)?;
    connection.close().await.map_err(told)?;
    let synced = || File::open(to)?.sync_all();
    synced().map_err(|error| StoreError::Unreachable(format!("{}: {error}", to.display())))
}

/// Says what an error of SQLite means to us, by its result code.
pub(super) fn told(error: sqlx::Error) -> StoreError {
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
