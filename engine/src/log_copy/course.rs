//! How far a copy has come, told each second: a line on a terminal that is drawn over itself, and log
//! lines elsewhere.

use std::convert::Infallible;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use eventlog::entry::Offset;
use eventlog::stream::Log;
use tokio::time::{Instant, sleep};

use crate::progress::Line;

const RETELL: Duration = Duration::from_secs(1);

pub(super) struct Course {
    log: Log,
    /// What is done.
    doing: &'static str,
    head: Offset,
    offset: AtomicU64,
    entries: AtomicU64,
}

impl Course {
    pub(super) fn begin(log: Log, doing: &'static str, head: Offset) -> Self {
        Self { log, doing, head, offset: AtomicU64::new(0), entries: AtomicU64::new(0) }
    }

    /// Takes in up to where the log is done, and how many entries that were.
    pub(super) fn reached(&self, offset: Option<Offset>, entries: u64) {
        if let Some(offset) = offset {
            self.offset.store(offset.0, Ordering::Relaxed);
        }
        self.entries.store(entries, Ordering::Relaxed);
    }

    /// Does the work, and tells how far it has come until it is done.
    pub(super) async fn told_during<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            done = work => done,
            never = self.tell() => match never {},
        }
    }

    async fn tell(&self) -> Infallible {
        let terminal = std::io::stderr().is_terminal();
        let mut line = Line::default();
        let (mut before, mut since) = (0, Instant::now());
        loop {
            sleep(RETELL).await;
            let entries = self.entries.load(Ordering::Relaxed);
            let per_second = rate(entries.saturating_sub(before), since.elapsed());
            (before, since) = (entries, Instant::now());
            let percent = self.percent();
            let (log, doing) = (self.log, self.doing);
            if terminal {
                line.draw(&format!(
                    "{doing} the {log} log: {percent} % ({entries} entries, {per_second} a second)"
                ));
            } else {
                tracing::info!(%log, entries, per_second, percent, "{doing}");
            }
        }
    }

    fn percent(&self) -> u64 {
        let offset = self.offset.load(Ordering::Relaxed);
        offset.saturating_mul(100).checked_div(self.head.0).unwrap_or(100)
    }
}

/// Returns how many a second so many in a time are.
fn rate(entries: u64, elapsed: Duration) -> u64 {
    let a_second = u128::from(entries) * 1_000;
    let rate = a_second.checked_div(elapsed.as_millis()).unwrap_or_default();
    u64::try_from(rate).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_course_is_told_in_entries_a_second_and_percent() {
        let course = Course::begin(Log::Ledger, "copying", Offset(2_000));
        assert_eq!(course.percent(), 0);
        course.reached(Some(Offset(500)), 400);

        assert_eq!(course.percent(), 25);
        assert_eq!(rate(400, Duration::from_millis(500)), 800);
        assert_eq!(rate(400, Duration::ZERO), 0);
        assert_eq!(Course::begin(Log::Market, "copying", Offset(0)).percent(), 100);
    }
}
