//! What is on its way to one client: gathered from many topics, written at once.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::ws::bell::Slot;
use crate::ws::frames::framed;

/// Frames that are gathered for one write. The rest waits until these are out.
const FRAMES_MAX: usize = 256;

/// Bytes that an outbox keeps for the next time. What it needed beyond is given back.
const KEPT_BYTES: usize = 16 * 1024;

#[derive(Debug)]
pub struct Outbox {
    bytes: Vec<u8>,
    /// Bytes that are out already.
    written: usize,
    bytes_max: usize,
    /// Where each frame ends, and whose it is.
    frames: Vec<(usize, Option<(Slot, u64)>)>,
}

#[derive(Debug)]
pub enum NotWritten {
    /// The client takes nothing.
    Stuck,
    Gone,
}

impl Outbox {
    /// Returns an outbox that holds `bytes_max` bytes, and one frame at least.
    pub const fn new(bytes_max: usize) -> Self {
        Self { bytes: Vec::new(), written: 0, bytes_max, frames: Vec::new() }
    }

    pub const fn is_full(&self) -> bool {
        self.frames.len() >= FRAMES_MAX || self.bytes.len() >= self.bytes_max
    }

    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether some of it is out already.
    pub const fn is_begun(&self) -> bool {
        self.written > 0
    }

    /// Puts in a frame of a subscription.
    pub fn put(&mut self, frame: &[u8], slot: Slot, seq: u64) {
        self.bytes.extend_from_slice(frame);
        self.frames.push((self.bytes.len(), Some((slot, seq))));
    }

    /// Puts in what the session itself has to say.
    pub fn say(&mut self, text: &str) {
        self.bytes.append(&mut framed(text));
        self.frames.push((self.bytes.len(), None));
    }

    /// Writes all of it. The stream must hold nothing half written.
    pub async fn write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        patience: Duration,
    ) -> Result<(), NotWritten> {
        while let Some(rest) = self.bytes.get(self.written..).filter(|rest| !rest.is_empty()) {
            // Mostly it goes at once, and then needs no clock.
            let written = match stream.write(rest).now_or_never() {
                Some(written) => Ok(written),
                None => timeout(patience, stream.write(rest)).await,
            };
            match written {
                Ok(Ok(count @ 1..)) => self.written += count,
                Ok(Ok(0) | Err(_)) => return Err(NotWritten::Gone),
                Err(_) => return Err(NotWritten::Stuck),
            }
        }
        self.clear();
        Ok(())
    }

    /// After a write that got stuck: returns the frame that went last as a whole, and cuts what
    /// was not begun. What is left ends the one that was torn.
    pub fn tear(&mut self) -> Option<(Slot, u64)> {
        let done = self.frames.partition_point(|(end, _)| *end <= self.written);
        let whole = self.frames.get(..done).unwrap_or_default();
        let begun = self.frames.get(done).filter(|(end, _)| {
            let start = whole.last().map_or(0, |(end, _)| *end);
            start < self.written && self.written < *end
        });
        let end = begun.map_or(self.written, |(end, _)| *end);
        self.bytes.truncate(end);
        whole.iter().rev().find_map(|(_, of)| *of)
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.frames.clear();
        self.written = 0;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_frame_that_was_torn_can_still_be_ended() {
        let (mut ours, mut theirs) = tokio::io::duplex(7);
        let mut outbox = Outbox::new(1_000);
        for seq in 1..=3 {
            outbox.put(b"12345", Slot(9), seq);
        }
        let stuck = outbox.write(&mut ours, Duration::from_millis(10)).await;
        assert!(matches!(stuck, Err(NotWritten::Stuck)));
        assert_eq!(outbox.tear(), Some((Slot(9), 1)));

        let mut taken = [0; 7];
        theirs.read_exact(&mut taken).await.unwrap();
        outbox.write(&mut ours, Duration::from_secs(10)).await.unwrap();
        drop(ours);
        let mut rest = Vec::new();
        theirs.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"345");
    }

    #[tokio::test]
    async fn what_ends_between_two_frames_is_not_torn() {
        let (mut ours, _theirs) = tokio::io::duplex(5);
        let mut outbox = Outbox::new(1_000);
        outbox.put(b"12345", Slot(9), 1);
        outbox.put(b"67890", Slot(9), 2);
        drop(outbox.write(&mut ours, Duration::from_millis(10)).await);

        assert_eq!(outbox.tear(), Some((Slot(9), 1)));
        assert_eq!(outbox.bytes.len(), outbox.written);
    }

    #[test]
    fn an_outbox_is_full_at_its_frames_or_its_bytes() {
        let mut outbox = Outbox::new(10);
        outbox.put(b"123456789", Slot(1), 1);
        assert!(!outbox.is_full());
        outbox.put(b"0", Slot(1), 2);
        assert!(outbox.is_full());
    }
}
