//! Whether what the store holds was folded from the logs that are here.

use std::fmt;

use eventlog::entry::Offset;
use eventlog::log::ReadLog;
use eventlog::stream::Log;

use super::StoreError;
use crate::views::Place;

/// How a place belongs to a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Belongs {
    /// The log holds all that comes after it.
    Whole,
    /// Retention has dropped entries that came after it.
    BehindFloor,
}

/// Something sound in the store that was not folded from these logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    pub store: String,
    /// What was folded: a view, or the archive.
    pub reader: String,
    pub log: Log,
    pub offset: Offset,
    /// The end of the log, when it ends before `offset`; else another entry stands there.
    pub ends_at: Option<Offset>,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { store, reader, log, offset, ends_at } = self;
        write!(f, "the read store {store} does not belong to this {log} log: ")?;
        match ends_at {
            Some(end) => write!(
                f,
                "its {reader} was folded up to offset {offset}, and the log ends at {end}, so \
                 either it is another log, or entries that were acknowledged are missing in it"
            ),
            None => write!(
                f,
                "its {reader} was folded up to another entry at offset {offset} than the log holds"
            ),
        }?;
        write!(
            f,
            "; give it the logs that belong to it, or remove it, and it is built anew from the logs"
        )
    }
}

/// Holds a place that `reader` has come to against the log itself.
pub(super) async fn hold(
    store: &str,
    reader: &str,
    log: Log,
    place: Place,
    from: &dyn ReadLog,
) -> Result<Belongs, StoreError> {
    let Offset(offset) = place.offset;
    let Some(before) = offset.checked_sub(1) else { return Ok(Belongs::Whole) };
    let told = |error| StoreError::Unreachable(format!("the {log} log: {error}"));
    let foreign = |ends_at| {
        let (store, reader) = (store.to_owned(), reader.to_owned());
        StoreError::Foreign(Foreign { store, reader, log, offset: place.offset, ends_at })
    };
    let head = from.head().await.map_err(told)?;
    if head < place.offset {
        return Err(foreign(Some(head)));
    }
    let dropped = |floor| {
        let behind = if place.offset < floor { Belongs::BehindFloor } else { Belongs::Whole };
        (place.offset <= floor).then_some(behind)
    };
    if let Some(belongs) = dropped(from.floor().await.map_err(told)?) {
        return Ok(belongs);
    }
    let entries = from.read(Offset(before), 1).await.map_err(told)?;
    match entries.first() {
        Some(entry) if (entry.offset, entry.hash) == (place.offset, place.hash) => {
            Ok(Belongs::Whole)
        }
        Some(entry) if entry.offset == place.offset => Err(foreign(None)),
        // Retention may have dropped it since the floor was told.
        Some(_) | None => dropped(from.floor().await.map_err(told)?).ok_or_else(|| foreign(None)),
    }
}
