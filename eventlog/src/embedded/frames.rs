//! The frames of one segment: those that somebody asks for are read, each is held against its
//! checksum, and what an index says against what stands there.

use std::io;
use std::sync::Arc;

use crate::body::{self, Content};
use crate::embedded::contents::Posting;
use crate::embedded::pieces::Stretch;
use crate::embedded::reader::READ_BYTES_MAX;
use crate::embedded::segment::{self, Frame};
use crate::embedded::unavailable;
use crate::entry::{Entry, Offset, Version};
use crate::files::File;
use crate::log::LogError;
use crate::stream::{Log, Stream};

/// Bytes between two entries of a stream that are read along with them rather than passed over by
/// another read.
const GAP_BYTES_MAX: u64 = 4 * 1024;

/// Bytes read for the first entry of a stream, whose length stands in its frame; for later ones,
/// as many as the one before had. When one is longer, it is read once more.
const FIRST_FRAME_BYTES: u64 = 1_024;

/// Why a piece was not read.
pub(super) enum Trouble {
    /// Something does not hold.
    Doubt {
        offset: Offset,
        reason: String,
    },
    /// A file is not there.
    Missing,
    Failed(LogError),
}

/// Entries, and the bytes that were read for them.
pub(super) type Read<T = Entry> = (Vec<T>, u64);

/// The frames of one segment.
pub(super) struct Frames {
    pub(super) log: Log,
    pub(super) segment: Offset,
    pub(super) file: Arc<dyn File>,
    /// What is durable of it.
    pub(super) length: u64,
}

impl Frames {
    /// Reads neighbours, from a frame that stands before them; `make` makes of each what is wanted.
    pub(super) fn stretch<T>(
        &self,
        stretch: &Stretch,
        make: impl Fn(Offset, u64, Frame<'_>) -> Result<T, Trouble>,
    ) -> Result<Read<T>, Trouble> {
        let Stretch { from, end, first, entries } = *stretch;
        let start = u64::from(from.byte);
        let bytes = self.read(start, end)?;
        let byte = |rest: &[u8]| start + (bytes.len() - rest.len()) as u64;
        let mut rest = bytes.as_slice();
        let mut offset = Offset(self.segment.0 + u64::from(from.ordinal));
        while offset < first {
            let passed = segment::pass_frame(rest)
                .ok_or_else(|| self.doubt(first, byte(rest), "the frame ends early"))?;
            offset.0 += u64::from(!passed.is_group_header);
            rest = passed.rest;
        }
        let mut out = Vec::with_capacity(entries);
        while out.len() < entries {
            let (frame, after) = segment::read_frame(rest, offset)
                .map_err(|reason| self.doubt(offset, byte(rest), reason))?;
            if !frame.is_group_header() {
                out.push(make(offset, byte(rest), frame)?);
                offset.0 += 1;
            }
            rest = after;
        }
        Ok((out, end - start))
    }

    /// Reads a stream's entries, versions from `first` on; as many of them as one read may have.
    pub(super) fn stream(
        &self,
        stream: &Stream,
        first: Version,
        postings: &[Posting],
    ) -> Result<Read, Trouble> {
        let (mut out, mut read, mut frame_bytes) = (Vec::new(), 0, FIRST_FRAME_BYTES);
        let (mut start, mut bytes): (u64, Vec<u8>) = (0, Vec::new());
        for (place, posting) in postings.iter().enumerate() {
            let byte = u64::from(posting.byte);
            let offset = Offset(self.segment.0 + u64::from(posting.ordinal));
            if within(start, &bytes, byte).is_none() {
                let ahead = postings.get(place..).unwrap_or_default();
                (start, bytes) = (byte, self.read(byte, self.end_of(ahead, frame_bytes))?);
                let length = segment::frame_length(&bytes).unwrap_or(0);
                if length > bytes.len() as u64 {
                    bytes = self.read(byte, (byte + length).min(self.length))?;
                }
            }
            let rest = within(start, &bytes, byte).unwrap_or(&bytes);
            let (frame, after) = segment::read_frame(rest, offset)
                .map_err(|reason| self.doubt(offset, byte, reason))?;
            let length = (rest.len() - after.len()) as u64;
            if !out.is_empty() && read + length > READ_BYTES_MAX {
                break;
            }
            (read, frame_bytes) = (read + length, length);
            let entry = self.entry(offset, byte, frame)?;
            let version = Version(first.0 + out.len() as u64);
            if (&entry.stream, entry.version) != (stream, version) {
                return Err(self.doubt(offset, byte, "the index leads to another entry"));
            }
            out.push(entry);
        }
        Ok((out, read))
    }

    /// Returns the byte up to which entries with small gaps between them are read at once, when the
    /// last of them has so many bytes.
    fn end_of(&self, postings: &[Posting], frame_bytes: u64) -> u64 {
        let mut bytes = postings.iter().map(|posting| u64::from(posting.byte));
        let start = bytes.next().unwrap_or_default();
        let is_near = |end: u64, byte: u64| {
            byte > end && byte - end <= GAP_BYTES_MAX && byte - start <= READ_BYTES_MAX
        };
        let end =
            bytes.try_fold(start, |end, byte| if is_near(end, byte) { Ok(byte) } else { Err(end) });
        let (Ok(end) | Err(end)) = end;
        (end + frame_bytes).min(self.length).max(start)
    }

    pub(super) fn content(
        &self,
        offset: Offset,
        byte: u64,
        frame: Frame<'_>,
    ) -> Result<Content, Trouble> {
        Content::from_byte(frame.content_type)
            .ok_or_else(|| self.doubt(offset, byte, "no entry has this content type"))
    }

    pub(super) fn entry(
        &self,
        offset: Offset,
        byte: u64,
        frame: Frame<'_>,
    ) -> Result<Entry, Trouble> {
        let content = self.content(offset, byte, frame)?;
        body::open(self.log, offset, content, frame.body)
            .map_err(|error| self.doubt(offset, byte, &error.0))
    }

    /// Reads all bytes up to `end`, or as many as the file still has.
    fn read(&self, start: u64, end: u64) -> Result<Vec<u8>, Trouble> {
        let read = |end: u64| -> io::Result<Vec<u8>> {
            let length = usize::try_from(end.saturating_sub(start)).map_err(io::Error::other)?;
            let mut bytes = vec![0; length];
            self.file.read_at(&mut bytes, start)?;
            Ok(bytes)
        };
        read(end)
            .or_else(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => read(self.file.length()?.min(end)),
                _ => Err(error),
            })
            .map_err(|error| Trouble::Failed(unavailable(&segment::name(self.segment), &error)))
    }

    fn doubt(&self, offset: Offset, byte: u64, reason: &str) -> Trouble {
        let name = segment::name(self.segment);
        Trouble::Doubt { offset, reason: format!("{name}, byte {byte}: {reason}") }
    }
}

/// Returns the bytes from `byte` on, if the whole frame there is among them.
fn within(start: u64, bytes: &[u8], byte: u64) -> Option<&[u8]> {
    let rest = bytes.get(usize::try_from(byte.checked_sub(start)?).ok()?..)?;
    (segment::frame_length(rest)? <= rest.len() as u64).then_some(rest)
}
