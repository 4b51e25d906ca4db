//! How far a start has come: a line on a terminal that grows, and log lines elsewhere.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use eventlog::entry::Offset;
use eventlog::stream::Log;
use projections::views::Views;
use tokio::time::{Instant, sleep};

/// Pause between two looks on a terminal, and between two log lines elsewhere.
const REDRAW: Duration = Duration::from_millis(200);
const RETELL: Duration = Duration::from_secs(5);

/// Tells how far the views have come towards the heads of the logs, until it is dropped. A start
/// that is over in a moment is not worth a word.
pub(crate) async fn tell(views: &Views, heads: [(Log, Offset); 2]) {
    let begun: u64 = heads.iter().map(|(log, _)| views.applied(*log).0).sum();
    let goal: u64 = heads.iter().map(|(_, head)| head.0).sum();
    let mut line = Line::default();
    let started = Instant::now();
    let terminal = std::io::stderr().is_terminal();
    loop {
        sleep(if terminal { REDRAW } else { RETELL }).await;
        let come: u64 = heads.iter().map(|(log, head)| views.applied(*log).min(*head).0).sum();
        let left = remaining(come - begun, goal - begun, started.elapsed());
        if terminal {
            line.draw(&words(come, goal, left));
        } else {
            let left_s = left.map(|left| left.as_secs());
            tracing::info!(entries = come, of = goal, left_s, "catching up with the logs");
        }
    }
}

/// Returns how long the rest will take at the pace so far; `None` while nothing tells.
fn remaining(come: u64, goal: u64, elapsed: Duration) -> Option<Duration> {
    let left = u128::from(goal.saturating_sub(come));
    let left_ms = elapsed.as_millis().checked_mul(left)?.checked_div(u128::from(come))?;
    u64::try_from(left_ms).ok().map(Duration::from_millis)
}

fn words(come: u64, goal: u64, left: Option<Duration>) -> String {
    let percent = come.saturating_mul(100).checked_div(goal).unwrap_or(100);
    let left = left.map(|left| format!(", {} s left", left.as_secs())).unwrap_or_default();
    format!("catching up with the logs: {percent} % ({come} of {goal} entries{left})")
}

/// The line that is drawn over itself. It goes when the work is done.
#[derive(Default)]
pub(crate) struct Line {
    drawn: bool,
}

const ERASE: &str = "\r\x1b[K";

impl Line {
    pub(crate) fn draw(&mut self, words: &str) {
        self.drawn = true;
        put(&format!("{ERASE}{words}"));
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.drawn {
            put(ERASE);
        }
    }
}

/// A terminal that takes no more words is no reason to stop.
fn put(text: &str) {
    let mut out = std::io::stderr().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_say_how_far_and_how_long() {
        let left = remaining(250, 1_000, Duration::from_secs(10));
        assert_eq!(left, Some(Duration::from_secs(30)));
        assert_eq!(remaining(0, 1_000, Duration::from_secs(10)), None);

        let told = words(250, 1_000, left);
        assert_eq!(told, "catching up with the logs: 25 % (250 of 1000 entries, 30 s left)");
        assert_eq!(words(0, 0, None), "catching up with the logs: 100 % (0 of 0 entries)");
    }
}
