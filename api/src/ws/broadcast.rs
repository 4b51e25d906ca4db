//! The one reader of the market log for all sessions: tells every topic that somebody listens to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use domain::instrument::{Instrument, Venue};
use eventlog::entry::{Entry, Offset};
use eventlog::log::LogError;
use eventlog::stream::{Log, Stream};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::app::App;
use crate::ws::bars::Bars;
use crate::ws::book::LiveBook;
use crate::ws::hub::Hub;
use crate::ws::topic::{Subject, Topic, TopicKey};
use crate::ws::trades::Trades;

/// Entries that are read at once. The rest waits for the next turn.
const READ_ENTRIES_MAX: usize = 64;

/// How long we wait before we ask again a log that could not be read, or views that lag.
const PAUSE: Duration = Duration::from_millis(250);

/// How often topics are looked for that nobody listens to any more, and books that grew too old.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Waits until the house is open; then reads the market log, for ever, and tells the topics of the
/// hub.
pub async fn run(app: Arc<App>, hub: Arc<Hub>) {
    app.opening.opened().await;
    // What the views show by now is the past: a topic begins with it, and is told what comes after.
    let mut after = app.views.applied(Log::Market);
    let mut desk = Desk::default();
    // A log that is away is missed once: it is asked again until it is back.
    let mut is_missed = false;
    loop {
        desk.adopt(&app, &hub, after).await;
        let entries = match app.market.read(after, READ_ENTRIES_MAX).await {
            Ok(entries) => entries,
            Err(error) => {
                if !is_missed {
                    warn!(%error, "the market log cannot be read: sessions hear nothing new");
                }
                is_missed = true;
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        if std::mem::take(&mut is_missed) {
            info!("the market log can be read again");
        }
        let Some(last) = entries.last() else {
            tokio::select! {
                waited = app.market.wait_after(after) => if waited.is_err() {
                    // The next reading says why.
                    tokio::time::sleep(PAUSE).await;
                },
                () = hub.changes() => {}
                () = tokio::time::sleep(SWEEP_EVERY) => {}
            }
            continue;
        };
        after = last.offset;
        // Only then: what a socket has shown, a query must show too. And the views know the digits
        // of an instrument, which venue speaks for it, and its candles.
        while !app.views.wait_applied(Log::Market, after, PAUSE).await {
            warn!(%after, "frames wait for the views");
        }
        for entry in &entries {
            desk.take(&app, entry).await;
        }
        desk.publish(&app);
    }
}

/// The topics that are told, by what they need of the log.
#[derive(Debug, Default)]
struct Desk {
    /// How far the hub's changes are known.
    seen: u64,
    swept_at: Option<Instant>,
    adopted: BTreeMap<TopicKey, Arc<Topic>>,
    instruments: BTreeMap<Instrument, Watched>,
    bars: Vec<Bars>,
}

/// What is told of one instrument.
#[derive(Debug)]
struct Watched {
    /// The venue that speaks for it.
    venue: Venue,
    trades: Option<Trades>,
    book: Option<LiveBook>,
}

impl Desk {
    /// Takes on the topics that have come, and lets go of those that nobody wants any more.
    async fn adopt(&mut self, app: &App, hub: &Hub, read: Offset) {
        let now = Instant::now();
        if self.swept_at.is_none_or(|at| now.duration_since(at) >= SWEEP_EVERY) {
            self.swept_at = Some(now);
            hub.sweep(now);
            self.grow_old(app, read);
        }
        let Some(topics) = hub.changed_since(&mut self.seen) else { return };
        let wanted: BTreeMap<TopicKey, Arc<Topic>> =
            topics.into_iter().map(|topic| (topic.key.clone(), topic)).collect();
        self.release(|topic| {
            wanted.get(&topic.key).is_some_and(|wanted| Arc::ptr_eq(wanted, topic))
        });
        for topic in wanted.into_values() {
            if !self.adopted.contains_key(&topic.key) {
                self.begin(app, topic).await;
            }
        }
    }

    fn release(&mut self, keep: impl Fn(&Arc<Topic>) -> bool) {
        self.adopted.retain(|_, topic| keep(topic));
        self.bars.retain(|bars| keep(bars.topic()));
        for (instrument, watched) in &mut self.instruments {
            let key = TopicKey { instrument: instrument.clone(), subject: Subject::Trades };
            if !self.adopted.contains_key(&key) {
                watched.trades = None;
            }
            if watched.book.as_mut().is_some_and(|book| !book.retain(&keep)) {
                watched.book = None;
            }
        }
        let wanted: BTreeSet<&Instrument> =
            self.adopted.keys().map(|key| &key.instrument).collect();
        self.instruments.retain(|instrument, _| wanted.contains(instrument));
    }

    async fn begin(&mut self, app: &App, topic: Arc<Topic>) {
        let instrument = topic.key.instrument.clone();
        // Sessions listen to nothing that nobody brings.
        let Some(venue) = app.venue(&instrument) else { return };
        match self.told(app, &venue, Arc::clone(&topic)).await {
            Ok(()) => drop(self.adopted.insert(topic.key.clone(), topic)),
            Err(error) => {
                warn!(%error, %instrument, "a topic cannot begin");
                // Whoever has not begun is begun in the next turn.
                self.seen = u64::MAX;
            }
        }
    }

    async fn told(&mut self, app: &App, venue: &Venue, topic: Arc<Topic>) -> Result<(), LogError> {
        let instrument = topic.key.instrument.clone();
        let new = || Watched { venue: venue.clone(), trades: None, book: None };
        let watched = self.instruments.entry(instrument.clone()).or_insert_with(new);
        let venue = watched.venue.clone();
        match topic.key.subject {
            Subject::Trades => {
                watched.trades = Some(Trades::begin(app, &venue, topic).await?);
                return Ok(());
            }
            Subject::Candles(_) => {
                self.bars.extend(Bars::begin(app, &venue, topic));
                return Ok(());
            }
            Subject::Book { .. } => {}
        }
        let book = match &mut watched.book {
            Some(book) => book,
            none => none.insert(LiveBook::begin(app, &venue, &instrument).await?),
        };
        book.add(&topic, app.scales(&venue, &instrument));
        Ok(())
    }

    async fn take(&mut self, app: &App, entry: &Entry) {
        for bars in &mut self.bars {
            bars.take(entry);
        }
        let Stream::Market { venue, instrument } = &entry.stream else { return };
        let Some(watched) = self.instruments.get_mut(instrument) else { return };
        if watched.venue != *venue {
            if app.views.primary(instrument).is_some_and(|primary| primary == *venue) {
                self.begin_anew(app, instrument).await;
            }
            return;
        }
        if watched.trades.is_none() && watched.book.is_none() {
            return;
        }
        let scales = app.scales(venue, instrument);
        if let Some(trades) = &mut watched.trades {
            trades.take(entry, scales);
        }
        if let Some(book) = &mut watched.book {
            book.take(entry, scales);
        }
        // Sessions on this thread get their turn between two entries.
        tokio::task::yield_now().await;
    }

    /// Says so of books that no query answers any more.
    fn grow_old(&mut self, app: &App, read: Offset) {
        for (instrument, watched) in &mut self.instruments {
            if let Some(book) = &mut watched.book
                && app.is_book_old(&watched.venue, instrument)
            {
                book.grow_old(read);
            }
        }
    }

    /// Another venue speaks for the instrument from here on.
    async fn begin_anew(&mut self, app: &App, instrument: &Instrument) {
        let topics: Vec<Arc<Topic>> = self
            .adopted
            .values()
            .filter(|topic| topic.key.instrument == *instrument)
            .cloned()
            .collect();
        self.release(|topic| topic.key.instrument != *instrument);
        for topic in topics {
            self.begin(app, topic).await;
        }
    }

    fn publish(&mut self, app: &App) {
        for bars in &mut self.bars {
            bars.publish(app);
        }
    }
}
