//! What the rows of the read store hold, and their checksums, whatever database they stand in.

use std::fmt;

use domain::account::position::PositionId;
use domain::candle::Candle;
use domain::instrument::{Instrument, Venue};
use domain::time::Timestamp;
use eventlog::entry::{Hash, Offset, Version};
use eventlog::keep::Kept;
use sha2::{Digest, Sha256};

use crate::holdings::Closed;
use crate::views::{Cut, Place};

/// A view at a cut, but for its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptCut {
    pub view: String,
    pub revision: u32,
    /// Counts the cuts of a view and revision. The parts of a cut are, of each name, the row with the
    /// greatest number that is not past this one.
    pub number: u64,
    pub taken_at: Timestamp,
    pub cut: Cut,
    pub state_hash: Hash,
}

impl KeptCut {
    pub(super) fn checksum(&self) -> u64 {
        Checksum::default()
            .bytes(self.view.as_bytes())
            .number(self.revision.into())
            .number(self.number)
            .number(self.taken_at.micros().cast_unsigned())
            .place(self.cut.ledger)
            .place(self.cut.market)
            .bytes(&self.state_hash.0)
            .value()
    }
}

/// Returns the checksum of what is kept under a name.
pub(super) fn checksum_of_kept(name: &str, kept: &Kept) -> u64 {
    Checksum::default()
        .bytes(name.as_bytes())
        .number(kept.revision.into())
        .number(kept.version.0)
        .bytes(&kept.state)
        .value()
}

/// What an entry of the ledger told of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The minutes that were recorded once the hour had closed, or again after a correction.
    Closed,
    /// The venue's own bars.
    Imported,
}

impl Kind {
    pub(super) const ALL: [Self; 2] = [Self::Closed, Self::Imported];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Imported => "imported",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One-minute candles of one hour, as one entry of the ledger told them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedHour {
    pub hour: Timestamp,
    pub kind: Kind,
    /// The entry's, in the stream of the instrument's candles.
    pub version: Version,
    /// In the order in which they were told.
    pub candles: Vec<Candle>,
}

impl ArchivedHour {
    /// Returns its place among the rows of its instrument.
    pub(super) fn key(&self) -> (Timestamp, Version, Kind) {
        (self.hour, self.version, self.kind)
    }
}

/// Returns the checksum of an archived hour, whose candles are given as they are written down.
pub(super) fn checksum_of_hour(
    (venue, instrument): (&Venue, &Instrument),
    (hour, version, kind): (Timestamp, Version, Kind),
    candles: &str,
) -> u64 {
    Checksum::default()
        .bytes(venue.to_string().as_bytes())
        .bytes(instrument.to_string().as_bytes())
        .number(hour.micros().cast_unsigned())
        .bytes(kind.as_str().as_bytes())
        .number(version.0)
        .bytes(candles.as_bytes())
        .value()
}

/// A position that was closed, as the ledger told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedPosition {
    /// Of the entry that closed it, in the account's stream.
    pub version: Version,
    pub closed: Closed,
}

impl ArchivedPosition {
    /// Returns its place among the account's closed positions: a later one was closed later.
    pub fn key(&self) -> (Version, PositionId) {
        (self.version, self.closed.id)
    }
}

/// What a row of an account's archive tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AccountKey {
    /// A closed position, by the entry that closed it.
    Closed(Version, PositionId),
    /// What the account was worth at the end of the UTC day that begins then.
    Day(Timestamp),
}

/// The kinds of rows of an account's archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AccountKind {
    Closed,
    Day,
}

impl AccountKind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Day => "day",
        }
    }
}

impl AccountKey {
    pub(super) const fn kind(&self) -> AccountKind {
        match self {
            Self::Closed(..) => AccountKind::Closed,
            Self::Day(_) => AccountKind::Day,
        }
    }

    /// Returns by what rows of a kind are ordered.
    pub(super) const fn place(&self) -> i64 {
        match self {
            Self::Closed(version, _) => version.0.cast_signed(),
            Self::Day(day) => day.micros(),
        }
    }

    /// Returns what tells rows of one place apart.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Closed(_, position) => position.to_string(),
            Self::Day(_) => String::new(),
        }
    }
}

/// Returns the checksum of a row of an account's archive.
pub(super) fn checksum_of_account_row(
    account: &str,
    (kind, place, name): (&str, i64, &str),
    body: &str,
) -> u64 {
    Checksum::default()
        .bytes(account.as_bytes())
        .bytes(kind.as_bytes())
        .number(place.cast_unsigned())
        .bytes(name.as_bytes())
        .bytes(body.as_bytes())
        .value()
}

/// Returns the checksum of the course of a position that is open still.
pub(super) fn checksum_of_course(account: &str, position: &str, course: &str) -> u64 {
    Checksum::default()
        .bytes(account.as_bytes())
        .bytes(position.as_bytes())
        .bytes(course.as_bytes())
        .value()
}

/// How far the archivist has come, and what it has written by then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) ledger: Place,
    /// All rows of this section of the archive, and the sum of their checksums, past the greatest number from zero
    /// on: a row that was lost, altered or doubled shows.
    pub(super) rows: u64,
    pub(super) sum: u64,
}

impl Checkpoint {
    /// Counts a row that was added.
    pub(super) const fn add(&mut self, checksum: u64) {
        self.rows = self.rows.wrapping_add(1);
        self.sum = self.sum.wrapping_add(checksum);
    }

    /// Counts a row that has gone.
    pub(super) const fn remove(&mut self, checksum: u64) {
        self.rows = self.rows.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(checksum);
    }

    pub(super) fn checksum(&self, reader: &str, revision: u32) -> u64 {
        Checksum::default()
            .bytes(reader.as_bytes())
            .number(revision.into())
            .place(self.ledger)
            .number(self.rows)
            .number(self.sum)
            .value()
    }
}

/// The first eight bytes of SHA-256 over fields, each with its length.
#[derive(Default)]
struct Checksum(Sha256);

impl Checksum {
    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    fn number(self, number: u64) -> Self {
        self.bytes(&number.to_le_bytes())
    }

    fn place(self, place: Place) -> Self {
        let Offset(offset) = place.offset;
        self.number(offset).bytes(&place.hash.0)
    }

    fn value(self) -> u64 {
        let digest: [u8; 32] = self.0.finalize().into();
        let (eights, _) = digest.as_chunks();
        eights.first().map_or(0, |first| u64::from_le_bytes(*first))
    }
}
