//! How KurrentDB is spoken to, and what of a market log it can keep.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use secrecy::SecretString;
use serde::Deserialize;

use crate::configuration::RetentionKeys;
use crate::logs::LogUrl;

/// `[kurrent]`: how KurrentDB is spoken to. In a variable: `ENTASIS_KURRENT__PASSWORD`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct KurrentKeys {
    user: Option<String>,
    /// Meant for a variable: a file that everybody may read is no place for it.
    password: Option<SecretString>,
    /// Whether to speak TLS; so unless this or the URL says otherwise.
    tls: Option<bool>,
    /// The certificates of the authorities that are trusted, in PEM; those of the system when absent.
    tls_ca: Option<PathBuf>,
    /// What the names of our streams begin with: several houses may share a server.
    prefix: Option<String>,
    /// How many nodes the cluster has, where none of them tells: by that it is known what an entry
    /// survives.
    nodes: Option<NonZeroUsize>,
}

/// KurrentDB as configured. What a URL says comes before it.
#[derive(Debug, Clone)]
pub(crate) struct KurrentSettings {
    pub(crate) login: Option<Login>,
    pub(crate) tls: bool,
    pub(crate) tls_ca: Option<PathBuf>,
    pub(crate) prefix: String,
    pub(crate) nodes: Option<NonZeroUsize>,
}

/// Who we are to KurrentDB.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: SecretString,
}

impl KurrentSettings {
    pub(crate) fn of(keys: KurrentKeys) -> Result<Self> {
        let login = match (keys.user, keys.password) {
            (None, None) => None,
            (Some(user), Some(password)) => Some(Login { user, password }),
            _ => bail!("kurrent.user and kurrent.password go together"),
        };
        let tls = keys.tls.unwrap_or(true);
        ensure!(
            tls || keys.tls_ca.is_none(),
            "kurrent.tls = false and kurrent.tls_ca: where nothing is encrypted nobody is asked for \
             a certificate"
        );
        let prefix = keys.prefix.unwrap_or_default();
        ensure!(
            is_prefix(&prefix),
            "kurrent.prefix = {prefix:?}: expected letters, digits and _, 32 at most"
        );
        Ok(Self { login, tls, tls_ca: keys.tls_ca, prefix, nodes: keys.nodes })
    }
}

/// Bytes of a prefix. A longer one is refused.
const PREFIX_BYTES_MAX: usize = 32;

/// Whether something can stand before the name of a stream. Without a `-`: what stands before the first
/// one is the category of a stream in KurrentDB.
pub(crate) fn is_prefix(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= PREFIX_BYTES_MAX && text.bytes().all(fits)
}

/// Refuses a limit of bytes for a market log that nobody would keep: KurrentDB drops by age alone. The
/// limit that counts where none is configured is left out there.
pub(super) fn check_retention(market: &LogUrl, keys: RetentionKeys) -> Result<()> {
    let (LogUrl::Kurrent(_), Some(bytes)) = (market, keys.market_bytes) else { return Ok(()) };
    bail!(
        "retention.market_bytes = {bytes} cannot be kept: the market log stands in KurrentDB, which \
         drops by age alone; leave it out, and set retention.market_days by what the disks there hold"
    )
}
