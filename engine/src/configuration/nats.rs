//! How a broker is spoken to, and how logs are kept there.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use secrecy::SecretString;
use serde::Deserialize;

use crate::broker;
use crate::configuration::words;

const PREFIX_DEFAULT: &str = "entasis";

/// The replicas that a broker can keep of a stream at most.
const REPLICAS_MAX: usize = 5;

/// `[nats]`: how a broker is spoken to. In a variable: `ENTASIS_NATS__PASSWORD`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NatsKeys {
    user: Option<String>,
    /// Meant for a variable: a file that everybody may read is no place for it.
    password: Option<SecretString>,
    /// The file of a user's JWT and seed, as `nsc` writes it.
    credentials: Option<PathBuf>,
    /// The file of a user's seed.
    nkey: Option<PathBuf>,
    /// Whether to speak TLS or not at all; so where a certificate of an authority is given.
    tls: Option<bool>,
    /// The certificates of the authorities that are trusted, in PEM; those of the system when absent.
    tls_ca: Option<PathBuf>,
    /// What the names of our streams and subjects begin with: several houses may share a broker.
    prefix: Option<String>,
    /// How many servers keep each log.
    replicas: Option<usize>,
    /// Whether a log that is not there is made; `entasis log create` does so in any case.
    create: Option<bool>,
    /// Whether each server syncs every write to its disk: `sync_interval: always`. A broker does not
    /// tell its users: it is believed here, unless monitors say otherwise.
    sync_always: Option<bool>,
    /// The monitoring addresses of the servers, `http://HOST:PORT`, where it can be seen.
    #[serde(deserialize_with = "words")]
    monitors: Vec<String>,
}

/// A broker as configured.
#[derive(Debug, Clone)]
pub(crate) struct NatsSettings {
    pub(crate) identity: Identity,
    pub(crate) tls: bool,
    pub(crate) tls_ca: Option<PathBuf>,
    pub(crate) prefix: String,
    pub(crate) replicas: usize,
    pub(crate) create: bool,
    pub(crate) sync_always: bool,
    pub(crate) monitors: Vec<String>,
}

/// Who we are to a broker.
#[derive(Debug, Clone)]
pub(crate) enum Identity {
    Nobody,
    User { user: String, password: SecretString },
    Credentials(PathBuf),
    Nkey(PathBuf),
}

impl NatsSettings {
    pub(crate) fn of(keys: NatsKeys) -> Result<Self> {
        let identity = match (keys.user, keys.password, keys.credentials, keys.nkey) {
            (None, None, None, None) => Identity::Nobody,
            (Some(user), Some(password), None, None) => Identity::User { user, password },
            (Some(_), None, None, None) | (None, Some(_), None, None) => {
                bail!("nats.user and nats.password go together")
            }
            (None, None, Some(file), None) => Identity::Credentials(file),
            (None, None, None, Some(file)) => Identity::Nkey(file),
            _ => {
                bail!("nats.user with nats.password, nats.credentials, nats.nkey: one of the three")
            }
        };
        let prefix = keys.prefix.unwrap_or_else(|| PREFIX_DEFAULT.to_owned());
        broker::check_prefix(&prefix).context("nats.prefix")?;
        let replicas = keys.replicas.unwrap_or(1);
        ensure!(
            (1..=REPLICAS_MAX).contains(&replicas),
            "nats.replicas = {replicas}: expected 1 to {REPLICAS_MAX}"
        );
        for monitor in &keys.monitors {
            let is_one = monitor.starts_with("http://");
            ensure!(is_one, "nats.monitors: {monitor:?}: expected http://HOST:PORT");
        }
        Ok(Self {
            identity,
            tls: keys.tls.unwrap_or(keys.tls_ca.is_some()),
            tls_ca: keys.tls_ca,
            prefix,
            replicas,
            create: keys.create.unwrap_or(true),
            sync_always: keys.sync_always.unwrap_or_default(),
            monitors: keys.monitors,
        })
    }
}
