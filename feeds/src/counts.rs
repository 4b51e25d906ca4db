//! What a feed has counted, for metrics and logs.

use std::sync::atomic::{AtomicU64, Ordering};

use domain::observation::{Heard, Observation};
use tokio::sync::mpsc::Sender;

/// Totals since the feed began. They are read while the feed runs, each by itself: no two of them
/// are promised to be of the same moment.
#[derive(Debug, Default)]
pub struct Counts {
    frames: AtomicU64,
    ticks: AtomicU64,
    ignored: AtomicU64,
    malformed: AtomicU64,
}

impl Counts {
    /// Messages that came in, whatever became of them. A recording reads a little ahead.
    pub fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    /// Ticks that were handed over.
    pub fn ticks(&self) -> u64 {
        self.ticks.load(Ordering::Relaxed)
    }

    /// Frames of a kind or of a symbol that nobody asked for.
    pub fn ignored(&self) -> u64 {
        self.ignored.load(Ordering::Relaxed)
    }

    /// Frames and lines that could not be read.
    pub fn malformed(&self) -> u64 {
        self.malformed.load(Ordering::Relaxed)
    }

    pub(crate) fn frame(&self) {
        self.frames.fetch_add(1, Ordering::Relaxed);
    }

    /// Hands an observation over, waiting while the queue is full. Returns whether anybody
    /// listens still.
    pub(crate) async fn hand_over(
        &self,
        observation: Observation,
        out: &Sender<Observation>,
    ) -> bool {
        let is_tick = matches!(observation.heard, Heard::Tick(..));
        let listening = out.send(observation).await.is_ok();
        if is_tick && listening {
            self.ticks.fetch_add(1, Ordering::Relaxed);
        }
        listening
    }

    pub(crate) fn ignore(&self) {
        self.ignored.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many were malformed before this one.
    pub(crate) fn malform(&self) -> u64 {
        self.malformed.fetch_add(1, Ordering::Relaxed)
    }
}
