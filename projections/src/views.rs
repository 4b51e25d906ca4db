//! All views of a node, each behind one lock, and how far they have come.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use domain::account::event::Mark;
use domain::candle::Interval;
use domain::fill::{MarketEntry, Sight};
use domain::instrument::{Instrument, Venue};
use domain::time::Timestamp;
use eventlog::entry::{Entry, Hash, Offset};
use eventlog::stream::{Log, Stream};
use tokio::sync::watch;

use crate::access::Access;
use crate::books::{Book, Books};
use crate::candles::Candles;
use crate::holdings::Holdings;
use crate::prices::{Freshness, Prices, Quote};
use crate::view::{NotAPart, View};

/// How far a log was folded: its last entry, by offset and hash. Both zero before the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    pub offset: Offset,
    pub hash: Hash,
}

/// A place in each log: all that a state was folded from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cut {
    pub ledger: Place,
    pub market: Place,
}

/// What changed in one view since it was asked last, all of it at one cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub view: &'static str,
    pub revision: u32,
    pub cut: Cut,
    /// Each part as it is at the cut; `None` for one that has gone.
    pub parts: BTreeMap<String, Option<Vec<u8>>>,
}

/// The views of one node. They are written by the projectors alone.
pub struct Views {
    prices: RwLock<Prices>,
    candles: RwLock<Candles>,
    books: RwLock<Books>,
    holdings: RwLock<Holdings>,
    access: RwLock<Access>,
    /// Rises whenever a key or a token has changed.
    access_changes: watch::Sender<u64>,
    /// Held for writing while entries are folded, before any view's own lock.
    folding: RwLock<()>,
    /// How far each view has come, by its name: one whose revision rose comes from further back.
    cuts: Mutex<BTreeMap<&'static str, Cut>>,
    ledger: watch::Sender<Offset>,
    market: watch::Sender<Offset>,
    /// Where an instrument's price is taken from, most trusted first.
    venues: Vec<Venue>,
}

impl Views {
    /// Returns empty views. `venues` says which venue is asked first for an instrument's price; a
    /// venue that is not named comes after, in order of its name.
    pub fn new(venues: Vec<Venue>) -> Self {
        Self {
            prices: RwLock::default(),
            candles: RwLock::default(),
            books: RwLock::default(),
            holdings: RwLock::default(),
            access: RwLock::default(),
            access_changes: watch::Sender::new(0),
            folding: RwLock::default(),
            cuts: Mutex::default(),
            ledger: watch::Sender::new(Offset(0)),
            market: watch::Sender::new(Offset(0)),
            venues,
        }
    }

    pub fn prices(&self) -> RwLockReadGuard<'_, Prices> {
        self.prices.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn candles(&self) -> RwLockReadGuard<'_, Candles> {
        self.candles.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn books(&self) -> RwLockReadGuard<'_, Books> {
        self.books.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn holdings(&self) -> RwLockReadGuard<'_, Holdings> {
        self.holdings.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn access(&self) -> RwLockReadGuard<'_, Access> {
        self.access.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what tells that a key or a token has changed: whoever was let in is judged anew.
    pub fn access_changes(&self) -> watch::Receiver<u64> {
        self.access_changes.subscribe()
    }

    /// Returns the price of an instrument at its primary venue: the first that ever traded it. It
    /// is fresh while its synced book is.
    pub fn quote(&self, instrument: &Instrument) -> Option<Quote> {
        let mut quote = self.last(instrument)?;
        let books = self.books();
        let book = books.get(&quote.venue, instrument).filter(|book| book.synced);
        quote.book_told_at = book.map(|book| book.told_at());
        Some(quote)
    }

    /// Looks at an instrument's primary venue as far as it can be relied on at `now`: its book while
    /// that is synced and fresh, its last price while that is, and the newest entry that either of
    /// them is of. `None` when the instrument was never traded.
    ///
    /// Projectors wait while `look` looks: what it sees is of one moment.
    pub fn sight<R>(
        &self,
        instrument: &Instrument,
        now: Timestamp,
        look: impl FnOnce(Sight<'_>) -> R,
    ) -> Option<R> {
        self.at_rest(|_| {
            let quote = self.quote(instrument)?;
            let books = self.books();
            let book = books.get(&quote.venue, instrument);
            let last = (quote.freshness(now) == Freshness::Fresh).then_some(quote.tick.price);
            let market = newest_entry(&quote, book);
            let book = book.filter(|book| book.is_fresh(now)).map(|book| book.levels);
            Some(look(Sight { book, last, market: &market }))
        })
    }

    /// Returns the last price by the end of a UTC day of an instrument at a venue, and the market's
    /// newest entry now: whoever folds the market up to that entry finds this price. `None` when it
    /// was not traded there by then.
    pub fn mark_of_day(
        &self,
        venue: &Venue,
        instrument: &Instrument,
        day: Timestamp,
    ) -> Option<Mark> {
        self.at_rest(|_| {
            let quote = self.prices().get(venue, instrument)?;
            let market = newest_entry(&quote, self.books().get(venue, instrument));
            let candles = self.candles();
            let end = Interval::Day.end(Interval::Day.bucket(day));
            let last = candles.get(venue, instrument)?.ladder.before(Interval::Day, end)?;
            Some(Mark { price: last.close.at_scale(quote.price_scale), market })
        })
    }

    fn last(&self, instrument: &Instrument) -> Option<Quote> {
        let prices = self.prices();
        self.venues
            .iter()
            .find_map(|venue| prices.get(venue, instrument))
            .or_else(|| prices.iter().find(|quote| quote.instrument == *instrument))
    }

    /// Returns the instrument's primary venue.
    pub fn primary(&self, instrument: &Instrument) -> Option<Venue> {
        self.last(instrument).map(|quote| quote.venue)
    }

    /// Reads while nothing is folded, so that what is read of several views belongs together, and
    /// to the offset up to which the market log is in. Projectors wait: be quick, and do not ask
    /// for rest while at rest.
    pub fn at_rest<R>(&self, read: impl FnOnce(Offset) -> R) -> R {
        let _rest = self.folding.read().unwrap_or_else(PoisonError::into_inner);
        read(self.applied(Log::Market))
    }

    /// Returns the offset up to which a log's entries are folded in.
    pub fn applied(&self, log: Log) -> Offset {
        *self.offset(log).borrow()
    }

    /// Waits until the views show a log up to `offset`; false when `patience` ends first.
    pub async fn wait_applied(&self, log: Log, offset: Offset, patience: Duration) -> bool {
        let mut applied = self.offset(log).subscribe();
        let shown = applied.wait_for(|applied| *applied >= offset);
        matches!(tokio::time::timeout(patience, shown).await, Ok(Ok(_)))
    }

    /// Folds entries of one log, in offset order: each view is locked once for all of them, and
    /// passes over what it holds already.
    pub fn fold(&self, log: Log, entries: &[Entry]) {
        let Some(last) = entries.last() else { return };
        let _folding = self.folding.write().unwrap_or_else(PoisonError::into_inner);
        let to = Place { offset: last.offset, hash: last.hash };
        self.fold_into(&self.prices, log, entries, to);
        self.fold_into(&self.candles, log, entries, to);
        self.fold_into(&self.books, log, entries, to);
        self.fold_into(&self.holdings, log, entries, to);
        self.fold_into(&self.access, log, entries, to);
        self.show();
        if entries.iter().any(|entry| entry.stream == Stream::Keys) {
            self.tell_of_access();
        }
    }

    /// Returns what has changed in each view since this was asked last. Projectors wait meanwhile.
    pub fn take_changed(&self) -> Vec<Changed> {
        // For writing, although little is written: the parts of all views belong to one cut.
        let _folding = self.folding.write().unwrap_or_else(PoisonError::into_inner);
        vec![
            self.changed_in(&self.prices, |_| BTreeSet::new()),
            self.changed_in(&self.candles, |_| BTreeSet::new()),
            self.changed_in(&self.books, |_| BTreeSet::new()),
            self.changed_in(&self.holdings, |_| BTreeSet::new()),
            self.changed_in(&self.access, |_| BTreeSet::new()),
        ]
    }

    /// Returns every part of each view, changed or not, and what has gone since this was asked last.
    pub fn take_all(&self) -> Vec<Changed> {
        let _folding = self.folding.write().unwrap_or_else(PoisonError::into_inner);
        vec![
            self.changed_in(&self.prices, View::parts),
            self.changed_in(&self.candles, View::parts),
            self.changed_in(&self.books, View::parts),
            self.changed_in(&self.holdings, View::parts),
            self.changed_in(&self.access, View::parts),
        ]
    }

    /// Takes back the state of the view of this name, whole, as it was at a cut. After an error the
    /// view is as it was.
    pub fn restore(
        &self,
        view: &str,
        cut: Cut,
        parts: &BTreeMap<String, Vec<u8>>,
    ) -> Result<(), NotAPart> {
        let _folding = self.folding.write().unwrap_or_else(PoisonError::into_inner);
        match view {
            Prices::NAME => self.restore_into(&self.prices, cut, parts),
            Candles::NAME => self.restore_into(&self.candles, cut, parts),
            Books::NAME => self.restore_into(&self.books, cut, parts),
            Holdings::NAME => self.restore_into(&self.holdings, cut, parts),
            Access::NAME => self.restore_into(&self.access, cut, parts),
            _ => Ok(()),
        }?;
        self.show();
        if view == Access::NAME {
            self.tell_of_access();
        }
        Ok(())
    }

    /// Returns the name and the revision of each view.
    pub fn revisions() -> [(&'static str, u32); 5] {
        [
            (Prices::NAME, Prices::REVISION),
            (Candles::NAME, Candles::REVISION),
            (Books::NAME, Books::REVISION),
            (Holdings::NAME, Holdings::REVISION),
            (Access::NAME, Access::REVISION),
        ]
    }

    /// Returns the state hash of each view, by its name.
    pub fn state_hashes(&self) -> BTreeMap<&'static str, Hash> {
        BTreeMap::from([
            (Prices::NAME, self.prices().state_hash()),
            (Candles::NAME, self.candles().state_hash()),
            (Books::NAME, self.books().state_hash()),
            (Holdings::NAME, self.holdings().state_hash()),
            (Access::NAME, self.access().state_hash()),
        ])
    }

    /// Only once it can be seen: whoever is woken looks at the view.
    fn tell_of_access(&self) {
        self.access_changes.send_modify(|changes| *changes += 1);
    }

    fn fold_into<V: View>(&self, view: &RwLock<V>, log: Log, entries: &[Entry], to: Place) {
        let mut cuts = self.cuts();
        let place = cuts.entry(V::NAME).or_default().at_mut(log);
        let mut view = locked(view);
        for entry in entries.iter().filter(|entry| entry.offset > place.offset) {
            view.fold(entry);
        }
        if to.offset > place.offset {
            *place = to;
        }
    }

    /// Returns the parts of a view that have changed, and those that `more` names.
    fn changed_in<V: View>(
        &self,
        view: &RwLock<V>,
        more: impl FnOnce(&V) -> BTreeSet<String>,
    ) -> Changed {
        let cut = self.cuts().get(V::NAME).copied().unwrap_or_default();
        let mut view = locked(view);
        let mut names = view.take_changed();
        names.extend(more(&view));
        let parts = names.into_iter().map(|name| {
            let state = view.part(&name);
            (name, state)
        });
        Changed { view: V::NAME, revision: V::REVISION, cut, parts: parts.collect() }
    }

    fn restore_into<V: View>(
        &self,
        view: &RwLock<V>,
        cut: Cut,
        parts: &BTreeMap<String, Vec<u8>>,
    ) -> Result<(), NotAPart> {
        let mut restored = V::default();
        for (name, state) in parts {
            restored.restore(name, state)?;
        }
        restored.take_changed();
        *locked(view) = restored;
        self.cuts().insert(V::NAME, cut);
        Ok(())
    }

    /// Shows how far all views have come, each in the logs that it reads.
    fn show(&self) {
        const READERS: [(&str, &[Log]); 5] = [
            (Prices::NAME, Prices::LOGS),
            (Candles::NAME, Candles::LOGS),
            (Books::NAME, Books::LOGS),
            (Holdings::NAME, Holdings::LOGS),
            (Access::NAME, Access::LOGS),
        ];
        let cuts = self.cuts();
        let oldest = |log| {
            let readers = READERS.into_iter().filter(|(_, logs)| logs.contains(&log));
            let place = |(name, _)| cuts.get(name).copied().unwrap_or_default().at(log).offset;
            readers.map(place).min().unwrap_or_default()
        };
        for log in [Log::Ledger, Log::Market] {
            self.offset(log).send_replace(oldest(log));
        }
    }

    fn cuts(&self) -> MutexGuard<'_, BTreeMap<&'static str, Cut>> {
        self.cuts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn offset(&self, log: Log) -> &watch::Sender<Offset> {
        match log {
            Log::Ledger => &self.ledger,
            Log::Market => &self.market,
        }
    }
}

impl Cut {
    pub const fn at(&self, log: Log) -> Place {
        match log {
            Log::Ledger => self.ledger,
            Log::Market => self.market,
        }
    }

    const fn at_mut(&mut self, log: Log) -> &mut Place {
        match log {
            Log::Ledger => &mut self.ledger,
            Log::Market => &mut self.market,
        }
    }
}

/// Returns the newest entry of a market that its price or its book is of.
fn newest_entry(quote: &Quote, book: Option<Book<'_>>) -> MarketEntry {
    let version = book.map_or(quote.version, |book| book.version.max(quote.version));
    let (venue, instrument) = (quote.venue.clone(), quote.instrument.clone());
    MarketEntry { venue, instrument, version: version.0 }
}

fn locked<V: View>(view: &RwLock<V>) -> RwLockWriteGuard<'_, V> {
    view.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
