//! Messages that readers have asked for ahead of their limits, and the replay behind them, which goes on
//! while they are read.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::nats::message::Raw;
use crate::nats::replay::Replay;

/// Readers that have messages waiting for them. When there are more readers,
/// the oldest one's are dropped and asked for again.
pub(super) const READERS_MAX: usize = 4;

#[derive(Default)]
pub(super) struct Ahead(Mutex<VecDeque<Reader>>);

/// What waits for a reader.
pub(super) struct Reader {
    /// The sequence that it wants next.
    pub(super) next: u64,
    /// From there on, sequences that rise by one.
    pub(super) raws: VecDeque<Raw>,
    /// What comes behind them.
    pub(super) replay: Option<Replay>,
}

/// What a reader finds.
pub(super) enum Found {
    Raws(Vec<Raw>),
    Replay(Replay),
    Nothing,
}

impl Ahead {
    fn readers(&self) -> MutexGuard<'_, VecDeque<Reader>> {
        // It holds what can be asked for again.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, reader: Reader) {
        let mut readers = self.readers();
        if readers.len() >= READERS_MAX {
            readers.pop_front();
        }
        readers.push_back(reader);
    }

    /// Takes messages from a sequence on, if they wait here.
    pub(super) fn take(&self, from: u64, limit: usize) -> Found {
        let mut readers = self.readers();
        let Some(place) = readers.iter().position(|reader| reader.next == from) else {
            return Found::Nothing;
        };
        let Some(reader) = readers.get_mut(place) else { return Found::Nothing };
        if !reader.raws.is_empty() {
            let taken: Vec<_> = reader.raws.drain(..limit.min(reader.raws.len())).collect();
            reader.next += taken.len() as u64;
            if reader.raws.is_empty() && reader.replay.is_none() {
                readers.remove(place);
            }
            return Found::Raws(taken);
        }
        let replay = readers.remove(place).and_then(|reader| reader.replay);
        replay.map_or(Found::Nothing, Found::Replay)
    }
}
