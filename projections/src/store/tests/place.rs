//! Where a store under test is: in a file, or on a PostgreSQL.

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use super::super::server::Server;
use super::super::*;
use super::house::House;

pub(super) enum Place {
    File,
    Shared(Shared),
}

/// A database of its own on a server.
pub(in crate::store) struct Shared {
    pub(in crate::store) server: Arc<Server>,
    pub(in crate::store) url: String,
}

impl Place {
    /// Returns one of each kind; only that of the file where there is no PostgreSQL.
    pub(super) async fn each() -> Vec<Self> {
        let shared = Shared::new().await.map(Self::Shared);
        [Self::File].into_iter().chain(shared).collect()
    }

    pub(super) async fn open(&self, house: &House) -> Store {
        match self {
            Self::File => house.open().await,
            Self::Shared(shared) => shared.connect("n1").await,
        }
    }

    /// Runs a statement, as nobody should.
    pub(super) async fn sql(&self, house: &House, statement: &str) {
        match self {
            Self::File => drop(house.sql(statement).await),
            Self::Shared(shared) => shared.sql(statement).await,
        }
    }

    pub(super) async fn count(&self, house: &House, statement: &str) -> i64 {
        match self {
            Self::File => house.count(statement).await,
            Self::Shared(shared) => shared.count(statement).await,
        }
    }
}

impl Shared {
    /// Returns an empty database; `None` where there is no PostgreSQL.
    pub(in crate::store) async fn new() -> Option<Self> {
        let server = Server::shared().await?;
        let url = server.database().await;
        Some(Self { server, url })
    }

    /// The same on a server that may be stopped.
    pub(in crate::store) async fn alone() -> Option<Self> {
        let server = Arc::new(Server::start(super::super::server::Settings::default()).await?);
        let url = server.database().await;
        Some(Self { server, url })
    }

    pub(in crate::store) async fn connect(&self, node: &str) -> Store {
        Store::connect(&self.url, node).await.unwrap().0
    }

    pub(in crate::store) fn database(&self) -> &str {
        let (_, database) = self.url.rsplit_once('/').unwrap();
        database.split_once('?').unwrap().0
    }

    pub(in crate::store) async fn session(&self) -> PgConnection {
        let options: PgConnectOptions = self.url.parse().unwrap();
        options.options([("search_path", "entasis")]).connect().await.unwrap()
    }

    pub(in crate::store) async fn sql(&self, statement: &str) {
        let mut session = self.session().await;
        let statement = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()));
        statement.execute(&mut session).await.unwrap();
        session.close().await.unwrap();
    }

    pub(in crate::store) async fn count(&self, statement: &str) -> i64 {
        let mut session = self.session().await;
        let statement = AssertSqlSafe(statement.to_owned());
        let count = sqlx::query_scalar(statement).fetch_one(&mut session).await.unwrap();
        session.close().await.unwrap();
        count
    }

    pub(in crate::store) async fn text(&self, statement: &str) -> String {
        let mut session = self.session().await;
        let statement = AssertSqlSafe(statement.to_owned());
        let text = sqlx::query_scalar(statement).fetch_one(&mut session).await.unwrap();
        session.close().await.unwrap();
        text
    }

    /// Lets the time of a lease end, as if its holder had not been heard of.
    pub(in crate::store) async fn expire(&self, lease: &str) {
        self.sql(&format!("UPDATE lease SET expires_at = 0 WHERE name = '{lease}'")).await;
    }
}
