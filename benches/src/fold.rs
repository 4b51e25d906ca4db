//! Views from the log, and the least that the same answer could cost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use eventlog::embedded::{Embedded, Options};
use eventlog::files::Disk;
use eventlog::log::{EventLog, Expected};
use eventlog::stream::Log;
use projections::projector;
use projections::views::Views;
use rust_decimal::Decimal;

use crate::row::rate;
use crate::sample;

const BATCHES: usize = 2_000;
const TICKS: usize = BATCHES * 256;

/// Bytes of a tick in the bare file: id, two times, price, quantity, side, and two scales.
const TICK_BYTES: usize = 43;

pub struct Stored {
    folder: tempfile::TempDir,
    log: Embedded,
    bare: Vec<u8>,
}

impl Stored {
    pub async fn make() -> Result<Self> {
        let folder = sample::folder()?;
        let (log, _) =
            Embedded::open(Arc::new(Disk::open(folder.path())?), Log::Market, Options::default())?;
        let mut bare = Vec::with_capacity(TICKS * TICK_BYTES);
        for place in 0..BATCHES as u64 {
            log.append(sample::batch(&sample::stream(0), place * 256), Expected::Any).await?;
            for tick in (place * 256..(place + 1) * 256).map(sample::tick) {
                bare.extend(tick.trade_id.to_le_bytes());
                bare.extend(tick.traded_at.micros().to_le_bytes());
                bare.extend(tick.received_at.micros().to_le_bytes());
                bare.extend(tick.price.units().expect("a small price").to_le_bytes());
                bare.extend(tick.quantity.units().expect("a small quantity").to_le_bytes());
                bare.extend([tick.taker as u8, 2, 5]);
            }
        }
        Ok(Self { folder, log, bare })
    }

    /// All views, through the projector, from the first entry to the last.
    pub async fn rebuild(&self) -> Result<f64> {
        let start = Instant::now();
        let views = Views::new(Vec::new());
        projector::catch_up(Log::Market, &self.log, &views).await?;
        assert_eq!(views.prices().iter().count(), 1);
        Ok(rate(TICKS, start.elapsed()))
    }

    /// Fixed fields out of memory into candles of four intervals, in decimals, and nothing else:
    /// no checksum, no hash, no log, no rolling day, no revisions.
    pub fn bare_fold(&self) -> Result<f64> {
        let start = Instant::now();
        let mut candles: [BTreeMap<i64, Bare>; 4] = Default::default();
        for bytes in self.bare.chunks_exact(TICK_BYTES) {
            let number =
                |at: usize| i64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
            let price = Decimal::new(number(24), u32::from(bytes[41]));
            let quantity = Decimal::new(number(32), u32::from(bytes[42]));
            for (held, minutes) in candles.iter_mut().zip([1, 5, 60, 1_440]) {
                let bucket = number(8) / (minutes * 60_000_000);
                match held.last_entry() {
                    Some(mut last) if *last.key() == bucket => last.get_mut().take(price, quantity),
                    _ => drop(held.insert(bucket, Bare::of(price, quantity))),
                }
            }
        }
        std::hint::black_box(&candles);
        Ok(rate(TICKS, start.elapsed()))
    }

    /// What the log's entries take, without the zeros that are written ahead.
    pub fn bytes_a_tick(&self) -> Result<f64> {
        let mut bytes = 0;
        for file in std::fs::read_dir(self.folder.path())? {
            let content = std::fs::read(file?.path())?;
            bytes += content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        }
        Ok(bytes as f64 / TICKS as f64)
    }
}

struct Bare {
    _open: Decimal,
    high: Decimal,
    low: Decimal,
    close: Decimal,
    volume: Decimal,
    quote_volume: Decimal,
    trades: u64,
}

impl Bare {
    fn of(price: Decimal, quantity: Decimal) -> Self {
        Self {
            _open: price,
            high: price,
            low: price,
            close: price,
            volume: quantity,
            quote_volume: price * quantity,
            trades: 1,
        }
    }

    fn take(&mut self, price: Decimal, quantity: Decimal) {
        self.high = self.high.max(price);
        self.low = self.low.min(price);
        self.close = price;
        self.volume += quantity;
        self.quote_volume += price * quantity;
        self.trades += 1;
    }
}
