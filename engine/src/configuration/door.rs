//! What the door is to be: behind which certificate, for whom, from where, how often.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use api::rules::Rules;
use api::settings::Settings;
use domain::name::NodeId;
use domain::network::Network;
use secrecy::SecretString;
use serde::Deserialize;

use crate::configuration::{Ws, words};
use crate::private::Private;

const NODE_DEFAULT: &str = "node-1";

/// Connections that can be configured at most: more than any machine has descriptors for.
const CONNECTIONS_MAX: usize = 10_000_000;

/// `[auth]`: who may come in.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AuthKeys {
    /// The file of the keys that tokens are signed with; drawn into the data folder when absent.
    token_keys: Option<PathBuf>,
    /// One secret for HS256 instead of a file: at least 32 bytes. Meant for a variable,
    /// `ENTASIS_AUTH__SECRET`: a file that everybody may read is no place for it.
    secret: Option<SecretString>,
}

/// `[tls]`: what connections are answered with.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TlsKeys {
    /// The chain of certificates, and the key of the first, in PEM. Read again when they change.
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    /// A certificate that is made in the data folder.
    self_signed: Option<bool>,
    /// `proxy`: one in front of us ends TLS, and what reaches us is plain.
    mode: Option<Mode>,
}

impl TlsKeys {
    /// Returns the keys of a house that has made its certificate itself, or has none.
    pub(crate) fn of_flag(self_signed: bool) -> Self {
        Self { self_signed: Some(self_signed), ..Self::default() }
    }

    /// Says what the flag says.
    pub(crate) const fn sign_self(&mut self) {
        self.self_signed = Some(true);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Proxy,
}

/// `[limits]`: how much one may ask and hold at once.
#[expect(clippy::struct_field_names, reason = "limits end in max, everywhere in the house")]
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LimitKeys {
    /// Requests of one account, and of one address, in any 60 seconds.
    requests_max: Option<u32>,
    requests_ip_max: Option<u32>,
    /// Failed authentications of one address in 60 seconds.
    failures_ip_max: Option<u32>,
    /// Connections at once, of all and of one address.
    connections_max: Option<usize>,
    connections_ip_max: Option<usize>,
}

/// `[addresses]`: from where one may come. Lists of networks in CIDR form, or addresses.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AddressKeys {
    /// Only from these, when there are any.
    #[serde(deserialize_with = "words")]
    allow: Vec<String>,
    /// Not from these, whatever else is said.
    #[serde(deserialize_with = "words")]
    deny: Vec<String>,
    /// Proxies that are believed when they say for whom they ask.
    #[serde(deserialize_with = "words")]
    trusted_proxies: Vec<String>,
}

/// The door as configured.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) node: NodeId,
    /// The folder of what is nobody else's business.
    pub(crate) private: Private,
    pub(crate) token_keys: TokenKeysAt,
    pub(crate) tls: TlsChoice,
    /// Counts from the next request on when the configuration is read again.
    pub(crate) rules: Rules,
    pub(crate) connections_max: usize,
    pub(crate) connections_ip_max: usize,
}

/// Where the keys are that tokens are signed with.
#[derive(Debug)]
pub(crate) enum TokenKeysAt {
    /// In the private folder, and drawn when they are not there.
    Private,
    File(PathBuf),
    Secret(SecretString),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TlsChoice {
    /// On loopback, or behind a proxy that ends TLS.
    Plain {
        behind_proxy: bool,
    },
    Files {
        certificate: PathBuf,
        key: PathBuf,
    },
    SelfSigned {
        host: String,
    },
}

type Parts = (AuthKeys, TlsKeys, LimitKeys, AddressKeys);

impl Door {
    pub(crate) fn of(
        data: &Path,
        listen: &str,
        node: Option<&str>,
        (auth, tls, limits, addresses): Parts,
        ws: &Ws,
    ) -> Result<Self> {
        let tls = TlsChoice::of(tls, listen)?;
        if tls == (TlsChoice::Plain { behind_proxy: false }) {
            ensure!(
                is_loopback(listen),
                "listen = {listen:?} is not loopback, and there is no TLS: set tls.certificate and \
                 tls.key, or --tls-self-signed, or tls.mode = \"proxy\" where a proxy ends TLS"
            );
        }
        let (settings, rules) = (Settings::default(), Rules::default());
        let positive = |key: &str, value: Option<u32>, default: u32| {
            let value = value.unwrap_or(default);
            ensure!(value > 0, "limits.{key} = 0 would let nobody in");
            Ok(value)
        };
        let connections = |key: &str, value: Option<usize>, default: usize| {
            let value = value.unwrap_or(default);
            ensure!(
                (1..=CONNECTIONS_MAX).contains(&value),
                "limits.{key} = {value}: expected 1 to {CONNECTIONS_MAX}"
            );
            Ok(value)
        };
        let rules = Rules {
            allow: networks("allow", &addresses.allow)?,
            deny: networks("deny", &addresses.deny)?,
            trusted_proxies: networks("trusted_proxies", &addresses.trusted_proxies)?,
            requests_max: positive("requests_max", limits.requests_max, rules.requests_max)?,
            requests_ip_max: positive(
                "requests_ip_max",
                limits.requests_ip_max,
                // Never tighter than what one account may.
                rules
                    .requests_ip_max
                    .max(limits.requests_max.unwrap_or_default().saturating_mul(10)),
            )?,
            failures_ip_max: limits.failures_ip_max.unwrap_or(rules.failures_ip_max),
            anonymous_market: ws.anonymous_market.unwrap_or(rules.anonymous_market),
            origins: ws.origins.clone(),
        };
        Ok(Self {
            node: node.unwrap_or(NODE_DEFAULT).parse().context("node")?,
            private: Private::in_folder(data),
            token_keys: match (auth.token_keys, auth.secret) {
                (None, None) => TokenKeysAt::Private,
                (Some(file), None) => TokenKeysAt::File(file),
                (None, Some(secret)) => TokenKeysAt::Secret(secret),
                (Some(_), Some(_)) => bail!("auth.token_keys and auth.secret: one of the two"),
            },
            tls,
            rules,
            connections_max: connections(
                "connections_max",
                limits.connections_max,
                settings.connections_max,
            )?,
            connections_ip_max: connections(
                "connections_ip_max",
                limits.connections_ip_max,
                settings.connections_ip_max,
            )?,
        })
    }
}

impl TlsChoice {
    fn of(keys: TlsKeys, listen: &str) -> Result<Self> {
        let self_signed = keys.self_signed.unwrap_or_default();
        let behind_proxy = keys.mode == Some(Mode::Proxy);
        let files = match (keys.certificate, keys.key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => bail!("tls.certificate and tls.key go together"),
        };
        ensure!(
            !(behind_proxy && (self_signed || files.is_some())),
            "tls.mode = \"proxy\" says that a proxy ends TLS: then there is no certificate here"
        );
        Ok(match files {
            // A certificate that is configured is meant, whatever the flag says.
            Some((certificate, key)) => Self::Files { certificate, key },
            None if self_signed => Self::SelfSigned { host: host(listen).to_owned() },
            None => Self::Plain { behind_proxy },
        })
    }
}

fn networks(key: &str, words: &[String]) -> Result<Vec<Network>> {
    let network =
        |word: &String| word.parse().with_context(|| format!("addresses.{key}: {word:?}"));
    words.iter().map(network).collect()
}

/// Returns what stands before the port.
fn host(listen: &str) -> &str {
    let host = listen.rsplit_once(':').map_or(listen, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Whether nobody outside of this machine can reach an address to listen on. A name that cannot be
/// resolved may be anybody's.
fn is_loopback(listen: &str) -> bool {
    let own = |address: SocketAddr| address.ip().to_canonical().is_loopback();
    match host(listen).parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => listen.to_socket_addrs().is_ok_and(|mut addresses| addresses.all(own)),
    }
}
