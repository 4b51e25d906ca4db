//! What the streams of a log are called in KurrentDB.

use eventstore::SubscriptionFilter;

use crate::log::LogError;
use crate::stream::{Log, Stream};

/// The names of one log.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) log: Log,
    /// Before the name of each stream, so that several houses may share a server; usually nothing.
    prefix: String,
}

impl Names {
    pub(super) fn new(prefix: &str, log: Log) -> Result<Self, LogError> {
        let may_stand = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if !prefix.bytes().all(may_stand) {
            return Err(LogError::Unavailable(format!(
                "{prefix:?} cannot stand in front of the names of KurrentDB's streams: letters, \
                 digits and _ can"
            )));
        }
        Ok(Self { log, prefix: prefix.to_owned() })
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn of(&self, stream: &Stream) -> String {
        format!("{}{stream}", self.prefix)
    }

    /// Returns the stream of this log that has a name.
    pub(super) fn stream(&self, name: &str) -> Option<Stream> {
        let stream: Stream = name.strip_prefix(&self.prefix)?.parse().ok()?;
        (stream.log() == self.log).then_some(stream)
    }

    /// Returns the stream of this log whose settings stand under a name.
    pub(super) fn stream_of_settings(&self, name: &str) -> Option<Stream> {
        self.stream(name.strip_prefix("$$")?)
    }

    /// Passes the log's streams, and whatever else begins like one of them: readers look closer.
    pub(super) fn filter(&self) -> SubscriptionFilter {
        self.prefixes("")
    }

    /// Passes the settings of the log's streams.
    pub(super) fn filter_of_settings(&self) -> SubscriptionFilter {
        self.prefixes("$$")
    }

    /// Passes both.
    pub(super) fn filter_with_settings(&self) -> SubscriptionFilter {
        self.prefixes_onto(self.filter(), "$$")
    }

    fn prefixes(&self, before: &str) -> SubscriptionFilter {
        self.prefixes_onto(SubscriptionFilter::on_stream_name(), before)
    }

    fn prefixes_onto(&self, begin: SubscriptionFilter, before: &str) -> SubscriptionFilter {
        self.log.stream_prefixes().iter().fold(begin, |filter, prefix| {
            filter.add_prefix(format!("{before}{}{prefix}", self.prefix))
        })
    }
}

/// Returns the name of the stream in which KurrentDB keeps the settings of another.
pub(super) fn settings(name: &str) -> String {
    format!("$${name}")
}
