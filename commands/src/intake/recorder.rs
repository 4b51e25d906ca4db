//! The entries of one market: decided by its rule, and written where no other writer was first.

use std::convert::Infallible;
use std::sync::Arc;

use domain::decider::Decider;
use domain::event::Event;
use domain::market::book::BookStep;
use domain::market::event::MarketEvent;
use domain::market::{Market, MarketCommand};
use domain::tick::Tick;
use domain::time::Timestamp;
use eventlog::entry::{ENTRY_EVENTS_MAX, Entry, Version};
use eventlog::keep::Keep;
use eventlog::log::{Expected, LogError};
use eventlog::stream::Stream;

use crate::intake::Options;
use crate::intake::kept;
use crate::intake::own_book::{Chunk, OwnBook};
use crate::pen::{Pen, name};

/// Conflicts in a row after which the intake says that something is wrong. It goes on all the same.
const CONFLICTS_MAX: u32 = 16;

/// Records what is heard of one market, and remembers what the rule needs.
pub(super) struct Recorder {
    stream: Stream,
    keep: Arc<dyn Keep>,
    market: Market,
    own_book: OwnBook,
    /// The market is as it was left by this entry, which is durable.
    version: Version,
    /// Whether the market's past was read.
    started: bool,
}

impl Recorder {
    pub(super) fn new(stream: Stream, keep: Arc<dyn Keep>) -> Self {
        Self {
            stream,
            keep,
            market: Market::default(),
            own_book: OwnBook::default(),
            version: Version(0),
            started: false,
        }
    }

    pub(super) const fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Returns the market and the version of its stream that left it so.
    pub(super) const fn standing(&self) -> (&Market, Version) {
        (&self.market, self.version)
    }

    /// Records those of the ticks that are news; returns how many this intake put in.
    pub(super) async fn record(&mut self, pen: &Pen<'_>, ticks: &[Tick]) -> Result<u64, LogError> {
        self.start(pen).await?;
        let mut recorded = 0;
        for batch in ticks.chunks(ENTRY_EVENTS_MAX) {
            let command = |_: &Market| MarketCommand::RecordTicks(batch.to_vec());
            recorded += self.decide(pen, command).await?;
        }
        Ok(recorded)
    }

    /// Takes what the session tells of its book, and records it as far as the book follows this
    /// session or may follow it now. Returns when the last came of what stands in the log, as told
    /// by this session or by the one that is followed.
    pub(super) async fn follow(
        &mut self,
        pen: &Pen<'_>,
        steps: Vec<BookStep>,
        options: Options,
    ) -> Result<Option<Timestamp>, LogError> {
        if steps.is_empty() {
            return Ok(None);
        }
        self.start(pen).await?;
        let (mut chunk, mut told) = (Chunk::default(), None);
        for step in steps {
            if !chunk.has_room_for(&step) {
                told = told.max(self.ask(pen, &chunk, options).await?);
                chunk = Chunk::default();
            }
            if let Some(step) = self.own_book.take(step) {
                chunk.push(step);
            }
        }
        Ok(told.max(self.ask(pen, &chunk, options).await?))
    }

    async fn ask(
        &mut self,
        pen: &Pen<'_>,
        chunk: &Chunk,
        Options { session, books }: Options,
    ) -> Result<Option<Timestamp>, LogError> {
        let Some(newest) = chunk.newest() else { return Ok(None) };
        let own_book = std::mem::take(&mut self.own_book);
        // Asked anew after each conflict: who is followed may have changed.
        let command = |market: &Market| {
            let steps = own_book.ask(chunk, market.book(), session, books);
            MarketCommand::FollowBook { session, steps }
        };
        let recorded = self.decide(pen, command).await;
        self.own_book = own_book;
        let others = self.market.book().filter(|following| {
            following.session != session && !following.yields_to(newest.venue_time)
        });
        Ok((recorded? > 0 || others.is_some()).then_some(newest.received_at))
    }

    /// Records that trades cannot be had any more.
    pub(super) async fn give_up(
        &mut self,
        pen: &Pen<'_>,
        first_id: u64,
        last_id: u64,
    ) -> Result<(), LogError> {
        self.start(pen).await?;
        let command = |_: &Market| MarketCommand::GiveUpTrades { first_id, last_id };
        while self.decide(pen, command).await? > 0 {}
        Ok(())
    }

    /// Whether there may be something to say of gaps.
    pub(super) fn has_gaps(&self) -> bool {
        self.market.has_gaps()
    }

    /// Records what there is to say of gaps: entry after entry, until nothing is left.
    pub(super) async fn notice_gaps(
        &mut self,
        pen: &Pen<'_>,
        venue_time: Timestamp,
    ) -> Result<(), LogError> {
        let command = |_: &Market| MarketCommand::NoticeGaps { venue_time };
        while self.decide(pen, command).await? > 0 {}
        Ok(())
    }

    /// Decides and appends; when another writer was first, reads what it wrote and decides again.
    /// Returns how many events went in.
    async fn decide(
        &mut self,
        pen: &Pen<'_>,
        command: impl Fn(&Market) -> MarketCommand,
    ) -> Result<u64, LogError> {
        let mut conflicts = 0;
        loop {
            let decided: Result<_, Infallible> = self.market.decide(command(&self.market));
            let Ok(events) = decided;
            if events.is_empty() {
                return Ok(0);
            }
            let expected = match self.version {
                Version(0) => Expected::Empty,
                version => Expected::At(version),
            };
            let name = name_of_events(&self.stream, &events);
            let written = events.iter().cloned().map(Event::Market).collect();
            match pen.put(&self.stream, &name, written, expected).await? {
                Some(appended) if appended.repeated => {
                    // Another intake was first with the same batch, or the same trades stand
                    // further back, where the market's memory has faded.
                    let known = appended.version <= self.version;
                    self.catch_up(pen).await?;
                    if known {
                        return Ok(0);
                    }
                }
                Some(appended) => {
                    if appended.version == self.version.next() {
                        for event in &events {
                            self.market.evolve(event);
                        }
                        self.version = appended.version;
                    } else {
                        self.catch_up(pen).await?;
                    }
                    return Ok(events.len() as u64);
                }
                None => {
                    conflicts += 1;
                    if conflicts == CONFLICTS_MAX {
                        tracing::warn!(stream = %self.stream, "other writers keep coming first");
                    }
                    self.catch_up(pen).await?;
                }
            }
        }
    }

    async fn start(&mut self, pen: &Pen<'_>) -> Result<(), LogError> {
        if !self.started {
            if let Some((market, version)) =
                kept::load(self.keep.as_ref(), pen, &self.stream).await?
            {
                (self.market, self.version) = (market, version);
            }
            self.catch_up(pen).await?;
            self.started = true;
        }
        Ok(())
    }

    /// Takes in what stands in the stream after the version that is known.
    async fn catch_up(&mut self, pen: &Pen<'_>) -> Result<(), LogError> {
        // Asked first: what is not to be read up to here has been dropped.
        let tip = pen.tip(&self.stream).await?.map_or(Version(0), |tip| tip.version);
        loop {
            let entries = pen.read_on(&self.stream, self.version).await?;
            if entries.is_empty() {
                break;
            }
            for entry in &entries {
                self.take(entry);
            }
        }
        if tip > self.version {
            self.pass_over(tip);
        }
        Ok(())
    }

    fn take(&mut self, entry: &Entry) {
        if entry.version > self.version.next() {
            self.pass_over(Version(entry.version.0 - 1));
        }
        for event in &entry.events {
            let Event::Market(event) = event else { continue };
            self.market.evolve(event);
        }
        self.version = entry.version;
    }

    /// Takes in that entries were dropped before they were read.
    fn pass_over(&mut self, until: Version) {
        let (stream, after) = (&self.stream, self.version);
        tracing::warn!(%stream, %after, %until, "dropped entries count as seen, unread");
        self.market.pass_over();
        self.version = until;
    }
}

/// The name of a decision: its stream, and every id in it; of a book, its session, the first and
/// the last update, and the time of that: a session may tell the same update again after a loss.
fn name_of_events(stream: &Stream, events: &[MarketEvent]) -> Vec<u8> {
    let mut ids = Vec::with_capacity(events.len() * 8);
    let mut kind = "ticks";
    let mut book = Vec::new();
    for event in events {
        match event {
            MarketEvent::TickObserved(tick) => ids.extend(tick.trade_id.to_le_bytes()),
            MarketEvent::FeedGapOpened { first_id, last_id, .. } => {
                kind = "gaps";
                ids.extend([[1; 8], first_id.to_le_bytes(), last_id.to_le_bytes()].concat());
            }
            MarketEvent::FeedGapFilled { first_id, last_id } => {
                kind = "gaps";
                ids.extend([[2; 8], first_id.to_le_bytes(), last_id.to_le_bytes()].concat());
            }
            MarketEvent::FeedGapUnfillable { first_id, last_id, .. } => {
                kind = "gaps";
                ids.extend([[3; 8], first_id.to_le_bytes(), last_id.to_le_bytes()].concat());
            }
            MarketEvent::BookSnapshotObserved { told, snapshot } => {
                book.push((told, snapshot.update_id, snapshot.update_id));
            }
            MarketEvent::BookDiffObserved { told, diff } => {
                book.push((told, diff.first_id, diff.last_id));
            }
            MarketEvent::BookLost { told, .. } => book.push((told, 0, 0)),
            MarketEvent::PulseObserved { venue_time, .. } => {
                kind = "pulse";
                ids.extend(venue_time.micros().to_le_bytes());
            }
        }
    }
    if let (Some((_, first_id, _)), Some((told, _, last_id))) = (book.first(), book.last()) {
        kind = "book";
        let (session, time) =
            (told.session.0.to_le_bytes(), told.venue_time.micros().to_le_bytes());
        ids.extend([session, first_id.to_le_bytes(), last_id.to_le_bytes(), time].concat());
    }
    name(stream, kind, &ids)
}
