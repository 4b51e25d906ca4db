//! How venues are known to be who they say.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};

/// Returns what sockets and requests share.
///
/// The roots are Mozilla's, built in: the binary then runs in an image without certificates, and
/// trusts the same authorities on every machine. The provider is named here, so that nothing hangs
/// on which one the process has installed.
pub(super) fn configuration() -> ClientConfig {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider knows TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth()
}
