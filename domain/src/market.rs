//! The rule on what a venue tells of one instrument: which trades are news and which are missing
//! (`trades`), and whose book is followed (`book`).

use std::convert::Infallible;

use serde::{Deserialize, Serialize};

use crate::book::Session;
use crate::decider::Decider;
use crate::tick::Tick;
use crate::time::{SECOND, Timestamp};

use self::book::{BookStep, Following};
use self::event::MarketEvent;
use self::trades::Trades;

pub mod event;

pub mod trades;

pub mod book;

/// Ranges of missing ids that are kept. Beyond it the oldest gap is closed as unfillable. Ids in
/// closed ranges stay news, so nothing is lost; when closed ranges overflow too, the two oldest
/// become one that covers both and what lies between them: a trade there that is told a second
/// time is then recorded a second time.
pub const GAPS_MAX: usize = 4_096;

/// Events that one decision may hold: the most that fits one entry.
pub const DECISION_EVENTS_MAX: usize = 256;

/// Venue time that must pass over a hole before it is called a gap: trades arrive out of order.
pub const GAP_PATIENCE: i64 = 2 * SECOND;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MarketCommand {
    /// Record those of these trades that are news, at most [`DECISION_EVENTS_MAX`] of them.
    RecordTicks(Vec<Tick>),
    /// Say which gaps have opened, filled or must be given up, at this time of the venue.
    NoticeGaps { venue_time: Timestamp },
    /// Give up those of these trades that are missing: the venue does not give them any more.
    GiveUpTrades { first_id: u64, last_id: u64 },
    /// Record what one session tells of the book, in its order, as far as the book follows that
    /// session or may follow it from here on. At most [`DECISION_EVENTS_MAX`] steps: those past
    /// the limit are not looked at.
    FollowBook { session: Session, steps: Vec<BookStep> },
}

/// What is known of one instrument at one venue. Its serialised form is its own: it can be kept and
/// taken back by the same [`Market::REVISION`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Market {
    trades: Trades,
    /// Whose book is followed, and how far it has come.
    book: Option<Following>,
}

impl Decider for Market {
    type Command = MarketCommand;
    type Event = MarketEvent;
    type Refusal = Infallible;

    fn decide(&self, command: MarketCommand) -> Result<Vec<MarketEvent>, Infallible> {
        Ok(match command {
            MarketCommand::RecordTicks(ticks) => self.trades.record(ticks),
            MarketCommand::NoticeGaps { venue_time } => self.trades.notice(venue_time),
            MarketCommand::GiveUpTrades { first_id, last_id } => {
                self.trades.give_up_trades(first_id, last_id)
            }
            MarketCommand::FollowBook { session, steps } => book::follow(self.book, session, steps),
        })
    }

    fn evolve(&mut self, event: &MarketEvent) {
        match event {
            MarketEvent::TickObserved(_)
            | MarketEvent::FeedGapOpened { .. }
            | MarketEvent::FeedGapFilled { .. }
            | MarketEvent::FeedGapUnfillable { .. } => self.trades.evolve(event),
            MarketEvent::BookSnapshotObserved { .. }
            | MarketEvent::BookDiffObserved { .. }
            | MarketEvent::BookLost { .. } => self.book = book::evolved(self.book, event),
            // A pulse belongs to the venue, not to an instrument.
            MarketEvent::PulseObserved { .. } => {}
        }
    }
}

impl Market {
    /// Raised when the shape or the meaning of what is held changes.
    pub const REVISION: u32 = 1;

    /// Takes in that events came here of which nothing is known any more. What they may hold counts
    /// as seen: so nothing is recorded twice, and no gap is told that was none.
    pub fn pass_over(&mut self) {
        self.trades.pass_over();
        // It may have gone on, or to another session. Without it, whoever has a book may begin.
        self.book = None;
    }

    /// Returns the latest trade time, once there was a trade.
    pub fn clock(&self) -> Option<Timestamp> {
        self.trades.clock()
    }

    /// Whether this trade was not recorded yet.
    pub fn is_news(&self, trade_id: u64) -> bool {
        self.trades.is_news(trade_id)
    }

    /// Whether there may be something to notice about gaps.
    pub fn has_gaps(&self) -> bool {
        self.trades.has_gaps()
    }

    /// Returns whose book is followed, once there was one.
    pub const fn book(&self) -> Option<Following> {
        self.book
    }
}
