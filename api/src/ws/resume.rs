//! Trades that a returning client missed, read from the log itself.

use eventlog::entry::Offset;
use eventlog::log::LogError;
use eventlog::stream::Stream;

use crate::app::App;
use crate::ws::bell::Slot;
use crate::ws::outbox::Outbox;
use crate::ws::protocol::Mode;
use crate::ws::sequence;
use crate::ws::topic::{Ring, Topic};
use crate::ws::trades::{self, Newest};

/// Entries of the log that are read for a client that returns. One that was away for longer starts
/// from the newest price, and is told of the gap.
pub const RESUME_ENTRIES_MAX: u64 = 20_000;

/// Entries that are read at once: their frames fit into one write.
const STEP_ENTRIES: usize = 16;

/// A way through the log, up to where the ring takes over.
#[derive(Debug)]
pub struct FromLog {
    from_seq: u64,
    at: Offset,
    newest: Newest,
}

impl FromLog {
    /// Begins with the entry in which `from_seq` stands: it tells which trades came late.
    pub fn new(from_seq: u64) -> Self {
        let (offset, _) = sequence::place(from_seq);
        Self { from_seq, at: Offset(offset.0.saturating_sub(1)), newest: Newest::default() }
    }

    /// Sends some of it. Returns the sequence after which the ring has everything, once there.
    pub async fn step(
        &mut self,
        app: &App,
        topic: &Topic,
        (slot, mode): (Slot, Mode),
        out: &mut Outbox,
    ) -> Result<Option<u64>, LogError> {
        let instrument = &topic.key.instrument;
        let Some(venue) = app.venue(instrument) else { return Ok(Some(self.from_seq)) };
        let scales = app.scales(&venue, instrument);
        let ours = Stream::Market { venue, instrument: instrument.clone() };
        // Nothing past it: the ring has that, and perhaps the views do not show it yet.
        let until = topic.read(Ring::covers_after);
        let entries = app.market.read(self.at, STEP_ENTRIES).await?;
        // Asked after the reading, which goes on behind what was dropped.
        let floor = app.market.floor().await?;
        if floor > self.at {
            let gone = format!("entries up to {floor} have been dropped");
            return Err(LogError::Unavailable(gone));
        }
        for entry in entries.iter().filter(|entry| entry.stream == ours) {
            for frame in trades::frames(entry, &mut self.newest, scales) {
                if (self.from_seq + 1..=until).contains(&frame.seq)
                    && let Some(bytes) = frame.wire(instrument, mode)
                {
                    out.put(bytes, slot, frame.seq);
                }
            }
        }
        let Some(last) = entries.last() else { return Ok(Some(until.max(self.from_seq))) };
        self.at = last.offset;
        Ok((sequence::end(self.at) >= until).then(|| until.max(self.from_seq)))
    }
}
