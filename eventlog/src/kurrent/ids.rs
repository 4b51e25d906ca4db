//! The append ids of the newest entries, and where those stand. KurrentDB itself knows an id again only
//! right behind the revision that is expected.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::entry::Version;
use crate::remote::place::Place;
use crate::stream::Stream;

/// Ids that are remembered. The oldest goes when there are more: whoever sends it again must say after
/// which version it belongs, and is found by a search.
pub(super) const IDS_MAX: usize = 1 << 15;
/// Streams of which it is known up to where all ids were noted. When there are more, all are forgotten:
/// an append that expects nothing looks a little further back.
const STREAMS_MAX: usize = 1 << 16;

#[derive(Default)]
pub(super) struct Ids(Mutex<Known>);

#[derive(Default)]
struct Known {
    places: BTreeMap<(Stream, Uuid), Place>,
    order: VecDeque<(Stream, Uuid)>,
    /// Up to which version each was noted, since the first that was.
    noted_to: BTreeMap<Stream, Version>,
}

impl Ids {
    fn known(&self) -> MutexGuard<'_, Known> {
        // What is in one and not in the other is forgotten a little earlier or later.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an entry of those that are read in their order: none before it is missing but what was
    /// passed over when that began.
    pub(super) fn note(&self, stream: &Stream, place: Place) {
        let mut known = self.known();
        if !known.noted_to.contains_key(stream) {
            known.begin(stream, place.version);
        }
        known.note(stream, place);
    }

    /// Notes an entry wherever it stands.
    pub(super) fn note_alone(&self, stream: &Stream, place: Place) {
        self.known().note(stream, place);
    }

    /// Has the next entry that is noted in its order count as the first: retention has dropped those
    /// before it.
    pub(super) fn begin_anew(&self, stream: &Stream) {
        self.known().noted_to.remove(stream);
    }

    /// Returns the version of a stream up to which all were noted, since the first that was.
    pub(super) fn noted_to(&self, stream: &Stream) -> Option<Version> {
        self.known().noted_to.get(stream).copied()
    }

    pub(super) fn find(&self, stream: &Stream, append_id: Uuid) -> Option<Place> {
        self.known().places.get(&(stream.clone(), append_id)).copied()
    }
}

impl Known {
    fn begin(&mut self, stream: &Stream, version: Version) {
        if self.noted_to.len() >= STREAMS_MAX {
            self.noted_to.clear();
        }
        self.noted_to.insert(stream.clone(), version);
    }

    /// The first entry with an id counts: a copy may hold another one.
    fn note(&mut self, stream: &Stream, place: Place) {
        // One that comes too early is noted again when those before it are.
        if let Some(noted_to) = self.noted_to.get_mut(stream)
            && noted_to.next() == place.version
        {
            *noted_to = place.version;
        }
        let id = (stream.clone(), place.append_id);
        if self.places.contains_key(&id) {
            return;
        }
        while self.order.len() >= IDS_MAX {
            let Some(oldest) = self.order.pop_front() else { break };
            self.places.remove(&oldest);
        }
        self.order.push_back(id.clone());
        self.places.insert(id, place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::stream;
    use crate::entry::{Hash, Offset};

    fn place(id: u128, version: u64) -> Place {
        let append_id = Uuid::from_u128(id);
        let (offset, hash, command_id) = (Offset(1), Hash::default(), append_id);
        Place { version: Version(version), offset, number: 0, hash, append_id, command_id }
    }

    #[test]
    fn of_a_stream_it_is_known_up_to_where_no_id_is_missing() {
        let ids = Ids::default();
        ids.note_alone(&stream(1), place(4, 4));
        assert_eq!(ids.noted_to(&stream(1)), None);
        for (version, noted_to) in [(5, 5), (6, 6), (8, 6), (9, 6), (7, 7), (8, 8), (9, 9), (3, 9)]
        {
            ids.note(&stream(1), place(version.into(), version));

            assert_eq!(ids.noted_to(&stream(1)), Some(Version(noted_to)), "{version}");
        }
        ids.note_alone(&stream(1), place(10, 10));
        assert_eq!(ids.noted_to(&stream(1)), Some(Version(10)));
    }

    #[test]
    fn the_oldest_id_is_forgotten_first() {
        let ids = Ids::default();
        for id in 0..=IDS_MAX as u128 {
            ids.note(&stream(1), place(id, 1));
        }

        assert_eq!(ids.find(&stream(1), Uuid::from_u128(0)), None);
        assert!(ids.find(&stream(1), Uuid::from_u128(1)).is_some());
        assert_eq!(ids.find(&stream(2), Uuid::from_u128(1)), None);
    }
}
