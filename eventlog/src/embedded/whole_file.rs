//! Writing a small file so that it is there whole or not at all.

use std::io;

use crate::files::Files;

/// What a name ends in until its file is whole. What a crash leaves under such a name is removed.
const UNFINISHED: &str = ".new";

/// Why a file was not put in its place.
#[derive(Debug)]
pub(super) enum PutError {
    /// What was begun is discarded, and what was there before still is.
    Discarded(io::Error),
    /// Nobody knows which of both is there after a loss of power.
    Broken(io::Error),
}

/// Makes a file durable under this name, in place of any that had it.
pub(super) fn put(files: &dyn Files, name: &str, bytes: &[u8]) -> Result<(), PutError> {
    let unfinished = format!("{name}{UNFINISHED}");
    let write = || -> io::Result<()> {
        let file = files.create(&unfinished)?;
        file.write_at(bytes, 0)?;
        file.sync_data()?;
        files.rename(&unfinished, name)
    };
    if let Err(error) = write() {
        // If this fails too, the next start does it.
        let (Ok(()) | Err(_)) = files.remove(&unfinished);
        return Err(PutError::Discarded(error));
    }
    files.sync().map_err(PutError::Broken)
}

/// Removes what a crash has left unfinished.
pub(super) fn clear_unfinished(files: &dyn Files) -> io::Result<()> {
    let unfinished = |name: &String| name.ends_with(UNFINISHED);
    files.list()?.iter().filter(|name| unfinished(name)).try_for_each(|name| files.remove(name))
}
