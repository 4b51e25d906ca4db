//! The conditions that look at one market, by the price that meets them: a trade costs what it
//! meets, however many there are.

use std::collections::{BTreeMap, BTreeSet};

use domain::amount::Price;
use eventlog::entry::Version;
use rust_decimal::Decimal;

use crate::guardian::conditions::{Condition, Name, Reached};

/// Conditions of one market.
#[derive(Debug, Default)]
pub(super) struct Armed {
    /// Those that look at what comes after an entry that the market has not come to yet.
    waiting: BTreeMap<u64, BTreeMap<Name, Condition>>,
    from_above: ByPrice,
    from_below: ByPrice,
}

type ByPrice = BTreeMap<Decimal, BTreeSet<Name>>;

impl Armed {
    /// Adds a condition in a market that has come to `version`.
    pub(super) fn add(&mut self, name: Name, condition: Condition, version: Version) {
        let after = condition.after.version;
        if after > version.0 {
            self.waiting.entry(after).or_default().insert(name, condition);
        } else {
            self.side(condition.reached).entry(condition.price).or_default().insert(name);
        }
    }

    /// Takes a condition out, wherever it stands.
    pub(super) fn remove(&mut self, name: &Name, condition: &Condition) {
        let after = condition.after.version;
        if let Some(waiting) = self.waiting.get_mut(&after) {
            waiting.remove(name);
            if waiting.is_empty() {
                self.waiting.remove(&after);
            }
        }
        let side = self.side(condition.reached);
        if let Some(names) = side.get_mut(&condition.price) {
            names.remove(name);
            if names.is_empty() {
                side.remove(&condition.price);
            }
        }
    }

    /// Wakes the conditions that look at this entry and have waited for it.
    pub(super) fn come_to(&mut self, version: Version) {
        while let Some(waiting) = self.waiting.first_entry()
            && *waiting.key() < version.0
        {
            for (name, condition) in waiting.remove() {
                self.side(condition.reached).entry(condition.price).or_default().insert(name);
            }
        }
    }

    /// Returns those that a price meets, in the order in which they fire.
    pub(super) fn met(&self, price: Price) -> BTreeSet<Name> {
        let from_above = self.from_above.range(price.value()..);
        let from_below = self.from_below.range(..=price.value());
        from_above.chain(from_below).flat_map(|(_, names)| names).cloned().collect()
    }

    fn side(&mut self, reached: Reached) -> &mut ByPrice {
        match reached {
            Reached::FromAbove => &mut self.from_above,
            Reached::FromBelow => &mut self.from_below,
        }
    }
}
