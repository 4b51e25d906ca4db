//! A start: of each sealed segment the header and the index are read, the newest is read whole and
//! held against all it promises. The torn end of a crash is cut, an index that does not hold is
//! made anew, and anything else that does not hold stops the start.

use std::io;
use std::sync::Arc;

use crate::embedded::contents::{Named, Row};
use crate::embedded::floor::{self, Floor};
use crate::embedded::index::{Form, Index, Sealed};
use crate::embedded::reader::{self, Whole};
use crate::embedded::scan;
use crate::embedded::segment::{self, GroupHeader, Header};
use crate::embedded::tail::{self, Tail};
use crate::embedded::whole_file::{self, PutError};
use crate::embedded::{Cut, Opened, Options, next, sealed, unavailable};
use crate::entry::Offset;
use crate::files::{File, Files};
use crate::log::LogError;
use crate::stream::{Log, Stream};

pub(super) struct Recovered {
    pub(super) index: Index,
    pub(super) tail: Tail,
    pub(super) report: Opened,
}

/// What stands in the files.
struct Found {
    index: Index,
    cut: Option<Cut>,
    newest: Option<Newest>,
    /// A segment that a crash has left without a header.
    headless: Option<String>,
}

/// The newest segment, in memory.
struct Newest {
    file: Arc<dyn File>,
    bytes: Vec<u8>,
    /// The end of the last whole group.
    end: usize,
    /// Where the last write began that no later one proves durable.
    proven: usize,
}

/// Whether what is found may be put in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Write,
    Read,
}

/// Reads the log, and leaves its end ready to be written.
pub(super) fn recover(
    files: &dyn Files,
    log: Log,
    options: &Options,
) -> Result<Recovered, LogError> {
    let floor = floor::read(files, log)?;
    clear(files, &floor).map_err(|error| unavailable("the folder", &error))?;
    let begins = (floor.first, floor.length_before);
    let found = read_from(files, log, options.append_ids_max, Access::Write, floor)?;
    let Found { mut index, cut, newest, headless } = found;
    if let Some(name) = headless {
        files.remove(&name).map_err(|error| unavailable(&name, &error))?;
    }
    let tail = if let Some(newest) = newest {
        newest.repair(files, options)?
    } else {
        let (first, length_before) = begins;
        let tail = Tail::create(files, log, first, length_before, options)?;
        index.push_open(Arc::clone(&tail.file));
        tail
    };
    let entries = index.head().0 - index.floor().offset().0;
    Ok(Recovered { index, tail, report: Opened { entries, cut } })
}

/// Removes what has no meaning at a start: what was begun and not finished, and what retention has
/// dropped already.
fn clear(files: &dyn Files, floor: &Floor) -> io::Result<()> {
    whole_file::clear_unfinished(files)?;
    if files.list()?.iter().any(|name| name == next::NAME) {
        files.remove(next::NAME)?;
    }
    floor::clear_below(files, floor.first)
}

/// Reads the log and changes nothing. What is shown is durable.
pub(super) fn read(files: &dyn Files, log: Log) -> Result<Index, LogError> {
    let floor = floor::read(files, log)?;
    let found = read_from(files, log, 0, Access::Read, floor)?;
    // A group may still be on its way.
    let sync = found.newest.as_ref().map_or(Ok(()), |newest| newest.file.sync_data());
    sync.map_err(|error| unavailable("the newest segment", &error))?;
    Ok(found.index)
}

fn read_from(
    files: &dyn Files,
    log: Log,
    append_ids_max: usize,
    access: Access,
    floor: Floor,
) -> Result<Found, LogError> {
    let first = floor.first;
    let mut segments = names(files)?;
    segments.retain(|segment| *segment >= first);
    let mut length_before = floor.length_before;
    let mut index = Index::new(floor, append_ids_max);

    let headless = headless(files, segments.last().copied())?;
    let newest = match &headless {
        Some(_) => segments.pop().and_then(|_| segments.pop()),
        None => segments.pop(),
    };
    for first in segments {
        let at = Place { files, log, first, length_before };
        let (sealed, rows) = at.read_sealed(&index, access)?;
        length_before = sealed.length;
        index.push_sealed(sealed, rows);
    }
    let mut found = Found { index, cut: None, newest: None, headless: None };
    remember(files, log, append_ids_max as u64, &mut found.index)?;
    if let Some(first) = newest {
        if access == Access::Write {
            remove_index(files, first)?;
        }
        let at = Place { files, log, first, length_before };
        at.read_newest(&mut found, headless.is_some())?;
    }
    let next = found.index.next();
    let missing = |first: Offset| {
        let reason = format!("{}: the segment with offset {next} is missing", segment::name(first));
        LogError::Damaged { offset: next, reason }
    };
    if let Some((first, bytes)) = headless {
        if first != next || (found.newest.is_none() && first > Offset(1)) {
            return Err(missing(first));
        }
        let segment = segment::name(first);
        found.headless = Some(segment.clone());
        found.cut = Some(Cut { segment, byte: 0, bytes, offset: first });
    } else if found.newest.is_none() && first > Offset(1) {
        return Err(missing(first));
    }
    Ok(found)
}

/// Returns the first offsets of all segments, in order.
fn names(files: &dyn Files) -> Result<Vec<Offset>, LogError> {
    let names = files.list().map_err(|error| unavailable("the folder", &error))?;
    let mut segments: Vec<Offset> =
        names.iter().filter_map(|name| segment::first_of(name)).collect();
    segments.sort_unstable();
    Ok(segments)
}

/// Returns the newest segment if a crash came while it was begun, so that it holds nothing yet, and
/// how many bytes it has.
fn headless(files: &dyn Files, newest: Option<Offset>) -> Result<Option<(Offset, u64)>, LogError> {
    let Some(first) = newest else { return Ok(None) };
    let name = segment::name(first);
    let read = || -> io::Result<bool> {
        let file = files.open(&name)?;
        Ok(Header::read(&header_bytes(&*file)?).is_some())
    };
    if read().map_err(|error| unavailable(&name, &error))? {
        return Ok(None);
    }
    let (_, bytes) = reader::load(files, &name).map_err(|error| unavailable(&name, &error))?;
    Ok((!GroupHeader::is_in(&bytes)).then_some((first, scan::used(&bytes) as u64)))
}

/// Returns the bytes of a segment's header, or as many as there are.
fn header_bytes(file: &dyn File) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.length()?).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length.min(segment::HEADER_BYTES)];
    file.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// A segment, and what stands before it.
struct Place<'a> {
    files: &'a dyn Files,
    log: Log,
    first: Offset,
    length_before: u64,
}

impl Place<'_> {
    /// Reads a sealed segment, if its index holds no more than that and its header.
    fn read_sealed(&self, index: &Index, access: Access) -> Result<(Sealed, Vec<Row>), LogError> {
        let name = segment::name(self.first);
        let file = self.files.open(&name).map_err(|error| unavailable(&name, &error))?;
        let front =
            || -> io::Result<(Vec<u8>, u64)> { Ok((header_bytes(&*file)?, file.length()?)) };
        let (header, length) = front().map_err(|error| unavailable(&name, &error))?;
        self.check_header(index, &header)?;
        if let Some(front) = self.read_index(length)
            && index.follows(&front.rows)
        {
            return Ok(Sealed::filed(self.first, length, front));
        }
        let sealed = self.scan_sealed(index, access)?;
        let Form::Held(contents) = &sealed.form else { return Ok((sealed, Vec::new())) };
        let rows = contents.rows().collect();
        match access {
            Access::Read => Ok((sealed, rows)),
            Access::Write => Ok((self.file(sealed)?, rows)),
        }
    }

    fn check_header(&self, index: &Index, header: &[u8]) -> Result<(), LogError> {
        scan::check_header(self.log, self.first, index.next(), self.length_before, header)
            .map_err(|fault| fault.damaged(&segment::name(self.first)))
    }

    /// Reads the index of a segment of this length; `None` when there is none that holds.
    fn read_index(&self, length: u64) -> Option<sealed::Front> {
        let file = self.files.open(&sealed::name(self.first)).ok()?;
        let front = sealed::read_front(&*file).ok()??;
        front.is_of(self.log, self.first, length).then_some(front)
    }

    fn scan_sealed(&self, index: &Index, access: Access) -> Result<Sealed, LogError> {
        let name = segment::name(self.first);
        let loaded = reader::load(self.files, &name);
        let (file, bytes) = loaded.map_err(|error| unavailable(&name, &error))?;
        let tip = |stream: &Stream| Some(index.tip(stream));
        let (contents, progress, read) = scan::segment(self.log, self.first, &bytes, &tip);
        read.map_err(|fault| fault.damaged(&name))?;
        let length = progress.end as u64;
        if access == Access::Write && progress.end < bytes.len() {
            // The crash came when the next segment had been begun, and this one not yet cut.
            let cut = || file.set_length(length).and_then(|()| file.sync_data());
            cut().map_err(|error| unavailable(&name, &error))?;
        }
        Ok(Sealed::held(contents, length))
    }

    /// Writes the index that was missing. Where that fails it stays in memory, and is tried again
    /// while the log is open.
    fn file(&self, sealed: Sealed) -> Result<Sealed, LogError> {
        let Form::Held(contents) = &sealed.form else { return Ok(sealed) };
        let name = sealed::name(self.first);
        let bytes = sealed::write(self.log, contents, sealed.length);
        match whole_file::put(self.files, &name, &bytes) {
            Ok(()) => Ok(Sealed { form: sealed::form(sealed.entries, bytes.len()), ..sealed }),
            Err(PutError::Discarded(error)) => {
                tracing::warn!(log = %self.log, name, %error, "an index cannot be written yet");
                Ok(sealed)
            }
            Err(PutError::Broken(error)) => Err(unavailable(&name, &error)),
        }
    }

    /// Reads the newest segment. When one without a header follows, this one was complete.
    fn read_newest(&self, found: &mut Found, is_followed: bool) -> Result<(), LogError> {
        let name = segment::name(self.first);
        let loaded = reader::load(self.files, &name);
        let (file, bytes) = loaded.map_err(|error| unavailable(&name, &error))?;
        self.check_header(&found.index, &bytes)?;
        let tip = |stream: &Stream| Some(found.index.tip(stream));
        let (contents, progress, read) = scan::segment(self.log, self.first, &bytes, &tip);
        let end = progress.end;
        let has_group_behind = || GroupHeader::is_in(bytes.get(end + 1..).unwrap_or_default());
        let used = match read {
            Ok(()) if bytes.len() == end => Some(end),
            Ok(()) => None,
            Err(fault) if fault.torn && !is_followed && !has_group_behind() => {
                Some(scan::used(&bytes))
            }
            Err(fault) => return Err(fault.damaged(&name)),
        };
        found.cut = used.map(|used| Cut {
            segment: name,
            byte: end as u64,
            bytes: (used - end) as u64,
            offset: progress.next,
        });
        found.index.push_newest(Arc::clone(&file), contents, end as u64);
        found.newest = Some(Newest { file, bytes, end, proven: progress.proven });
        Ok(())
    }
}

/// An index beside the newest segment is from a time when that was not the newest.
fn remove_index(files: &dyn Files, newest: Offset) -> Result<(), LogError> {
    let name = sealed::name(newest);
    let remove = || -> io::Result<()> {
        if files.list()?.contains(&name) { files.remove(&name) } else { Ok(()) }
    };
    remove().map_err(|error| unavailable(&name, &error))
}

/// Takes in the append ids of the newest sealed segments, as many as are remembered.
fn remember(files: &dyn Files, log: Log, max: u64, index: &mut Index) -> Result<(), LogError> {
    let (mut newest, mut entries) = (Vec::new(), 0);
    for sealed in index.sealed().rev() {
        if entries >= max {
            break;
        }
        entries += u64::from(sealed.entries);
        newest.push(Arc::clone(sealed));
    }
    for sealed in newest.into_iter().rev() {
        if let Form::Filed { .. } = sealed.form
            && let Some((rows, named)) = read_named(files, &sealed)
        {
            index.remember(sealed.first, &rows, named);
            continue;
        }
        let sealed = match &sealed.form {
            Form::Held(_) => sealed,
            Form::Filed { .. } | Form::Forgotten => {
                let whole = reader::read_whole(files, log, &sealed);
                Arc::new(whole.map_err(|whole| match whole {
                    Whole::Failed(error) => error,
                    Whole::Missing => {
                        let name = segment::name(sealed.first);
                        unavailable(&name, &io::ErrorKind::NotFound.into())
                    }
                })?)
            }
        };
        let Form::Held(contents) = &sealed.form else { continue };
        let (rows, named) = (contents.rows().collect::<Vec<_>>(), contents.named());
        index.remember(sealed.first, &rows, named);
        index.replace_by(&sealed);
    }
    Ok(())
}

fn read_named(files: &dyn Files, sealed: &Sealed) -> Option<(Vec<Row>, Vec<Named>)> {
    let file = files.open(&sealed::name(sealed.first)).ok()?;
    let front = sealed::read_front(&*file).ok()??;
    let named = sealed::read_named(&*file, &front).ok()??;
    Some((front.rows, named))
}

impl Newest {
    /// Leaves nothing but zeros behind the last whole group.
    ///
    /// That group is written again: if its sync failed, the system may show from its memory what
    /// the disk does not hold.
    fn repair(self, files: &dyn Files, options: &Options) -> Result<Tail, LogError> {
        let unproven = self.bytes.get(self.proven..self.end).unwrap_or_default();
        let (end, prepared) = (self.end as u64, self.bytes.len() as u64);
        let mut tail = Tail { file: self.file, end, prepared, is_full: false };
        let repair = || -> io::Result<()> {
            tail.file.write_at(unproven, self.proven as u64)?;
            tail::write_zeros(&*tail.file, end, scan::used(&self.bytes) as u64)?;
            tail.file.sync_data()?;
            files.sync()
        };
        repair().map_err(|error| unavailable("the newest segment", &error))?;
        tail.prepare(0, options)?;
        Ok(tail)
    }
}
