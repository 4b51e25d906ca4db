//! From recorded frames to durable ticks, and decoding alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use commands::clock::Clock;
use commands::feed_status::FeedStatus;
use commands::intake::{BookRecording, Intake, Options as IntakeOptions, QUEUE_TICKS_MAX};
use domain::book::Session;
use domain::instrument::Venue;
use domain::observation::Pace;
use domain::time::Timestamp;
use eventlog::embedded::{Embedded, Options};
use eventlog::files::Disk;
use eventlog::memory::Memory;
use eventlog::stream::Log;
use feeds::counts::Counts;
use feeds::feed::{Addresses, Resume, Surroundings};
use feeds::recording::lines::Lines;
use feeds::spec::FeedSpec;
use feeds::venues;
use projections::store::Store;
use tokio::sync::mpsc;

use crate::row::rate;
use crate::sample;

/// Frames that are played at least: a short recording is repeated, its trades under new ids, or a
/// start and one fsync would be all that is measured.
const FRAMES_MIN: usize = 50_000;

pub struct Frames {
    files: Vec<PathBuf>,
    /// The same files, unpacked, so that both sides read plain text.
    _unpacked: tempfile::TempDir,
    lines: usize,
}

struct Midnight;

impl Clock for Midnight {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(0)
    }
}

impl Frames {
    pub fn read(recordings: &[PathBuf]) -> Result<Self> {
        let unpacked = sample::folder()?;
        let (mut files, mut lines, mut trades) = (Vec::new(), 0, 0);
        while lines < FRAMES_MIN {
            let before = trades;
            for recording in recordings {
                let mut text = String::new();
                let mut read = Lines::open(vec![recording.clone()])?;
                while let Some(line) = read.read()? {
                    let Some((at, frame)) = line.parts() else { continue };
                    let frame = std::str::from_utf8(frame)?;
                    let frame = match renumbered(frame, before) {
                        Some(frame) => {
                            trades += 1;
                            frame
                        }
                        None => frame.to_owned(),
                    };
                    text.push_str(&format!("{}000 {frame}\n", at.micros()));
                    lines += 1;
                }
                let file = unpacked.path().join(format!("{}.rec", files.len()));
                std::fs::write(&file, text)?;
                files.push(file);
            }
        }
        Ok(Self { files, _unpacked: unpacked, lines })
    }
}

/// Returns a trade's frame with its id moved on; `None` when the frame is no trade.
fn renumbered(frame: &str, by: u64) -> Option<String> {
    let (head, rest) = frame.split_once(r#""t":"#)?;
    let (id, tail) = rest.split_once(',')?;
    let id: u64 = id.parse().ok()?;
    Some(format!(r#"{head}"t":{},{tail}"#, id + by))
}

pub async fn to_log(frames: &Frames) -> Result<f64> {
    let folder = sample::folder()?;
    let (log, _) =
        Embedded::open(Arc::new(Disk::open(folder.path())?), Log::Market, Options::default())?;
    let names: Vec<String> = frames.files.iter().map(|file| name(file)).collect();
    let spec = format!("recording:{}?venue=binance&symbol=BTC-USDT&speed=max", names.join(","));
    let spec: FeedSpec = spec.parse()?;
    let status = Arc::new(FeedStatus::new(spec.venue(), spec.instruments(), Pace::Recorded));
    let (sender, queue) = mpsc::channel(QUEUE_TICKS_MAX);
    let surroundings = Surroundings {
        now: Arc::new(|| Timestamp::from_micros(0)),
        addresses: Addresses::default(),
        resume: Resume::default(),
        seed: 1,
    };
    // A recording tells no candles, so nothing goes into the ledger.
    let ledger = Arc::new(Memory::new(Log::Ledger));
    let (store, _) = Store::open(&folder.path().join("read.db")).await?;
    let keep = Arc::new(store);
    let options = IntakeOptions { session: Session(1), books: BookRecording::All };

    let start = Instant::now();
    let feed =
        tokio::spawn(feeds::feed::run(spec, surroundings, sender, Arc::new(Counts::default())));
    let intake = Intake::new(Arc::new(log), ledger, keep, Arc::new(Midnight), status, options);
    let intake = tokio::spawn(intake.run(queue));
    feed.await??;
    intake.await??;
    Ok(rate(frames.lines, start.elapsed()))
}

pub fn decode_alone(frames: &Frames) -> Result<f64> {
    let venue: Venue = "binance".parse()?;
    let decoder = venues::decoder(&venue, &["BTC-USDT".parse()?]).expect("binance has a decoder");
    let start = Instant::now();
    let mut lines = Lines::open(frames.files.clone())?;
    while let Some(line) = lines.read()? {
        let Some((at, frame)) = line.parts() else { continue };
        std::hint::black_box(decoder.decode(frame, at)?);
    }
    Ok(rate(frames.lines, start.elapsed()))
}

fn name(file: &Path) -> String {
    file.display().to_string()
}
