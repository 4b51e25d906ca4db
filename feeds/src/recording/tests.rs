//! Recordings played whole, broken, paced, and to nobody.

use std::fs;
use std::io::Write;
use std::path::Path;

use domain::observation::Heard;
use expect_test::{Expect, expect};
use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::tempdir;
use tokio::sync::mpsc;

use super::*;
use crate::binance::{Binance, Market};
use crate::samples::{sample, shared_data, show};

fn recording(files: &[&Path], speed: Speed) -> Recording {
    Recording {
        files: files.iter().map(|file| file.to_path_buf()).collect(),
        venue: "binance".parse().unwrap(),
        instruments: vec!["BTC-USDT".parse().unwrap()],
        speed,
    }
}

fn times(speed: u32) -> Speed {
    Speed::Times(NonZeroU32::new(speed).unwrap())
}

struct Played {
    heard: Vec<Observation>,
    counts: Arc<Counts>,
    end: Result<(), RecordingError>,
}

/// Plays to the end, with a queue so small that it is always full.
async fn played(recording: Recording) -> Played {
    let counts = Arc::new(Counts::default());
    let venue = Arc::new(Binance::new(Market::Spot, &recording.instruments));
    let (out, mut queue) = mpsc::channel(1);
    let playing = play(recording, venue, out, Arc::clone(&counts));
    let hearing = async {
        let mut heard = Vec::new();
        while let Some(observation) = queue.recv().await {
            heard.push(observation);
        }
        heard
    };
    let (end, heard) = tokio::join!(playing, hearing);
    Played { heard, counts, end }
}

fn trade(id: u64, at_ms: u64) -> String {
    format!(
        r#"{at_ms}000000 {{"e":"trade","E":{at_ms},"s":"BTCUSDT","t":{id},"p":"65000.10","q":"0.5","T":{at_ms},"m":true}}"#
    ) + "\n"
}

fn gzip(text: &str) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    gzip.finish().unwrap()
}

/// Plays one file of this name and content, and shows what was heard, the counts, and the end.
async fn check(name: &str, bytes: &[u8], expected: Expect) {
    let folder = tempdir().unwrap();
    let file = folder.path().join(name);
    fs::write(&file, bytes).unwrap();
    let played = played(recording(&[&file], Speed::Max)).await;
    let heard: String = played.heard.iter().map(|observation| show(observation) + "\n").collect();
    let counts = &played.counts;
    let end = match played.end {
        Ok(()) => "ended".to_owned(),
        Err(error) => error.to_string().replace(&*folder.path().to_string_lossy(), "FOLDER"),
    };
    expected.assert_eq(&format!(
        "{heard}{} frames, {} ticks, {} ignored, {} malformed: {end}\n",
        counts.frames(),
        counts.ticks(),
        counts.ignored(),
        counts.malformed(),
    ));
}

#[tokio::test]
async fn a_malformed_line_is_counted_and_the_replay_goes_on() {
    let text = trade(1, 1_711_013_400_000)
        + "no time\n\n"
        + "1711013400000000000 {\"e\":\n"
        + "-5 {}\n"
        + "99999999999999999999 {}\n"
        + "1711013400000000000 {\"e\":\"kline\"}\n"
        + trade(2, 1_711_013_400_001).trim_end();

    check("a.rec", text.as_bytes(), expect![[r"
        tick BTC-USDT #1 Sell 0.5 at 65000.10, traded 2024-03-21T09:30:00.000Z, told 2024-03-21T09:30:00.000Z
        tick BTC-USDT #2 Sell 0.5 at 65000.10, traded 2024-03-21T09:30:00.001Z, told 2024-03-21T09:30:00.001Z
        8 frames, 2 ticks, 2 ignored, 4 malformed: ended
    "]]).await;
    check("a.rec.gz", &gzip(&text), expect![[r"
        tick BTC-USDT #1 Sell 0.5 at 65000.10, traded 2024-03-21T09:30:00.000Z, told 2024-03-21T09:30:00.000Z
        tick BTC-USDT #2 Sell 0.5 at 65000.10, traded 2024-03-21T09:30:00.001Z, told 2024-03-21T09:30:00.001Z
        8 frames, 2 ticks, 2 ignored, 4 malformed: ended
    "]]).await;
}

#[tokio::test]
async fn a_broken_file_ends_the_feed_with_its_name_and_line() {
    let text: String = (1..=2_000).map(|id| trade(id, 1_711_013_400_000 + id)).collect();
    let whole = gzip(&text);
    let folder = tempdir().unwrap();
    let file = folder.path().join("cut.rec.gz");
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();

    let played = played(recording(&[&file], Speed::Max)).await;

    let Err(RecordingError::Unreadable { file: named, line, .. }) = played.end else {
        panic!("{:?}", played.end)
    };
    assert_eq!(named, file);
    // All lines before it were played.
    assert_eq!((line, played.counts.ticks()), (played.heard.len() as u64 + 1, line - 1));
    assert!((500..2_000).contains(&line));
}

#[tokio::test]
async fn a_missing_file_is_told_before_anything_is_played() {
    let present = sample("simulated_btcusdt.rec");

    let played = played(recording(&[&present, Path::new("missing.rec")], Speed::Max)).await;

    assert_eq!(played.end.unwrap_err().to_string(), "cannot open missing.rec");
    assert_eq!(played.heard, []);
}

#[tokio::test]
async fn several_files_are_one_recording() {
    let folder = tempdir().unwrap();
    let (first, second) = (folder.path().join("1.rec"), folder.path().join("2.rec.gz"));
    fs::write(&first, trade(1, 1_711_013_400_000)).unwrap();
    fs::write(&second, gzip(&(trade(2, 1_711_013_400_100) + &trade(3, 1_711_013_400_200))))
        .unwrap();

    let played = played(recording(&[&first, &second], Speed::Max)).await;

    assert!(played.end.is_ok());
    assert_eq!(played.counts.ticks(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_distances_of_receive_times_are_kept_and_divided_by_the_speed() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("a.rec");
    let text =
        trade(1, 1_711_013_400_000) + &trade(2, 1_711_013_402_000) + &trade(3, 1_711_013_430_000);
    fs::write(&file, text).unwrap();

    for (speed, seconds) in [(times(1), 30.0), (times(10), 3.0), (Speed::Max, 0.0)] {
        let began = Instant::now();
        let played = played(recording(&[&file], speed)).await;

        assert_eq!(played.counts.ticks(), 3);
        // The timer's own grain is a millisecond.
        assert!((began.elapsed().as_secs_f64() - seconds).abs() < 0.01, "{speed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_recording_is_paced_past_its_first_batch() {
    let sample = sample("simulated_btcusdt.rec");
    let folder = tempdir().unwrap();
    let file = folder.path().join("long.rec");
    fs::write(&file, (0..10_000).map(|id| trade(id, 1_711_013_400_000 + id)).collect::<String>())
        .unwrap();
    for (file, seconds) in [(&sample, 25.0), (&file, 10.0)] {
        let began = Instant::now();
        assert!(played(recording(&[file], times(1))).await.end.is_ok());
        assert!((began.elapsed().as_secs_f64() - seconds).abs() < 0.5, "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_replay_stops_when_nobody_listens() {
    let file = sample("simulated_btcusdt.rec");
    let recording = recording(&[&file], times(1));
    let venue = Arc::new(Binance::new(Market::Spot, &recording.instruments));
    let (out, queue) = mpsc::channel(1);
    drop(queue);

    assert!(play(recording, venue, out, Arc::default()).await.is_ok());
}

#[tokio::test]
async fn a_dropped_replay_lets_go_of_its_queue() {
    let file = sample("simulated_btcusdt.rec");
    let recording = recording(&[&file], times(1));
    let venue = Arc::new(Binance::new(Market::Spot, &recording.instruments));
    let (out, mut queue) = mpsc::channel(1_000);
    let replay = tokio::spawn(play(recording, venue, out, Arc::default()));
    assert!(queue.recv().await.is_some());

    replay.abort();

    // Ends only when no sender is left: no thread reads on behind the future's back.
    while queue.recv().await.is_some() {}
}

#[tokio::test]
async fn ticks_leave_with_the_digits_that_count() {
    let Some(data) = shared_data() else { return };
    let file = data.join("recordings/binance_spot_btcusdt_20240808.rec.gz");

    let played = played(recording(&[&file], Speed::Max)).await;

    assert!(played.end.is_ok());
    assert_eq!((played.counts.frames(), played.counts.malformed()), (41_249, 0));
    assert_eq!((played.counts.ticks(), played.counts.ignored()), (9_757, 0));
    let last = played.heard.iter().rev().find_map(|observation| match &observation.heard {
        Heard::Tick(_, tick) => Some(tick),
        _ => None,
    });
    expect!["61685.99 0.001400"]
        .assert_eq(&last.map(|tick| format!("{} {}", tick.price, tick.quantity)).unwrap());
}
