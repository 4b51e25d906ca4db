//! Reading on, with patience for a log that cannot be reached.
//!
//! A long past is read without ever waiting for it, so others have their turn after each read.

use eventlog::entry::{Entry, Offset, Version};
use eventlog::log::{LogError, ReadLog};
use eventlog::stream::{Log, Stream};
use tokio::task::yield_now;

use crate::pen::Patience;

/// Entries that are read at once.
const READ_ENTRIES_MAX: usize = 256;

/// Reads on in a log; nothing comes only when there is no more.
pub(super) async fn read(
    log: Log,
    from: &dyn ReadLog,
    after: Offset,
) -> Result<Vec<Entry>, LogError> {
    let mut patience = Patience::default();
    loop {
        match from.read(after, READ_ENTRIES_MAX).await {
            Ok(entries) => {
                yield_now().await;
                return Ok(entries);
            }
            Err(error) => patience.wait_out(&log, error).await?,
        }
    }
}

/// Reads on in a stream up to a version; nothing comes only when there is no more.
pub(super) async fn read_stream(
    from: &dyn ReadLog,
    stream: &Stream,
    after: Version,
    until: Version,
) -> Result<Vec<Entry>, LogError> {
    if after >= until {
        return Ok(Vec::new());
    }
    let mut patience = Patience::default();
    loop {
        match from.read_stream(stream, after, READ_ENTRIES_MAX).await {
            Ok(mut entries) => {
                entries.retain(|entry| entry.version <= until);
                yield_now().await;
                return Ok(entries);
            }
            Err(error) => patience.wait_out(stream, error).await?,
        }
    }
}
