//! The end of the newest segment, where groups are written.

use std::io;
use std::sync::Arc;

use crate::embedded::next::{self, Begun};
use crate::embedded::segment::{self, Header};
use crate::embedded::{Options, is_full};
use crate::entry::Offset;
use crate::files::{File, Files};
use crate::log::LogError;
use crate::stream::Log;

/// The open segment. Behind `end` stand zeros that are durable already, up to `prepared`, so that
/// the sync of a group has nothing to write but the group.
pub(super) struct Tail {
    pub(super) file: Arc<dyn File>,
    pub(super) end: u64,
    pub(super) prepared: u64,
    pub(super) is_full: bool,
}

/// Why a group cannot be written.
#[derive(Debug)]
pub(super) enum Failure {
    /// The disk is full. Nothing has happened; the next append tries again.
    Full,
    /// Nobody knows what is on the disk now.
    Broken(io::Error),
}

impl Tail {
    /// Begins a segment. It is durable, with its name, when this returns.
    pub(super) fn create(
        files: &dyn Files,
        log: Log,
        first: Offset,
        length_before: u64,
        options: &Options,
    ) -> Result<Self, Failure> {
        let file = files.create(&segment::name(first)).map_err(Failure::of)?;
        let header = Header::new(log, first, length_before).write();
        let end = header.len() as u64;
        file.write_at(&header, 0).map_err(Failure::of)?;
        let mut tail = Self { file, end, prepared: end, is_full: false };
        tail.prepare(0, options)?;
        files.sync().map_err(Failure::Broken)?;
        Ok(tail)
    }

    /// Begins a segment in a file that was prepared for it. It is durable, with its name, when this
    /// returns.
    pub(super) fn adopt(files: &dyn Files, begun: Begun, header: Header) -> Result<Self, Failure> {
        let Begun { file, prepared } = begun;
        let name = segment::name(header.first);
        let header = header.write();
        let end = header.len() as u64;
        file.write_at(&header, 0).map_err(Failure::Broken)?;
        file.sync_data().map_err(Failure::Broken)?;
        files.rename(next::NAME, &name).map_err(Failure::of)?;
        files.sync().map_err(Failure::Broken)?;
        Ok(Self { file, end, prepared: prepared.max(end), is_full: false })
    }

    /// Sees to it that a group of this length leaves at least one zero behind it, by which a start
    /// knows that the file has not lost its end.
    pub(super) fn prepare(&mut self, group_bytes: u64, options: &Options) -> Result<(), Failure> {
        let needed = self.end + group_bytes;
        if needed < self.prepared {
            return Ok(());
        }
        let step = (self.prepared + options.prepare_bytes).min(options.segment_bytes);
        let prepared = step.max(needed + 1);
        write_zeros(&*self.file, self.prepared, prepared).map_err(Failure::of)?;
        self.file.sync_data().map_err(Failure::Broken)?;
        self.prepared = prepared;
        Ok(())
    }
}

impl Failure {
    fn of(error: io::Error) -> Self {
        if is_full(&error) { Self::Full } else { Self::Broken(error) }
    }
}

impl From<Failure> for LogError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Full => Self::Full,
            Failure::Broken(error) => Self::Unavailable(error.to_string()),
        }
    }
}

pub(super) fn write_zeros(file: &dyn File, from: u64, to: u64) -> io::Result<()> {
    static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
    let mut position = from;
    while position < to {
        let step = usize::try_from(to - position).unwrap_or(usize::MAX).min(ZEROS.len());
        file.write_at(ZEROS.get(..step).unwrap_or(&ZEROS), position)?;
        position += step as u64;
    }
    Ok(())
}
