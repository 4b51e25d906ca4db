//! All views of a node, each behind one lock, and how far they have come.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use domain::instrument::{Instrument, Venue};
use eventlog::entry::{Entry, Offset};
use eventlog::stream::Log;
use tokio::sync::watch;

use crate::books::Books;
use crate::candles::Candles;
use crate::prices::{Prices, Quote};
use crate::view::View;

/// The views of one node. They are written by the projectors alone.
pub struct Views {
    prices: RwLock<Prices>,
    candles: RwLock<Candles>,
    books: RwLock<Books>,
    /// Held for writing while entries are folded, before any view's own lock.
    folding: RwLock<()>,
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
            folding: RwLock::default(),
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

    /// Returns the price of an instrument at its primary venue: the first that ever traded it. It
    /// is fresh while its synced book is.
    pub fn quote(&self, instrument: &Instrument) -> Option<Quote> {
        let mut quote = self.last(instrument)?;
        let books = self.books();
        let book = books.get(&quote.venue, instrument).filter(|book| book.synced);
        quote.book_told_at = book.map(|book| book.told_at());
        Some(quote)
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

    /// Folds entries of one log, in offset order: each view is locked once for all of them.
    pub fn fold(&self, log: Log, entries: &[Entry]) {
        let Some(last) = entries.last() else { return };
        let _folding = self.folding.write().unwrap_or_else(PoisonError::into_inner);
        fold_into(&self.prices, entries);
        fold_into(&self.candles, entries);
        fold_into(&self.books, entries);
        self.offset(log).send_replace(last.offset);
    }

    fn offset(&self, log: Log) -> &watch::Sender<Offset> {
        match log {
            Log::Ledger => &self.ledger,
            Log::Market => &self.market,
        }
    }
}

fn fold_into<V: View>(view: &RwLock<V>, entries: &[Entry]) {
    let mut view: RwLockWriteGuard<'_, V> = view.write().unwrap_or_else(PoisonError::into_inner);
    for entry in entries {
        view.fold(entry);
    }
}

#[cfg(test)]
mod tests;
