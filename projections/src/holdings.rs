//! What each account holds: its money, its open positions, and the last ones that it closed.
//!
//! A fold of the ledger alone. What positions are worth follows from the last prices when it is
//! asked (`valuation`), so that a tick costs nothing here.

pub(crate) mod course;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use domain::account::Account;
use domain::account::event::{AccountEvent, Cause, DayClosed};
use domain::account::position::{Leverage, Position, PositionId, PositionSide};
use domain::decider::Decider;
use domain::event::Event;
use domain::instrument::Instrument;
use domain::name::AccountId;
use domain::time::Timestamp;
use eventlog::entry::{Entry, Version};
use eventlog::stream::{Log, Stream};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use self::course::{Course, Turn};
use crate::part::{self, Mark};
use crate::view::{NotAPart, View};

/// Closed positions of an account that are held here. Older ones stand in the archive.
pub const CLOSED_HELD_MAX: usize = 64;

/// Entries of a position that are named; of more, the newest.
pub const ENTRIES_NAMED_MAX: usize = 256;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holdings {
    accounts: BTreeMap<AccountId, Held>,
}

/// What one account holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    pub account: Account,
    pub opened_at: Timestamp,
    /// The account's newest entry.
    pub version: Version,
    /// What is known of each open position beside the position itself.
    pub open: BTreeMap<PositionId, Life>,
    /// The positions that were closed last, oldest first.
    pub closed: VecDeque<Closed>,
    /// The last day that was closed.
    pub day: Option<DayClosed>,
    #[serde(skip)]
    mark: Mark,
}

/// How a position came about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Life {
    pub opened_at: Timestamp,
    /// The versions of its entries in the account's stream.
    pub entries: Vec<Version>,
    /// All that was ever got into, and what was paid for it.
    pub entered_quantity: Decimal,
    pub entered_cost: Decimal,
    /// All that was got out of, and what was received for it.
    pub exited_quantity: Decimal,
    pub exited_cost: Decimal,
    /// What the house lost by it.
    pub shortfall: Decimal,
}

/// A position that is no more, with its results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closed {
    pub id: PositionId,
    pub instrument: Instrument,
    pub side: PositionSide,
    pub leverage: Leverage,
    pub life: Life,
    pub closed_at: Timestamp,
    /// Whether it was liquidated.
    pub liquidated: bool,
    pub cause: Cause,
    /// Gross.
    pub realized: Decimal,
    pub fees: Decimal,
    pub funding: Decimal,
}

impl Holdings {
    /// Returns what an account holds; `None` when it was never opened.
    pub fn get(&self, account: &AccountId) -> Option<&Held> {
        self.accounts.get(account)
    }

    /// Returns all accounts, in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&AccountId, &Held)> {
        self.accounts.iter()
    }
}

impl Held {
    /// Returns an open position.
    pub fn position(&self, id: &PositionId) -> Option<(&Position, &Life)> {
        self.account.positions().get(id).zip(self.open.get(id))
    }

    /// Returns an account that has just been opened, by `entry`.
    fn new(entry: &Entry) -> Self {
        Self {
            account: Account::default(),
            opened_at: entry.recorded_at,
            version: entry.version,
            open: BTreeMap::new(),
            closed: VecDeque::new(),
            day: None,
            mark: Mark::default(),
        }
    }

    fn take(&mut self, event: &AccountEvent, entry: &Entry) {
        // The account forgets a position as it ends.
        match Turn::of(event) {
            Some((id, Turn::Begins(opened))) => {
                self.open.insert(id, Life::begin(&opened.fill, entry));
            }
            Some((id, Turn::GoesOn)) => {
                if let Some(life) = self.open.get_mut(&id) {
                    life.take(event, entry);
                }
            }
            Some((id, Turn::Ends(exited, end))) => {
                if let Some(course) = self.course(id) {
                    self.hold(course.end(exited, end, entry));
                }
            }
            None => {}
        }
        if let AccountEvent::DayClosed(day) = event {
            self.day = Some(day.clone());
        }
        self.account.evolve(event);
        self.version = entry.version;
        self.mark.set();
    }

    /// Returns the course of an open position, whose life is not held here any more.
    fn course(&mut self, id: PositionId) -> Option<Course> {
        let life = self.open.remove(&id)?;
        let Position { instrument, side, leverage, realized, fees, funding, .. } =
            self.account.positions().get(&id)?.clone();
        Some(Course { instrument, side, leverage, life, realized, fees, funding })
    }

    /// Holds a closed position for as long as there are not too many newer ones.
    fn hold(&mut self, closed: Closed) {
        self.closed.push_back(closed);
        if self.closed.len() > CLOSED_HELD_MAX {
            self.closed.pop_front();
        }
    }
}

impl View for Holdings {
    const NAME: &'static str = "holdings";
    const REVISION: u32 = 1;
    const LOGS: &'static [Log] = &[Log::Ledger];

    fn fold(&mut self, entry: &Entry) {
        let Stream::Account(account) = &entry.stream else { return };
        for event in &entry.events {
            let Event::Account(event) = event else { continue };
            if matches!(event, AccountEvent::AccountOpened { .. }) {
                self.accounts.insert(account.clone(), Held::new(entry));
            }
            let Some(held) = self.accounts.get_mut(account) else { continue };
            held.take(event, entry);
        }
    }

    fn parts(&self) -> BTreeSet<String> {
        self.accounts.keys().map(ToString::to_string).collect()
    }

    fn take_changed(&mut self) -> BTreeSet<String> {
        let changed = self.accounts.iter_mut().filter_map(|(account, held)| {
            let changed = held.mark.take();
            changed.then(|| account.to_string())
        });
        changed.collect()
    }

    fn part(&self, name: &str) -> Option<Vec<u8>> {
        serde_json::to_vec(self.accounts.get(&name.parse().ok()?)?).ok()
    }

    fn restore(&mut self, name: &str, state: &[u8]) -> Result<(), NotAPart> {
        let account = name.parse().map_err(|error| part::not(name, error))?;
        self.accounts.insert(account, part::read(name, state)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
