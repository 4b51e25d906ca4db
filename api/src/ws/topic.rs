//! What can be listened to, and the ring of frames from which all its listeners are served.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use domain::candle::Interval;
use domain::instrument::Instrument;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::settings::WsSettings;
use crate::ws::bell::Listener;
use crate::ws::frames::{Content, Frame};
use crate::ws::protocol::{Channel, Wishes};

/// Frames from the end that are looked through one by one.
const NEAR_FRAMES: usize = 16;

/// Frames from the end among which a candle that still forms is looked for. Past it the earlier
/// state stays, and is sent too.
const SUPERSEDED_WITHIN: usize = 512;

/// What one topic is about. All who ask for the same share it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicKey {
    pub instrument: Instrument,
    pub subject: Subject,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    Trades,
    Book { depth: usize, deltas: bool },
    Candles(Interval),
}

impl Subject {
    pub const fn of(channel: Channel, wishes: &Wishes) -> Self {
        match channel {
            Channel::Market => Self::Trades,
            Channel::Orderbook => Self::Book { depth: wishes.depth, deltas: wishes.deltas },
            Channel::Candles => Self::Candles(wishes.interval),
        }
    }

    pub const fn channel(self) -> Channel {
        match self {
            Self::Trades => Channel::Market,
            Self::Book { .. } => Channel::Orderbook,
            Self::Candles(_) => Channel::Candles,
        }
    }
}

/// What is kept of a topic for those who lag and for those who come back.
#[derive(Debug, Clone, Copy)]
pub struct RingLimits {
    pub frames_max: usize,
    pub bytes_max: usize,
    pub age_max: Duration,
}

impl RingLimits {
    pub fn of(settings: &WsSettings) -> Self {
        Self {
            frames_max: settings.ring_frames_max,
            bytes_max: settings.ring_bytes_max,
            age_max: settings.ring_age_max,
        }
    }
}

/// One topic. The broadcaster writes it and never waits for a reader: who falls behind the end of
/// the ring has been lapped.
#[derive(Debug)]
pub struct Topic {
    pub key: TopicKey,
    limits: RingLimits,
    ring: RwLock<Ring>,
    listeners: RwLock<Listeners>,
    begun: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Listeners {
    by_number: BTreeMap<u64, Arc<Listener>>,
    last_number: u64,
    /// Since when nobody listens.
    idle_since: Option<Instant>,
}

/// The newest frames, in order of their sequence.
#[derive(Debug, Default)]
pub struct Ring {
    frames: VecDeque<Arc<Frame>>,
    bytes: usize,
    begun: bool,
    /// Every frame after this sequence is here.
    covers_after: u64,
    last_seq: u64,
    /// All there is to know now, as one frame: its sequence is the last.
    whole: Option<Arc<Frame>>,
}

impl Topic {
    pub fn new(key: TopicKey, limits: RingLimits) -> Self {
        Self {
            key,
            limits,
            ring: RwLock::default(),
            listeners: RwLock::default(),
            begun: watch::Sender::new(false),
        }
    }

    /// Says from where on frames come, and what is to be known before them. Once there were frames,
    /// only a newer whole is taken: another venue may have taken over.
    pub fn begin(&self, seq: u64, whole: Option<Frame>) {
        let whole = whole.map(Arc::new);
        {
            let mut ring = self.write();
            if ring.begun {
                if let Some(frame) = whole.filter(|frame| frame.seq > ring.last_seq) {
                    ring.push(Arc::clone(&frame), &self.limits);
                    ring.whole = Some(frame);
                }
            } else {
                ring.begun = true;
                (ring.covers_after, ring.last_seq, ring.whole) = (seq, seq, whole);
            }
        }
        self.begun.send_replace(true);
        self.ring();
    }

    /// Returns when the topic has begun; false when that takes longer than `patience`.
    pub async fn has_begun(&self, patience: Duration) -> bool {
        let mut begun = self.begun.subscribe();
        let begins = begun.wait_for(|begun| *begun);
        matches!(tokio::time::timeout(patience, begins).await, Ok(Ok(_)))
    }

    /// Adds frames of rising sequence. Whoever comes now starts from `whole`.
    pub fn publish(&self, frames: impl IntoIterator<Item = Arc<Frame>>, whole: Option<Arc<Frame>>) {
        {
            let mut ring = self.write();
            for frame in frames {
                ring.push(frame, &self.limits);
            }
            ring.whole = whole;
        }
        self.ring();
    }

    /// Shows the ring. No lock is taken while it is looked at.
    pub fn read<R>(&self, look: impl FnOnce(&Ring) -> R) -> R {
        // A panic elsewhere leaves the ring whole: frames are pushed one by one.
        let ring: RwLockReadGuard<'_, Ring> =
            self.ring.read().unwrap_or_else(PoisonError::into_inner);
        look(&ring)
    }

    /// Lets somebody listen; returns the number with which to leave.
    pub fn join(&self, listener: Arc<Listener>) -> u64 {
        let mut listeners = self.listeners.write().unwrap_or_else(PoisonError::into_inner);
        listeners.last_number += 1;
        let number = listeners.last_number;
        listeners.by_number.insert(number, listener);
        listeners.idle_since = None;
        number
    }

    pub fn leave(&self, number: u64) {
        let mut listeners = self.listeners.write().unwrap_or_else(PoisonError::into_inner);
        listeners.by_number.remove(&number);
        if listeners.by_number.is_empty() {
            listeners.idle_since = Some(Instant::now());
        }
    }

    /// Returns since when nobody listens.
    pub fn idle_since(&self) -> Option<Instant> {
        self.listeners.read().unwrap_or_else(PoisonError::into_inner).idle_since
    }

    fn ring(&self) {
        let listeners = self.listeners.read().unwrap_or_else(PoisonError::into_inner);
        for listener in listeners.by_number.values() {
            listener.ring();
        }
    }

    fn write(&self) -> RwLockWriteGuard<'_, Ring> {
        self.ring.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    pub const fn has_begun(&self) -> bool {
        self.begun
    }

    pub const fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Returns the sequence after which every frame is here.
    pub const fn covers_after(&self) -> u64 {
        self.covers_after
    }

    pub const fn whole(&self) -> Option<&Arc<Frame>> {
        self.whole.as_ref()
    }

    /// Returns the frames after a sequence, as far as they are here.
    pub fn after(
        &self,
        seq: u64,
    ) -> impl DoubleEndedIterator<Item = &Arc<Frame>> + ExactSizeIterator {
        // Who keeps up is near the end, and is found from there.
        let near = self.frames.len().saturating_sub(NEAR_FRAMES);
        let is_near = self.frames.get(near).is_some_and(|frame| frame.seq <= seq);
        let place = if is_near {
            let newer = self.frames.range(near..).rev().take_while(|frame| frame.seq > seq);
            self.frames.len() - newer.count()
        } else {
            self.frames.partition_point(|frame| frame.seq <= seq)
        };
        self.frames.range(place..)
    }

    /// Whether somebody was sent exactly this sequence by this topic, and all after it is here.
    pub fn holds(&self, seq: u64) -> bool {
        seq == self.covers_after
            || self.frames.binary_search_by_key(&seq, |frame| frame.seq).is_ok()
    }

    fn push(&mut self, frame: Arc<Frame>, limits: &RingLimits) {
        debug_assert!(self.last_seq < frame.seq || !self.begun, "sequences rise");
        self.supersede(&frame);
        let forgotten_at = frame.published_at.checked_sub(limits.age_max);
        self.bytes += frame.weight();
        self.last_seq = frame.seq;
        self.frames.push_back(frame);
        while let Some(oldest) = self.frames.front() {
            // A closed candle is not dropped for its age: it comes once.
            let lasting = matches!(oldest.content, Content::Candle { .. });
            let aged = !lasting && forgotten_at.is_some_and(|at| oldest.published_at < at);
            let fits = self.frames.len() <= limits.frames_max && self.bytes <= limits.bytes_max;
            if self.frames.len() == 1 || fits && !aged {
                break;
            }
            (self.covers_after, self.bytes) = (oldest.seq, self.bytes - oldest.weight());
            self.frames.pop_front();
        }
    }

    /// Takes out the earlier state of a candle that still formed: nobody needs it any more. At most
    /// two form at once, so it stands near the end.
    fn supersede(&mut self, frame: &Frame) {
        let Content::Candle { candle, .. } = &frame.content else { return };
        let same = |held: &Arc<Frame>| held.forming() == Some(candle.opened_at);
        let recent = self.frames.len().saturating_sub(SUPERSEDED_WITHIN);
        let place = self.frames.range(recent..).rposition(same);
        if let Some(held) = place.and_then(|place| self.frames.remove(recent + place)) {
            self.bytes -= held.weight();
        }
    }
}
