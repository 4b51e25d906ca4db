//! Starts: how long it takes to open a log with its past, and to be ready from a snapshot; and what
//! memory a stored event costs.
//!
//! These have no yardstick beside them: what is to be reached is told in milliseconds and bytes.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use domain::event::Event;
use domain::market::event::MarketEvent;
use domain::time::{DAY, Timestamp};
use eventlog::embedded::{Embedded, Options};
use eventlog::entry::Draft;
use eventlog::files::Disk;
use eventlog::log::{EventLog, Expected};
use eventlog::stream::Log;
use projections::projector;
use projections::store::Store;
use projections::views::Views;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::row::{SLACK, median};
use crate::sample;

/// Starts of each kind; the median is told.
const ROUNDS: usize = 5;

const STREAMS: usize = 8;
const BATCH: u64 = 256;
const MILLION: u64 = 1_000_000;

/// What a start may take: with a million ticks in the open segment, with any number in sealed ones,
/// and until the views are ready by way of a snapshot.
const OPEN_SEGMENT_MS_MAX: f64 = 300.0;
const SEALED_MS_MAX: f64 = 1_000.0;
const READY_MS_MAX: f64 = 1_000.0;

/// What opening ten times the ticks may cost for each of them, beside opening the fewer.
const COST_MAX: f64 = 1.2;

/// Prints the figures of starts, the last with so many ticks in sealed segments; false when one is
/// far off.
pub async fn print(ticks: u64) -> Result<bool> {
    println!("| start | ours | to reach | |");
    println!("|---|--:|--:|---|");
    let mut good = true;
    let opened = Stored::make(MILLION).await?;
    ensure!(opened.segments()? == 1, "a million ticks fit into one segment");
    good &= tell("1 M ticks in the open segment", opened.open_ms()?, OPEN_SEGMENT_MS_MAX, "ms");
    drop(opened);

    let fewer = Stored::make(ticks / 10).await?;
    let fewer_ms = fewer.open_ms()?;
    drop(fewer);
    let stored = Stored::make(ticks).await?;
    let (sealed_ms, segments) = (stored.open_ms()?, stored.segments()? - 1);
    let millions = ticks as f64 / MILLION as f64;
    let what = format!("{millions} M ticks, {segments} sealed segments");
    good &= tell(&what, sealed_ms, SEALED_MS_MAX, "ms");
    let cost = sealed_ms / fewer_ms / 10.0;
    good &= tell("the same, for each tick, beside a tenth of them", cost, COST_MAX, "times");
    let ready_ms = stored.ready_ms().await?;
    good &=
        tell("the same, until the views are ready from a snapshot", ready_ms, READY_MS_MAX, "ms");
    let (log, _) = stored.open()?;
    println!();
    println!(
        "memory of the log's index: {:.2} bytes a tick, {:.1} an entry",
        log.memory_bytes() as f64 / ticks as f64,
        log.memory_bytes() as f64 / (ticks / BATCH) as f64
    );
    Ok(good)
}

fn tell(what: &str, value: f64, most: f64, unit: &str) -> bool {
    let word = if value <= most { "reached" } else { "MISSED" };
    println!("| {what} | {value:.2} {unit} | ≤ {most} | {word} |");
    value <= most * SLACK
}

/// The time that the market log covers: what is kept by default.
const WEEK: i64 = 7 * DAY;

/// Returns the draft with its ticks so many microseconds apart.
fn within_a_week(mut draft: Draft, pace: i64) -> Draft {
    for event in &mut draft.events {
        if let Event::Market(MarketEvent::TickObserved(tick)) = event {
            let place = i64::try_from(tick.trade_id).expect("a small id");
            tick.traded_at = Timestamp::from_micros(1_711_013_400_000_000 + place * pace);
            tick.received_at = tick.traded_at.plus(40_000);
        }
    }
    draft
}

/// A market log with so many ticks, in batches, of several streams.
struct Stored {
    folder: TempDir,
}

impl Stored {
    async fn make(ticks: u64) -> Result<Self> {
        let stored = Self { folder: sample::folder()? };
        let log = Arc::new(stored.open()?.0);
        let batches = ticks.div_ceil(BATCH) / STREAMS as u64;
        let pace = WEEK / i64::try_from(ticks)?;
        let mut writing = JoinSet::new();
        for number in 0..STREAMS {
            let (log, stream) = (log.clone(), sample::stream(number));
            writing.spawn(async move {
                let mut expected = Expected::Empty;
                for batch in 0..batches {
                    // Ids of their own: the log remembers them for all streams.
                    let first = (batch * STREAMS as u64 + number as u64) * BATCH;
                    let draft = within_a_week(sample::batch(&stream, first), pace);
                    let appended = log.append(draft, expected).await;
                    expected = Expected::At(appended.expect("an append").version);
                }
            });
        }
        writing.join_all().await;
        Ok(stored)
    }

    fn log_folder(&self) -> std::path::PathBuf {
        self.folder.path().join("market")
    }

    fn open(&self) -> Result<(Embedded, Duration)> {
        let start = Instant::now();
        let files = Arc::new(Disk::open(self.log_folder())?);
        let (log, _) = Embedded::open(files, Log::Market, Options::default())?;
        Ok((log, start.elapsed()))
    }

    fn open_ms(&self) -> Result<f64> {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            rounds.push(self.open()?.1.as_secs_f64() * 1e3);
        }
        Ok(median(&mut rounds))
    }

    fn segments(&self) -> Result<usize> {
        let is_segment = |path: &Path| path.extension().is_some_and(|kind| kind == "log");
        let files = std::fs::read_dir(self.log_folder())?;
        Ok(files.filter(|file| file.as_ref().is_ok_and(|file| is_segment(&file.path()))).count())
    }

    /// Returns the milliseconds from nothing to views that show all, with a snapshot of them there.
    async fn ready_ms(&self) -> Result<f64> {
        let (ledger_folder, store) =
            (self.folder.path().join("ledger"), self.folder.path().join("read.db"));
        let mut rounds = Vec::new();
        // The first makes the snapshot.
        for round in 0..=ROUNDS {
            let start = Instant::now();
            let files = Arc::new(Disk::open(&ledger_folder)?);
            let (ledger, _) = Embedded::open(files, Log::Ledger, Options::default())?;
            let (market, _) = self.open()?;
            let (store, _) = Store::open(&store).await?;
            let views = Views::new(Vec::new());
            store.load(&views, &ledger, &market).await?;
            projector::catch_up(Log::Market, &market, &views).await?;
            if round == 0 {
                store.snapshot(&views, Timestamp::from_micros(0)).await?;
            } else {
                rounds.push(start.elapsed().as_secs_f64() * 1e3);
            }
        }
        Ok(median(&mut rounds))
    }
}
