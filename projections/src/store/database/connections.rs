//! Connections to a database, and how long one waits for an answer.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection as _};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::store::StoreError;
use crate::store::database::{postgres, sqlite};

/// Time in which a server that is there lets us in, and lets us begin.
const FIRST_PATIENCE: Duration = Duration::from_secs(2);

/// How long a transaction waits for its answers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Patience {
    Endless,
    /// For each answer.
    Each(Duration),
    /// For all of them.
    Until(Instant),
}

impl Patience {
    /// Whoever begins is answered at once, or not at all.
    pub(super) fn at_first(self) -> Self {
        match self {
            Self::Each(_) => Self::Each(FIRST_PATIENCE),
            Self::Endless | Self::Until(_) => self,
        }
    }

    pub(super) async fn keep<T>(
        self,
        asked: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        // On the heap: it is great, and this future is in each that asks anything.
        let asked = Box::pin(asked);
        let answer = match self {
            Self::Endless => return asked.await,
            Self::Each(time) => tokio::time::timeout(time, asked).await,
            Self::Until(deadline) => tokio::time::timeout_at(deadline, asked).await,
        };
        answer.unwrap_or_else(|_| {
            Err(StoreError::Unreachable("the server does not answer in time".to_owned()))
        })
    }
}

/// Where connections of one kind come from.
pub(super) enum Source {
    Sqlite(SqliteConnectOptions),
    Postgres(PgConnectOptions),
}

pub(super) enum Connection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// Connections of one kind. One that failed, or was given up in the middle, is not used again.
pub(super) struct Connections {
    pub(super) source: Mutex<Source>,
    idle: Mutex<Vec<Connection>>,
    free: Semaphore,
}

impl Connections {
    pub(super) fn new(source: Source, connections_max: u32) -> Self {
        Self {
            source: Mutex::new(source),
            idle: Mutex::default(),
            free: Semaphore::new(connections_max as usize),
        }
    }

    pub(super) async fn permit(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        let closed = |_| StoreError::Unreachable("the read store is closed".to_owned());
        self.free.acquire().await.map_err(closed)
    }

    pub(super) fn pop(&self) -> Option<Connection> {
        self.idle().pop()
    }

    pub(super) async fn connect(&self) -> Result<Connection, StoreError> {
        let source = match &*self.source.lock().unwrap_or_else(PoisonError::into_inner) {
            Source::Sqlite(options) => Source::Sqlite(options.clone()),
            Source::Postgres(options) => Source::Postgres(options.clone()),
        };
        match source {
            Source::Sqlite(options) => {
                options.connect().await.map(Connection::Sqlite).map_err(sqlite::told)
            }
            Source::Postgres(options) => {
                options.connect().await.map(Connection::Postgres).map_err(postgres::told)
            }
        }
    }

    pub(super) async fn close(&self, connections_max: u32) {
        // What is being written or read ends first.
        drop(self.free.acquire_many(connections_max).await);
        self.free.close();
        let idle = std::mem::take(&mut *self.idle());
        for connection in idle {
            let closed = match connection {
                Connection::Sqlite(connection) => connection.close().await,
                Connection::Postgres(connection) => connection.close().await,
            };
            if let Err(error) = closed {
                tracing::warn!(%error, "the read store did not close");
            }
        }
    }

    pub(super) fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
