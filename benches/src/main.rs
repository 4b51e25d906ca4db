//! The engine's figures, each beside its yardstick in the same run: rounds alternate, and what is
//! printed are medians. Absolute rates belong to the machine; the ratios carry over.
//!
//! `cargo run --release --manifest-path benches/Cargo.toml [-- [--check] RECORDING…]`: with
//! recordings of Binance's BTCUSDT frames the feed row plays those, else the small one that the
//! project carries. `--check` fails when a ratio is below a third of what it is to reach: machines
//! are noisy, and a real loss is larger.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};

mod append;
mod fold;
mod replay;
mod sample;

/// Rounds of each row; an odd number has a median of its own.
const ROUNDS: usize = 9;

/// Bytes that a tick may take on disk.
const BYTES_A_TICK_MAX: f64 = 60.0;

/// How far below its goal a ratio may fall before `--check` fails.
const SLACK: f64 = 3.0;

/// One row: what is measured, its yardstick, and what the ratio is to reach.
struct Row {
    path: &'static str,
    yardstick: &'static str,
    unit: &'static str,
    reach: f64,
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

impl Row {
    /// Runs both sides in turn. Each returns how much it did per second.
    async fn measure(
        path: &'static str,
        yardstick: &'static str,
        unit: &'static str,
        reach: f64,
        mut ours: impl AsyncFnMut() -> Result<f64>,
        mut theirs: impl AsyncFnMut() -> Result<f64>,
    ) -> Result<Self> {
        let mut row = Self { path, yardstick, unit, reach, ours: vec![], theirs: vec![] };
        // A round that is not counted warms caches and files.
        ours().await?;
        theirs().await?;
        for _ in 0..ROUNDS {
            row.ours.push(ours().await?);
            row.theirs.push(theirs().await?);
        }
        Ok(row)
    }

    /// Prints the row; false when the ratio is far below what it is to reach.
    fn print(mut self) -> bool {
        let (ours, theirs) = (median(&mut self.ours), median(&mut self.theirs));
        let ratio = ours / theirs;
        let word = if ratio >= self.reach { "reached" } else { "MISSED" };
        println!(
            "| {} | {} | {ours:.0} {} | {theirs:.0} | {ratio:.2} | {:.2} | {word} |",
            self.path, self.yardstick, self.unit, self.reach
        );
        ratio * SLACK >= self.reach
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Returns how much was done per second.
fn rate(done: usize, took: Duration) -> f64 {
    done as f64 / took.as_secs_f64()
}

#[tokio::main]
async fn main() -> Result<()> {
    let (flags, recordings): (Vec<PathBuf>, Vec<PathBuf>) = std::env::args_os()
        .skip(1)
        .map(PathBuf::from)
        .partition(|word| word.as_os_str() == "--check");
    let recordings =
        if recordings.is_empty() { vec![sample::small_recording()] } else { recordings };
    let mut good = true;

    println!("| path | yardstick | ours | yardstick | ratio | to reach | |");
    println!("|---|---|--:|--:|--:|--:|---|");
    good &= Row::measure(
        "embedded append, 64 appenders, 400 B, answered after fdatasync",
        "bare group commit: write and fdatasync, no index, no checks",
        "entries/s",
        0.75,
        append::ours_entries,
        append::bare_entries,
    )
    .await?
    .print();
    good &= Row::measure(
        "the same",
        "the embedded store tephra 0.4, guarded by its own query",
        "entries/s",
        1.5,
        append::ours_entries,
        append::tephra_entries,
    )
    .await?
    .print();
    good &= Row::measure(
        "durable tick batches of 256, 8 streams",
        "bare file: the same bytes, a write and an fdatasync for each 8 batches",
        "ticks/s",
        0.5,
        append::ours_batches,
        append::bare_batches,
    )
    .await?
    .print();
    let frames = replay::Frames::read(&recordings)?;
    good &= Row::measure(
        "feed to log: recorded frames to durable ticks",
        "decode alone",
        "frames/s",
        0.4,
        async || replay::to_log(&frames).await,
        async || replay::decode_alone(&frames),
    )
    .await?
    .print();
    let stored = fold::Stored::make().await?;
    good &= Row::measure(
        "rebuild of all market views from the log",
        "bare decode and candle fold of the same ticks",
        "ticks/s",
        0.4,
        async || stored.rebuild().await,
        async || stored.bare_fold(),
    )
    .await?
    .print();
    let bytes = stored.bytes_a_tick()?;
    println!(
        "\nbytes a tick on disk: {bytes:.1} in full batches (to reach: {BYTES_A_TICK_MAX} at the most)"
    );
    good &= bytes <= BYTES_A_TICK_MAX;
    ensure!(flags.is_empty() || good, "a figure is far from what it is to reach");
    Ok(())
}
