//! The venue's own best bid and ask, held against the book at the same update.

use std::collections::VecDeque;

use domain::book::{Level, LostReason, Top};
use domain::order_book::OrderBook;

/// Tops, and best levels of the book, that wait for each other. A top may come before its diff or
/// after it. Beyond it the oldest is forgotten: it then testifies to nothing.
const TOPS_MAX: usize = 512;
const BESTS_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Witness {
    /// Tops of updates that the book has not come to.
    tops: VecDeque<Top>,
    /// How the book stood at the updates that it came to last.
    bests: VecDeque<Best>,
    agreed: u64,
}

#[derive(Debug, Clone, Copy)]
struct Best {
    update_id: u64,
    bid: Option<Level>,
    ask: Option<Level>,
}

impl Witness {
    /// Takes in a top. Returns whether it agrees with all that is known.
    pub(super) fn hear(&mut self, top: Top) -> bool {
        let best = self.bests.iter().rev().find(|best| best.update_id == top.update_id).copied();
        if let Some(best) = best {
            self.agreed += u64::from(best.is(&top));
            return best.is(&top);
        }
        if self.bests.back().is_none_or(|best| best.update_id < top.update_id) {
            if self.tops.len() == TOPS_MAX {
                self.tops.pop_front();
            }
            self.tops.push_back(top);
        }
        true
    }

    /// Holds a book that has just changed against the tops of the same update.
    pub(super) fn judge(&mut self, book: &OrderBook) -> Result<(), LostReason> {
        let (bid, ask) = (book.bids().next(), book.asks().next());
        let best = Best { update_id: book.last_id(), bid, ask };
        let mut agrees = true;
        for top in self.tops.iter().filter(|top| top.update_id == best.update_id) {
            self.agreed += u64::from(best.is(top));
            agrees &= best.is(top);
        }
        self.tops.retain(|top| top.update_id > best.update_id);
        if self.bests.len() == BESTS_MAX {
            self.bests.pop_front();
        }
        self.bests.push_back(best);
        if agrees { Ok(()) } else { Err(LostReason::Contradicted) }
    }

    /// Forgets how the book stood: it is no book any more.
    pub(super) fn forget(&mut self) {
        self.bests.clear();
    }

    pub(super) const fn agreed(&self) -> u64 {
        self.agreed
    }
}

impl Best {
    fn is(&self, top: &Top) -> bool {
        self.bid == resting(top.bid) && self.ask == resting(top.ask)
    }
}

/// A side on which nothing rests is told as a level of zero.
fn resting(level: Level) -> Option<Level> {
    (!level.quantity.is_zero()).then_some(level)
}
