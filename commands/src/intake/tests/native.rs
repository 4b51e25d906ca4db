//! The venue's own bars, on their way into the ledger.

use domain::candle::event::CandleEvent;
use domain::time::MINUTE;

use super::*;

fn keep() -> Arc<Shelf> {
    Arc::new(Shelf::default())
}

fn bar(minute: i64) -> Candle {
    Candle::filled(seconds(0).plus(minute * MINUTE), "65000.00".parse().unwrap())
}

fn told(minutes: impl IntoIterator<Item = i64>) -> Observation {
    let candles = minutes.into_iter().map(bar).collect();
    Observation {
        heard: Heard::Candles(btc(), Interval::Minute, candles),
        venue_time: None,
        ..top(600 * 60)
    }
}

/// The minutes that each entry of the ledger holds: from noon, first and last.
async fn imported(ledger: &Memory) -> Vec<(i64, i64)> {
    let minute = |event: &Event| match event {
        Event::Candle(CandleEvent::CandleImported { interval: Interval::Minute, candle }) => {
            candle.opened_at.since(seconds(0)) / MINUTE
        }
        other => panic!("{other:?}"),
    };
    let ends = |entry: &Entry| {
        assert_eq!(entry.stream.to_string(), "candles-binance.BTC-USDT");
        (minute(entry.events.first().unwrap()), minute(entry.events.last().unwrap()))
    };
    entries(ledger).await.iter().map(ends).collect()
}

#[tokio::test(start_paused = true)]
async fn bars_are_recorded_an_hour_an_entry_and_once_by_two_feeds() {
    let ledger = Arc::new(Memory::new(Log::Ledger));
    for (session, minutes) in [(1, -70..130), (2, -65..120)] {
        let options = Options { session: Session(session), books: BookRecording::All };
        let mut intake =
            Intake::new(memory(), ledger.clone(), keep(), Arc::new(Noon), live(), options);
        intake.take(&mut vec![told(minutes)]).await.unwrap();
        assert_eq!(intake.venue_clock, Timestamp::MIN);
    }

    // The hours that both have whole are in once.
    assert_eq!(
        imported(&ledger).await,
        [(-70, -61), (-60, -1), (0, 59), (60, 119), (120, 129), (-65, -61)]
    );
}

#[tokio::test(start_paused = true)]
async fn bars_told_again_with_other_content_do_not_stop_the_intake() {
    let ledger = Arc::new(Memory::new(Log::Ledger));
    let options = Options { session: Session(1), books: BookRecording::All };
    let log = memory();
    let mut intake =
        Intake::new(log.clone(), ledger.clone(), keep(), Arc::new(Noon), live(), options);
    let mut others = told(0..60);
    let Heard::Candles(_, _, candles) = &mut others.heard else { unreachable!() };
    candles[7].trades = 8;

    intake.take(&mut vec![told(0..60), others, told([]), trade(1, 0)]).await.unwrap();

    assert_eq!(imported(&ledger).await, [(0, 59)]);
    assert_eq!(recorded(&log).await.0, [1]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_the_bar_of_a_closed_bucket_is_left_out() {
    let ledger = Arc::new(Memory::new(Log::Ledger));
    let options = Options { session: Session(1), books: BookRecording::All };
    let mut intake = Intake::new(memory(), ledger.clone(), keep(), Arc::new(Noon), live(), options);
    let mut bars = told(590..700);
    let Heard::Candles(_, _, candles) = &mut bars.heard else { unreachable!() };
    candles[0].low = "65001.00".parse().unwrap();

    intake.take(&mut vec![bars]).await.unwrap();

    // Heard at ten o'clock by our clock; the venue's may be a minute ahead.
    assert_eq!(imported(&ledger).await, [(591, 599), (600, 600)]);
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_fails_makes_the_feed_wait_and_doubles_nothing() {
    let memory_of_ledger = Arc::new(Memory::new(Log::Ledger));
    let shaky = Arc::new(Shaky {
        log: memory_of_ledger.clone(),
        calls: AtomicUsize::new(0),
        reads: AtomicUsize::new(0),
    });
    let options = Options { session: Session(1), books: BookRecording::All };
    let mut intake = Intake::new(memory(), shaky, keep(), Arc::new(Noon), live(), options);

    intake.take(&mut vec![told(0..600)]).await.unwrap();

    assert_eq!(imported(&memory_of_ledger).await.len(), 10);
}
