//! All SQL of the read store, and the databases that it is asked of: a file of `SQLite`, or a
//! PostgreSQL that several nodes share. Here stand connections and transactions; what is particular to
//! a database is in `sqlite` and `postgres`, and the statements, which both read alike, are in the
//! other files, by subject.
//!
//! What a row means and whether it is sound is said elsewhere (`rows`). A row that does not read is
//! `None` here; what a database itself calls damaged is [`StoreError::Damaged`].

use std::borrow::Cow;
use std::path::Path;
#[cfg(test)]
use std::sync::PoisonError;
use std::time::Duration;

use sqlx::AssertSqlSafe;
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use self::connections::{Connection, Connections, Patience, Source};
use self::postgres::Address;
use self::values::{Row, Value, for_postgres, for_sqlite};
use super::StoreError;

mod connections;

mod values;

pub(super) mod sqlite;

pub(super) mod postgres;

mod schema;

pub(super) mod cuts;

mod kept;

pub(super) mod hours;

pub(super) mod accounts;

mod checkpoints;

pub(super) mod leases;

/// Time that a query waits for a server that does not answer. Whoever asked hears of it, and goes on
/// from memory where that is possible.
const QUERY_PATIENCE: Duration = Duration::from_secs(2);

/// Time that one statement may take of what nobody waits for: a snapshot, a check, a start.
const WORK_PATIENCE: Duration = Duration::from_secs(30);

/// What a commit outlives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outlives {
    /// A crash of the process. A loss of power may take it back, and all that came after it.
    Crash,
    /// A loss of power, together with all that came before it.
    PowerLoss,
}

/// What was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Made,
    There,
    /// Something that does not read any more, or was made by another version. It was emptied.
    Emptied(String),
}

/// An open database.
pub(super) struct Database {
    /// Without any secret.
    name: String,
    is_shared: bool,
    writer: Connections,
    writers_max: u32,
    readers: Connections,
    readers_max: u32,
}

impl Database {
    /// Opens the file, or makes it, and holds its schema against ours.
    pub(super) async fn open(path: &Path) -> Result<(Self, Found), StoreError> {
        let (writing, reading) = sqlite::options(path)?;
        let database = Self {
            name: path.display().to_string(),
            is_shared: false,
            writer: Connections::new(Source::Sqlite(writing), 1),
            writers_max: 1,
            readers: Connections::new(Source::Sqlite(reading), sqlite::READERS_MAX),
            readers_max: sqlite::READERS_MAX,
        };
        let found = database.hold_against_schema().await;
        Ok((database, found.map_err(|error| sqlite::judged(path, error))?))
    }

    /// Connects to a server, makes our schema where it is missing and holds it against ours.
    pub(super) async fn connect(address: Address) -> Result<(Self, Found), StoreError> {
        let database = Self::at(address);
        let found = database.hold_against_schema().await?;
        Ok((database, found))
    }

    /// Asks a server for nothing in particular.
    pub(super) async fn greet(address: Address) -> Result<(), StoreError> {
        Self::at(address).read().await?.roll_back().await
    }

    /// Returns a database on a server, to which nobody has connected yet.
    fn at(address: Address) -> Self {
        let options = address.options;
        Self {
            name: address.name,
            is_shared: true,
            writer: Connections::new(Source::Postgres(options.clone()), postgres::WRITERS_MAX),
            writers_max: postgres::WRITERS_MAX,
            readers: Connections::new(Source::Postgres(options), postgres::READERS_MAX),
            readers_max: postgres::READERS_MAX,
        }
    }

    /// Returns what it is called, for whoever reads a line of ours.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether other nodes may write it.
    pub(super) fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Begins to write.
    ///
    /// A file has one writer at a time; others wait. Of a server, those who write the same rows hold the
    /// lease's row from their first statement on, and wait for each other there.
    pub(super) async fn write(&self, outlives: Outlives) -> Result<Transaction<'_>, StoreError> {
        let (sqlite, postgres) = match outlives {
            Outlives::Crash => (sqlite::WRITE, postgres::WRITE),
            Outlives::PowerLoss => (sqlite::WRITE_FOR_EVER, postgres::WRITE_FOR_EVER),
        };
        let script = if self.is_shared { postgres } else { sqlite };
        self.begin(&self.writer, script, Patience::Each(WORK_PATIENCE)).await
    }

    /// Begins to read what somebody waits for: what is read in it is of one moment.
    pub(super) async fn read(&self) -> Result<Transaction<'_>, StoreError> {
        let script = if self.is_shared { postgres::QUERY } else { sqlite::READ };
        let patience = Patience::Until(Instant::now() + QUERY_PATIENCE);
        self.begin(&self.readers, script, patience).await
    }

    /// Begins to read much, which may take its time.
    pub(super) async fn read_long(&self) -> Result<Transaction<'_>, StoreError> {
        let script = if self.is_shared { postgres::READ } else { sqlite::READ };
        self.begin(&self.readers, script, Patience::Each(WORK_PATIENCE)).await
    }

    /// Waits for what is being read and written, and closes it.
    pub(super) async fn close(&self) {
        self.writer.close(self.writers_max).await;
        self.readers.close(self.readers_max).await;
    }

    /// Lets a file have no more than so many pages from the next write on, as on a full disk.
    #[cfg(test)]
    pub(super) fn limit_pages(&self, pages: u32) {
        self.writer.idle().clear();
        let mut source = self.writer.source.lock().unwrap_or_else(PoisonError::into_inner);
        if let Source::Sqlite(options) = &mut *source {
            *options = options.clone().pragma("max_page_count", pages.to_string());
        }
    }

    async fn hold_against_schema(&self) -> Result<Found, StoreError> {
        if self.is_shared {
            postgres::schema::hold(self).await
        } else {
            sqlite::hold_against_schema(self).await
        }
    }

    async fn begin<'a>(
        &self,
        home: &'a Connections,
        script: &'static str,
        patience: Patience,
    ) -> Result<Transaction<'a>, StoreError> {
        // A file's statements wait for each other in the file's own way.
        let patience = if self.is_shared { patience } else { Patience::Endless };
        let permit = patience.keep(home.permit()).await?;
        let mut permit = Some(permit);
        if let Some(connection) = home.pop() {
            let mut transaction = Transaction::on(connection, home, permit.take());
            match patience.at_first().keep(transaction.script(script)).await {
                // Since it was used last the server may have ended, and may be back.
                Err(StoreError::Unreachable(_)) if self.is_shared => home.idle().clear(),
                begun => return begun.map(|()| Transaction { patience, ..transaction }),
            }
            permit = transaction.permit.take();
        }
        let connection = patience.at_first().keep(home.connect()).await?;
        let mut transaction = Transaction::on(connection, home, permit);
        patience.at_first().keep(transaction.script(script)).await?;
        Ok(Transaction { patience, ..transaction })
    }
}

/// What is read or written at once. Dropped before its commit, it leaves nothing.
pub(super) struct Transaction<'a> {
    connection: Connection,
    home: &'a Connections,
    patience: Patience,
    permit: Option<SemaphorePermit<'a>>,
}

impl<'a> Transaction<'a> {
    fn on(
        connection: Connection,
        home: &'a Connections,
        permit: Option<SemaphorePermit<'a>>,
    ) -> Self {
        Self { connection, home, patience: Patience::Endless, permit }
    }

    pub(super) async fn commit(self) -> Result<(), StoreError> {
        self.end("COMMIT").await
    }

    pub(super) async fn roll_back(self) -> Result<(), StoreError> {
        self.end("ROLLBACK").await
    }

    /// Returns whether other nodes may write the same database.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.connection, Connection::Postgres(_))
    }

    async fn end(mut self, statement: &'static str) -> Result<(), StoreError> {
        self.script(statement).await?;
        self.home.idle().push(self.connection);
        // Only now: who waits for a connection finds this one.
        drop(self.permit);
        Ok(())
    }

    /// Does what several statements say, without an answer.
    async fn script(&mut self, script: &'static str) -> Result<(), StoreError> {
        self.script_of(Cow::Borrowed(script)).await
    }

    async fn script_of(&mut self, script: Cow<'static, str>) -> Result<(), StoreError> {
        // Only words of ours: nothing that anybody said stands in it.
        let script = sqlx::raw_sql(AssertSqlSafe(script.into_owned()));
        match &mut self.connection {
            Connection::Sqlite(connection) => {
                let done = async { script.execute(connection).await.map_err(sqlite::told) };
                self.patience.keep(done).await.map(drop)
            }
            Connection::Postgres(connection) => {
                let done = async { script.execute(connection).await.map_err(postgres::told) };
                self.patience.keep(done).await.map(drop)
            }
        }
    }

    /// Asks, and returns all rows.
    async fn all(
        &mut self,
        statement: &'static str,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        match &mut self.connection {
            Connection::Sqlite(connection) => {
                let rows = for_sqlite(statement, values).fetch_all(connection);
                let rows = async { rows.await.map_err(sqlite::told) };
                Ok(self.patience.keep(rows).await?.into_iter().map(Row::Sqlite).collect())
            }
            Connection::Postgres(connection) => {
                let rows = for_postgres(statement, values).fetch_all(connection);
                let rows = async { rows.await.map_err(postgres::told) };
                Ok(self.patience.keep(rows).await?.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// Asks, and returns the row, if there is one.
    async fn one(
        &mut self,
        statement: &'static str,
        values: &[Value<'_>],
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.all(statement, values).await?.into_iter().next())
    }

    /// Does it, and returns how many rows it has changed.
    async fn done(
        &mut self,
        statement: &'static str,
        values: &[Value<'_>],
    ) -> Result<u64, StoreError> {
        match &mut self.connection {
            Connection::Sqlite(connection) => {
                let done = for_sqlite(statement, values).execute(connection);
                let done = async { done.await.map_err(sqlite::told) };
                Ok(self.patience.keep(done).await?.rows_affected())
            }
            Connection::Postgres(connection) => {
                let done = for_postgres(statement, values).execute(connection);
                let done = async { done.await.map_err(postgres::told) };
                Ok(self.patience.keep(done).await?.rows_affected())
            }
        }
    }

    /// Whether a table and its indexes agree. A server looks after its own.
    async fn is_ok(&mut self, statement: &'static str) -> Result<bool, StoreError> {
        if self.is_shared() {
            return Ok(true);
        }
        let rows = self.all(statement, &[]).await?;
        Ok(rows.first().and_then(|row| row.text(0)).is_some_and(|answer| answer == "ok"))
    }
}

fn unreadable() -> StoreError {
    StoreError::Damaged("a row does not read".to_owned())
}
