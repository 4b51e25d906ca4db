//! A read store in a PostgreSQL that several nodes share, in a schema of its own.

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::store::StoreError;

pub(in crate::store) mod schema;

/// Connections at once of one node. Who wants more waits.
pub(super) const READERS_MAX: u32 = 8;
pub(super) const WRITERS_MAX: u32 = 4;

/// Of those who write the same rows each first locks the row of a lease, so that what is read after it
/// is true at the commit.
pub(super) const WRITE: &str = "BEGIN; SET LOCAL synchronous_commit = off";
pub(super) const WRITE_FOR_EVER: &str = "BEGIN; SET LOCAL synchronous_commit = on";
/// What is read is of one moment.
pub(super) const READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// The server gives a query up when we do.
pub(super) const QUERY: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
                                SET LOCAL statement_timeout = '2s'";

/// The schema in which our tables stand.
const SCHEMA_NAME: &str = "entasis";

/// What each session is told. A node that stands still, or whose machine is gone, must not keep a row
/// locked for long.
const SESSION: [(&str, &str); 7] = [
    ("search_path", SCHEMA_NAME),
    ("timezone", "UTC"),
    ("statement_timeout", "30s"),
    ("lock_timeout", "2s"),
    ("idle_in_transaction_session_timeout", "15s"),
    ("tcp_keepalives_idle", "10"),
    ("client_connection_check_interval", "2s"),
];

/// What may stand behind the question mark of a URL. What else does is not told in an error: it may be
/// a password in a wrong place.
const PARAMETERS: [&str; 4] = ["sslmode", "sslrootcert", "sslcert", "sslkey"];

/// Where a server is, and as whom we come.
pub(in crate::store) struct Address {
    pub(super) options: PgConnectOptions,
    /// Without the password.
    pub(super) name: String,
}

impl Address {
    /// Reads a URL, such as `postgres://user:password@host:5432/database?sslmode=verify-full`.
    pub(in crate::store) fn parse(url: &str, node: &str) -> Result<Self, StoreError> {
        let wrong = || {
            StoreError::Unreachable(
                "its URL does not read: expected postgres://USER:PASSWORD@HOST/DATABASE, and after \
                 a question mark sslmode, sslrootcert, sslcert or sslkey"
                    .to_owned(),
            )
        };
        let (address, query) = url.split_once('?').unwrap_or((url, ""));
        let known = |parameter: &str| {
            let (name, _) = parameter.split_once('=').unwrap_or((parameter, ""));
            PARAMETERS.contains(&name)
        };
        let is_postgres =
            ["postgres://", "postgresql://"].iter().any(|scheme| address.starts_with(scheme));
        if !is_postgres || !query.split('&').filter(|part| !part.is_empty()).all(known) {
            return Err(wrong());
        }
        let options: PgConnectOptions = url.parse().map_err(|_| wrong())?;
        let database = options.get_database().ok_or_else(wrong)?;
        let (host, port) = (options.get_host(), options.get_port());
        let name = format!("postgres://{host}:{port}/{database}");
        let encrypted = !matches!(options.get_ssl_mode(), PgSslMode::Disable);
        tracing::debug!(server = name, encrypted, "the read store is on a server");
        let options = options
            .application_name(&format!("entasis {node}"))
            .options(SESSION)
            .disable_statement_logging();
        Ok(Self { options, name })
    }
}

/// Says what an error of PostgreSQL means to us, by its code.
pub(super) fn told(error: sqlx::Error) -> StoreError {
    /// What the server itself calls damaged, in a table and in an index.
    const DATA_CORRUPTED: &str = "XX001";
    const INDEX_CORRUPTED: &str = "XX002";
    // A table, a column or a key of ours is missing, because our statements are right.
    const UNDEFINED_TABLE: &str = "42P01";
    const UNDEFINED_COLUMN: &str = "42703";
    const NO_SUCH_KEY: &str = "42P10";
    const DATATYPE_MISMATCH: &str = "42804";

    let text = error.to_string();
    let sqlx::Error::Database(database) = error else { return StoreError::Unreachable(text) };
    match database.code().as_deref() {
        Some(
            DATA_CORRUPTED | INDEX_CORRUPTED | UNDEFINED_TABLE | UNDEFINED_COLUMN | NO_SUCH_KEY
            | DATATYPE_MISMATCH,
        ) => StoreError::Damaged(text),
        _ => StoreError::Unreachable(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_told_without_its_password() {
        let address =
            Address::parse("postgres://u:geheim@db.test:6543/reads?sslmode=require", "n1");
        assert_eq!(address.ok().unwrap().name, "postgres://db.test:6543/reads");
    }

    #[test]
    fn what_is_wrong_with_a_url_does_not_tell_what_stands_in_it() {
        for url in [
            "postgres://u:geheim@db.test",
            "postgres://u:geheim@db.test:port/reads",
            "postgres://u:geheim@/reads?password=geheim",
            "postgres://u@db.test/reads?pasword=geheim",
            "postgres://u@db.test/reads?sslmode=geheim",
            "mysql://u:geheim@db.test/reads",
            "geheim",
        ] {
            let error = Address::parse(url, "n1").err().unwrap().to_string();
            assert!(!error.contains("geheim") && error.contains("postgres://USER"), "{error}");
        }
    }
}
