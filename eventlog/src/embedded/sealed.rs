//! The index beside a sealed segment: where its entries stand, so that a start need not read the
//! segment and memory need not hold a place for each entry.
//!
//! ```text
//! index       header · streams · points · postings · append ids
//!   header    magic "ENTASIX\n" · format u32 = 1 · log u32 (1 ledger, 2 market)
//!             first offset u64 · length of the segment u64 · newest recorded_at i64
//!             number of entries u32 · of streams u32 · of points u32
//!             bytes of the streams u32 · CRC32C u32 of each of the four sections
//!             CRC32C u32 of all that
//!   streams   in the order of the house, for each:
//!             name · version of its first entry here u64 · number of its entries here u32
//!             place of its postings u32 · hash of the entry before its first 32
//!             of its last entry here: offset u64 · hash 32 · append id 16 · command id 16
//!   points    about every 16 KiB one entry: ordinal u32 · byte of its frame u32
//!   postings  stream after stream, in the order of versions: ordinal u32 · byte of its frame u32
//!   ids       in the order of offsets: append id 16 · command id 16
//! ```
//!
//! Numbers are little-endian; a name is a length u16 and UTF-8; an ordinal counts the entries of
//! the segment from zero; times are microseconds. An index is a function of its segment: whoever
//! doubts it writes it anew. Its name is the segment's, ending in `.idx`.

use std::io;

use domain::time::Timestamp;
use uuid::Uuid;

use crate::embedded::contents::{Contents, Ids, Named, Posting, Row, Tip};
use crate::embedded::index::Form;
use crate::embedded::segment::{self, Fields};
use crate::entry::{Hash, Offset, Version};
use crate::files::File;
use crate::stream::Log;

const MAGIC: [u8; 8] = *b"ENTASIX\n";
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 76;
const POSTING_BYTES: usize = 8;
const IDS_BYTES: usize = 32;

/// Returns the name of the index beside the segment that begins with `first`.
pub(super) fn name(first: Offset) -> String {
    format!("{:020}.idx", first.0)
}

/// Returns the first offset of the segment that an index of this name belongs to.
pub(super) fn first_of(name: &str) -> Option<Offset> {
    let digits = name.strip_suffix(".idx").filter(|digits| digits.len() == 20)?;
    digits.parse().ok().map(Offset)
}

/// Returns the index of a segment of this length.
pub(super) fn write(log: Log, contents: &Contents, length: u64) -> Vec<u8> {
    let mut streams = Vec::new();
    for row in contents.rows() {
        segment::write_text(&mut streams, &row.stream.to_string());
        streams.extend(row.first.0.to_le_bytes());
        streams.extend(row.entries.to_le_bytes());
        streams.extend(row.place.to_le_bytes());
        streams.extend(row.before.0);
        streams.extend(row.tip.offset.0.to_le_bytes());
        streams.extend(row.tip.hash.0);
        streams.extend(row.tip.append_id.as_bytes());
        streams.extend(row.tip.command_id.as_bytes());
    }
    let points = contents.points();
    let number_of_points = count(points.len());
    let points = write_postings(points);
    let postings = contents.parts().keys().flat_map(|stream| contents.postings(stream, Version(0)));
    let postings = write_postings(postings);
    let mut ids = Vec::with_capacity(contents.ids().len() * IDS_BYTES);
    for Ids { append_id, command_id } in contents.ids() {
        ids.extend(append_id.as_bytes());
        ids.extend(command_id.as_bytes());
    }

    let sections = [streams, points, postings, ids];
    let bytes = sections.iter().map(Vec::len).sum::<usize>();
    let mut out = Vec::with_capacity(HEADER_BYTES + bytes);
    out.extend(MAGIC);
    out.extend(FORMAT.to_le_bytes());
    out.extend(segment::number(log).to_le_bytes());
    out.extend(contents.first().0.to_le_bytes());
    out.extend(length.to_le_bytes());
    out.extend(contents.recorded_at().micros().to_le_bytes());
    out.extend(contents.entries().to_le_bytes());
    out.extend(count(contents.parts().len()).to_le_bytes());
    out.extend(number_of_points.to_le_bytes());
    out.extend(count(sections.first().map_or(0, Vec::len)).to_le_bytes());
    for section in &sections {
        out.extend(crc32c::crc32c(section).to_le_bytes());
    }
    out.extend(crc32c::crc32c(&out).to_le_bytes());
    for section in sections {
        out.extend(section);
    }
    out
}

fn write_postings(postings: impl IntoIterator<Item = Posting>) -> Vec<u8> {
    let mut out = Vec::new();
    for Posting { ordinal, byte } in postings {
        out.extend(ordinal.to_le_bytes());
        out.extend(byte.to_le_bytes());
    }
    out
}

fn count(length: usize) -> u32 {
    u32::try_from(length).expect("a segment stays below SEGMENT_BYTES_MAX, and so does its index")
}

/// Returns how a segment of so many entries is known when its index has so many bytes.
pub(super) fn form(entries: u32, bytes: usize) -> Form {
    let bytes = bytes as u64;
    let behind = u64::from(entries) * (POSTING_BYTES + IDS_BYTES) as u64;
    Form::Filed { postings_at: bytes.saturating_sub(behind), bytes }
}

/// What a start reads of an index, its checksums already held against its bytes.
#[derive(Debug)]
pub(super) struct Front {
    header: Header,
    pub(super) rows: Vec<Row>,
    pub(super) points: Vec<Posting>,
}

#[derive(Debug)]
struct Header {
    log: u32,
    first: Offset,
    length: u64,
    recorded_at: Timestamp,
    entries: u32,
    streams: u32,
    points: u32,
    streams_bytes: u32,
    /// Of streams, points, postings and ids.
    checksums: [u32; 4],
}

impl Front {
    /// Whether this is the index of that segment of this log.
    pub(super) fn is_of(&self, log: Log, first: Offset, length: u64) -> bool {
        let header = &self.header;
        (header.log, header.first, header.length) == (segment::number(log), first, length)
    }

    pub(super) fn entries(&self) -> u32 {
        self.header.entries
    }

    pub(super) fn recorded_at(&self) -> Timestamp {
        self.header.recorded_at
    }

    /// Returns the byte at which the postings begin.
    pub(super) fn postings_at(&self) -> u64 {
        self.header.postings_at()
    }

    /// Returns the length of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.header.bytes()
    }
}

impl Header {
    fn postings_at(&self) -> u64 {
        let points = u64::from(self.points) * POSTING_BYTES as u64;
        HEADER_BYTES as u64 + u64::from(self.streams_bytes) + points
    }

    fn bytes(&self) -> u64 {
        self.postings_at() + u64::from(self.entries) * (POSTING_BYTES + IDS_BYTES) as u64
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (covered, rest) = bytes.split_at_checked(HEADER_BYTES - 4)?;
        let mut fields = Fields(covered);
        let sound = Fields(rest).u32()? == crc32c::crc32c(covered);
        if !sound || fields.array()? != MAGIC || fields.u32()? != FORMAT {
            return None;
        }
        Some(Self {
            log: fields.u32()?,
            first: Offset(fields.u64()?),
            length: fields.u64()?,
            recorded_at: Timestamp::from_micros(i64::from_le_bytes(fields.array()?)),
            entries: fields.u32()?,
            streams: fields.u32()?,
            points: fields.u32()?,
            streams_bytes: fields.u32()?,
            checksums: [fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?],
        })
    }
}

/// Reads all of an index but postings and ids; `None` when it does not hold.
pub(super) fn read_front(file: &dyn File) -> io::Result<Option<Front>> {
    let mut bytes = vec![0; HEADER_BYTES];
    let length = file.length()?;
    if length < HEADER_BYTES as u64 {
        return Ok(None);
    }
    file.read_at(&mut bytes, 0)?;
    let Some(header) = Header::read(&bytes).filter(|header| header.bytes() == length) else {
        return Ok(None);
    };
    let front = header.postings_at() - HEADER_BYTES as u64;
    let mut bytes = vec![0; usize::try_from(front).map_err(io::Error::other)?];
    file.read_at(&mut bytes, HEADER_BYTES as u64)?;
    Ok(read_sections(header, &bytes))
}

fn read_sections(header: Header, bytes: &[u8]) -> Option<Front> {
    let (streams, points) = bytes.split_at_checked(header.streams_bytes as usize)?;
    let [streams_checksum, points_checksum, ..] = header.checksums;
    if (crc32c::crc32c(streams), crc32c::crc32c(points)) != (streams_checksum, points_checksum) {
        return None;
    }
    let mut fields = Fields(streams);
    let rows: Option<Vec<Row>> = (0..header.streams).map(|_| read_row(&mut fields)).collect();
    let rows = rows.filter(|rows| {
        let entries = rows.iter().map(|row| u64::from(row.entries)).sum::<u64>();
        entries == u64::from(header.entries) && rows.iter().all(|row| row.entries > 0)
    })?;
    Some(Front { points: read_postings(points), header, rows })
}

fn read_row(fields: &mut Fields<'_>) -> Option<Row> {
    let stream = fields.text()?.parse().ok()?;
    let first = Version(fields.u64()?);
    let (entries, place) = (fields.u32()?, fields.u32()?);
    let before = Hash(fields.array()?);
    let tip = Tip {
        version: Version((first.0 + u64::from(entries)).checked_sub(1)?),
        offset: Offset(fields.u64()?),
        hash: Hash(fields.array()?),
        append_id: Uuid::from_bytes(fields.array()?),
        command_id: Uuid::from_bytes(fields.array()?),
    };
    Some(Row { stream, first, entries, before, tip, place })
}

/// Reads as many postings as there are in `bytes`.
pub(super) fn read_postings(bytes: &[u8]) -> Vec<Posting> {
    let (postings, _) = bytes.as_chunks::<POSTING_BYTES>();
    let read = |posting: &[u8; POSTING_BYTES]| {
        let mut fields = Fields(posting);
        Some(Posting { ordinal: fields.u32()?, byte: fields.u32()? })
    };
    postings.iter().filter_map(read).collect()
}

/// Reads some of the postings. What they say is yet to be held against the frames they lead to.
pub(super) fn read_postings_at(
    file: &dyn File,
    postings_at: u64,
    place: u32,
    postings: u32,
) -> io::Result<Vec<Posting>> {
    let mut bytes = vec![0; postings as usize * POSTING_BYTES];
    file.read_at(&mut bytes, postings_at + u64::from(place) * POSTING_BYTES as u64)?;
    Ok(read_postings(&bytes))
}

/// Reads under which ids the entries came, in the order of offsets; `None` when it does not hold.
pub(super) fn read_named(file: &dyn File, front: &Front) -> io::Result<Option<Vec<Named>>> {
    let at = front.postings_at();
    let bytes = front.bytes().checked_sub(at).ok_or(io::ErrorKind::InvalidData)?;
    let mut bytes = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
    file.read_at(&mut bytes, at)?;
    Ok(named(front, &bytes))
}

fn named(front: &Front, bytes: &[u8]) -> Option<Vec<Named>> {
    let entries = front.entries() as usize;
    let (postings, ids) = bytes.split_at_checked(entries * POSTING_BYTES)?;
    let [_, _, postings_checksum, ids_checksum] = front.header.checksums;
    if (crc32c::crc32c(postings), crc32c::crc32c(ids)) != (postings_checksum, ids_checksum) {
        return None;
    }
    let postings = read_postings(postings);
    let (ids, _) = ids.as_chunks::<IDS_BYTES>();
    let mut named: Vec<Option<Named>> = vec![None; entries];
    for (place, row) in front.rows.iter().enumerate() {
        let own = postings.iter().skip(row.place as usize).take(row.entries as usize);
        for (version, posting) in (row.first.0..).map(Version).zip(own) {
            let mut fields = Fields(ids.get(posting.ordinal as usize)?);
            let ids = Ids {
                append_id: Uuid::from_bytes(fields.array()?),
                command_id: Uuid::from_bytes(fields.array()?),
            };
            *named.get_mut(posting.ordinal as usize)? = Some(Named { ids, row: place, version });
        }
    }
    named.into_iter().collect()
}
