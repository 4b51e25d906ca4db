//! What waits to be written to the trail, and what of it is in hand.

use std::collections::VecDeque;
use std::net::IpAddr;

use domain::access::event::AccessEvent;
use domain::event::Event;
use domain::time::Timestamp;
use eventlog::entry::ENTRY_EVENTS_MAX;
use tokio::time::Instant;

use crate::register::trail::flood::Flood;

/// What waits to be written. When it is full, more is counted, and told in one event.
pub const WAITING_MAX: usize = 4_096;

/// What waits to be written when what is never counted away waits too. When that is full, a line of
/// the log says that something was lost.
pub const WAITING_IN_ALL_MAX: usize = 4 * WAITING_MAX;

/// Floods that are told of in one entry. More wait for the next ones, and go on being counted: a flood
/// from very many addresses would be one of events that count it.
pub const COUNTED_TOLD_MAX: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Waiting {
    events: VecDeque<AccessEvent>,
    flood: Flood,
    in_hand: Option<Batch>,
    /// How often a name was made: two of them are never the same.
    names: u64,
    /// Whether it was said that something was lost.
    is_full: bool,
}

/// What is written at once, and what its name is made of.
#[derive(Debug)]
struct Batch {
    input: Vec<u8>,
    events: Vec<Event>,
}

impl Waiting {
    /// Takes in what an address did; returns whether there is something to write that was not there.
    pub(super) fn note(
        &mut self,
        address: IpAddr,
        event: AccessEvent,
        now: (Timestamp, Instant),
    ) -> bool {
        if self.flood.lets(address, now.1) && self.events.len() < WAITING_MAX {
            self.events.push_back(event);
            return true;
        }
        self.flood.count(address, now)
    }

    /// Takes in what is never counted away; false when there is no room at all.
    pub(super) fn leave(&mut self, event: AccessEvent) -> bool {
        if self.events.len() < WAITING_IN_ALL_MAX {
            self.events.push_back(event);
            return true;
        }
        if !std::mem::replace(&mut self.is_full, true) {
            tracing::error!("the trail is full: what is done at the door is not recorded");
        }
        false
    }

    /// Takes into hand what comes next, unless something is: what waits, and floods that are due by
    /// `now`, or all of them when there is no `now`. Returns whether anything is in hand.
    pub(super) fn fill(&mut self, at: Timestamp, now: Option<Instant>) -> bool {
        if self.in_hand.is_none() {
            // Part of the room is theirs at the most: neither keeps the other from being told.
            let max = if now.is_some() { COUNTED_TOLD_MAX } else { ENTRY_EVENTS_MAX / 2 };
            let counted = self.flood.tell(now, max);
            let count = self.events.len().min(ENTRY_EVENTS_MAX - counted.len());
            let mut events: Vec<AccessEvent> = self.events.drain(..count).collect();
            events.extend(counted);
            if !events.is_empty() {
                let events: Vec<Event> = events.into_iter().map(Event::Access).collect();
                let input = self.name(at, &events);
                self.in_hand = Some(Batch { input, events });
            }
            self.is_full = false;
        }
        self.in_hand.is_some()
    }

    /// Returns what is in hand, and what its name is made of.
    pub(super) fn in_hand(&self) -> Option<(Vec<u8>, Vec<Event>)> {
        self.in_hand.as_ref().map(|batch| (batch.input.clone(), batch.events.clone()))
    }

    /// Lets go of what is in hand.
    pub(super) fn written(&mut self) {
        self.in_hand = None;
    }

    /// Returns what a name is made of that nothing else has, also after a restart.
    pub(super) fn name(&mut self, at: Timestamp, events: &[Event]) -> Vec<u8> {
        self.names += 1;
        let mut name = format!("{at}/{}/", self.names).into_bytes();
        name.extend(serde_json::to_vec(events).unwrap_or_default());
        name
    }

    /// Returns how many events wait or are in hand.
    pub(super) fn len(&self) -> usize {
        self.events.len() + self.in_hand.as_ref().map_or(0, |batch| batch.events.len())
    }

    pub(super) fn is_counting(&self) -> bool {
        self.flood.is_counting()
    }

    /// Returns how much was counted and not told.
    pub(super) fn counted(&self) -> u64 {
        self.flood.counted()
    }
}
