//! Whatever is asked of an account: it holds what a plain reckoning in whole numbers says that it
//! holds, and not a digit is lost.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;
use crate::account::command::{AccountCommand, Refusal};
use crate::account::event::{Firing, Trigger};
use crate::fill::Basis;

/// What is asked. A place is one among the positions that are open, or among all that ever were, or
/// none at all: see [`Book::at`].
#[derive(Debug, Clone)]
enum Ask {
    Deposit {
        cents: u32,
    },
    Withdraw {
        cents: u32,
    },
    SetMode {
        netting: bool,
    },
    Open {
        market: u8,
        long: bool,
        leverage: u32,
        reduce_only: bool,
        deal: Deal,
        mark: u32,
    },
    Reduce {
        place: u8,
        of: u32,
        deal: Deal,
    },
    Close {
        place: u8,
        deal: Deal,
    },
    Fund {
        place: u8,
        millionths: i32,
        mark: u32,
    },
    Stop {
        place: u8,
        stop_loss: u32,
        mark: u32,
    },
    /// A trade for a stop-loss, as seen by somebody who may be behind.
    Fire {
        place: u8,
        late: bool,
        cents: u32,
        deal: Deal,
    },
}

/// So many thousandths at so many cents, with a fee in hundred-thousandths, and a cost that is some
/// steps of 10^-18 off, as that of several levels may be.
#[derive(Debug, Clone, Copy)]
struct Deal {
    milli: u32,
    cents: u32,
    odd: i32,
    fee: u32,
}

fn cents() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 5_500_000u32..6_500_000, 1 => 3_000_000u32..9_000_000, 1 => Just(1u32)]
}

fn deal() -> impl Strategy<Value = Deal> {
    let milli = prop_oneof![6 => 1u32..1_500, 2 => Just(100u32), 1 => 1u32..9_000];
    let fee = prop_oneof![Just(0u32), Just(40), Just(125)];
    (milli, cents(), -9i32..9, fee).prop_map(|(milli, cents, odd, fee)| Deal {
        milli,
        cents,
        odd,
        fee,
    })
}

fn ask() -> impl Strategy<Value = Ask> {
    let leverage = prop::sample::select(&[1u32, 2, 3, 7, 10, 60, 80, 101, 125][..]);
    let open = (0u8..2, any::<bool>(), leverage, prop::bool::weighted(0.1), deal(), cents());
    prop_oneof![
        2 => (1u32..9_000_000).prop_map(|cents| Ask::Deposit { cents }),
        1 => (1u32..40_000_000).prop_map(|cents| Ask::Withdraw { cents }),
        1 => any::<bool>().prop_map(|netting| Ask::SetMode { netting }),
        12 => open.prop_map(|(market, long, leverage, reduce_only, deal, mark)| {
            Ask::Open { market, long, leverage, reduce_only, deal, mark }
        }),
        4 => (0u8..40, 0u32..1_100, deal()).prop_map(|(place, of, deal)| Ask::Reduce { place, of, deal }),
        3 => (0u8..40, deal()).prop_map(|(place, deal)| Ask::Close { place, deal }),
        2 => (0u8..40, -3_000i32..3_000, cents())
            .prop_map(|(place, millionths, mark)| Ask::Fund { place, millionths, mark }),
        2 => (0u8..40, cents(), cents())
            .prop_map(|(place, stop_loss, mark)| Ask::Stop { place, stop_loss, mark }),
        2 => (0u8..40, prop::bool::weighted(0.2), cents(), deal())
            .prop_map(|(place, late, cents, deal)| Ask::Fire { place, late, cents, deal }),
    ]
}

/// Money in whole steps of 10^-18.
type Atto = i128;

const ATTO: Atto = 1_000_000_000_000_000_000;

const POSITIONS_MAX: usize = 4;
const NOTIONAL_MAX: Atto = 400_000 * ATTO;
const MILLI_MAX: i128 = 5_000;

fn atto(value: Decimal) -> Atto {
    value.mantissa() * 10_i128.pow(18 - value.scale())
}

fn cost_of(milli: i128, cents: i128, odd: i128) -> Atto {
    milli * cents * (ATTO / 100_000) + odd
}

/// Half to even.
fn divided(above: i128, below: i128) -> i128 {
    let (cut, rest) = (above.div_euclid(below), above.rem_euclid(below));
    let up = 2 * rest > below || (2 * rest == below && cut % 2 != 0);
    cut + i128::from(up)
}

fn fee_of(cost: Atto, hundred_thousandths: u32) -> Atto {
    divided(cost * i128::from(hundred_thousandths), 100_000)
}

/// A position in the plain reckoning.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Plain {
    number: u128,
    market: u8,
    long: bool,
    leverage: u32,
    milli: i128,
    cost: Atto,
    margin: Atto,
    realized: Atto,
    fees: Atto,
    funding: Atto,
    stop_loss: Option<u32>,
    /// Times that the stop-loss was changed.
    stops: u64,
    /// All that was ever bought and sold of it.
    bought: Atto,
    sold: Atto,
    is_open: bool,
}

impl Plain {
    fn sign(&self) -> i128 {
        if self.long { 1 } else { -1 }
    }

    fn trade(&mut self, entering: bool, cost: Atto) {
        if self.long == entering { self.bought += cost } else { self.sold += cost }
    }
}

/// The account in the plain reckoning: every position that ever was, in the order of opening.
#[derive(Debug, Clone, Default)]
struct Book {
    netting: bool,
    free: Atto,
    positions: Vec<Plain>,
}

/// What a deal is: thousandths, cost, fee.
#[derive(Clone, Copy)]
struct Parts {
    milli: i128,
    cost: Atto,
    fee: Atto,
}

impl Book {
    fn open(&self) -> impl Iterator<Item = &Plain> {
        self.positions.iter().filter(|held| held.is_open)
    }

    /// Returns the index of the position that a place means.
    fn at(&self, place: u8) -> Option<usize> {
        let open = self.open().count();
        let nth = |count: usize| usize::from(place).checked_rem(count);
        match place {
            0 => None,
            1..4 => nth(self.positions.len()),
            _ if open == 0 => nth(self.positions.len()),
            _ => {
                let indices = (0..).zip(&self.positions).filter(|(_, held)| held.is_open);
                indices.map(|(index, _)| index).nth(nth(open)?)
            }
        }
    }

    fn held(&mut self, number: u128) -> &mut Plain {
        self.positions.iter_mut().find(|held| held.number == number).unwrap()
    }

    fn exit(&mut self, number: u128, parts: Parts) {
        let held = self.held(number);
        let all = parts.milli == held.milli;
        let share = |of: Atto| if all { of } else { divided(of * parts.milli, held.milli) };
        let (cost, margin) = (share(held.cost), share(held.margin));
        let realized = held.sign() * (parts.cost - cost);
        held.trade(false, parts.cost);
        held.milli -= parts.milli;
        held.cost -= cost;
        held.margin -= margin;
        held.realized += realized;
        held.fees += parts.fee;
        held.is_open = !all;
        self.free += (margin + realized - parts.fee).max(0);
    }

    /// Adds to a position, or opens one: refused with a word.
    fn enter(
        &mut self,
        number: u128,
        (market, long, leverage): (u8, bool, u32),
        parts: Parts,
        mark: u32,
    ) -> Result<(), &'static str> {
        let mut same = self.positions.iter().position(|held| held.is_open && held.market == market);
        if !self.netting {
            same = None;
        }
        let leverage = same.map_or(leverage, |same| self.positions[same].leverage);
        if same.is_none() && self.open().count() == POSITIONS_MAX {
            return Err("positions");
        }
        if self.open().map(|held| held.cost).sum::<Atto>() + parts.cost > NOTIONAL_MAX {
            return Err("notional");
        }
        let here = || self.open().filter(|held| held.market == market);
        // Only the first market has such a limit.
        if market == 0 && here().map(|held| held.milli).sum::<i128>() + parts.milli > MILLI_MAX {
            return Err("quantity");
        }
        let side = here().filter(|held| held.long == long).map(|held| held.cost).sum::<Atto>();
        let leverage_max = match side + parts.cost {
            notional if notional > 600_000 * ATTO => 75,
            notional if notional > 50_000 * ATTO => 100,
            _ => 125,
        };
        if leverage > leverage_max {
            return Err("leverage");
        }
        let margin = (parts.cost + i128::from(leverage) - 1) / i128::from(leverage);
        let at_mark = cost_of(parts.milli, mark.into(), 0);
        let worse = if long { parts.cost - at_mark } else { at_mark - parts.cost };
        if margin + parts.fee + worse.max(0) > self.free {
            return Err("insufficient");
        }
        self.free -= margin + parts.fee;
        let held = if let Some(same) = same {
            &mut self.positions[same]
        } else {
            self.positions.push(Plain {
                number,
                market,
                long,
                leverage,
                milli: 0,
                cost: 0,
                margin: 0,
                realized: 0,
                fees: 0,
                funding: 0,
                stop_loss: None,
                stops: 0,
                bought: 0,
                sold: 0,
                is_open: true,
            });
            self.positions.last_mut().unwrap()
        };
        held.trade(true, parts.cost);
        held.milli += parts.milli;
        held.cost += parts.cost;
        held.margin += margin;
        held.fees += parts.fee;
        Ok(())
    }

    fn order(
        &mut self,
        number: u128,
        (market, long, leverage): (u8, bool, u32),
        reduce_only: bool,
        parts: Parts,
        mark: u32,
    ) -> Result<(), &'static str> {
        if !self.netting && reduce_only {
            return Err("not netting");
        }
        let held = self.open().find(|held| self.netting && held.market == market).cloned();
        match held.filter(|held| held.long != long) {
            None if reduce_only => Err("nothing to reduce"),
            None => self.enter(number, (market, long, leverage), parts, mark),
            Some(held) if parts.milli > held.milli && reduce_only => Err("more"),
            Some(held) if parts.milli > held.milli => {
                let first = Parts {
                    milli: held.milli,
                    cost: divided(parts.cost * held.milli, parts.milli),
                    fee: divided(parts.fee * held.milli, parts.milli),
                };
                let rest = Parts {
                    milli: parts.milli - first.milli,
                    cost: parts.cost - first.cost,
                    fee: parts.fee - first.fee,
                };
                let mut after = self.clone();
                after.exit(held.number, first);
                after.enter(number, (market, long, leverage), rest, mark)?;
                *self = after;
                Ok(())
            }
            Some(held) => {
                self.exit(held.number, parts);
                Ok(())
            }
        }
    }
}

fn instrument_of(market: u8) -> Instrument {
    if market == 0 { instrument() } else { "ETH-USDT".parse().unwrap() }
}

fn in_cents(cents: u32) -> Price {
    Price::of_units(cents.into(), 2).unwrap()
}

fn in_milli(milli: i128) -> Quantity {
    Quantity::of_units(milli.try_into().unwrap(), 3).unwrap()
}

/// A deal that would be for nothing costs a step more.
fn parts_of(milli: i128, deal: Deal) -> Parts {
    let cost = cost_of(milli, deal.cents.into(), deal.odd.into());
    Parts { milli, cost, fee: fee_of(cost, deal.fee) }
}

fn fill_of(parts: Parts, mark: u32) -> Fill {
    Fill {
        quantity: in_milli(parts.milli),
        cost: Decimal::from_i128_with_scale(parts.cost, 18),
        price: Decimal::ONE,
        basis: Basis::BookVwap,
        levels: Vec::new(),
        mark: in_cents(mark),
        market: market(MARKET_VERSION),
        part_of: None,
    }
}

fn terms_of(deal: Deal) -> Terms {
    Terms { fee_rate: Decimal::new(deal.fee.into(), 5), tiers: Arc::new(Tiers::default()) }
}

/// Both accounts, side by side.
struct Pair {
    account: Account,
    history: Vec<Event>,
    book: Book,
    /// The next position's name.
    number: u128,
}

impl Pair {
    fn new() -> Self {
        let limits = Limits {
            positions_max: POSITIONS_MAX.try_into().unwrap(),
            notional_max: amount("400000"),
            quantity_max: BTreeMap::from([(instrument(), quantity("5"))]),
        };
        let opened =
            Event::AccountOpened { currency: "USDT".parse().unwrap(), mode: Mode::Hedging, limits };
        let history = vec![opened];
        Self { account: account(&history), history, book: Book::default(), number: 0 }
    }

    /// Asks both, and returns a word for what came of it.
    fn ask(&mut self, ask: &Ask) -> &'static str {
        self.number += 1;
        let place = |place: u8| self.book.at(place).map(|at| self.book.positions[at].clone());
        let (command, expected, once) = match *ask {
            Ask::Deposit { cents } => {
                self.book.free += i128::from(cents) * ATTO / 100;
                let amount = Amount::of_units(cents.into(), 2).unwrap();
                (AccountCommand::Deposit { amount }, Ok(()), false)
            }
            Ask::Withdraw { cents } => {
                let taken = i128::from(cents) * ATTO / 100;
                let amount = Amount::of_units(cents.into(), 2).unwrap();
                let enough = taken <= self.book.free;
                self.book.free -= if enough { taken } else { 0 };
                let expected = if enough { Ok(()) } else { Err("withdrawal") };
                (AccountCommand::Withdraw { amount }, expected, false)
            }
            Ask::SetMode { netting } => {
                let fits = netting == self.book.netting || self.book.open().count() == 0;
                self.book.netting = if fits { netting } else { self.book.netting };
                let mode = if netting { Mode::Netting } else { Mode::Hedging };
                let expected = if fits { Ok(()) } else { Err("mode") };
                (AccountCommand::SetMode { mode }, expected, true)
            }
            Ask::Open { market, long, leverage, reduce_only, deal, mark } => {
                let parts = parts_of(deal.milli.into(), deal);
                let expected = self.book.order(
                    self.number,
                    (market, long, leverage),
                    reduce_only,
                    parts,
                    mark,
                );
                let order = OpenPosition {
                    position_id: id(self.number),
                    instrument: instrument_of(market),
                    side: if long { PositionSide::Long } else { PositionSide::Short },
                    leverage: Leverage::new(leverage.into()).unwrap(),
                    reduce_only,
                    fill: fill_of(parts, mark),
                    terms: terms_of(deal),
                };
                let opened = self.book.positions.iter().any(|held| held.number == self.number);
                (AccountCommand::OpenPosition(order), expected, opened)
            }
            Ask::Reduce { place: at, of, deal } => {
                let held = place(at);
                let open = held.as_ref().map_or(0, |held| held.milli);
                let milli = (open * i128::from(of) / 1_000).max(1);
                let parts = parts_of(milli, deal);
                let expected = match &held {
                    None => Err("unknown"),
                    Some(held) if !held.is_open => Err("was closed"),
                    Some(held) if milli > held.milli => Err("more"),
                    Some(held) => {
                        self.book.exit(held.number, parts);
                        Ok(())
                    }
                };
                let position_id = id(held.map_or(0, |held| held.number));
                let (fill, terms) = (fill_of(parts, deal.cents), terms_of(deal));
                (AccountCommand::ReducePosition { position_id, fill, terms }, expected, false)
            }
            Ask::Close { place: at, deal } => {
                let held = place(at);
                let milli = held.as_ref().map_or(0, |held| held.milli).max(1);
                let parts = parts_of(milli, deal);
                let expected = match &held {
                    None => Err("unknown"),
                    Some(held) if !held.is_open => Ok(()),
                    Some(held) => {
                        self.book.exit(held.number, parts);
                        Ok(())
                    }
                };
                let position_id = id(held.map_or(0, |held| held.number));
                let (fill, terms) = (fill_of(parts, deal.cents), terms_of(deal));
                (AccountCommand::ClosePosition { position_id, fill, terms }, expected, true)
            }
            Ask::Fund { place: at, millionths, mark } => {
                let held = place(at);
                let expected = match &held {
                    None => Err("unknown"),
                    Some(held) if !held.is_open => Err("was closed"),
                    Some(held) => {
                        let worth = cost_of(held.milli, mark.into(), 0);
                        let received =
                            divided(-held.sign() * worth * i128::from(millionths), 1_000_000);
                        let number = held.number;
                        let held = self.book.held(number);
                        held.margin += received;
                        held.funding += received;
                        Ok(())
                    }
                };
                let command = AccountCommand::ApplyFunding {
                    position_id: id(held.map_or(0, |held| held.number)),
                    rate: Decimal::new(millionths.into(), 6),
                    mark: in_cents(mark),
                    market: market(MARKET_VERSION),
                    terms: terms(),
                };
                (command, expected, false)
            }
            Ask::Stop { place: at, stop_loss, mark } => {
                let held = place(at);
                let expected = match &held {
                    None => Err("unknown"),
                    Some(held) if !held.is_open => Err("was closed"),
                    Some(held) if held.stop_loss == Some(stop_loss) => Ok(()),
                    Some(held) if held.long && mark <= stop_loss => Err("stop"),
                    Some(held) if !held.long && mark >= stop_loss => Err("stop"),
                    Some(held) => {
                        let number = held.number;
                        let held = self.book.held(number);
                        held.stop_loss = Some(stop_loss);
                        held.stops += 1;
                        Ok(())
                    }
                };
                let command = AccountCommand::SetStops {
                    position_id: id(held.map_or(0, |held| held.number)),
                    stop_loss: Some(in_cents(stop_loss)),
                    take_profit: None,
                    mark: in_cents(mark),
                    market: market(MARKET_VERSION),
                };
                (command, expected, true)
            }
            Ask::Fire { place: at, late, cents, deal } => {
                let held = place(at);
                let number = held.as_ref().map_or(0, |held| held.number);
                let set_by =
                    self.account.positions.get(&id(number)).map_or(0, |held| held.stops.set_by);
                let parts = parts_of(held.as_ref().map_or(0, |held| held.milli).max(1), deal);
                if let Some(held) = held.filter(|held| held.is_open && !late)
                    && let Some(stop_loss) = held.stop_loss
                    && (if held.long { cents <= stop_loss } else { cents >= stop_loss })
                {
                    self.book.exit(held.number, parts);
                }
                let firing = Firing {
                    trigger: Trigger::StopLoss,
                    set_by: if late { set_by + 1 } else { set_by },
                    trade_id: 1,
                    price: in_cents(cents),
                };
                let (fill, terms) = (fill_of(parts, cents), terms_of(deal));
                (
                    AccountCommand::Fire { position_id: id(number), firing, fill, terms },
                    Ok(()),
                    true,
                )
            }
        };
        let before = self.account.clone();
        let ended = match self.account.decide(command.clone()) {
            Ok(events) => {
                for event in &events {
                    self.account.evolve(event);
                }
                let ending = ending(&events);
                self.history.extend(events);
                assert_eq!(expected, Ok(()), "{command:?}");
                ending
            }
            Err(refusal) => {
                assert_eq!(expected, Err(word(&refusal)), "{refusal}");
                assert_eq!(self.account, before);
                word(&refusal)
            }
        };
        if once && expected.is_ok() {
            assert_eq!(self.account.decide(command), Ok(Vec::new()));
        }
        ended
    }

    fn assert_equal(&self) {
        let Self { account, book, .. } = self;
        assert_conserved(account);
        assert_eq!(atto(account.free()), book.free);
        let total = |of: fn(&Plain) -> Atto| book.positions.iter().map(of).sum::<Atto>();
        assert_eq!(atto(account.money.realized), total(|held| held.realized));
        assert_eq!(atto(account.money.fees), total(|held| held.fees));
        assert_eq!(atto(account.money.funding), total(|held| held.funding));
        assert_eq!(account.positions.len(), book.open().count());
        for plain in &book.positions {
            // The law: what was paid is either tied up in cost, or was realised.
            assert_eq!(plain.bought - plain.sold, plain.sign() * plain.cost - plain.realized);
            let Some(held) = account.positions.get(&id(plain.number)) else {
                assert!(!plain.is_open && account.is_closed(&id(plain.number)));
                continue;
            };
            let figures = [
                (held.cost, plain.cost),
                (held.margin, plain.margin),
                (held.realized, plain.realized),
                (held.fees, plain.fees),
                (held.funding, plain.funding),
            ];
            assert!(figures.iter().all(|(exact, plain)| atto(*exact) == *plain), "{figures:?}");
            assert_eq!(held.quantity, in_milli(plain.milli));
            assert_eq!(held.instrument, instrument_of(plain.market));
            assert_eq!(held.side == PositionSide::Long, plain.long);
            assert_eq!(held.leverage.value(), plain.leverage.into());
            assert_eq!(held.stops.stop_loss, plain.stop_loss.map(in_cents));
            let Position { side, quantity, cost, margin, .. } = held;
            let solved = Tiers::default().liquidation(*side, quantity.value(), *cost, *margin);
            assert_eq!(Some(held.maintenance), solved);
        }
    }
}

fn word(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::WithdrawalTooLarge { .. } => "withdrawal",
        Refusal::PositionsOpen { .. } => "mode",
        Refusal::TooManyPositions { .. } => "positions",
        Refusal::NotionalLimit { .. } => "notional",
        Refusal::QuantityLimit { .. } => "quantity",
        Refusal::LeverageLimit { .. } => "leverage",
        Refusal::InsufficientBalance(_) => "insufficient",
        Refusal::NotNetting => "not netting",
        Refusal::NothingToReduce => "nothing to reduce",
        Refusal::MoreThanOpen { .. } => "more",
        Refusal::PositionUnknown => "unknown",
        Refusal::PositionClosed => "was closed",
        Refusal::StopWouldFire { .. } => "stop",
        _ => "another",
    }
}

/// Says how each ask ended.
type Tally = std::cell::RefCell<BTreeMap<&'static str, u32>>;

fn play(asks: &[Ask], tally: &Tally) {
    let mut pair = Pair::new();
    for ask in asks {
        let ending = pair.ask(ask);
        *tally.borrow_mut().entry(ending).or_default() += 1;
        pair.assert_equal();
    }

    // What happened leads to the same account again, and so does what is kept of it.
    assert_eq!(account(&pair.history), pair.account);
    let kept = serde_json::to_string(&pair.account).unwrap();
    assert_eq!(serde_json::from_str::<Account>(&kept).unwrap(), pair.account);
    for event in &pair.history {
        let text = serde_json::to_string(event).unwrap();
        assert_eq!(&serde_json::from_str::<Event>(&text).unwrap(), event);
    }
}

#[test]
fn an_account_holds_what_a_plain_reckoning_says() {
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let tally = Tally::default();
    let sequences = (any::<bool>(), prop::collection::vec(ask(), 5..40));
    let run = runner.run(&sequences, |(netting, mut asks)| {
        asks.insert(0, Ask::SetMode { netting });
        asks.insert(1, Ask::Deposit { cents: 10_000_000 });
        play(&asks, &tally);
        Ok(())
    });
    run.unwrap_or_else(|error| panic!("{error}"));

    // Each way to end was gone often.
    let tally = tally.into_inner();
    for ending in [
        "nothing",
        "opened",
        "increased",
        "reduced",
        "closed",
        "flipped",
        "funded",
        "other",
        "withdrawal",
        "mode",
        "positions",
        "notional",
        "quantity",
        "leverage",
        "insufficient",
        "not netting",
        "nothing to reduce",
        "more",
        "unknown",
        "was closed",
        "stop",
        "shortfall",
    ] {
        assert!(tally.get(ending).is_some_and(|count| *count >= 10), "{ending}: {tally:?}");
    }
}

/// Returns a word for what happened.
fn ending(events: &[Event]) -> &'static str {
    match events {
        [] => "nothing",
        [Event::PositionClosed(_), Event::PositionOpened(_)] => "flipped",
        [Event::PositionReduced(exited) | Event::PositionClosed(exited)]
            if !exited.shortfall.is_zero() =>
        {
            "shortfall"
        }
        [Event::PositionOpened(_)] => "opened",
        [Event::PositionIncreased(_)] => "increased",
        [Event::PositionReduced(_)] => "reduced",
        [Event::PositionClosed(_)] => "closed",
        [Event::FundingApplied(_)] => "funded",
        _ => "other",
    }
}
