//! Ticks in a fixed little-endian layout: the same meaning as JSON in a fifth of the bytes.
//!
//! ```text
//! layout u8 = 1 · price scale u8 · quantity scale u8 · ticks u16
//! stream · version u64 · append id 16 · command id 16 · recorded_at i64
//! principal · role · via · correlation id · causation stream · causation version u64
//! previous hash 32 · first trade id u64 · first traded_at i64 · first received_at i64
//! then for each tick, 28 bytes:
//!   trade id i32 · traded_at i32 · received_at i32    differences from the tick before
//!   price i64 · quantity i64                          in steps of 10^-scale; a quantity below
//!                                                     zero says that the taker sold
//! ```
//! Texts are a length u16 and UTF-8; what is absent is empty or zero. Times are microseconds. An
//! entry that does not fit (other events, mixed scales, a difference past 32 bits) is written as
//! JSON instead, so nothing is ever rounded to fit.

use std::fmt::Display;

use domain::amount::{Price, Quantity};
use domain::event::Event;
use domain::market::event::MarketEvent;
use domain::tick::{Side, Tick};
use domain::time::Timestamp;
use uuid::Uuid;

use crate::entry::{Actor, Causation, Draft, ENTRY_EVENTS_MAX, Entry, Hash, Offset, Version};
use crate::header::{Header, Unreadable};
use crate::stream::Log;

const LAYOUT: u8 = 1;
const TICK_BYTES: usize = 28;

/// Returns the body of a draft that holds nothing but ticks, or `None` when it does not fit.
pub(crate) fn write(draft: &Draft, version: Version, prev_hash: Hash) -> Option<Vec<u8>> {
    let tick = |event: &Event| match event {
        Event::Market(MarketEvent::TickObserved(tick)) => Some(*tick),
        Event::Market(_)
        | Event::Candle(_)
        | Event::Account(_)
        | Event::Refusal(_)
        | Event::Key(_)
        | Event::Access(_) => None,
    };
    let first = tick(draft.events.first()?)?;
    let (price_scale, quantity_scale) =
        (first.price.value().scale(), first.quantity.value().scale());

    let mut out = Vec::with_capacity(320 + draft.events.len() * TICK_BYTES);
    out.extend([LAYOUT, u8::try_from(price_scale).ok()?, u8::try_from(quantity_scale).ok()?]);
    out.extend(u16::try_from(draft.events.len()).ok()?.to_le_bytes());
    write_text(&mut out, &draft.stream.to_string())?;
    out.extend(version.0.to_le_bytes());
    out.extend(draft.append_id.as_bytes());
    out.extend(draft.command_id.as_bytes());
    out.extend(draft.recorded_at.micros().to_le_bytes());
    for text in [&draft.actor.principal, &draft.actor.role, &draft.actor.via] {
        write_text(&mut out, text)?;
    }
    match draft.correlation_id.as_deref() {
        Some("") => return None,
        id => write_text(&mut out, id.unwrap_or_default())?,
    }
    let (cause, version_of_cause) = match &draft.causation {
        Some(Causation { stream, version }) => (stream.to_string(), version.0),
        None => (String::new(), 0),
    };
    write_text(&mut out, &cause)?;
    out.extend(version_of_cause.to_le_bytes());
    out.extend(prev_hash.0);
    out.extend(first.trade_id.to_le_bytes());
    out.extend(first.traded_at.micros().to_le_bytes());
    out.extend(first.received_at.micros().to_le_bytes());

    let mut before = first;
    for event in &draft.events {
        let tick = tick(event)?;
        if tick.price.value().scale() != price_scale
            || tick.quantity.value().scale() != quantity_scale
        {
            return None;
        }
        let ids = i32::try_from(i128::from(tick.trade_id) - i128::from(before.trade_id)).ok()?;
        let traded = i32::try_from(tick.traded_at.since(before.traded_at)).ok()?;
        let received = i32::try_from(tick.received_at.since(before.received_at)).ok()?;
        let quantity = tick.quantity.units()?;
        out.extend(ids.to_le_bytes());
        out.extend(traded.to_le_bytes());
        out.extend(received.to_le_bytes());
        out.extend(tick.price.units()?.to_le_bytes());
        out.extend(if tick.taker == Side::Sell { -quantity } else { quantity }.to_le_bytes());
        before = tick;
    }
    Some(out)
}

fn write_text(out: &mut Vec<u8>, text: &str) -> Option<()> {
    out.extend(u16::try_from(text.len()).ok()?.to_le_bytes());
    out.extend(text.as_bytes());
    Some(())
}

pub(crate) fn header(bytes: &[u8]) -> Result<Header, Unreadable> {
    Front::read(&mut Bytes(bytes)).map(|front| front.header)
}

pub(crate) fn read(log: Log, offset: Offset, bytes: &[u8]) -> Result<Entry, Unreadable> {
    let mut rest = Bytes(bytes);
    let front = Front::read(&mut rest)?;
    if rest.0.len() != usize::from(front.ticks) * TICK_BYTES {
        return Err(Unreadable(format!("{} bytes for {} ticks", rest.0.len(), front.ticks)));
    }
    let mut events = Vec::with_capacity(usize::from(front.ticks));
    let (mut trade_id, mut traded_at, mut received_at) = front.first;
    for _ in 0..front.ticks {
        let ids = i32::from_le_bytes(rest.array()?);
        trade_id = trade_id
            .checked_add_signed(i64::from(ids))
            .ok_or_else(|| Unreadable("a trade id outside its range".to_owned()))?;
        traded_at = traded_at.plus(i64::from(i32::from_le_bytes(rest.array()?)));
        received_at = received_at.plus(i64::from(i32::from_le_bytes(rest.array()?)));
        let price = i64::from_le_bytes(rest.array()?);
        let quantity = i64::from_le_bytes(rest.array()?);
        let taker = if quantity < 0 { Side::Sell } else { Side::Buy };
        events.push(Event::Market(MarketEvent::TickObserved(Tick {
            trade_id,
            price: Price::of_units(price, front.price_scale).map_err(unreadable)?,
            quantity: Quantity::of_units(quantity.saturating_abs(), front.quantity_scale)
                .map_err(unreadable)?,
            taker,
            traded_at,
            received_at,
        })));
    }
    Ok(Entry {
        log,
        offset,
        stream: front.header.stream,
        version: front.header.version,
        append_id: front.header.append_id,
        command_id: front.header.command_id,
        recorded_at: front.header.recorded_at,
        actor: front.actor,
        correlation_id: front.correlation_id,
        causation: front.causation,
        prev_hash: front.header.prev_hash,
        hash: Hash::of(bytes),
        events,
    })
}

/// All that stands before the ticks.
struct Front {
    header: Header,
    actor: Actor,
    correlation_id: Option<String>,
    causation: Option<Causation>,
    price_scale: u32,
    quantity_scale: u32,
    ticks: u16,
    first: (u64, Timestamp, Timestamp),
}

impl Front {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, Unreadable> {
        let [layout, price_scale, quantity_scale] = bytes.array()?;
        if layout != LAYOUT {
            return Err(Unreadable(format!("this version knows no tick layout {layout}")));
        }
        let ticks = u16::from_le_bytes(bytes.array()?);
        if ticks == 0 || usize::from(ticks) > ENTRY_EVENTS_MAX {
            return Err(Unreadable(format!("a batch of {ticks} ticks")));
        }
        let stream = bytes.text()?.parse().map_err(unreadable)?;
        let version = Version(u64::from_le_bytes(bytes.array()?));
        let append_id = Uuid::from_bytes(bytes.array()?);
        let command_id = Uuid::from_bytes(bytes.array()?);
        let recorded_at = bytes.timestamp()?;
        let actor = Actor {
            principal: bytes.text()?.to_owned(),
            role: bytes.text()?.to_owned(),
            via: bytes.text()?.to_owned(),
        };
        let correlation_id = Some(bytes.text()?.to_owned()).filter(|id| !id.is_empty());
        let (cause, cause_version) = (bytes.text()?, u64::from_le_bytes(bytes.array()?));
        let causation = match cause {
            "" => None,
            stream => Some(Causation {
                stream: stream.parse().map_err(unreadable)?,
                version: Version(cause_version),
            }),
        };
        let prev_hash = Hash(bytes.array()?);
        let first = (u64::from_le_bytes(bytes.array()?), bytes.timestamp()?, bytes.timestamp()?);
        Ok(Self {
            header: Header { stream, version, append_id, command_id, recorded_at, prev_hash },
            actor,
            correlation_id,
            causation,
            price_scale: u32::from(price_scale),
            quantity_scale: u32::from(quantity_scale),
            ticks,
            first,
        })
    }
}

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or_else(|| Unreadable("a tick batch that ends early".to_owned()))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (taken, rest) = self
            .0
            .split_first_chunk()
            .ok_or_else(|| Unreadable("a tick batch that ends early".to_owned()))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn text(&mut self) -> Result<&'a str, Unreadable> {
        let length = usize::from(u16::from_le_bytes(self.array()?));
        std::str::from_utf8(self.take(length)?).map_err(unreadable)
    }

    fn timestamp(&mut self) -> Result<Timestamp, Unreadable> {
        Ok(Timestamp::from_micros(i64::from_le_bytes(self.array()?)))
    }
}

fn unreadable(error: impl Display) -> Unreadable {
    Unreadable(error.to_string())
}
