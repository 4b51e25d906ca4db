//! The bytes of a segment: a header, then groups of frames, then zeros until there is more.
//!
//! ```text
//! segment   header · group · group · … · zeros
//!   header  magic "ENTASIS\n" · format u32 = 1 · log u32 (1 ledger, 2 market)
//!           first offset u64 · length of the segment before u64 · CRC32C u32 of all that
//! group     group header · frame · frame · …          one write and one sync; whole or not at all
//! frame     length of the body u32 · CRC32C u32 · content type u8 · body
//!   type 0  group header: durable length of the segment before this group u64
//!           first offset of the group u64 · bytes of its frames u32 · their number u32
//!   type 1  an entry as JSON
//!   type 2  an entry of ticks, in the layout of `batch`
//! ```
//!
//! Numbers are little-endian. A frame's checksum covers its offset (u64; a group header's is the
//! first of its group), its content type and its body, so that a frame in a wrong place is as
//! wrong as one with a wrong byte. The name of a segment is its first offset in 20 digits.
//!
//! **What is torn and what is damaged.** A group is written only when the one before is durable,
//! and a segment only when the one before is complete. So a group that does not read can be the
//! unfinished end of a crash only if no group and no segment follows it: then it was never
//! acknowledged, and is cut. In front of anything valid it is damage. Behind the last group stands
//! at least one zero; without it, the file has lost its end.

use crate::entry::Offset;
use crate::stream::Log;

const MAGIC: [u8; 8] = *b"ENTASIS\n";
pub(super) const FORMAT: u32 = 1;
pub(super) const HEADER_BYTES: usize = 36;

const FRAME_BYTES: usize = 9;
const GROUP_BODY_BYTES: u32 = 24;
pub(super) const GROUP_HEADER_BYTES: usize = FRAME_BYTES + GROUP_BODY_BYTES as usize;
const GROUP_HEADER: u8 = 0;

/// Returns the name of the segment that begins with `first`.
pub(super) fn name(first: Offset) -> String {
    format!("{:020}.log", first.0)
}

/// Returns the first offset of a segment of this name; `None` for files of other kinds.
pub(super) fn first_of(name: &str) -> Option<Offset> {
    let digits = name.strip_suffix(".log").filter(|digits| digits.len() == 20)?;
    digits.parse().ok().map(Offset)
}

/// What stands first in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) format: u32,
    /// The number of the log, which may be one that this version does not know.
    log: u32,
    pub(super) first: Offset,
    /// Zero for the first segment.
    pub(super) length_before: u64,
}

impl Header {
    pub(super) fn new(log: Log, first: Offset, length_before: u64) -> Self {
        Self { format: FORMAT, log: number(log), first, length_before }
    }

    pub(super) fn is_of(&self, log: Log) -> bool {
        self.log == number(log)
    }

    pub(super) fn write(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend(MAGIC);
        out.extend(self.format.to_le_bytes());
        out.extend(self.log.to_le_bytes());
        out.extend(self.first.0.to_le_bytes());
        out.extend(self.length_before.to_le_bytes());
        out.extend(crc32c::crc32c(&out).to_le_bytes());
        out
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (covered, rest) = bytes.split_at_checked(HEADER_BYTES - 4)?;
        let mut fields = Fields(covered);
        let magic: [u8; 8] = fields.array()?;
        if magic != MAGIC || Fields(rest).u32()? != crc32c::crc32c(covered) {
            return None;
        }
        Some(Self {
            format: fields.u32()?,
            log: fields.u32()?,
            first: Offset(fields.u64()?),
            length_before: fields.u64()?,
        })
    }
}

/// Returns the number under which a log is known in its files.
pub(super) const fn number(log: Log) -> u32 {
    match log {
        Log::Ledger => 1,
        Log::Market => 2,
    }
}

/// What stands first in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupHeader {
    /// The length of the segment before this group, all of it durable when this was written.
    pub(super) durable_before: u64,
    pub(super) first: Offset,
    /// The bytes of the frames that follow.
    pub(super) bytes: u32,
    /// The number of the frames that follow.
    pub(super) frames: u32,
}

impl GroupHeader {
    pub(super) fn write(self, out: &mut Vec<u8>) {
        let mut body = Vec::with_capacity(GROUP_BODY_BYTES as usize);
        body.extend(self.durable_before.to_le_bytes());
        body.extend(self.first.0.to_le_bytes());
        body.extend(self.bytes.to_le_bytes());
        body.extend(self.frames.to_le_bytes());
        write_frame(out, self.first, GROUP_HEADER, &body);
    }

    /// Reads the group header with which `bytes` begin.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let front = bytes.get(..GROUP_HEADER_BYTES)?;
        // First, since a search looks at every byte of a segment.
        if !front.starts_with(&GROUP_BODY_BYTES.to_le_bytes()) {
            return None;
        }
        let mut fields = Fields(front.get(FRAME_BYTES..)?);
        let header = Self {
            durable_before: fields.u64()?,
            first: Offset(fields.u64()?),
            bytes: fields.u32()?,
            frames: fields.u32()?,
        };
        let (frame, _) = read_frame(front, header.first).ok()?;
        frame.is_group_header().then_some(header)
    }

    /// Whether a group begins anywhere in `bytes`.
    pub(super) fn is_in(bytes: &[u8]) -> bool {
        bytes.windows(GROUP_HEADER_BYTES).any(|window| Self::read(window).is_some())
    }
}

/// One frame, its checksum already held against its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    pub(super) content_type: u8,
    pub(super) body: &'a [u8],
}

impl Frame<'_> {
    pub(super) fn is_group_header(&self) -> bool {
        self.content_type == GROUP_HEADER
    }
}

/// Returns the length of the frame that holds a body of this length.
pub(super) fn frame_bytes(body: usize) -> usize {
    FRAME_BYTES + body
}

pub(super) fn write_frame(out: &mut Vec<u8>, offset: Offset, content_type: u8, body: &[u8]) {
    let length = u32::try_from(body.len()).expect("a body has at most ENTRY_BYTES_MAX bytes");
    out.extend(length.to_le_bytes());
    out.extend(checksum(offset, content_type, body).to_le_bytes());
    out.push(content_type);
    out.extend(body);
}

/// Reads the frame with which `bytes` begin, if it is the one of `offset`; returns what follows too.
pub(super) fn read_frame(bytes: &[u8], offset: Offset) -> Result<(Frame<'_>, &[u8]), &'static str> {
    const ENDS_EARLY: &str = "the frame ends early";
    let mut fields = Fields(bytes);
    let length = fields.u32().ok_or(ENDS_EARLY)?;
    let crc = fields.u32().ok_or(ENDS_EARLY)?;
    let [content_type] = fields.array().ok_or(ENDS_EARLY)?;
    let length = usize::try_from(length).map_err(|_| ENDS_EARLY)?;
    let (body, rest) = fields.0.split_at_checked(length).ok_or(ENDS_EARLY)?;
    if checksum(offset, content_type, body) != crc {
        return Err("the checksum does not hold");
    }
    Ok((Frame { content_type, body }, rest))
}

/// A frame that was passed over, its checksum not read.
pub(super) struct Passed<'a> {
    pub(super) is_group_header: bool,
    pub(super) rest: &'a [u8],
}

/// Passes over the frame with which `bytes` begin; `None` when it ends early.
pub(super) fn pass_frame(bytes: &[u8]) -> Option<Passed<'_>> {
    let mut fields = Fields(bytes);
    let length = usize::try_from(fields.u32()?).ok()?;
    let [_, _, _, _, content_type] = fields.array()?;
    let (_, rest) = fields.0.split_at_checked(length)?;
    Some(Passed { is_group_header: content_type == GROUP_HEADER, rest })
}

/// Returns the length of the frame with which `bytes` begin, whether or not it ends early.
pub(super) fn frame_length(bytes: &[u8]) -> Option<u64> {
    Fields(bytes).u32().map(|length| FRAME_BYTES as u64 + u64::from(length))
}

fn checksum(offset: Offset, content_type: u8, body: &[u8]) -> u32 {
    let mut place = [content_type; 9];
    if let Some(front) = place.first_chunk_mut() {
        *front = offset.0.to_le_bytes();
    }
    crc32c::crc32c_append(crc32c::crc32c(&place), body)
}

/// What is left to read of fields that stand one behind the other.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Reads a text, which its length stands in front of.
    pub(super) fn text(&mut self) -> Option<&'a str> {
        let length = u16::from_le_bytes(self.array()?);
        std::str::from_utf8(self.bytes(usize::from(length))?).ok()
    }
}

pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("the name of a stream is short");
    out.extend(length.to_le_bytes());
    out.extend(text.as_bytes());
}
