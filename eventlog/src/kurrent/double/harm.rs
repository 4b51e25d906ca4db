//! What tests do to a server: calls that go wrong, and data that changes behind everybody's back.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::kurrent::double::Double;
use crate::kurrent::double::appending::Expected;
use crate::kurrent::double::cluster::Held;
use crate::kurrent::double::faults::{AppendFault, Faults, ReadFault, Reads};
use crate::kurrent::double::store::{Event, Record, Store};

/// For as long as the test wants it: until [`Double::heal`].
pub const UNTIL_HEALED: usize = usize::MAX;

/// Appends that go wrong. Each method is for the next so many; what was said first happens first.
impl Double {
    /// They are stored, and then the client hears that the server is unavailable.
    pub fn lose_answers(&self, times: usize) {
        self.harm_appends(AppendFault::AnswerLost, times);
    }

    /// They are stored, and then the client hears that the operation timed out.
    pub fn time_out_answers(&self, times: usize) {
        self.harm_appends(AppendFault::TimedOut, times);
    }

    /// They are not stored: the server is unavailable.
    pub fn refuse_appends(&self, times: usize) {
        self.harm_appends(AppendFault::Refused, times);
    }

    /// The client hears that the operation timed out, and they are stored that much later.
    pub fn delay_appends(&self, times: usize, delay: Duration) {
        self.harm_appends(AppendFault::Late(delay), times);
    }

    /// The client hears that the operation timed out, and they are stored by [`Self::store_held`].
    pub fn hold_appends(&self, times: usize) {
        self.harm_appends(AppendFault::Held, times);
    }

    /// Stores what was held back, in its order, as late writes. Returns how many appends that were.
    pub fn store_held(&self) -> usize {
        let held = self.cluster.take_held();
        let count = held.len();
        for Held { stream, expected, events } in held {
            self.cluster.append(&stream, expected, events);
        }
        count
    }

    /// They are stored at once and answered that much later.
    pub fn answer_late(&self, times: usize, delay: Duration) {
        self.harm_appends(AppendFault::AnsweredLate(delay), times);
    }

    /// They are stored, and the answer names no position, as when the server cannot read it back yet.
    pub fn withhold_positions(&self, times: usize) {
        self.harm_appends(AppendFault::WithoutPosition, times);
    }

    fn harm_appends(&self, fault: AppendFault, times: usize) {
        self.cluster.faults(|faults| faults.add_append(fault, times));
    }
}

/// Reads that go wrong.
impl Double {
    /// The next so many end with OK and nothing, as on a node that shuts down.
    pub fn end_reads(&self, reads: Reads, times: usize) {
        self.cut_reads(reads, 0, times);
    }

    /// The next so many end with OK after that many events.
    pub fn cut_reads(&self, reads: Reads, events: usize, times: usize) {
        let fault = ReadFault { events, broken: false };
        self.cluster.faults(|faults| faults.add_read(reads, fault, times));
    }

    /// The next so many end as unavailable after that many events.
    pub fn break_reads(&self, reads: Reads, events: usize, times: usize) {
        let fault = ReadFault { events, broken: true };
        self.cluster.faults(|faults| faults.add_read(reads, fault, times));
    }

    /// Each event takes so long, also in reads that have begun. Zero is as fast as can be.
    pub fn slow_reads(&self, per_event: Duration) {
        let delay = Some(per_event).filter(|delay| !delay.is_zero());
        self.cluster.faults(|faults| faults.event_delay = delay);
    }

    /// From now on no call goes wrong by the methods above. What is held back stays held back.
    pub fn heal(&self) {
        self.cluster.faults(Faults::heal);
    }
}

/// Data that changes, and a clock that moves.
impl Double {
    /// Writes an event of somebody else behind whatever the stream holds.
    pub fn put(&self, stream: &str, event: Event) {
        self.cluster.change(|store| store.append(stream, Expected::Any, vec![event]));
    }

    /// Nobody is shown that event any more, and nobody is told. Returns whether it was there.
    pub fn hide(&self, stream: &str, revision: u64) -> bool {
        self.cluster.change(|store| store.lose(stream, revision))
    }

    /// Gives an event another body. Returns whether it was there.
    pub fn alter(&self, stream: &str, revision: u64, data: impl Into<Bytes>) -> bool {
        self.cluster.change(|store| store.alter(stream, revision, data.into()))
    }

    /// Forgets all records from that position on, as when a leader is lost that had not told the others.
    pub fn truncate(&self, position: u64) {
        self.cluster.change(|store| store.truncate(position));
    }

    /// Lets the server's clock go on. It never does by itself.
    pub fn advance(&self, time: Duration) {
        self.cluster.change(|store| store.now += time);
    }

    /// Removes what retention hides from readers of everything, too.
    pub fn scavenge(&self) {
        self.cluster.change(Store::scavenge);
    }
}

/// What a test can look at.
impl Double {
    /// Returns how often each method was called: `read`, `append`, `delete`, `tombstone`, `features`,
    /// `gossip`, and `gossip_page`, the one by plain HTTP.
    pub fn calls(&self) -> BTreeMap<&'static str, usize> {
        self.cluster.calls()
    }

    /// Returns how many events clients have put in.
    pub fn appends_stored(&self) -> usize {
        self.cluster.appends_stored()
    }

    /// Returns all events of a stream by their revisions, also those that nobody is shown.
    pub fn stored(&self, stream: &str) -> Vec<Record> {
        self.cluster.look(0, |store, _| {
            let last = store.last_revision(stream);
            let revisions = last.map_or(0..0, |last| 0..last + 1);
            revisions
                .filter_map(|revision| store.at(stream, revision))
                .map(|r| (**r).clone())
                .collect()
        })
    }

    /// Returns the position behind the last record.
    pub fn end(&self) -> u64 {
        self.cluster.look(0, |store, _| store.end())
    }
}
