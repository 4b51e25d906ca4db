//! Which library does the arithmetic of TLS wherever nobody names one.
//!
//! Two are linked, ours and one that a client brings along, so rustls cannot find its own any more:
//! without a word of ours a connection to a broker over TLS would panic.

use rustls::crypto::aws_lc_rs;

/// Names ours for the whole process. Whoever comes second changes nothing.
pub(crate) fn install() {
    let _was_named = aws_lc_rs::default_provider().install_default();
}
