//! What goes wrong, and how many times: tests say it beforehand, calls take it from here.

use std::collections::VecDeque;
use std::time::Duration;

/// What happens to an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AppendFault {
    /// Stored, but the answer is lost with the connection.
    AnswerLost,
    /// Stored, but the server gives up waiting for itself.
    TimedOut,
    /// Not stored.
    Refused,
    /// The server gives up waiting, and it is stored that much later.
    Late(Duration),
    /// The server gives up waiting, and it is stored when the test says so.
    Held,
    /// Stored at once and answered that much later.
    AnsweredLate(Duration),
    /// Stored, and the answer names no position.
    WithoutPosition,
}

/// Which reads a fault is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    Every,
    OfAll,
    OfStreams,
}

impl Reads {
    fn holds(self, kind: Self) -> bool {
        self == Self::Every || self == kind
    }
}

/// How a read ends before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReadFault {
    /// After so many events.
    pub(crate) events: usize,
    /// With "unavailable" instead of as if that were all.
    pub(crate) broken: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Faults {
    appends: VecDeque<(AppendFault, usize)>,
    reads: VecDeque<(Reads, ReadFault, usize)>,
    /// How long a server takes for each event that it reads out.
    pub(crate) event_delay: Option<Duration>,
}

impl Faults {
    pub(crate) fn add_append(&mut self, fault: AppendFault, times: usize) {
        self.appends.push_back((fault, times));
    }

    pub(crate) fn add_read(&mut self, reads: Reads, fault: ReadFault, times: usize) {
        self.reads.push_back((reads, fault, times));
    }

    pub(crate) fn heal(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn next_append(&mut self) -> Option<AppendFault> {
        self.appends.retain(|(_, times)| *times > 0);
        let (fault, times) = self.appends.front_mut()?;
        *times -= 1;
        Some(*fault)
    }

    /// Returns what happens to a read of everything, or of a stream.
    pub(crate) fn next_read(&mut self, kind: Reads) -> Option<ReadFault> {
        self.reads.retain(|(_, _, times)| *times > 0);
        let (_, fault, times) = self.reads.iter_mut().find(|(reads, ..)| reads.holds(kind))?;
        *times -= 1;
        Some(*fault)
    }
}
