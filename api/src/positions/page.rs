//! Lists of positions in pages: what stands behind what, and how a cursor says where a page starts.

use std::fmt;
use std::str::FromStr;

use domain::account::position::PositionId;
use domain::time::Timestamp;
use eventlog::entry::Version;
use projections::holdings::Closed;

use crate::positions::PositionBody;

/// A page of positions, and where the next one starts.
#[derive(Default)]
pub(super) struct PositionsPage {
    pub(super) positions: Vec<PositionBody>,
    pub(super) next: Option<PagePlace>,
    pub(super) last: Option<PagePlace>,
    /// Whether older ones may stand in the archive.
    pub(super) goes_on: bool,
}

impl PositionsPage {
    pub(super) fn add(&mut self, place: PagePlace, position: PositionBody) {
        self.positions.push(position);
        self.last = Some(place);
    }

    /// Returns the page when there is more behind it.
    pub(super) fn and_more(self) -> Self {
        Self { next: self.last, goes_on: false, ..self }
    }
}

/// The last position of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PagePlace {
    /// By when it was opened.
    Open(Timestamp, PositionId),
    /// By the entry of the account that closed it.
    Closed(Version, PositionId),
}

impl PagePlace {
    pub(super) fn of_closed(closed: &Closed) -> Self {
        let version = closed.life.entries.last().copied().unwrap_or_default();
        Self::Closed(version, closed.id)
    }

    /// Whether this stands behind `other` in a list: older, or closed where that is open.
    pub(super) fn comes_after(self, other: Self) -> bool {
        match (self, other) {
            (Self::Open(at, id), Self::Open(before, other)) => (at, id) < (before, other),
            (Self::Closed(version, id), Self::Closed(before, other)) => {
                (version, id) < (before, other)
            }
            (Self::Closed(..), Self::Open(..)) => true,
            (Self::Open(..), Self::Closed(..)) => false,
        }
    }
}

impl fmt::Display for PagePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(at, id) => write!(f, "o{}.{id}", at.micros()),
            Self::Closed(version, id) => write!(f, "c{version}.{id}"),
        }
    }
}

impl FromStr for PagePlace {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let place = || {
            let (kind, rest) = text.split_at_checked(1)?;
            let (place, id) = rest.split_once('.')?;
            let id = id.parse().ok()?;
            match kind {
                "o" => Some(Self::Open(Timestamp::from_micros(place.parse().ok()?), id)),
                "c" => Some(Self::Closed(Version(place.parse().ok()?), id)),
                _ => None,
            }
        };
        place().ok_or("expected next_cursor of the page before")
    }
}
