//! A recording that makes a log grow fast: a book in which every level changes at every step, and a
//! few trades in between.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use crate::faults::Lots;

const TRADES_EACH_STEP: u64 = 3;
const TRADE_FIRST: u64 = 7_000_000_001;

/// 2024-03-21T09:30:00Z.
const BEGAN_MS: u64 = 1_711_013_400_000;

/// What is to be recorded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) steps: u64,
    /// Time of the venue's from step to step.
    pub(super) step_ms: u64,
    /// Levels on each side of the book.
    pub(super) levels: u64,
}

pub(super) struct Fat {
    file: PathBuf,
    trades: u64,
}

impl Fat {
    pub(super) fn record(folder: &Path, lots: &mut Lots, shape: Shape) -> Self {
        let Shape { steps, step_ms, levels } = shape;
        let file = folder.join("fat.rec");
        let mut out = BufWriter::new(File::create(&file).expect("a new file"));
        let mut line = |at: u64, frame: &str| {
            writeln!(out, "{at}000000 {frame}").expect("room for a recording");
        };
        let (bids, asks) = (side(lots, levels, false), side(lots, levels, true));
        line(BEGAN_MS, &format!(r#"{{"lastUpdateId":1,"bids":{bids},"asks":{asks}}}"#));
        let mut trade_id = TRADE_FIRST;
        for step in 1..=steps {
            let at = BEGAN_MS + step * step_ms;
            for _ in 0..TRADES_EACH_STEP {
                let (cents, lot) = (lots.below(100), 1 + lots.below(99_999));
                line(
                    at,
                    &format!(
                        r#"{{"stream":"btcusdt@trade","data":{{"e":"trade","E":{at},"s":"BTCUSDT","t":{trade_id},"p":"50000.{cents:02}000000","q":"0.{lot:05}000","T":{at},"m":{},"M":true}}}}"#,
                        cents % 2 == 0
                    ),
                );
                trade_id += 1;
            }
            let (bids, asks, id) = (side(lots, levels, false), side(lots, levels, true), step + 1);
            line(
                at,
                &format!(
                    r#"{{"stream":"btcusdt@depth@100ms","data":{{"e":"depthUpdate","E":{at},"s":"BTCUSDT","U":{id},"u":{id},"b":{bids},"a":{asks}}}}}"#
                ),
            );
        }
        out.flush().expect("room for a recording");
        Self { file, trades: steps * TRADES_EACH_STEP }
    }

    /// Returns the feed that plays it: as fast as it is taken (`max`), or so many times as fast as
    /// the venue.
    pub(super) fn feed(&self, speed: &str) -> String {
        let file = self.file.display();
        format!("recording:{file}?venue=binance&symbol=BTC-USDT&speed={speed}")
    }

    /// Returns the ids of all its trades, in their order.
    pub(super) fn trade_ids(&self) -> Vec<u64> {
        (TRADE_FIRST..TRADE_FIRST + self.trades).collect()
    }
}

/// Returns one side of the book in a venue's words: always the same prices, never the same
/// quantities.
fn side(lots: &mut Lots, levels: u64, asks: bool) -> String {
    let mut text = String::new();
    for level in 0..levels {
        let cents = if asks { 5_000_100 + level } else { 4_999_999 - level };
        let (whole, part) = (cents / 100, cents % 100);
        let quantity = 1 + lots.below(99_999_998);
        let comma = if level == 0 { '[' } else { ',' };
        write!(text, r#"{comma}["{whole}.{part:02}000000","7.{quantity:08}"]"#).expect("text");
    }
    text.push(']');
    text
}
