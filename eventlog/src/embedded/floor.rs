//! The floor of a log: what stays known of what retention has dropped, also where it was dropped
//! before the log was copied from elsewhere.
//!
//! ```text
//! floor   magic "ENTAFLR\n" · format u32 = 1 · log u32 (1 ledger, 2 market)
//!         first offset that is kept u64 · length of the segment before it u64
//!         number of streams u32, and for each that had an entry below: name · its state there
//!           version u64 · offset u64 · hash 32 · append id 16 · command id 16
//!         CRC32C u32 of all that
//! ```
//!
//! Numbers are little-endian; a name is a length u16 and UTF-8. It is durable before anything below
//! it is deleted. Without it, or when it does not read, nobody can say what is missing: the log is
//! damaged then.

use std::collections::BTreeMap;
use std::io;

use uuid::Uuid;

use crate::embedded::contents::Tip;
use crate::embedded::segment::{self, Fields};
use crate::embedded::{sealed, unavailable};
use crate::entry::{Hash, Offset, Version};
use crate::files::Files;
use crate::log::LogError;
use crate::stream::{Log, Stream};

pub(super) const NAME: &str = "floor";
const MAGIC: [u8; 8] = *b"ENTAFLR\n";
const FORMAT: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Floor {
    /// The first offset that is kept.
    pub(super) first: Offset,
    /// Of the segment before, so that the first one kept can be held against it.
    pub(super) length_before: u64,
    /// The newest entry below the floor of each stream that had one; of a stream that came from
    /// elsewhere without its first entries, the newest of those, without offset and ids.
    pub(super) tips: BTreeMap<Stream, Tip>,
}

impl Default for Floor {
    fn default() -> Self {
        Self { first: Offset(1), length_before: 0, tips: BTreeMap::new() }
    }
}

impl Floor {
    /// Returns the offset up to which entries were dropped.
    pub(super) fn offset(&self) -> Offset {
        Offset(self.first.0.saturating_sub(1))
    }

    pub(super) fn write(&self, log: Log) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(MAGIC);
        out.extend(FORMAT.to_le_bytes());
        out.extend(segment::number(log).to_le_bytes());
        out.extend(self.first.0.to_le_bytes());
        out.extend(self.length_before.to_le_bytes());
        let streams = u32::try_from(self.tips.len()).expect("streams are held in memory");
        out.extend(streams.to_le_bytes());
        for (stream, tip) in &self.tips {
            segment::write_text(&mut out, &stream.to_string());
            out.extend(tip.version.0.to_le_bytes());
            out.extend(tip.offset.0.to_le_bytes());
            out.extend(tip.hash.0);
            out.extend(tip.append_id.as_bytes());
            out.extend(tip.command_id.as_bytes());
        }
        out.extend(crc32c::crc32c(&out).to_le_bytes());
        out
    }

    fn parse(log: Log, bytes: &[u8]) -> Option<Self> {
        let (covered, checksum) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
        let mut fields = Fields(covered);
        let sound = Fields(checksum).u32()? == crc32c::crc32c(covered);
        if !sound || fields.array()? != MAGIC || fields.u32()? != FORMAT {
            return None;
        }
        if fields.u32()? != segment::number(log) {
            return None;
        }
        let (first, length_before) = (Offset(fields.u64()?), fields.u64()?);
        let tip = |fields: &mut Fields<'_>| {
            let stream: Stream = fields.text()?.parse().ok()?;
            let tip = Tip {
                version: Version(fields.u64()?),
                offset: Offset(fields.u64()?),
                hash: Hash(fields.array()?),
                append_id: Uuid::from_bytes(fields.array()?),
                command_id: Uuid::from_bytes(fields.array()?),
            };
            Some((stream, tip))
        };
        let tips = (0..fields.u32()?).map(|_| tip(&mut fields)).collect::<Option<_>>()?;
        fields.0.is_empty().then_some(Self { first, length_before, tips })
    }
}

/// Reads the floor of a log; its beginning where there is none.
pub(super) fn read(files: &dyn Files, log: Log) -> Result<Floor, LogError> {
    let file = match files.open(NAME) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Floor::default()),
        Err(error) => return Err(unavailable(NAME, &error)),
    };
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(file.length()?).map_err(io::Error::other)?];
        file.read_at(&mut bytes, 0)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| unavailable(NAME, &error))?;
    if let Some(floor) = Floor::parse(log, &bytes) {
        return Ok(floor);
    }
    Err(LogError::Damaged { offset: oldest(files)?, reason: format!("{NAME}: it does not read") })
}

/// Removes what stands below a floor, the oldest first.
pub(super) fn clear_below(files: &dyn Files, first: Offset) -> io::Result<()> {
    let below = |name: String| {
        let of = segment::first_of(&name).or_else(|| sealed::first_of(&name))?;
        (of < first).then_some((of, name))
    };
    let mut names: Vec<(Offset, String)> = files.list()?.into_iter().filter_map(below).collect();
    names.sort_unstable();
    for (_, name) in names {
        files.remove(&name)?;
    }
    Ok(())
}

/// Returns where the oldest segment begins: without a floor, nothing from there on can be trusted.
fn oldest(files: &dyn Files) -> Result<Offset, LogError> {
    let names = files.list().map_err(|error| unavailable("the folder", &error))?;
    let first = names.iter().filter_map(|name| segment::first_of(name)).min();
    Ok(first.unwrap_or(Offset(1)))
}
