//! A start: every segment is read and held against all it promises; the torn end of a crash is
//! cut, and anything else that does not hold stops the start.

use std::io;
use std::sync::Arc;

use crate::body::{self, Content};
use crate::embedded::index::Index;
use crate::embedded::segment::{self, Frame, GroupHeader, Header};
use crate::embedded::tail::{self, Tail};
use crate::embedded::{Cut, Opened, Options, unavailable};
use crate::entry::{Hash, Offset};
use crate::files::{File, Files};
use crate::log::LogError;
use crate::stream::Log;

pub(super) struct Recovered {
    pub(super) index: Index,
    pub(super) tail: Tail,
    pub(super) report: Opened,
}

/// Reads the whole log, one segment in memory at a time, and leaves its end ready to be written.
pub(super) fn recover(
    files: &dyn Files,
    log: Log,
    options: &Options,
) -> Result<Recovered, LogError> {
    let mut index = Index::new(options.append_ids_max);
    let mut cut = None;
    let mut newest: Option<Read> = None;
    let mut segments: Vec<Offset> = files
        .list()
        .map_err(|error| unavailable("the folder", &error))?
        .iter()
        .filter_map(|name| segment::first_of(name))
        .collect();
    segments.sort_unstable();

    for (place, first) in segments.iter().enumerate() {
        let name = segment::name(*first);
        let (file, bytes) = load(files, &name).map_err(|error| unavailable(&name, &error))?;
        let is_last = place + 1 == segments.len();
        let length_before = newest.as_ref().map_or(0, |before| before.end as u64);

        if let Err(fault) = check_header(log, *first, index.next(), length_before, &bytes) {
            if !(is_last && fault.torn && !GroupHeader::is_in(&bytes)) {
                return Err(fault.damaged(&name));
            }
            // The crash came while the segment was begun: it holds nothing yet.
            files.remove(&name).map_err(|error| unavailable(&name, &error))?;
            cut = Some(Cut { segment: name, byte: 0, bytes: used(&bytes) as u64, offset: *first });
            break;
        }

        index.push_segment(Arc::clone(&file));
        let mut read = Read { file, bytes, end: segment::HEADER_BYTES, proven: 0 };
        let end = match read.groups(log, &mut index) {
            Ok(()) if is_last && read.bytes.len() == read.end => Some(read.end),
            Ok(()) => None,
            Err(fault) if is_last && fault.torn && !read.has_group_after_end() => {
                Some(used(&read.bytes))
            }
            Err(fault) => return Err(fault.damaged(&name)),
        };
        cut = end.map(|end| Cut {
            segment: name,
            byte: read.end as u64,
            bytes: (end - read.end) as u64,
            offset: index.next(),
        });
        index.set_end(read.end as u64);
        newest = Some(read);
    }

    let tail = if let Some(newest) = newest {
        newest.repair(files, options)?
    } else {
        let tail = Tail::create(files, log, Offset(1), 0, options)?;
        index.push_segment(Arc::clone(&tail.file));
        tail
    };
    let report = Opened { entries: index.head().0, cut };
    Ok(Recovered { index, tail, report })
}

fn load(files: &dyn Files, name: &str) -> io::Result<(Arc<dyn File>, Vec<u8>)> {
    let file = files.open(name)?;
    let mut bytes = vec![0; usize::try_from(file.length()?).map_err(io::Error::other)?];
    file.read_at(&mut bytes, 0)?;
    Ok((file, bytes))
}

/// The first thing in a segment that does not hold.
struct Fault {
    /// The first entry that cannot be trusted.
    offset: Offset,
    byte: usize,
    reason: String,
    /// A crash can leave this behind, if nothing follows.
    torn: bool,
}

impl Fault {
    fn torn(offset: Offset, byte: usize, reason: &str) -> Self {
        Self { offset, byte, reason: reason.to_owned(), torn: true }
    }

    /// What no crash leaves behind.
    fn certain(offset: Offset, byte: usize, reason: impl Into<String>) -> Self {
        Self { offset, byte, reason: reason.into(), torn: false }
    }

    fn damaged(self, segment: &str) -> LogError {
        let reason = format!("{segment}, byte {}: {}", self.byte, self.reason);
        LogError::Damaged { offset: self.offset, reason }
    }
}

fn check_header(
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

/// A segment in memory.
struct Read {
    file: Arc<dyn File>,
    bytes: Vec<u8>,
    /// The end of the last whole group.
    end: usize,
    /// Where the last write began that no later one proves durable.
    proven: usize,
}

impl Read {
    /// Takes in group after group, up to the zeros or to the first that does not hold.
    fn groups(&mut self, log: Log, index: &mut Index) -> Result<(), Fault> {
        loop {
            let rest = self.bytes.get(self.end..).unwrap_or_default();
            if rest.iter().all(|byte| *byte == 0) {
                return Ok(());
            }
            let (frames, end) = read_group(rest, self.end, index.next())?;
            for (byte, frame) in frames {
                push(log, index, byte, frame)?;
            }
            (self.proven, self.end) = (self.end, end);
        }
    }

    fn has_group_after_end(&self) -> bool {
        GroupHeader::is_in(self.bytes.get(self.end + 1..).unwrap_or_default())
    }

    /// Leaves nothing but zeros behind the last whole group.
    ///
    /// That group is written again: if its sync failed, the system may show from its memory what
    /// the disk does not hold.
    fn repair(self, files: &dyn Files, options: &Options) -> Result<Tail, LogError> {
        let unproven = self.bytes.get(self.proven..self.end).unwrap_or_default();
        let end = self.end as u64;
        let mut tail =
            Tail { file: self.file, end, prepared: self.bytes.len() as u64, is_full: false };
        let repair = || -> io::Result<()> {
            tail.file.write_at(unproven, self.proven as u64)?;
            tail::write_zeros(&*tail.file, end, used(&self.bytes) as u64)?;
            tail.file.sync_data()?;
            files.sync()
        };
        repair().map_err(|error| unavailable("the newest segment", &error))?;
        tail.prepare(0, options)?;
        Ok(tail)
    }
}

/// Returns the length without the zeros at the end.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

type Frames<'a> = Vec<(usize, Frame<'a>)>;

/// Reads the group at `position`, with which `bytes` begin; returns its frames, each with its
/// byte, and its end.
fn read_group(bytes: &[u8], position: usize, next: Offset) -> Result<(Frames<'_>, usize), Fault> {
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

/// Holds an entry against its stream, and takes it in.
fn push(log: Log, index: &mut Index, byte: usize, frame: Frame<'_>) -> Result<(), Fault> {
    let fault = |reason: String| Fault::certain(index.next(), byte, reason);
    let content = Content::from_byte(frame.content_type)
        .ok_or_else(|| fault(format!("no entry has content type {}", frame.content_type)))?;
    let header = body::header(content, frame.body).map_err(|error| fault(error.to_string()))?;
    let (version, hash) = index.tip(&header.stream);
    if header.stream.log() != log {
        return Err(fault(format!("{} is not a stream of the {log} log", header.stream)));
    }
    if (header.version, header.prev_hash) != (version.next(), hash) {
        let (stream, found) = (&header.stream, header.version);
        return Err(fault(format!(
            "version {found} of {stream} does not follow version {version}"
        )));
    }
    index.push_entry(header, Hash::of(frame.body), byte as u64);
    Ok(())
}
