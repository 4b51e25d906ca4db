//! The engine's figures, each beside its yardstick in the same run: rounds alternate, and what is
//! printed are medians. Absolute rates belong to the machine; the ratios carry over.
//!
//! `cargo run --release --manifest-path benches/Cargo.toml [-- [FLAGS] RECORDING…]`:
//! with recordings of Binance's BTCUSDT frames the feed row plays those, else the small one that the
//! project carries. `--check` fails when a ratio misses what it is to reach by a factor of three:
//! machines are noisy, and a real loss is larger. `--only=logs`, `--only=nats`, `--only=starts`,
//! `--only=sockets`, `--only=trading` and `--only=door` measure a part. `--ticks=N` says how many ticks stand in sealed segments when starts are measured.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};

use crate::row::{Goal, Row};

mod row;

mod append;
mod fold;
mod replay;

mod brokers;

mod restart;

mod sockets;

mod client;
mod gate;

mod door;
mod trading;

mod sample;

/// Ticks in sealed segments, where nobody says otherwise.
const TICKS: u64 = 5_000_000;

/// Bytes that a tick may take on disk.
const BYTES_A_TICK_MAX: f64 = 60.0;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // The servers of the socket rows are this program, in a process of their own.
    if let Some(kind) = words.first().and_then(|word| word.strip_prefix("serve-")) {
        return sockets::serve::run(kind);
    }
    let (flags, recordings): (Vec<_>, Vec<_>) =
        words.into_iter().partition(|word| word.starts_with("--"));
    let (mut check, mut only, mut ticks) = (false, None, TICKS);
    for flag in flags {
        match flag.split_once('=') {
            None if flag == "--check" => check = true,
            Some((
                "--only",
                part @ ("logs" | "nats" | "starts" | "sockets" | "trading" | "door"),
            )) => only = Some(part.to_owned()),
            Some(("--ticks", number)) => ticks = number.parse()?,
            _ => bail!(
                "{flag} is none of: --check, --only=logs|nats|starts|sockets|trading|door, --ticks=N"
            ),
        }
    }
    let wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    let mut recordings: Vec<PathBuf> = recordings.into_iter().map(PathBuf::from).collect();
    if recordings.is_empty() {
        recordings.push(sample::small_recording());
    }

    let (mut good, mut notes) = (true, Vec::new());
    let runtime = tokio::runtime::Runtime::new()?;
    if ["logs", "nats", "sockets", "trading", "door"].into_iter().any(wanted) {
        println!("| path | yardstick | ours | yardstick | ratio | to reach | |");
        println!("|---|---|--:|--:|--:|--:|---|");
    }
    if wanted("logs") {
        good &= runtime.block_on(log_rows(&recordings, &mut notes))?;
    }
    if wanted("nats") {
        good &= runtime.block_on(brokers::rows(&mut notes))?;
    }
    if wanted("sockets") {
        good &= sockets::rows(&mut notes)?;
    }
    if wanted("trading") {
        good &= runtime.block_on(trading_row())?;
    }
    // Last: from here on this process logs.
    if wanted("door") {
        good &= runtime.block_on(door_row())?;
    }
    println!();
    for note in notes {
        println!("{note}");
    }
    if wanted("starts") {
        println!();
        good &= runtime.block_on(restart::print(ticks))?;
    }
    ensure!(!check || good, "a figure is far from what it is to reach");
    Ok(())
}

/// Prints the row of what is asked of accounts; false when it is far off.
async fn trading_row() -> Result<bool> {
    // Both sides take turns on one house: neither borrows it while the other does.
    let house = tokio::sync::Mutex::new(trading::House::open().await?);
    let row = Row::measure(
        "position commands over HTTP, 64 connections on one account, answered after fdatasync",
        "GET /livez of the same server to the same clients",
        "requests/s",
        Goal::AtLeast(0.03),
        async || house.lock().await.commands().await,
        async || house.lock().await.hellos().await,
    )
    .await?;
    Ok(row.print())
}

/// Prints the row of the door itself; false when it is far off.
async fn door_row() -> Result<bool> {
    let doors = door::Doors::open().await?;
    let row = Row::measure(
        "GET price through the whole door: token, limits, ids, headers, a line in the log",
        "poem-openapi hello of the same server to the same clients",
        "requests/s",
        Goal::AtLeast(0.5),
        async || doors.prices().await,
        async || doors.hellos().await,
    )
    .await?;
    Ok(row.print())
}

/// Prints the rows of what goes into the log and comes out of it; false when one is far off.
async fn log_rows(recordings: &[PathBuf], notes: &mut Vec<String>) -> Result<bool> {
    let mut good = true;
    good &= Row::measure(
        "embedded append, 64 appenders, 400 B, answered after fdatasync",
        "bare group commit: write and fdatasync, no index, no checks",
        "entries/s",
        Goal::AtLeast(0.75),
        append::ours_entries,
        append::bare_entries,
    )
    .await?
    .print();
    good &= Row::measure(
        "the same",
        "the embedded store tephra 0.4, guarded by its own query",
        "entries/s",
        Goal::AtLeast(1.5),
        append::ours_entries,
        append::tephra_entries,
    )
    .await?
    .print();
    good &= Row::measure(
        "durable tick batches of 256, 8 streams",
        "bare file: the same bytes, a write and an fdatasync for each 8 batches",
        "ticks/s",
        Goal::AtLeast(0.5),
        append::ours_batches,
        append::bare_batches,
    )
    .await?
    .print();
    let frames = replay::Frames::read(recordings)?;
    good &= Row::measure(
        "feed to log: recorded frames to durable ticks, books spliced and recorded whole",
        "decode alone",
        "frames/s",
        Goal::AtLeast(0.4),
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
        Goal::AtLeast(0.4),
        async || stored.rebuild().await,
        async || stored.bare_fold(),
    )
    .await?
    .print();
    let bytes = stored.bytes_a_tick()?;
    notes.push(format!(
        "bytes a tick on disk: {bytes:.1} in full batches (to reach: {BYTES_A_TICK_MAX} at the most)"
    ));
    Ok(good & (bytes <= BYTES_A_TICK_MAX))
}
