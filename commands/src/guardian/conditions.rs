//! Which conditions stand: a fold of the ledger that keeps of each open position no more than when
//! it is to be closed.

use std::collections::BTreeMap;

use domain::account::event::{AccountEvent, Maintenance, Trigger};
use domain::account::position::{PositionId, PositionSide};
use domain::amount::Price;
use domain::event::Event;
use domain::fill::MarketEntry;
use domain::name::AccountId;
use eventlog::entry::Entry;
use eventlog::stream::Stream;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// What a condition goes by; in the order in which those fire that one trade meets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) trigger: Trigger,
    pub(super) account: AccountId,
    pub(super) position_id: PositionId,
    pub(super) set_by: u64,
}

/// When a position is to be closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Condition {
    /// Which of the position's changes made it.
    pub(super) set_by: u64,
    pub(super) price: Decimal,
    pub(super) reached: Reached,
    /// The market as it was then. What counts is what came after.
    pub(super) after: MarketEntry,
}

/// From where a price is reached. To touch it is to reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reached {
    FromAbove,
    FromBelow,
}

/// A condition that came or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Set(Name, Condition),
    Gone(Name, Condition),
}

/// Every condition of every open position.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Conditions {
    positions: BTreeMap<(AccountId, PositionId), Guarded>,
}

/// An open position, as far as its conditions go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Guarded {
    account: AccountId,
    position_id: PositionId,
    side: PositionSide,
    /// Counted as the account counts them.
    changes: u64,
    conditions: BTreeMap<Trigger, Condition>,
}

impl Condition {
    /// Returns the stream whose trades it looks at.
    pub(super) fn stream(&self) -> Stream {
        let MarketEntry { venue, instrument, .. } = self.after.clone();
        Stream::Market { venue, instrument }
    }

    /// Whether one of the prices from `low` to `high` meets it.
    pub(super) fn is_met_within(&self, low: Price, high: Price) -> bool {
        match self.reached {
            Reached::FromAbove => low.value() <= self.price,
            Reached::FromBelow => high.value() >= self.price,
        }
    }
}

impl Conditions {
    /// Takes in an entry of the ledger; returns which conditions came and went by it.
    pub(super) fn take(&mut self, entry: &Entry) -> Vec<Change> {
        let mut changes = Vec::new();
        let Stream::Account(account) = &entry.stream else { return changes };
        for event in &entry.events {
            let Event::Account(event) = event else { continue };
            self.evolve(account, event, &mut changes);
        }
        changes
    }

    fn evolve(&mut self, account: &AccountId, event: &AccountEvent, changes: &mut Vec<Change>) {
        match event {
            AccountEvent::PositionOpened(opened) => {
                let position_id = opened.position_id;
                let guarded = Guarded {
                    account: account.clone(),
                    position_id,
                    side: opened.side,
                    changes: 0,
                    conditions: BTreeMap::new(),
                };
                let guarded =
                    self.positions.entry((account.clone(), position_id)).or_insert(guarded);
                guarded.change_margin(Some(&opened.maintenance), &opened.fill.market, changes);
            }
            AccountEvent::PositionIncreased(increased) => {
                let Some(guarded) = self.get(account, increased.position_id) else { return };
                guarded.change_margin(
                    Some(&increased.maintenance),
                    &increased.fill.market,
                    changes,
                );
            }
            AccountEvent::PositionReduced(reduced) => {
                let Some(guarded) = self.get(account, reduced.position_id) else { return };
                let maintenance = reduced.maintenance.as_ref();
                guarded.change_margin(maintenance, &reduced.fill.market, changes);
            }
            AccountEvent::FundingApplied(funded) => {
                let Some(guarded) = self.get(account, funded.position_id) else { return };
                guarded.change_margin(Some(&funded.maintenance), &funded.market, changes);
            }
            AccountEvent::StopsSet { position_id, stop_loss, take_profit, market } => {
                let Some(guarded) = self.get(account, *position_id) else { return };
                guarded.changes += 1;
                let stops = [(Trigger::StopLoss, stop_loss), (Trigger::TakeProfit, take_profit)];
                for (trigger, price) in stops {
                    guarded.put(trigger, price.map(Price::value), market, changes);
                }
            }
            AccountEvent::PositionClosed(exited) | AccountEvent::PositionLiquidated(exited) => {
                let gone = self.forget(account, exited.position_id).into_iter();
                changes.extend(gone.map(|(name, condition)| Change::Gone(name, condition)));
            }
            AccountEvent::AccountOpened { .. }
            | AccountEvent::Deposited { .. }
            | AccountEvent::Withdrawn { .. }
            | AccountEvent::LimitsSet { .. }
            | AccountEvent::ModeSet { .. }
            | AccountEvent::DayClosed(_) => {}
        }
    }

    /// Returns a position that is still guarded. What fired is let go of before the ledger tells it.
    fn get(&mut self, account: &AccountId, position_id: PositionId) -> Option<&mut Guarded> {
        self.positions.get_mut(&(account.clone(), position_id))
    }

    /// Whether a condition stands.
    pub(super) fn holds(&self, name: &Name) -> bool {
        let guarded = self.positions.get(&(name.account.clone(), name.position_id));
        let condition = guarded.and_then(|guarded| guarded.conditions.get(&name.trigger));
        condition.is_some_and(|condition| condition.set_by == name.set_by)
    }

    /// Returns how many events have made a position what it is, as far as they were taken in.
    pub(super) fn changes(&self, account: &AccountId, position_id: PositionId) -> Option<u64> {
        Some(self.positions.get(&(account.clone(), position_id))?.changes)
    }

    /// Lets go of a position; returns the conditions that it had.
    pub(super) fn forget(
        &mut self,
        account: &AccountId,
        position_id: PositionId,
    ) -> Vec<(Name, Condition)> {
        let guarded = self.positions.remove(&(account.clone(), position_id));
        guarded.into_iter().flat_map(Guarded::into_conditions).collect()
    }

    /// Lets go of one condition.
    pub(super) fn remove(&mut self, name: &Name) -> Option<Condition> {
        if !self.holds(name) {
            return None;
        }
        self.get(&name.account, name.position_id)?.conditions.remove(&name.trigger)
    }

    /// Returns all conditions, in order of account and position.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Name, Condition)> + '_ {
        self.positions.values().cloned().flat_map(Guarded::into_conditions)
    }

    /// Returns the open positions, in order of account and position.
    pub(super) fn positions(&self) -> impl Iterator<Item = &Guarded> {
        self.positions.values()
    }
}

impl FromIterator<Guarded> for Conditions {
    fn from_iter<I: IntoIterator<Item = Guarded>>(positions: I) -> Self {
        let key = |guarded: &Guarded| (guarded.account.clone(), guarded.position_id);
        let positions = positions.into_iter().map(|guarded| (key(&guarded), guarded)).collect();
        Self { positions }
    }
}

impl Guarded {
    /// Takes in that quantity, cost or margin has changed, and with it the liquidation price.
    fn change_margin(
        &mut self,
        maintenance: Option<&Maintenance>,
        market: &MarketEntry,
        changes: &mut Vec<Change>,
    ) {
        self.changes += 1;
        let price = maintenance.and_then(|maintenance| maintenance.liquidation_price);
        self.put(Trigger::Liquidation, price, market, changes);
    }

    /// Replaces a condition by one that the newest change made, or by none.
    fn put(
        &mut self,
        trigger: Trigger,
        price: Option<Decimal>,
        market: &MarketEntry,
        changes: &mut Vec<Change>,
    ) {
        if let Some(before) = self.conditions.remove(&trigger) {
            changes.push(Change::Gone(self.name(trigger, before.set_by), before));
        }
        let Some(price) = price else { return };
        // What a lower price meets is reached from above.
        let is_met_below = trigger.is_met(self.side, Decimal::ONE, Decimal::ZERO);
        let reached = if is_met_below { Reached::FromAbove } else { Reached::FromBelow };
        let condition = Condition { set_by: self.changes, price, reached, after: market.clone() };
        changes.push(Change::Set(self.name(trigger, self.changes), condition.clone()));
        self.conditions.insert(trigger, condition);
    }

    fn name(&self, trigger: Trigger, set_by: u64) -> Name {
        let (account, position_id) = (self.account.clone(), self.position_id);
        Name { trigger, account, position_id, set_by }
    }

    fn into_conditions(self) -> impl Iterator<Item = (Name, Condition)> {
        let Self { account, position_id, conditions, .. } = self;
        conditions.into_iter().map(move |(trigger, condition)| {
            let account = account.clone();
            (Name { trigger, account, position_id, set_by: condition.set_by }, condition)
        })
    }
}
