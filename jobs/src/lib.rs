//! The way in by the clock: what nobody asks for and is done all the same.
//!
//! Each job is a file, and [`run`] gives each its turns: closed candles and gaps go into the ledger,
//! where they outlive the trades they were made of (`close_candles`, `copy_gaps`), each account states
//! what it is worth day by day (`close_days`), and of the market log goes what is no longer needed
//! (`retire`). What turns have in common stands in `turn`.

use std::sync::Arc;
use std::time::Duration;

use commands::clock::Clock;
use commands::desk::Desk;
use eventlog::log::{EventLog, LogError};
use projections::views::Views;

use self::retire::{Retirement, Retiring};
use self::turn::Left;

pub mod turn;

pub mod close_candles;

pub mod copy_gaps;

pub mod close_days;

pub mod retire;

#[cfg(test)]
mod house;

/// Time from the end of one turn to the next, of a job that fills the ledger.
const REST: Duration = Duration::from_secs(10);

/// What the jobs of a node work with.
#[derive(Clone)]
pub struct Jobs {
    pub views: Arc<Views>,
    pub ledger: Arc<dyn EventLog>,
    pub desk: Arc<Desk>,
    pub clock: Arc<dyn Clock>,
    /// `None` where the market log is not ours to cut.
    pub retirement: Option<Retirement>,
}

/// Runs the jobs of a node, each at its own pace: one that waits holds up no other. Ends only with an
/// error that waiting does not mend.
///
/// Any number of nodes may run them: what a job writes is named by what it says, so it stands in
/// the log once. That one of them runs them at a time only saves work.
pub async fn run(jobs: Jobs) -> LogError {
    let Jobs { views, ledger, desk, clock, retirement } = jobs;
    let (views, ledger, clock) = (views.as_ref(), ledger.as_ref(), clock.as_ref());
    let desk = desk.as_ref();
    tokio::select! {
        error = again(|| close_candles::turn(views, ledger, clock)) => error,
        error = again(|| copy_gaps::turn(views, ledger, clock)) => error,
        error = again(|| close_days::turn(views, ledger, desk, clock)) => error,
        error = retire(retirement, views, ledger, clock) => error,
    }
}

/// Gives a job turn after turn, and rest when nothing is left to do.
async fn again<F: Future<Output = Result<Left, LogError>>>(turn: impl Fn() -> F) -> LogError {
    loop {
        match turn().await {
            Ok(Left::More) => {}
            Ok(Left::Nothing | Left::All) => tokio::time::sleep(REST).await,
            Err(error) => return error,
        }
    }
}

async fn retire(
    retirement: Option<Retirement>,
    views: &Views,
    ledger: &dyn EventLog,
    clock: &dyn Clock,
) -> LogError {
    let Some(retirement) = retirement else { return std::future::pending().await };
    let mut retiring = Retiring::new(retirement);
    loop {
        if let Err(error) = retiring.turn(views, ledger, clock).await {
            return error;
        }
        tokio::time::sleep(retiring.rest()).await;
    }
}

#[cfg(test)]
mod tests;
