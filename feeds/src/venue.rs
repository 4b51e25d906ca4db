//! What a venue is to us: a way to read its frames.

use domain::amount::NotAnAmount;
use domain::observation::Observation;
use domain::time::Timestamp;

/// A venue's wire format. Decoding is a pure function of its input: no clock, no I/O, no panic,
/// so that sockets, recordings and fuzzers call the same code.
pub trait Venue: Send + Sync {
    /// Returns what one frame says, heard at `received_at`.
    fn decode(&self, frame: &[u8], received_at: Timestamp) -> Result<Decoded, DecodeError>;
}

/// What one frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// One observation.
    One(Observation),
    /// The venue's yes to a request of ours.
    Acknowledged,
    /// The venue is about to hang up.
    Closing,
    /// A kind of message or a symbol that nobody asked for: no error, but counted.
    Ignored,
}

/// Why a frame could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("the frame is not utf-8 text")]
    NotText(#[from] std::str::Utf8Error),
    #[error("not in the venue's shape: {0}")]
    Shape(#[from] serde_json::Error),
    #[error("bad price or quantity: {0}")]
    Amount(#[from] NotAnAmount),
    #[error("price times quantity of trade {trade_id} cannot be kept exactly")]
    Inexact { trade_id: u64 },
    #[error("the frame names no instrument: it can be read only where exactly one is wanted")]
    Unnamed,
}
