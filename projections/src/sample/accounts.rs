//! Accounts that are asked for one thing after another, by the rule of accounts itself, for the tests
//! of what is folded of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::account::Account;
use domain::account::command::{AccountCommand, OpenPosition, Terms};
use domain::account::event::{AccountEvent, Firing, Mark, Trigger};
use domain::account::limits::Limits;
use domain::account::position::{Leverage, Mode, Position, PositionId, PositionSide};
use domain::amount::{Price, Quantity};
use domain::decider::Decider;
use domain::event::Event;
use domain::fill::{Fill, MarketEntry};
use domain::instrument::Instrument;
use domain::margin::Tiers;
use domain::time::{DAY, Timestamp};
use proptest::prelude::*;
use rust_decimal::Decimal;

/// What an account is asked for. Which of its positions is meant, a number says, modulo their count.
#[derive(Debug, Clone)]
pub(crate) enum Asked {
    Deposit(u32),
    Withdraw(u32),
    Open {
        long: bool,
        leverage: u32,
        price: u32,
        quantity: u32,
    },
    /// A third of it.
    Reduce(usize, u32),
    Close(usize, u32),
    Stops(usize),
    Fund(usize),
    /// Its liquidation price was met, and the market fell through it by so many hundredths.
    Liquidate(usize, u32),
    CloseDay,
}

pub(crate) fn asked() -> impl Strategy<Value = Asked> {
    let price = || 60u32..140;
    prop_oneof![
        2 => (1u32..9_000).prop_map(Asked::Deposit),
        1 => (1u32..900).prop_map(Asked::Withdraw),
        8 => (any::<bool>(), 1u32..20, price(), 1u32..30).prop_map(
            |(long, leverage, price, quantity)| Asked::Open { long, leverage, price, quantity },
        ),
        3 => (any::<usize>(), price()).prop_map(|(which, price)| Asked::Reduce(which, price)),
        4 => (any::<usize>(), price()).prop_map(|(which, price)| Asked::Close(which, price)),
        1 => any::<usize>().prop_map(Asked::Stops),
        2 => any::<usize>().prop_map(Asked::Fund),
        2 => (any::<usize>(), 0u32..60).prop_map(|(which, deep)| Asked::Liquidate(which, deep)),
        1 => Just(Asked::CloseDay),
    ]
}

/// An account, and how far it is.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) account: Account,
    positions: u128,
    markets: u64,
    day: Timestamp,
}

impl Asking {
    /// Returns an account that is not open yet. Its positions are numbered from `first` on.
    pub(crate) fn new(first: u128, day: Timestamp) -> Self {
        Self { account: Account::default(), positions: first, markets: 0, day: day.floor(DAY) }
    }

    /// Opens it, with ten thousand in it.
    pub(crate) fn open(&mut self, mode: Mode) -> Vec<Event> {
        let limits = Limits {
            positions_max: 20,
            notional_max: "1000000".parse().unwrap(),
            quantity_max: BTreeMap::new(),
        };
        let currency = "USDT".parse().unwrap();
        let mut events = self.put(AccountCommand::OpenAccount { currency, mode, limits });
        events.extend(self.ask(&Asked::Deposit(10_000)));
        events
    }

    /// Returns what comes of it: nothing when it is refused.
    pub(crate) fn ask(&mut self, asked: &Asked) -> Vec<Event> {
        match self.command(asked) {
            Some(command) => self.put(command),
            None => Vec::new(),
        }
    }

    fn put(&mut self, command: AccountCommand) -> Vec<Event> {
        let events: Vec<AccountEvent> = self.account.decide(command).unwrap_or_default();
        for event in &events {
            self.account.evolve(event);
        }
        events.into_iter().map(Event::Account).collect()
    }

    fn command(&mut self, asked: &Asked) -> Option<AccountCommand> {
        self.markets += 1;
        let amount = |amount: u32| amount.to_string().parse().unwrap();
        let command = match *asked {
            Asked::Deposit(deposit) => AccountCommand::Deposit { amount: amount(deposit) },
            Asked::Withdraw(withdrawal) => AccountCommand::Withdraw { amount: amount(withdrawal) },
            Asked::Open { long, leverage, price, quantity } => {
                self.positions += 1;
                let quantity = Quantity::of_units(quantity.into(), 1).unwrap();
                AccountCommand::OpenPosition(OpenPosition {
                    position_id: PositionId::new(self.positions),
                    instrument: instrument(),
                    side: if long { PositionSide::Long } else { PositionSide::Short },
                    leverage: Leverage::new(leverage.into()).unwrap(),
                    reduce_only: false,
                    fill: self.fill(quantity, price.into()),
                    terms: terms(),
                })
            }
            Asked::Reduce(which, price) => {
                let position = self.position(which)?;
                let third = (position.quantity.value() / Decimal::from(3)).round_dp(3);
                let fill = self.fill(Quantity::new(third).ok()?, price.into());
                AccountCommand::ReducePosition { position_id: position.id, fill, terms: terms() }
            }
            Asked::Close(which, price) => {
                let position = self.position(which)?;
                let fill = self.fill(position.quantity, price.into());
                AccountCommand::ClosePosition { position_id: position.id, fill, terms: terms() }
            }
            Asked::Stops(which) => {
                let position = self.position(which)?;
                let stop_loss = match position.side {
                    PositionSide::Long => 99 - i64::try_from(self.markets % 90).unwrap(),
                    PositionSide::Short => 101 + i64::try_from(self.markets % 90).unwrap(),
                };
                AccountCommand::SetStops {
                    position_id: position.id,
                    stop_loss: Some(price(stop_loss.into())),
                    take_profit: None,
                    mark: price(Decimal::ONE_HUNDRED),
                    market: self.market(),
                }
            }
            Asked::Fund(which) => {
                let position_id = self.position(which)?.id;
                AccountCommand::ApplyFunding {
                    position_id,
                    rate: Decimal::new(1, 4),
                    mark: price(Decimal::ONE_HUNDRED),
                    market: self.market(),
                    terms: terms(),
                }
            }
            Asked::Liquidate(which, deep) => self.liquidation(which, deep)?,
            Asked::CloseDay => {
                self.day = self.day.plus(DAY);
                let mark = Mark { price: price(Decimal::ONE_HUNDRED), market: self.market() };
                let marks = BTreeMap::from([(instrument(), mark)]);
                AccountCommand::CloseDay { day: self.day, marks }
            }
        };
        Some(command)
    }

    fn liquidation(&self, which: usize, deep: u32) -> Option<AccountCommand> {
        let position = self.position(which)?;
        let at = position.maintenance.liquidation_price?;
        let deep = Decimal::new(deep.into(), 2);
        let met = match position.side {
            PositionSide::Long => at * (Decimal::ONE - deep),
            PositionSide::Short => at * (Decimal::ONE + deep) + Decimal::new(1, 4),
        };
        let met = met.trunc_with_scale(4);
        let firing = Firing {
            trigger: Trigger::Liquidation,
            set_by: position.margin_set_by,
            trade_id: self.markets,
            price: Price::new(met).ok()?,
        };
        let fill = self.fill(position.quantity, met);
        Some(AccountCommand::Fire { position_id: position.id, firing, fill, terms: terms() })
    }

    fn position(&self, which: usize) -> Option<Position> {
        let positions = self.account.positions();
        positions.values().nth(which.checked_rem(positions.len())?).cloned()
    }

    fn fill(&self, quantity: Quantity, at: Decimal) -> Fill {
        Fill::at_price(quantity, price(at), self.market()).unwrap()
    }

    fn market(&self) -> MarketEntry {
        let venue = "binance".parse().unwrap();
        MarketEntry { venue, instrument: instrument(), version: self.markets }
    }
}

fn instrument() -> Instrument {
    "BTC-USDT".parse().unwrap()
}

fn price(value: Decimal) -> Price {
    Price::new(value).unwrap()
}

/// With a fee, so that there are figures to add up.
fn terms() -> Terms {
    Terms { fee_rate: Decimal::new(4, 4), tiers: Arc::new(Tiers::default()) }
}
