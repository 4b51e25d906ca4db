//! The account itself: what was agreed, what goes in and out, and what it is worth day by day.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use crate::account::command::Refusal;
use crate::account::event::{AccountEvent, DayClosed, Mark};
use crate::account::limits::{Limits, QUANTITY_LIMITS_MAX};
use crate::account::position::Mode;
use crate::account::{Account, BALANCE_MAX, Ruling, Standing};
use crate::amount::Amount;
use crate::exact;
use crate::instrument::{Currency, Instrument};
use crate::time::{DAY, Timestamp};

impl Account {
    pub(super) fn open_account(&self, currency: Currency, mode: Mode, limits: Limits) -> Ruling {
        let asked = Standing { currency, mode, limits };
        match &self.terms {
            Some(standing) if *standing == asked => Ok(Vec::new()),
            Some(standing) => Err(Refusal::AccountOpenOtherwise {
                currency: standing.currency.clone(),
                mode: standing.mode.name(),
            }),
            None => {
                let Standing { currency, mode, limits } = asked;
                let limits = bounded(limits)?;
                Ok(vec![AccountEvent::AccountOpened { currency, mode, limits }])
            }
        }
    }

    pub(super) fn deposit(&self, amount: Amount) -> Ruling {
        let balance = exact::sum([self.money.free, self.money.margin, amount.value()].into_iter());
        let balance = balance.ok_or(Refusal::Inexact)?;
        let balance_max = Decimal::from(BALANCE_MAX);
        if balance > balance_max {
            return Err(Refusal::BalanceTooLarge { balance, balance_max });
        }
        self.money.deposited(amount).ok_or(Refusal::Inexact)?;
        Ok(vec![AccountEvent::Deposited { amount }])
    }

    pub(super) fn withdraw(&self, amount: Amount) -> Ruling {
        let free = self.money.free;
        if amount.value() > free {
            return Err(Refusal::WithdrawalTooLarge { amount: amount.value(), free });
        }
        self.money.withdrawn(amount).ok_or(Refusal::Inexact)?;
        Ok(vec![AccountEvent::Withdrawn { amount }])
    }

    pub(super) fn set_mode(&self, standing: &Standing, mode: Mode) -> Ruling {
        if standing.mode == mode {
            Ok(Vec::new())
        } else if self.positions.is_empty() {
            Ok(vec![AccountEvent::ModeSet { mode }])
        } else {
            Err(Refusal::PositionsOpen { open: self.positions.len() })
        }
    }

    /// Marks of instruments that are not held are left out.
    pub(super) fn close_day(
        &self,
        day: Timestamp,
        mut marks: BTreeMap<Instrument, Mark>,
    ) -> Ruling {
        let day = day.floor(DAY);
        if self.day.is_some_and(|last| day <= last) {
            return Ok(Vec::new());
        }
        let mut unrealized = Decimal::ZERO;
        for position in self.positions.values() {
            let Some(mark) = marks.get(&position.instrument) else {
                let instrument = position.instrument.clone();
                return Err(Refusal::MarkMissing { instrument });
            };
            let worth = position.unrealized(mark.price).ok_or(Refusal::Inexact)?;
            unrealized = exact::add(unrealized, worth).ok_or(Refusal::Inexact)?;
        }
        marks
            .retain(|held, _| self.positions.values().any(|position| position.instrument == *held));
        let (free, margin) = (self.money.free, self.money.margin);
        let equity = exact::sum([free, margin, unrealized].into_iter()).ok_or(Refusal::Inexact)?;
        let closed = DayClosed { day, marks, free, margin, unrealized, equity };
        Ok(vec![AccountEvent::DayClosed(closed)])
    }
}

pub(super) fn set_limits(standing: &Standing, limits: Limits) -> Ruling {
    if standing.limits == limits {
        return Ok(Vec::new());
    }
    let limits = bounded(limits)?;
    Ok(vec![AccountEvent::LimitsSet { limits }])
}

fn bounded(limits: Limits) -> Result<Limits, Refusal> {
    let count = limits.quantity_max.len();
    if count > QUANTITY_LIMITS_MAX {
        return Err(Refusal::TooManyLimits { limits: count, limits_max: QUANTITY_LIMITS_MAX });
    }
    Ok(limits)
}
