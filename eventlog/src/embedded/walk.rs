//! One pass over the bytes of a log: every segment in order, held against all that a start holds it
//! against. Takes no lock and changes nothing, so a server may be writing meanwhile.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::body::Content;
use crate::embedded::contents::{Contents, Tip};
use crate::embedded::floor::{self, Floor};
use crate::embedded::scan::{self, Fault, check_entry, check_header, read_group};
use crate::embedded::segment::{self, GroupHeader};
use crate::embedded::{Cut, sealed, unavailable};
use crate::entry::{Hash, Offset, Version};
use crate::files::{File, Files};
use crate::header::Unreadable;
use crate::log::LogError;
use crate::stream::{Log, Stream};

/// How often an end that does not read is looked at: a group that is being written is whole a
/// moment later. What still does not read after that is judged as it stands.
const LOOKS_MAX: usize = 8;

/// How often a pass begins anew because the log was trimmed meanwhile. A trim comes once in a while,
/// so whoever loses this race so often reads slower than the log is dropped.
const TRIES_MAX: usize = 8;

/// How often a file is read that grows shorter meanwhile, as a segment does once, when it is sealed.
const READS_MAX: usize = 3;

/// Is shown each entry that holds, and says whether to go on.
pub(super) type Visit<'a> =
    dyn FnMut(Offset, Content, &[u8]) -> Result<ControlFlow<()>, Unreadable> + 'a;

pub(super) struct Walk {
    log: Log,
    /// Where retention has left the log.
    pub(super) floor: Floor,
    /// The offset of the next entry.
    pub(super) next: Offset,
    /// The length of the newest segment that was walked.
    pub(super) length_before: u64,
    /// The newest entry that was walked.
    pub(super) head_hash: Option<Hash>,
    /// The end of the newest segment, when it is not whole.
    pub(super) cut: Option<Cut>,
    tips: BTreeMap<Stream, (Version, Hash)>,
    /// The first offset of the segment that was walked last.
    walked: Option<Offset>,
    /// The newest segment was walked, or `visit` has seen enough.
    pub(super) is_over: bool,
}

/// A segment that holds.
pub(super) struct Segment {
    pub(super) name: String,
    pub(super) file: Arc<dyn File>,
    pub(super) bytes: Vec<u8>,
    /// The byte after the last whole group.
    pub(super) end: usize,
    /// Whether it was the newest, which grows, when it was walked.
    pub(super) is_newest: bool,
    contents: Contents,
}

impl Walk {
    /// Begins where retention has left the log.
    pub(super) fn begin(files: &dyn Files, log: Log) -> Result<Self, LogError> {
        let floor = floor::read(files, log)?;
        let tip = |(stream, tip): (&Stream, &Tip)| (stream.clone(), (tip.version, tip.hash));
        Ok(Self {
            log,
            next: floor.first,
            length_before: floor.length_before,
            head_hash: None,
            cut: None,
            tips: floor.tips.iter().map(tip).collect(),
            walked: None,
            is_over: false,
            floor,
        })
    }

    /// Walks the next segment; `None` behind the newest.
    pub(super) fn segment(
        &mut self,
        files: &dyn Files,
        visit: &mut Visit<'_>,
    ) -> Result<Option<Segment>, LogError> {
        if self.is_over {
            return Ok(None);
        }
        let ahead = self.ahead(files)?;
        let Some(first) = ahead.first().copied() else {
            self.is_over = true;
            return self.check_begun(&segment::name(self.next)).map(|()| None);
        };
        let mut segment = load(files, first, ahead.len() == 1)?;
        if let Err(fault) =
            check_header(self.log, first, self.next, self.length_before, &segment.bytes)
        {
            let is_begun = segment.is_newest && fault.torn && !GroupHeader::is_in(&segment.bytes);
            if !is_begun {
                return Err(fault.damaged(&segment.name));
            }
            // It is being begun, or a crash came while it was: it holds nothing yet.
            self.check_begun(&segment.name)?;
            self.is_over = true;
            self.cut = Some(segment.cut(first));
            return Ok(None);
        }
        segment.end = segment::HEADER_BYTES;
        if segment.is_newest {
            self.newest(files, &mut segment, visit)?;
        } else {
            self.groups(&mut segment, visit).map_err(|fault| fault.damaged(&segment.name))?;
        }
        self.walked = Some(first);
        self.length_before = segment.end as u64;
        self.is_over |= segment.is_newest;
        Ok(Some(segment))
    }

    /// A log of which something was dropped has at least the segment that was kept.
    fn check_begun(&self, name: &str) -> Result<(), LogError> {
        if self.walked.is_some() || self.next == Offset(1) {
            return Ok(());
        }
        let reason = format!("the segment with offset {} is missing", self.next);
        Err(Fault::certain(self.next, 0, reason).damaged(name))
    }

    /// Returns the first offsets of the segments that are still to be walked.
    fn ahead(&self, files: &dyn Files) -> Result<Vec<Offset>, LogError> {
        let names = files.list().map_err(|error| unavailable("the folder", &error))?;
        // What a trim has left below the floor is no part of the log.
        let is_ahead = |first: &Offset| match self.walked {
            Some(walked) => *first > walked,
            None => *first >= self.floor.first,
        };
        let mut ahead: Vec<Offset> =
            names.iter().filter_map(|name| segment::first_of(name)).filter(is_ahead).collect();
        ahead.sort_unstable();
        Ok(ahead)
    }

    /// Walks the newest segment up to where it does not read, looks there again, and judges its end.
    fn newest(
        &mut self,
        files: &dyn Files,
        segment: &mut Segment,
        visit: &mut Visit<'_>,
    ) -> Result<(), LogError> {
        let mut walked = self.groups(segment, visit);
        for _ in 0..LOOKS_MAX {
            if !walked.as_ref().is_err_and(|fault| fault.torn) {
                break;
            }
            let seen = segment.rest().to_vec();
            segment.look_again().map_err(|error| unavailable(&segment.name, &error))?;
            if segment.rest() == seen {
                break;
            }
            walked = self.groups(segment, visit);
        }
        match walked {
            Ok(()) if self.is_over || segment.bytes.len() > segment.end => {}
            Ok(()) => {
                // It was sealed since, or it has lost its end.
                let names = files.list().map_err(|error| unavailable("the folder", &error))?;
                let next = segment::name(self.next);
                segment.is_newest = next == segment.name || !names.contains(&next);
                self.cut = segment.is_newest.then(|| segment.cut(self.next));
            }
            Err(fault) if fault.torn && !segment.has_group_after_end() => {
                self.cut = Some(segment.cut(self.next));
            }
            Err(fault) => return Err(fault.damaged(&segment.name)),
        }
        Ok(())
    }

    /// Walks group after group, up to the zeros or to the first that does not hold.
    fn groups(&mut self, segment: &mut Segment, visit: &mut Visit<'_>) -> Result<(), Fault> {
        loop {
            let rest = segment.bytes.get(segment.end..).unwrap_or_default();
            if self.is_over || rest.iter().all(|byte| *byte == 0) {
                return Ok(());
            }
            let (frames, end) = read_group(rest, segment.end, self.next)?;
            for (byte, frame) in frames {
                self.entry(byte, frame, &mut segment.contents, visit)?;
            }
            segment.end = end;
        }
    }

    fn entry(
        &mut self,
        byte: usize,
        frame: segment::Frame<'_>,
        contents: &mut Contents,
        visit: &mut Visit<'_>,
    ) -> Result<(), Fault> {
        let tip = |stream: &Stream| self.tips.get(stream).copied().unwrap_or_default();
        let header = check_entry(self.log, self.next, byte, frame, tip)?;
        let hash = Hash::of(frame.body);
        let fault = |reason: String| Fault::certain(self.next, byte, reason);
        let place = u32::try_from(byte).map_err(|_| fault("the segment is too long".to_owned()))?;
        if let (false, Some(content)) = (self.is_over, Content::from_byte(frame.content_type)) {
            let visited = visit(self.next, content, frame.body);
            self.is_over = visited.map_err(|error| fault(error.0))?.is_break();
        }
        self.tips.insert(header.stream.clone(), (header.version, hash));
        let tip = Tip::of(&header, self.next, hash);
        contents.push(header, tip, place);
        self.head_hash = Some(hash);
        self.next = Offset(self.next.0 + 1);
        Ok(())
    }
}

impl Segment {
    /// Returns the index that belongs beside it when it is sealed: its name and its bytes.
    pub(super) fn index(&self, log: Log) -> (String, Vec<u8>) {
        let bytes = sealed::write(log, &self.contents, self.end as u64);
        (sealed::name(self.contents.first()), bytes)
    }

    /// Returns what stands behind the last whole group, without the zeros at the end.
    fn rest(&self) -> &[u8] {
        let rest = self.bytes.get(self.end..).unwrap_or_default();
        rest.get(..scan::used(rest)).unwrap_or_default()
    }

    fn has_group_after_end(&self) -> bool {
        GroupHeader::is_in(self.bytes.get(self.end + 1..).unwrap_or_default())
    }

    fn look_again(&mut self) -> io::Result<()> {
        self.bytes.truncate(self.end);
        self.bytes.extend(read(&*self.file, self.end)?);
        Ok(())
    }

    fn cut(&self, offset: Offset) -> Cut {
        let (byte, bytes) = (self.end as u64, self.rest().len() as u64);
        Cut { segment: self.name.clone(), byte, bytes, offset }
    }
}

/// Does something with a log, and again when retention has dropped what it was about to read.
pub(super) fn while_trimmed<R>(
    files: &dyn Files,
    log: Log,
    mut attempt: impl FnMut() -> Result<R, LogError>,
) -> Result<R, LogError> {
    for _ in 1..TRIES_MAX {
        let before = floor::read(files, log)?;
        match attempt() {
            Err(_) if floor::read(files, log)? != before => {}
            done => return done,
        }
    }
    attempt()
}

fn load(files: &dyn Files, first: Offset, is_newest: bool) -> Result<Segment, LogError> {
    let name = segment::name(first);
    let load = || -> io::Result<(Arc<dyn File>, Vec<u8>)> {
        let file = files.open(&name)?;
        let bytes = read(&*file, 0)?;
        Ok((file, bytes))
    };
    let (file, bytes) = load().map_err(|error| unavailable(&name, &error))?;
    Ok(Segment { name, file, bytes, end: 0, is_newest, contents: Contents::new(first) })
}

/// Reads a file from a place to its end.
pub(super) fn read(file: &dyn File, from: usize) -> io::Result<Vec<u8>> {
    let mut reads = 0;
    loop {
        let length = usize::try_from(file.length()?).map_err(io::Error::other)?;
        let mut bytes = vec![0; length.saturating_sub(from)];
        reads += 1;
        match file.read_at(&mut bytes, from as u64) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && reads < READS_MAX => {}
            read => return read.map(|()| bytes),
        }
    }
}
