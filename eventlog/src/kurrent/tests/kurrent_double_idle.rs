//! What following costs while nothing can be followed: hardly anything.

use std::io::Write;
use std::sync::mpsc;
use std::thread;

use tokio::runtime::Builder;

use super::*;
use crate::kurrent::double::faults::Reads;
use crate::kurrent::double::harm::UNTIL_HEALED;

/// How long is measured, and the part of it that may be used. Asserted with threefold slack: other tests
/// run beside it.
const MEASURED: Duration = Duration::from_secs(30);
const USED_PERCENT_MAX: u128 = 1;
const SLACK: u128 = 3;

/// Returns how long the calling thread has run, as the system counts it; nothing elsewhere than on
/// Linux.
fn used() -> Option<Duration> {
    let counted = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(counted.split_whitespace().next()?.parse().ok()?))
}

/// Follows on a thread of its own while something is wrong, and returns what that thread has used. The
/// reader goes on when all is well again.
fn costs(double: &Double, wrong: impl FnOnce(), well: impl FnOnce()) -> Option<Duration> {
    let options = fresh();
    let address = double.url().parse().unwrap();
    let (to_test, from_reader) = mpsc::channel();
    let (to_reader, from_test) = tokio::sync::oneshot::channel::<()>();
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let log = Kurrent::open(address, Log::Market, options).await.unwrap();
                append(&log, &stream(1), 1).await;
                to_test.send(None).unwrap();
                from_test.await.unwrap();
                let begun = used();
                // A reader waits the whole time.
                let head = Offset(u64::MAX - 1);
                assert!(time::timeout(MEASURED, log.wait_after(head)).await.is_err());
                let cost = begun.zip(used()).map(|(begun, ended)| ended.saturating_sub(begun));
                to_test.send(Some(cost)).unwrap();

                let appended = until(async || {
                    log.append(draft(&stream(1), 2, ticks(2, 1)), Expected::Any).await.ok()
                });
                let before = Offset(appended.await.offset.0 - 1);
                let comes = time::timeout(COMES_WAIT, log.wait_after(before));
                comes.await.expect("the reader goes on").unwrap();
            });
        });
        assert!(from_reader.recv().unwrap().is_none());
        wrong();
        to_reader.send(()).unwrap();
        let cost = from_reader.recv().unwrap().unwrap();
        well();
        reader.join().unwrap();
        cost
    })
}

fn costs_hardly_anything(cost: Option<Duration>, what: &str) {
    let Some(cost) = cost else {
        let not = writeln!(std::io::stderr(), "not measured: the system does not count");
        not.expect("stderr is open");
        return;
    };
    let told = format!("{what}: {cost:?} of {MEASURED:?}\n");
    std::io::stderr().write_all(told.as_bytes()).expect("stderr is open");
    let used_max = MEASURED.as_micros() * USED_PERCENT_MAX * SLACK;
    assert!(cost.as_micros() * 100 < used_max, "{told}");
}

/// All of them at once: each takes the whole time, and next to nothing of the machine.
#[test]
fn a_kurrent_double_that_ends_reads_or_is_away_or_says_nothing_costs_hardly_anything() {
    let measure = |what: &'static str, wrong: fn(&Double), well: fn(&Double)| {
        move || {
            let double = Double::start().unwrap();
            costs_hardly_anything(costs(&double, || wrong(&double), || well(&double)), what);
        }
    };
    thread::scope(|scope| {
        let ended = |double: &Double| double.end_reads(Reads::Every, UNTIL_HEALED);
        scope.spawn(measure("each read ends at once", ended, Double::heal));
        let back = |double: &Double| double.start_again(0).unwrap();
        scope.spawn(measure("shut down, then refused", |double| double.stop(0), back));
        scope.spawn(measure("frozen", |double| double.freeze(0), |double| double.thaw(0)));
        scope.spawn(measure("quiet", |_| {}, |_| {}));
    });
}
