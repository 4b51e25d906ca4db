//! What a reader is shown: pages of a stream, and pages of everything.

use std::sync::Arc;

use crate::kurrent::double::store::{Record, Store};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    Backward,
}

/// The events of a stream, or why there are none.
#[derive(Debug)]
pub(crate) enum StreamPage {
    Missing,
    /// For good.
    Deleted,
    Read {
        records: Vec<Arc<Record>>,
        /// The revision at which the next page begins. `None` at the stream's end.
        next: Option<u64>,
        /// The first revision that anybody is shown, if there is one, and the last of all.
        first: u64,
        last: u64,
    },
}

/// The events of all streams that pass a filter.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) records: Vec<Arc<Record>>,
    /// The place at which the next page begins. `None` at the end.
    pub(crate) next: Option<usize>,
}

/// Where a reader of everything begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    First,
    End,
    Position(u64),
}

/// The position is none at which a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoRecordThere;

/// Which events a reader of everything asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Filter {
    None,
    Streams(Vec<String>),
    Kinds(Vec<String>),
    /// All but the server's own streams.
    NotOwnStreams,
    /// All but the server's own types of event.
    NotOwnKinds,
}

impl Filter {
    pub(crate) fn passes(&self, record: &Record) -> bool {
        let begins = |text: &str, prefixes: &[String]| {
            prefixes.iter().any(|prefix| text.starts_with(prefix.as_str()))
        };
        match self {
            Self::None => true,
            Self::Streams(prefixes) => begins(&record.stream, prefixes),
            Self::Kinds(prefixes) => begins(&record.event.kind, prefixes),
            Self::NotOwnStreams => !record.stream.starts_with('$'),
            Self::NotOwnKinds => !record.event.kind.starts_with('$'),
        }
    }
}

impl Store {
    /// Returns up to `count_max` events of a stream from a revision on (that of its last event when none
    /// is named and they are read backward), as a node shows it that has the records before `until`.
    pub(crate) fn stream_page(
        &self,
        name: &str,
        from: Option<u64>,
        direction: Direction,
        count_max: usize,
        until: usize,
    ) -> StreamPage {
        let Some(stream) = self.streams.get(name) else { return StreamPage::Missing };
        if stream.tombstone {
            return StreamPage::Deleted;
        }
        let retention = self.retention(name);
        let known = stream.places.partition_point(|place| *place < until);
        let Some(last) = known.checked_sub(1).filter(|_| !retention.deleted) else {
            return StreamPage::Missing;
        };
        let shown = |revision: usize| {
            let record = self.record(*stream.places.get(revision)?)?;
            (record.is_there() && !retention.hides(record)).then(|| Arc::clone(record))
        };
        let first = (0..=last).find(|revision| shown(*revision).is_some()).unwrap_or(known) as u64;
        let last_revision = last as u64;
        let revisions: Box<dyn Iterator<Item = usize>> = match direction {
            Direction::Forward => Box::new(number(from.unwrap_or(0))..=last),
            Direction::Backward => Box::new((0..=number(from.unwrap_or(u64::MAX)).min(last)).rev()),
        };
        let mut records = Vec::new();
        for revision in revisions {
            if records.len() == count_max {
                let next = Some(revision as u64);
                return StreamPage::Read { records, next, first, last: last_revision };
            }
            records.extend(shown(revision));
        }
        StreamPage::Read { records, next: None, first, last: last_revision }
    }

    /// Returns the place in the sequence of records at which a reader begins: of the first record that it
    /// is shown when it reads forward, behind that one when it reads backward.
    pub(crate) fn begin(&self, begin: Begin, until: usize) -> Result<usize, NoRecordThere> {
        let position = match begin {
            Begin::First | Begin::Position(0) => return Ok(0),
            Begin::End => return Ok(until),
            Begin::Position(position) => position,
        };
        let place = self.records.partition_point(|record| record.position < position);
        // What this node does not have yet lies beyond its end, and so does all that nobody has.
        if place >= until {
            return Ok(until);
        }
        match self.record(place) {
            Some(record) if record.position == position => Ok(place),
            _ => Err(NoRecordThere),
        }
    }

    /// Returns up to `count_max` events that pass the filter, from a place on. Backward the first is the
    /// one before that place.
    pub(crate) fn page(
        &self,
        place: usize,
        direction: Direction,
        filter: &Filter,
        count_max: usize,
        until: usize,
    ) -> Page {
        let places: Box<dyn Iterator<Item = usize>> = match direction {
            Direction::Forward => Box::new(place..until),
            Direction::Backward => Box::new((0..place.min(until)).rev()),
        };
        let mut records = Vec::new();
        for place in places {
            if records.len() == count_max {
                let next = match direction {
                    Direction::Forward => place,
                    Direction::Backward => place + 1,
                };
                return Page { records, next: Some(next) };
            }
            let shown = self.record(place).filter(|record| record.is_there());
            records.extend(shown.filter(|record| filter.passes(record)).map(Arc::clone));
        }
        Page { records, next: None }
    }
}

fn number(revision: u64) -> usize {
    usize::try_from(revision).unwrap_or(usize::MAX)
}
