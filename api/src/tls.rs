//! TLS: the certificate that connections are answered with, and how it is changed while they run.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use domain::time::Timestamp;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, Error, RootCertStore, ServerConfig};

/// HTTP/2, as ALPN calls it.
pub const H2: &[u8] = b"h2";

/// HTTP/1.1, as ALPN calls it. Who does not choose speaks it too.
pub const HTTP_1_1: &[u8] = b"http/1.1";

/// What new connections are answered with. Those that stand keep what they began with.
pub struct Tls(ArcSwap<ServerConfig>);

/// Why a certificate or its key cannot be used. It never tells what is in a file of a key.
#[derive(Debug, thiserror::Error)]
pub enum BadCertificate {
    #[error("there is no certificate: expected PEM, the server's own first")]
    NoCertificate,
    #[error("there is no private key: expected PEM, not encrypted")]
    NoKey,
    #[error("{0}")]
    Unreadable(String),
    #[error("the private key is not that of the certificate")]
    OtherKey,
    #[error("a certificate of the chain has expired at {}", .0.to_shortest())]
    Expired(Timestamp),
    #[error("a certificate of the chain is not valid before {}", .0.to_shortest())]
    NotYetValid(Timestamp),
}

impl Tls {
    pub fn new(config: ServerConfig) -> Self {
        Self(ArcSwap::from_pointee(config))
    }

    /// Answers new connections with this from now on.
    pub fn replace(&self, config: ServerConfig) {
        self.0.store(Arc::new(config));
    }

    pub fn current(&self) -> Arc<ServerConfig> {
        self.0.load_full()
    }
}

/// Returns what it takes to answer with this chain and this key, both in PEM.
pub fn configured(chain: &[u8], key: &[u8]) -> Result<ServerConfig, BadCertificate> {
    let chain = certificates(chain)?;
    // The reasons of the PEM reader quote what they cannot read, and that may be a key.
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| BadCertificate::NoKey)?;
    // Named, not found: another crate may have linked and installed another provider.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| unreadable(&error))?
        .with_no_client_auth()
        .with_single_cert(chain, key);
    let mut config = config.map_err(|error| match error {
        Error::InconsistentKeys(_) => BadCertificate::OtherKey,
        other => unreadable(&other),
    })?;
    config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
    Ok(config)
}

/// Checks that each certificate of a chain, in PEM, is valid at a time.
pub fn check_time(chain: &[u8], at: Timestamp) -> Result<(), BadCertificate> {
    let since_epoch = Duration::from_micros(u64::try_from(at.micros()).unwrap_or_default());
    let now = UnixTime::since_unix_epoch(since_epoch);
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms.all;
    // Without anybody to trust, no certificate is trusted: but its time is judged before that.
    let nobody = RootCertStore::empty();
    for certificate in certificates(chain)? {
        let parsed =
            ParsedCertificate::try_from(&certificate).map_err(|error| unreadable(&error))?;
        let judged =
            verify_server_cert_signed_by_trust_anchor(&parsed, &nobody, &[], now, algorithms);
        match judged {
            Err(Error::InvalidCertificate(CertificateError::ExpiredContext {
                not_after, ..
            })) => return Err(BadCertificate::Expired(timestamp(not_after))),
            Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
                not_before,
                ..
            })) => return Err(BadCertificate::NotYetValid(timestamp(not_before))),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, BadCertificate> {
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| unreadable(&error))?;
    if chain.is_empty() {
        return Err(BadCertificate::NoCertificate);
    }
    for certificate in &chain {
        ParsedCertificate::try_from(certificate).map_err(|error| unreadable(&error))?;
    }
    Ok(chain)
}

fn unreadable(error: &dyn fmt::Display) -> BadCertificate {
    BadCertificate::Unreadable(error.to_string())
}

fn timestamp(time: UnixTime) -> Timestamp {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_millis(seconds.saturating_mul(1_000))
}

#[cfg(test)]
mod tests;
