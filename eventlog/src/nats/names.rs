//! What a log, and each stream of it, is called in JetStream.

use uuid::Uuid;

use crate::log::LogError;
use crate::stream::{Log, Stream};

/// The names of one log.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) log: Log,
    /// Of the JetStream stream.
    pub(super) stream: String,
    /// What the subjects begin with, without the dot behind it.
    subjects: String,
}

impl Names {
    pub(super) fn new(prefix: &str, log: Log) -> Result<Self, LogError> {
        let may_stand = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if prefix.is_empty() || !prefix.bytes().all(may_stand) {
            return Err(LogError::Unavailable(format!(
                "{prefix:?} cannot stand in front of the names of NATS subjects: letters, digits, \
                 - and _ can"
            )));
        }
        Ok(Self {
            log,
            stream: format!("{prefix}_{log}").to_uppercase(),
            subjects: format!("{prefix}.{log}"),
        })
    }

    /// Returns the subjects of all streams of the log.
    pub(super) fn all(&self) -> String {
        format!("{}.>", self.subjects)
    }

    /// Returns the subject of a stream.
    pub(super) fn subject(&self, stream: &Stream) -> String {
        format!("{}.{stream}", self.subjects)
    }

    /// Returns the stream that has a subject.
    pub(super) fn stream_of(&self, subject: &str) -> Option<Stream> {
        let name = subject.strip_prefix(&self.subjects)?.strip_prefix('.')?;
        name.parse().ok().filter(|stream: &Stream| stream.log() == self.log)
    }
}

/// Returns what makes a message one that was sent before. Such ids count for the whole JetStream
/// stream, hence the stream of ours in them.
pub(super) fn message_id(stream: &Stream, append_id: Uuid) -> String {
    format!("{stream}:{append_id}")
}
