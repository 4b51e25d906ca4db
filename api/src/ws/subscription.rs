//! One thing that one client listens to, and what it is due of it.

use std::sync::Arc;

use domain::candle::Interval;
use domain::instrument::Instrument;
use tokio::time::Instant;

use crate::app::App;
use crate::problem::{Code, Language};
use crate::ws::answers::{self, GapReason};
use crate::ws::bell::{Listener, Slot};
use crate::ws::frames::{Content, Frame};
use crate::ws::outbox::Outbox;
use crate::ws::protocol::{Channel, Mode, OnSlow, Rejection, Wishes};
use crate::ws::resume::FromLog;
use crate::ws::topic::{Ring, Subject, Topic, TopicKey};

/// What a client can have one subscription of. Another for the same takes its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SubscriptionKey {
    channel: Channel,
    instrument: Instrument,
    interval: Option<Interval>,
}

impl SubscriptionKey {
    pub fn of(key: &TopicKey) -> Self {
        let interval = match key.subject {
            Subject::Candles(interval) => Some(interval),
            Subject::Trades | Subject::Book { .. } => None,
        };
        let (channel, instrument) = (key.subject.channel(), key.instrument.clone());
        Self { channel, instrument, interval }
    }
}

#[derive(Debug)]
pub struct Subscription {
    pub topic: Arc<Topic>,
    slot: Slot,
    listener: Arc<Listener>,
    /// With which to leave the topic.
    number: u64,
    wishes: Wishes,
    stage: Stage,
    /// The last sequence that was sent or left out.
    after: u64,
    /// No frame before it, where the client wants a pause between two.
    next_at: Instant,
}

/// How far a subscription has come.
#[derive(Debug)]
pub enum Stage {
    /// It starts with what there is to know now; what was missed before is told as a gap.
    Joining(Option<(u64, GapReason)>),
    /// It goes on from the log, until the ring has the rest.
    Returning(FromLog),
    /// It was told at the start that there is no book: what comes next must be whole.
    WithoutBook,
    /// It goes on from the ring.
    Following,
}

/// To whom something is due.
#[derive(Clone, Copy)]
pub struct Client<'a> {
    pub app: &'a App,
    pub mode: Mode,
    pub language: Language,
    pub now: Instant,
}

/// What is left when all was put into the outbox that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    Nothing,
    /// The outbox is full.
    More,
    /// There is more, but the client does not want it before.
    At(Instant),
    /// The rest is in the log.
    InLog,
    /// The client was too slow, and wants to be let go then.
    TooSlow,
}

impl Subscription {
    pub fn new(
        (topic, number): (Arc<Topic>, u64),
        (slot, listener): (Slot, Arc<Listener>),
        wishes: Wishes,
        (stage, after): (Stage, u64),
    ) -> Self {
        let next_at = Instant::now();
        Self { topic, slot, listener, number, wishes, stage, after, next_at }
    }

    /// Returns the last sequence that was sent or left out.
    pub const fn after(&self) -> u64 {
        self.after
    }

    /// Puts what is due into the outbox.
    pub fn collect(&mut self, client: &Client<'_>, out: &mut Outbox) -> Left {
        if out.is_full() {
            return Left::More;
        }
        self.listener.heard();
        let topic = Arc::clone(&self.topic);
        // Asked before the ring is locked.
        let trouble = match &self.stage {
            Stage::Joining(_) => client.app.trouble(&topic.key),
            Stage::Returning(_) | Stage::WithoutBook | Stage::Following => None,
        };
        topic.read(|ring| match &self.stage {
            _ if !ring.has_begun() => Left::Nothing,
            Stage::Joining(_) => self.join(client, ring, trouble, out),
            Stage::Returning(_) => Left::InLog,
            Stage::WithoutBook => self.begin_at_book(client, ring, out),
            Stage::Following => self.follow(client, ring, out),
        })
    }

    /// Goes on from the log by one step; true when the ring has the rest.
    pub async fn step(&mut self, client: &Client<'_>, out: &mut Outbox) -> bool {
        let Stage::Returning(from_log) = &mut self.stage else { return true };
        match from_log.step(client.app, &self.topic, (self.slot, client.mode), out).await {
            Ok(None) => false,
            Ok(Some(after)) => {
                (self.after, self.stage) = (after, Stage::Following);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "a client cannot go on from the log");
                self.stage = Stage::Joining(Some((self.after, GapReason::Expired)));
                true
            }
        }
    }

    fn join(
        &mut self,
        client: &Client<'_>,
        ring: &Ring,
        trouble: Option<String>,
        out: &mut Outbox,
    ) -> Left {
        let shown = ring.whole().filter(|_| trouble.is_none()).map(|whole| whole.seq);
        let first = shown.unwrap_or(ring.last_seq() + 1);
        let mut after = ring.last_seq();
        if let Stage::Joining(Some((seq, reason))) = self.stage {
            self.put_gap(client, seq.saturating_add(1), first.saturating_sub(1), reason, out);
            // Candles that were corrected since the newest one changed are past the gap.
            after = after.min(first).max(ring.covers_after());
        }
        self.stage = Stage::Following;
        if shown.is_some() {
            self.put_whole(client, ring, out);
        } else if let Subject::Book { .. } = self.topic.key.subject {
            let instrument = &self.topic.key.instrument;
            let lost = || format!("the book of {instrument} is lost");
            self.put_error(client, trouble.unwrap_or_else(lost), out);
            (self.after, self.stage) = (after, Stage::WithoutBook);
            return Left::Nothing;
        }
        // A price that is too old is not shown: the next trade is news again.
        self.after = after;
        self.follow(client, ring, out)
    }

    /// Goes on with the first whole book that came, or the newest where that one is gone already.
    fn begin_at_book(&mut self, client: &Client<'_>, ring: &Ring, out: &mut Outbox) -> Left {
        let whole = |frame: &&Arc<Frame>| matches!(frame.content, Content::Book(_));
        match ring.after(self.after).find(whole) {
            Some(book) if self.after >= ring.covers_after() => {
                (self.after, self.stage) = (book.seq - 1, Stage::Following);
                self.follow(client, ring, out)
            }
            _ if ring.whole().is_some() && ring.last_seq() > self.after => {
                self.stage = Stage::Following;
                self.put_newest(client, ring, ring.after(self.after).len(), out);
                Left::Nothing
            }
            _ => Left::Nothing,
        }
    }

    fn follow(&mut self, client: &Client<'_>, ring: &Ring, out: &mut Outbox) -> Left {
        let due = ring.after(self.after).len();
        if due == 0 {
            return Left::Nothing;
        }
        let paced = !self.wishes.pause.is_zero();
        if paced && client.now < self.next_at {
            self.listener.mute();
            return Left::At(self.next_at);
        }
        self.next_at = client.now + self.wishes.pause;
        let may_drop = !matches!(self.topic.key.subject, Subject::Candles(_));
        let lapped = self.after < ring.covers_after();
        if lapped && (!may_drop || self.wishes.on_slow == OnSlow::Disconnect && !paced) {
            return Left::TooSlow;
        }
        if lapped || paced && may_drop && due > 1 {
            self.put_newest(client, ring, due + usize::from(lapped), out);
            return Left::Nothing;
        }
        for (place, frame) in ring.after(self.after).enumerate() {
            if out.is_full() {
                self.next_at = client.now;
                return Left::More;
            }
            self.after = frame.seq;
            // Of candles that form, one who wants a pause gets the newest.
            if !paced || place + 1 == due || frame.forming().is_none() {
                self.put(client, frame, out);
            }
        }
        Left::Nothing
    }

    /// Leaves out what lies before the newest of `due` frames.
    fn put_newest(&mut self, client: &Client<'_>, ring: &Ring, due: usize, out: &mut Outbox) {
        let (from, last) = (self.after + 1, ring.last_seq());
        if due > 1 {
            self.put_gap(client, from, last - 1, GapReason::Conflated, out);
        }
        if ring.whole().is_some() {
            self.put_whole(client, ring, out);
            return;
        }
        if let Some(frame) = ring.after(last - 1).next_back() {
            self.put(client, frame, out);
        }
        self.after = last;
    }

    fn put_whole(&mut self, client: &Client<'_>, ring: &Ring, out: &mut Outbox) {
        if let Some(whole) = ring.whole() {
            self.put(client, whole, out);
        }
        self.after = ring.last_seq();
        self.next_at = client.now + self.wishes.pause;
    }

    fn put(&self, client: &Client<'_>, frame: &Frame, out: &mut Outbox) {
        let instrument = &self.topic.key.instrument;
        if let Some(bytes) = frame.wire(instrument, client.mode) {
            out.put(bytes, self.slot, frame.seq);
        } else if let Content::Lost(lost) = &frame.content {
            let detail = format!("the book of {instrument} is lost: {}", lost.words());
            self.put_error(client, detail, out);
        }
    }

    fn put_error(&self, client: &Client<'_>, detail: String, out: &mut Outbox) {
        let rejection = Rejection::new(Code::VenueUnreachable, detail);
        out.say(&answers::error(&rejection, Some(&self.topic.key), client.language));
    }

    fn put_gap(
        &self,
        client: &Client<'_>,
        from: u64,
        to: u64,
        reason: GapReason,
        out: &mut Outbox,
    ) {
        if client.mode == Mode::Extended && (from <= to || reason == GapReason::EpochChanged) {
            out.say(&answers::gap(&self.topic.key, from, to, reason));
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.topic.leave(self.number);
    }
}
