//! Reading a whole segment and holding it against all it promises.

use crate::body::{self, Content};
use crate::embedded::contents::{Contents, Tip};
use crate::embedded::segment::{self, Frame, GroupHeader, Header};
use crate::entry::{Hash, Offset, Version};
use crate::header;
use crate::log::LogError;
use crate::stream::{Log, Stream};

/// The first thing in a segment that does not hold.
#[derive(Debug)]
pub(super) struct Fault {
    /// The first entry that cannot be trusted.
    offset: Offset,
    byte: usize,
    reason: String,
    /// A crash can leave this behind, if nothing follows.
    pub(super) torn: bool,
}

impl Fault {
    fn torn(offset: Offset, byte: usize, reason: &str) -> Self {
        Self { offset, byte, reason: reason.to_owned(), torn: true }
    }

    /// What no crash leaves behind.
    pub(super) fn certain(offset: Offset, byte: usize, reason: impl Into<String>) -> Self {
        Self { offset, byte, reason: reason.into(), torn: false }
    }

    pub(super) fn damaged(self, segment: &str) -> LogError {
        let reason = format!("{segment}, byte {}: {}", self.byte, self.reason);
        LogError::Damaged { offset: self.offset, reason }
    }
}

/// Holds the header with which `bytes` begin against the place where the segment stands.
pub(super) fn check_header(
    log: Log,
    first: Offset,
    next: Offset,
    length_before: u64,
    bytes: &[u8],
) -> Result<(), Fault> {
    let fault = |reason: String| Err(Fault::certain(next, 0, reason));
    if first != next {
        return fault(format!("the segment with offset {next} is missing or incomplete"));
    }
    match Header::read(bytes) {
        None => Err(Fault::torn(next, 0, "the segment header does not read")),
        Some(header) if header.format != segment::FORMAT => {
            let (theirs, ours) = (header.format, segment::FORMAT);
            fault(format!("it has format {theirs}, and this version reads format {ours}"))
        }
        Some(header) if !header.is_of(log) || header.first != first => {
            fault(format!("this segment is not the {log} log's with offset {first}"))
        }
        Some(header) if header.length_before != length_before => {
            let before = header.length_before;
            fault(format!("the segment before has {length_before} bytes, and had {before}"))
        }
        Some(_) => Ok(()),
    }
}

/// How far a segment has been read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    /// The offset of the next entry.
    pub(super) next: Offset,
    /// The end of the last whole group.
    pub(super) end: usize,
    /// Where the last group began, which no later one proves durable.
    pub(super) proven: usize,
}

impl Progress {
    /// Nothing but the header has been read.
    pub(super) fn new(first: Offset) -> Self {
        Self { next: first, end: segment::HEADER_BYTES, proven: 0 }
    }
}

/// Takes in an entry, or says why it cannot stand there.
pub(super) type Take<'a> = dyn FnMut(header::Header, Hash, u32) -> Result<(), String> + 'a;

/// Reads group after group, up to the zeros or to the first that does not hold. `bytes` are those of
/// the segment from the end of the last group on.
pub(super) fn groups(
    log: Log,
    bytes: &[u8],
    progress: &mut Progress,
    take: &mut Take<'_>,
) -> Result<(), Fault> {
    let mut rest = bytes;
    while rest.iter().any(|byte| *byte != 0) {
        let (frames, end) = read_group(rest, progress.end, progress.next)?;
        for (byte, frame) in frames {
            let fault = |reason: String| Fault::certain(progress.next, byte, reason);
            let place = u32::try_from(byte).map_err(|_| fault("the segment is too long".into()))?;
            let header = entry_header(log, frame).map_err(fault)?;
            take(header, Hash::of(frame.body), place).map_err(fault)?;
            progress.next.0 += 1;
        }
        rest = rest.get(end - progress.end..).unwrap_or_default();
        (progress.proven, progress.end) = (progress.end, end);
    }
    Ok(())
}

/// Holds the entry that is `next` in its log against the tip of its stream.
pub(super) fn check_entry(
    log: Log,
    next: Offset,
    byte: usize,
    frame: Frame<'_>,
    tip: impl FnOnce(&Stream) -> (Version, Hash),
) -> Result<header::Header, Fault> {
    let fault = |reason: String| Fault::certain(next, byte, reason);
    let header = entry_header(log, frame).map_err(fault)?;
    check_follows(&header, tip(&header.stream)).map_err(fault)?;
    Ok(header)
}

fn entry_header(log: Log, frame: Frame<'_>) -> Result<header::Header, String> {
    let content = Content::from_byte(frame.content_type)
        .ok_or_else(|| format!("no entry has content type {}", frame.content_type))?;
    let header = body::header(content, frame.body).map_err(|error| error.to_string())?;
    if header.stream.log() == log {
        Ok(header)
    } else {
        Err(format!("{} is not a stream of the {log} log", header.stream))
    }
}

/// Says why an entry does not follow its stream's newest before it, if it does not.
pub(super) fn check_follows(
    header: &header::Header,
    (version, hash): (Version, Hash),
) -> Result<(), String> {
    if (header.version, header.prev_hash) == (version.next(), hash) {
        return Ok(());
    }
    let (stream, found) = (&header.stream, header.version);
    Err(format!("version {found} of {stream} does not follow version {version}"))
}

/// Reads a whole segment. `tip` returns the version and hash of a stream's newest entry before the
/// segment; where it returns `None`, the first entry here is taken as it is.
///
/// Returns what was read up to a fault, and the fault.
pub(super) fn segment(
    log: Log,
    first: Offset,
    bytes: &[u8],
    tip: &dyn Fn(&Stream) -> Option<(Version, Hash)>,
) -> (Contents, Progress, Result<(), Fault>) {
    let mut contents = Contents::new(first);
    let mut progress = Progress::new(first);
    let mut take = |header: header::Header, hash: Hash, byte: u32| {
        let own = contents.parts().get(&header.stream);
        let own = own.map(|part| (part.tip.version, part.tip.hash));
        if let Some(before) = own.or_else(|| tip(&header.stream)) {
            check_follows(&header, before)?;
        }
        let tip = Tip::of(&header, contents.next(), hash);
        contents.push(header, tip, byte);
        Ok(())
    };
    let groups_bytes = bytes.get(segment::HEADER_BYTES..).unwrap_or_default();
    let read = groups(log, groups_bytes, &mut progress, &mut take);
    (contents, progress, read)
}

/// Returns the length without the zeros at the end.
pub(super) fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

pub(super) type Frames<'a> = Vec<(usize, Frame<'a>)>;

/// Reads the group at `position`, with which `bytes` begin; returns its frames, each with its
/// byte, and its end.
pub(super) fn read_group(
    bytes: &[u8],
    position: usize,
    next: Offset,
) -> Result<(Frames<'_>, usize), Fault> {
    let Some(group) = GroupHeader::read(bytes) else {
        return Err(Fault::torn(next, position, "no group begins here"));
    };
    if group.durable_before != position as u64 || group.first != next {
        let reason = format!("a group of byte {} and offset {}", group.durable_before, group.first);
        return Err(Fault::certain(next, position, reason));
    }
    let mut rest = bytes.get(segment::GROUP_HEADER_BYTES..).unwrap_or_default();
    // A group that ends early is followed up to the frame that is cut.
    rest = rest.get(..group.bytes as usize).unwrap_or(rest);
    let end = position + segment::GROUP_HEADER_BYTES + group.bytes as usize;
    let mut byte = position + segment::GROUP_HEADER_BYTES;
    let mut frames = Vec::new();
    for offset in (next.0..).map(Offset).take(group.frames as usize) {
        let (frame, after) = segment::read_frame(rest, offset)
            .map_err(|reason| Fault::torn(offset, byte, reason))?;
        if frame.is_group_header() {
            return Err(Fault::certain(offset, byte, "a group begins within a group"));
        }
        frames.push((byte, frame));
        byte += rest.len() - after.len();
        rest = after;
    }
    if byte != end {
        return Err(Fault::certain(next, position, "the group is longer than its frames"));
    }
    Ok((frames, end))
}
