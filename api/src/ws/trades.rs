//! Trades of one instrument as they are streamed: each that is newer than all before it.

use std::sync::Arc;

use domain::candle::Place;
use domain::event::Event;
use domain::instrument::Venue;
use domain::market::event::MarketEvent;
use domain::tick::Tick;
use eventlog::entry::{Entry, Offset};
use eventlog::log::LogError;
use eventlog::stream::Stream;
use projections::prices::Quote;

use crate::app::App;
use crate::ws::frames::{Content, Frame, Scales};
use crate::ws::sequence;
use crate::ws::topic::Topic;

/// The newest trade that was streamed, in its venue's order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Newest(Option<Place>);

impl Newest {
    pub fn of(tick: &Tick) -> Self {
        Self(Some(place(tick)))
    }

    /// Whether a trade is newer than all before it; then it counts as streamed. A late one is
    /// history: as a price it would be stale, and look fresh.
    pub fn advance(&mut self, tick: &Tick) -> bool {
        let place = Some(place(tick));
        let news = self.0 < place;
        self.0 = self.0.max(place);
        news
    }
}

fn place(tick: &Tick) -> Place {
    Place { traded_at: tick.traded_at, trade_id: tick.trade_id }
}

/// Returns the frames of an entry's trades that are news.
pub fn frames(entry: &Entry, newest: &mut Newest, scales: Scales) -> Vec<Frame> {
    let mut frames = Vec::with_capacity(entry.events.len());
    for (place, event) in entry.events.iter().enumerate() {
        let Event::Market(MarketEvent::TickObserved(tick)) = event else { continue };
        if newest.advance(tick) {
            let seq = sequence::seq(entry.offset, place);
            frames.push(Frame::new(seq, Content::Trade { tick: *tick, scales }));
        }
    }
    frames
}

/// Returns the last trade as a frame, and its sequence. A trade whose entry has gone is days old and
/// no price any more: it is not shown, and nothing that is still held comes before it.
async fn last(app: &App, quote: &Quote) -> Result<(u64, Option<Frame>), LogError> {
    let (venue, instrument) = (quote.venue.clone(), quote.instrument.clone());
    let stream = Stream::Market { venue, instrument };
    let (offset, entry) = app.entry(&stream, quote.version).await?;
    let Some(entry) = entry else { return Ok((sequence::end(offset), None)) };
    let is_last = |event: &Event| {
        matches!(event, Event::Market(MarketEvent::TickObserved(tick))
            if tick.trade_id == quote.tick.trade_id)
    };
    let place = entry.events.iter().position(is_last).unwrap_or_default();
    let seq = sequence::seq(offset, place);
    let scales = (quote.price_scale, quote.quantity_scale);
    let content = Content::Trade { tick: quote.tick, scales };
    Ok((seq, Some(Frame::new(seq, content))))
}

/// The one topic of an instrument's trades.
#[derive(Debug)]
pub struct Trades {
    topic: Arc<Topic>,
    newest: Newest,
    /// What the views showed at the start: up to here everything is in.
    from: Offset,
}

impl Trades {
    /// Begins with the price as the views show it.
    pub async fn begin(app: &App, venue: &Venue, topic: Arc<Topic>) -> Result<Self, LogError> {
        let instrument = &topic.key.instrument;
        let (from, quote) = app.views.at_rest(|at| (at, app.views.prices().get(venue, instrument)));
        let newest = quote.as_ref().map(|quote| Newest::of(&quote.tick)).unwrap_or_default();
        let (seq, whole) = match quote {
            None => (0, None),
            Some(quote) => last(app, &quote).await?,
        };
        topic.begin(seq, whole);
        Ok(Self { topic, newest, from })
    }

    pub fn take(&mut self, entry: &Entry, scales: Scales) {
        if entry.offset <= self.from {
            return;
        }
        let frames: Vec<Arc<Frame>> =
            frames(entry, &mut self.newest, scales).into_iter().map(Arc::new).collect();
        if let Some(last) = frames.last().map(Arc::clone) {
            self.topic.publish(frames, Some(last));
        }
    }
}
