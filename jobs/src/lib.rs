//! The way in by the clock: what nobody asks for and is written all the same.
//!
//! Each job is a file, and [`run`] gives each its turn. So far there is one: closed candles go into
//! the ledger, where they outlive the trades they were made of (`close_candles`).

use std::sync::Arc;
use std::time::Duration;

use commands::clock::Clock;
use eventlog::log::{EventLog, LogError};
use projections::views::Views;

use self::close_candles::Left;

pub mod close_candles;

/// Time from the end of one turn to the next.
const REST: Duration = Duration::from_secs(10);

/// Runs the jobs of a node. Ends only with an error that waiting does not mend.
///
/// Any number of nodes may run them: what a job writes is named by what it says, so it stands in
/// the log once.
pub async fn run(views: Arc<Views>, ledger: Arc<dyn EventLog>, clock: Arc<dyn Clock>) -> LogError {
    loop {
        match close_candles::turn(&views, ledger.as_ref(), clock.as_ref()).await {
            Ok(Left::More) => {}
            Ok(Left::Nothing | Left::All) => tokio::time::sleep(REST).await,
            Err(error) => return error,
        }
    }
}
