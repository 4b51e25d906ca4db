//! Holds a log against all it promises, byte by byte, without opening it: what a start trusts the
//! indexes of sealed segments for is read here.

use std::io;
use std::ops::ControlFlow;

use crate::body;
use crate::embedded::walk::{self, Walk};
use crate::embedded::{Cut, unavailable};
use crate::entry::{Entry, Hash, Offset};
use crate::files::Files;
use crate::log::LogError;
use crate::stream::Log;

/// A log that holds, and how much of it there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    pub entries: u64,
    /// The first entry that is held, and the newest; `first` is behind `head` when none is.
    pub first: Offset,
    pub head: Offset,
    /// `None` when no entry is held.
    pub head_hash: Option<Hash>,
    pub segments: u64,
    /// Without the zeros behind the last group.
    pub bytes: u64,
    /// Indexes that hold, and the names of those that do not. An index is made of its segment, and is
    /// made anew by whoever finds it wrong.
    pub indexes: u64,
    pub indexes_wrong: Vec<String>,
    /// An end that is not whole: a crash has left it, or it is being written.
    pub cut: Option<Cut>,
}

/// Reads every byte and names the first bad offset. A server may be writing meanwhile.
pub fn verify(files: &dyn Files, log: Log) -> Result<Verified, LogError> {
    walk::while_trimmed(files, log, || visit(files, log, |_| ControlFlow::Continue(())))
}

/// Shows each entry that holds, in order, until one does not or `see` has seen enough.
pub fn visit(
    files: &dyn Files,
    log: Log,
    mut see: impl FnMut(Entry) -> ControlFlow<()>,
) -> Result<Verified, LogError> {
    let mut walk = Walk::begin(files, log)?;
    let (mut segments, mut bytes, mut indexes) = (0, 0, 0);
    let mut indexes_wrong = Vec::new();
    let first = walk.next;
    while let Some(segment) = walk.segment(files, &mut |offset, content, body| {
        Ok(see(body::open(log, offset, content, body)?))
    })? {
        segments += 1;
        bytes += segment.end as u64;
        if walk.is_over {
            // The newest has none, and of one that was not walked to its end nothing is known.
            continue;
        }
        let (name, expected) = segment.index(log);
        match index(files, &name)? {
            None => {}
            Some(found) if found == expected => indexes += 1,
            Some(_) => indexes_wrong.push(name),
        }
    }
    Ok(Verified {
        entries: walk.next.0 - first.0,
        first,
        head: Offset(walk.next.0 - 1),
        head_hash: walk.head_hash,
        segments,
        bytes,
        indexes,
        indexes_wrong,
        cut: walk.cut,
    })
}

/// Returns the bytes of an index; `None` where it is not written yet.
fn index(files: &dyn Files, name: &str) -> Result<Option<Vec<u8>>, LogError> {
    match files.open(name).and_then(|file| walk::read(&*file, 0)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unavailable(name, &error)),
    }
}
