//! The files of sealed segments that are held open.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crate::embedded::segment;
use crate::entry::Offset;
use crate::files::{File, Files};

/// Sealed segments that are held open: a log may have more of them than a process may have open
/// files. The one that was not read for the longest time is closed.
pub(super) const FILES_OPEN_MAX: usize = 64;

#[derive(Default)]
pub(super) struct Handles {
    open: BTreeMap<Offset, Handle>,
    /// Counts the reads.
    now: u64,
}

struct Handle {
    file: Arc<dyn File>,
    used: u64,
}

impl Handles {
    pub(super) fn get(&mut self, files: &dyn Files, first: Offset) -> io::Result<Arc<dyn File>> {
        self.now += 1;
        if let Some(handle) = self.open.get_mut(&first) {
            handle.used = self.now;
            return Ok(Arc::clone(&handle.file));
        }
        let file = files.open(&segment::name(first))?;
        if self.open.len() >= FILES_OPEN_MAX
            && let Some((oldest, _)) = self.open.iter().min_by_key(|(_, handle)| handle.used)
        {
            let oldest = *oldest;
            self.open.remove(&oldest);
        }
        self.open.insert(first, Handle { file: Arc::clone(&file), used: self.now });
        Ok(file)
    }

    pub(super) fn close(&mut self, first: Offset) {
        self.open.remove(&first);
    }

    pub(super) fn close_below(&mut self, first: Offset) {
        self.open = self.open.split_off(&first);
    }

    #[cfg(test)]
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }
}
