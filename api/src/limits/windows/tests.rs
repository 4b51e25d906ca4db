//! Windows against a clock that the tests move.

use std::cell::Cell;

use super::*;
use crate::limits::ring::ROOM_MIN;

/// Windows with a clock beside them.
struct Watched {
    windows: Windows<u32>,
    now: Cell<u64>,
}

impl Watched {
    fn new(rings_max: usize) -> Self {
        Self { windows: Windows::new(rings_max), now: Cell::new(100) }
    }

    fn at(&self, seconds: u64) -> &Self {
        self.now.set(seconds);
        self
    }

    fn count(&self, key: u32, max: u32) -> Option<bool> {
        let time = || Duration::from_secs(self.now.get());
        Some(self.windows.count(&key, max, &time)?.unwrap().accepted)
    }

    /// Returns how many rings there are, and for how many instants they have room together.
    fn size(&self) -> (usize, usize) {
        (self.windows.read().len(), self.windows.room().0)
    }
}

#[test]
fn a_full_table_refuses_who_is_new_and_counts_who_is_known() {
    let watched = Watched::new(2);
    assert_eq!(watched.count(1, 2), Some(true));
    assert_eq!(watched.at(120).count(2, 2), Some(true));

    assert_eq!(watched.at(159).count(3, 2), None);
    assert_eq!(watched.count(1, 2), Some(true));
    assert_eq!(watched.count(1, 2), Some(false));
    assert_eq!(watched.size().0, 2);
}

#[test]
fn a_place_is_free_when_somebody_has_nothing_in_the_window() {
    let watched = Watched::new(2);
    assert_eq!(watched.count(1, 2), Some(true));
    assert_eq!(watched.at(120).count(2, 2), Some(true));

    assert_eq!(watched.at(160).count(3, 2), Some(true));
    assert_eq!(watched.count(1, 2), None);
    assert_eq!(watched.count(2, 2), Some(true));
    assert_eq!(watched.count(2, 2), Some(false), "whoever asks still is not forgotten");
}

#[test]
fn a_full_table_is_searched_once_a_second() {
    let watched = Watched::new(1);
    assert_eq!(watched.count(1, 1), Some(true));
    let time = || Duration::from_secs(160);
    watched.windows.sweep(
        &mut watched.windows.write(),
        &|| Duration::from_millis(159_500),
        FULL_PAUSE,
    );
    assert!(watched.windows.count(&2, 1, &time).is_none());
    let time = || Duration::from_millis(160_500);
    assert!(watched.windows.count(&2, 1, &time).is_some());
}

#[test]
fn a_ring_has_room_for_what_is_in_it_and_goes_when_it_is_empty() {
    let watched = Watched::new(10);
    for key in 1..=2 {
        for _ in 0..1_000 {
            assert_eq!(watched.count(key, 1_000), Some(true));
        }
        assert_eq!(watched.count(key, 1_000), Some(false));
    }
    assert_eq!(watched.size(), (2, 2 * 1_024));

    assert_eq!(watched.at(160).count(1, 1_000), Some(true));
    let (rings, room) = watched.size();
    assert_eq!(rings, 1, "the other was swept away on the way");
    assert!(room <= ROOM_MIN, "{room}");
}

#[test]
fn who_may_ask_nothing_takes_no_room() {
    let watched = Watched::new(10);
    for key in 0..10 {
        assert_eq!(watched.count(key, 0), Some(false));
    }
    assert_eq!(watched.size(), (10, 0));
    assert_eq!(watched.at(160).count(11, 0), Some(false));
    assert_eq!(watched.size().0, 1);
}
