//! Entries that readers have been given ahead of their limits, and what must follow them.
//!
//! Offsets have gaps here, so that a missing entry shows only in its stream: whoever goes on reading is
//! held to versions that rise by one from read to read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::entry::{Offset, Version};
use crate::kurrent::event::Raw;
use crate::log::LogError;
use crate::stream::Stream;

/// Readers that are remembered. When there are more, the oldest one's entries are dropped and asked
/// for again.
const READERS_MAX: usize = 4;
/// Streams of which the last version is remembered for a reader. When there are more, all are
/// forgotten: a hole is not seen if it is just there.
const STREAMS_MAX: usize = 1 << 16;

/// Places that are known to be damaged. Of more only those know who come by them.
const DAMAGED_MAX: usize = 64;

#[derive(Default)]
pub(super) struct Ahead {
    readers: Mutex<VecDeque<Reader>>,
    /// What was seen by who came from before it: others would not see a hole.
    damaged: Mutex<BTreeMap<Offset, LogError>>,
}

/// One who has read up to an offset.
struct Reader {
    at: Offset,
    follow: Follow,
    raws: VecDeque<Raw>,
}

/// The last entry of each stream that was seen.
#[derive(Default)]
pub(super) struct Follow(BTreeMap<Stream, (Version, u64)>);

impl Follow {
    /// Takes the next entry of its stream.
    pub(super) fn take(&mut self, raw: &Raw) -> Result<(), LogError> {
        let place = raw.place()?;
        if let Some((version, revision)) = self.0.get(&raw.stream).copied()
            && (version.next(), revision + 1) != (place.version, place.number)
        {
            return Err(raw.damaged(&format!("version {} follows {version}", place.version)));
        }
        if self.0.len() >= STREAMS_MAX && !self.0.contains_key(&raw.stream) {
            self.0.clear();
        }
        self.0.insert(raw.stream.clone(), (place.version, place.number));
        Ok(())
    }

    /// Whether some are missing before an entry, as many versions as revisions.
    pub(super) fn jumps(&self, raw: &Raw) -> bool {
        let (Ok(place), Some((version, revision))) = (raw.place(), self.0.get(&raw.stream)) else {
            return false;
        };
        let versions = place.version.0.checked_sub(version.0);
        versions.is_some_and(|it| it > 1) && versions == place.number.checked_sub(*revision)
    }

    /// Goes on behind one that does not follow.
    pub(super) fn go_on(&mut self, raw: &Raw) {
        self.0.remove(&raw.stream);
        // One that is none of ours is damage of its own, and so is what comes behind it.
        drop(self.take(raw));
    }
}

impl Ahead {
    fn readers(&self) -> MutexGuard<'_, VecDeque<Reader>> {
        // It holds what can be asked for again.
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn damaged(&self) -> MutexGuard<'_, BTreeMap<Offset, LogError>> {
        // An error is put in whole.
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has each reader told who comes there.
    pub(super) fn note_damage(&self, offset: Offset, error: LogError) {
        let mut damaged = self.damaged();
        if damaged.len() < DAMAGED_MAX {
            damaged.insert(offset, error);
        }
    }

    /// Whether some are missing before an entry, for who has come to an offset.
    pub(super) fn jumps(&self, at: Offset, raw: &Raw) -> bool {
        let readers = self.readers();
        let reader = readers.iter().rev().find(|it| it.at == at && it.raws.is_empty());
        reader.is_some_and(|reader| reader.follow.jumps(raw))
    }

    /// Has who has come to an offset go on behind an entry, whatever is missing before it.
    pub(super) fn go_on(&self, at: Offset, raw: &Raw) {
        let mut readers = self.readers();
        let reader = readers.iter_mut().rev().find(|it| it.at == at && it.raws.is_empty());
        if let Some(reader) = reader {
            reader.follow.go_on(raw);
            reader.at = raw.offset;
        }
    }

    /// Takes entries after an offset, if they wait here.
    pub(super) fn take(&self, after: Offset, limit: usize) -> Option<Vec<Raw>> {
        let mut readers = self.readers();
        let reader =
            readers.iter_mut().find(|reader| reader.at == after && !reader.raws.is_empty())?;
        let taken: Vec<_> = reader.raws.drain(..limit.min(reader.raws.len())).collect();
        reader.at = taken.last()?.offset;
        Some(taken)
    }

    /// Takes what was read after an offset, and returns as much of it as was asked for: up to the first
    /// entry that does not follow, which is an error of its own when its turn comes.
    pub(super) fn put(
        &self,
        after: Offset,
        mut raws: Vec<Raw>,
        limit: usize,
    ) -> Result<Vec<Raw>, LogError> {
        let mut readers = self.readers();
        let known = readers.iter().position(|reader| reader.at == after && reader.raws.is_empty());
        let known = known.and_then(|place| readers.remove(place));
        let mut follow = known.map(|reader| reader.follow).unwrap_or_default();
        let (mut rising, mut broken) = (0, None);
        for raw in &raws {
            let known = self.damaged().get(&raw.offset).cloned();
            match known.map_or_else(|| follow.take(raw), Err) {
                Ok(()) => rising += 1,
                Err(error) => {
                    broken = Some(error);
                    break;
                }
            }
        }
        raws.truncate(rising);
        let rest = raws.split_off(limit.min(raws.len()));
        let at = raws.last().map_or(after, |last| last.offset);
        if readers.len() >= READERS_MAX {
            readers.pop_front();
        }
        // Also where it cannot go on: who asks again is told again.
        readers.push_back(Reader { at, follow, raws: rest.into() });
        match broken {
            Some(error) if rising == 0 => Err(error),
            _ => Ok(raws),
        }
    }
}
