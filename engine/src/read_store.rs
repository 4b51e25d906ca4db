//! Which read store stands behind a URL.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use projections::store::{Opened, Store};
use secrecy::{ExposeSecret, SecretString};

/// The name of the file in a data folder.
pub(crate) const FILE: &str = "read.db";

/// A place where snapshots and the archive are kept.
#[derive(Debug, Clone)]
pub(crate) enum ReadStoreUrl {
    /// A file of `SQLite`.
    Sqlite(PathBuf),
    Postgres(PostgresUrl),
}

/// A database of `PostgreSQL`, which several nodes may share.
#[derive(Debug, Clone)]
pub(crate) struct PostgresUrl {
    /// Without its password.
    shown: String,
    url: SecretString,
}

/// As it may be told: without a secret.
impl fmt::Display for ReadStoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => write!(f, "sqlite:{}", file.display()),
            Self::Postgres(postgres) => f.write_str(&postgres.shown),
        }
    }
}

impl ReadStoreUrl {
    /// Reads a URL. `password` stands elsewhere, where it is not in the URL itself.
    pub(crate) fn parse(text: &str, password: Option<&SecretString>) -> Result<Self> {
        match text.split_once(':') {
            Some(("sqlite", "")) => bail!("sqlite: needs a file, such as sqlite:./data/{FILE}"),
            Some(("sqlite", file)) => Ok(Self::Sqlite(file.into())),
            Some(("postgres" | "postgresql", rest)) => {
                Ok(Self::Postgres(PostgresUrl::parse(rest, password)?))
            }
            _ => bail!("expected sqlite:FILE or postgres://USER@HOST[:PORT]/DATABASE"),
        }
    }

    /// Returns the read store of a data folder.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self::Sqlite(folder.join(FILE))
    }

    /// Returns the file that it is, where it is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(file) => Some(file),
            Self::Postgres(_) => None,
        }
    }

    /// Asks a server for a sign of life; of a file nothing is asked. Makes nothing there.
    pub(crate) async fn answers(&self) -> Result<()> {
        let Self::Postgres(postgres) = self else { return Ok(()) };
        let answered = projections::store::answers(postgres.url.expose_secret()).await;
        answered.with_context(|| format!("the read store {self}"))
    }

    /// Opens the read store; says in the log lines what it had to set aside.
    pub(crate) async fn open(&self, node: &str) -> Result<Store> {
        let opened = match self {
            Self::Sqlite(file) => Store::open(file).await,
            Self::Postgres(postgres) => Store::connect(postgres.url.expose_secret(), node).await,
        };
        let (store, opened) = opened.with_context(|| format!("the read store {self}"))?;
        let url = self;
        match opened {
            Opened::Made => tracing::info!(%url, "read store made"),
            Opened::There => tracing::info!(%url, "read store opened"),
            Opened::Emptied { reason } => tracing::error!(
                %url,
                reason,
                "the read store is emptied, and is made anew from the logs"
            ),
            Opened::SetAside { path, reason } => tracing::error!(
                %url,
                reason,
                set_aside = %path.display(),
                "the read store is damaged, and is made anew from the logs"
            ),
        }
        Ok(store)
    }
}

impl PostgresUrl {
    /// Reads what stands behind the scheme: `//[user[:password]@]host[:port]/database[?option=…]`.
    fn parse(rest: &str, password: Option<&SecretString>) -> Result<Self> {
        let expected = "expected postgres://USER@HOST[:PORT]/DATABASE";
        let rest = rest.strip_prefix("//").context(expected)?;
        // What stands behind the host holds no secret that we know of; what it holds is not told.
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let (login, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        let database = rest.get(authority.len()..).unwrap_or_default();
        let name = database.split('?').next().unwrap_or_default();
        ensure!(!login.is_empty() && name.len() > 1, expected);
        ensure!(
            !database.contains("password="),
            "a password stands before the @, or in postgres.password"
        );
        let (user, own) =
            login.split_once(':').map_or((login, None), |(user, own)| (user, Some(own)));
        let login = match (own, password) {
            (Some(_), Some(_)) => {
                bail!("postgres.password, or a password in the URL: one of the two")
            }
            (Some(own), None) => format!("{user}:{own}@"),
            (None, Some(password)) => format!("{user}:{}@", encoded(password.expose_secret())),
            (None, None) => format!("{user}@"),
        };
        let url = SecretString::from(format!("postgres://{login}{host}{database}"));
        Ok(Self { shown: format!("postgres://{user}@{host}{name}"), url })
    }
}

/// Returns a text as it may stand in a URL.
fn encoded(text: &str) -> String {
    let encoded = |byte: u8| match byte {
        b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encoded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str, password: Option<&str>) -> Result<String> {
        let password = password.map(SecretString::from);
        match ReadStoreUrl::parse(text, password.as_ref())? {
            ReadStoreUrl::Postgres(postgres) => Ok(postgres.url.expose_secret().to_owned()),
            ReadStoreUrl::Sqlite(file) => Ok(file.display().to_string()),
        }
    }

    #[test]
    fn a_password_stands_in_the_url_or_beside_it() {
        let plain = "postgres://u@h:5/d?sslmode=require";

        assert_eq!(url(plain, None).unwrap(), plain);
        let with = url(plain, Some("p@/ä")).unwrap();
        assert_eq!(with, "postgres://u:p%40%2F%C3%A4@h:5/d?sslmode=require");
        let own = "postgresql://u:own@[::1]/d";
        assert_eq!(url(own, None).unwrap(), "postgres://u:own@[::1]/d");
        assert!(url(own, Some("p")).is_err());
    }

    #[test]
    fn a_password_is_not_told() {
        let text = "postgres://u:canary@h/d?sslmode=require";
        let store = ReadStoreUrl::parse(text, None).unwrap();

        assert_eq!(store.to_string(), "postgres://u@h/d");
        assert!(!format!("{store:?}").contains("canary"));
        for text in
            ["postgres:u:canary@h/d", "postgres://canary@h", "postgres://u@h/d?password=canary"]
        {
            let said = format!("{:#}", url(text, None).unwrap_err());
            assert!(!said.contains("canary"), "{said}");
        }
    }
}
