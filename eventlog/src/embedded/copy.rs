//! A copy of a log in use, while a server appends to it, begins segments and drops old ones.
//!
//! Every byte is held against its checksums on the way: what is damaged is not copied in silence.
//! Nothing is copied that was not durable, so a copy is never ahead of its original.

use std::io;
use std::ops::ControlFlow;

use crate::embedded::floor::{self, Floor};
use crate::embedded::segment::{self, Header};
use crate::embedded::walk::{self, Walk};
use crate::embedded::{Cut, unavailable};
use crate::entry::{Hash, Offset};
use crate::files::Files;
use crate::log::LogError;
use crate::stream::Log;

/// Zeros behind the last group of a copy, by which a start knows that the file has not lost its end.
const ZEROS: [u8; 64] = [0; 64];

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The first entry that was held, and the newest; `first` is behind `head` when none was.
    pub first: Offset,
    pub head: Offset,
    /// `None` when no entry was held.
    pub head_hash: Option<Hash>,
    /// The end of the original, when it was not whole: a crash has left it, or it was being written.
    pub cut: Option<Cut>,
    /// In the order in which they were copied.
    pub files: Vec<CopiedFile>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedFile {
    pub name: String,
    pub bytes: u64,
    pub sha256: Hash,
}

/// Returns the first entry of a log that is held, which a copy would begin with.
pub fn first(files: &dyn Files, log: Log) -> Result<Offset, LogError> {
    Ok(Walk::begin(files, log)?.next)
}

/// Copies a log into an empty folder; what is there is durable when this returns, but for the name
/// of the folder itself. The copy opens as a log that was stopped in order.
pub fn copy(from: &dyn Files, to: &dyn Files, log: Log) -> Result<Copied, LogError> {
    let mut again = false;
    walk::while_trimmed(from, log, || {
        if std::mem::replace(&mut again, true) {
            // What was copied before a trim lies below the new floor.
            empty(to)?;
        }
        copy_once(from, to, log)
    })
}

fn empty(to: &dyn Files) -> Result<(), LogError> {
    for name in to.list().map_err(|error| not_written("the folder", &error))? {
        to.remove(&name).map_err(|error| not_written(&name, &error))?;
    }
    Ok(())
}

fn copy_once(from: &dyn Files, to: &dyn Files, log: Log) -> Result<Copied, LogError> {
    let mut walk = Walk::begin(from, log)?;
    let first = walk.next;
    let mut files = Vec::new();
    if walk.floor != Floor::default() {
        files.push(write(to, floor::NAME.to_owned(), &walk.floor.write(log))?);
    }
    let mut is_open = false;
    while let Some(segment) = walk.segment(from, &mut |_, _, _| Ok(ControlFlow::Continue(())))? {
        // All that was read is durable after this, also a group whose sync was still under way.
        segment.file.sync_data().map_err(|error| unavailable(&segment.name, &error))?;
        let index = (!segment.is_newest).then(|| segment.index(log));
        let mut bytes = segment.bytes;
        bytes.truncate(segment.end);
        if segment.is_newest {
            bytes.extend(ZEROS);
        }
        is_open = segment.is_newest;
        files.push(write(to, segment.name, &bytes)?);
        // Made anew: the original may have none yet, or one that does not hold.
        if let Some((name, bytes)) = index {
            files.push(write(to, name, &bytes)?);
        }
    }
    if !is_open {
        let mut bytes = Header::new(log, walk.next, walk.length_before).write();
        bytes.extend(ZEROS);
        files.push(write(to, segment::name(walk.next), &bytes)?);
    }
    to.sync().map_err(|error| not_written("the folder", &error))?;
    let head = Offset(walk.next.0 - 1);
    Ok(Copied { first, head, head_hash: walk.head_hash, cut: walk.cut, files })
}

fn write(to: &dyn Files, name: String, bytes: &[u8]) -> Result<CopiedFile, LogError> {
    let write = || -> io::Result<()> {
        let file = to.create(&name)?;
        file.write_at(bytes, 0)?;
        file.sync_data()
    };
    write().map_err(|error| not_written(&name, &error))?;
    Ok(CopiedFile { name, bytes: bytes.len() as u64, sha256: Hash::of(bytes) })
}

fn not_written(name: &str, error: &io::Error) -> LogError {
    LogError::Unavailable(format!("the copy of {name} cannot be written: {error}"))
}
