//! How often somebody may ask.
//!
//! Accounts are counted exactly (`limits/windows`), and so are failures to authenticate, of which few
//! are allowed. Requests and handshakes of an address are counted loosely (`limits/buckets`), since
//! that limit only keeps one house from taking all of the door.
//!
//! What several nodes accept of an account is one sum (`limits/shared`, kept in `limits/ring`); addresses
//! and their failures are counted by each node for itself.
//!
//! Nothing of it is written down: after a restart everybody begins anew.

pub mod shared;

mod ring;

mod windows;

mod buckets;

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use domain::name::AccountId;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::addresses;
use crate::limits::buckets::Buckets;
use crate::limits::shared::{JUDGED_PATIENCE, NotYet, Told, WAITING_MAX};
use crate::limits::windows::Windows;

/// The time in which requests are counted.
pub const WINDOW: Duration = Duration::from_mins(1);

/// Accounts that are counted at once. When as many have asked within the window, further ones are
/// refused: to forget one that asks would let it ask twice as often.
pub const ACCOUNTS_MAX: usize = 100_000;

/// Addresses that are counted at once, of requests and of failures. When as many have asked within
/// the window, further ones are not counted: whoever has so many is held by no limit of an address,
/// and were strangers refused, could close the door to everybody.
pub const ADDRESSES_MAX: usize = 100_000;

/// How long a table that is full is not searched again for those who have gone.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// What a limit says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    pub accepted: bool,
    pub limit: u32,
    /// How many more would be accepted at once.
    pub remaining: u32,
    /// Until one more is accepted, when none is now; else until all are again.
    pub reset: Duration,
}

/// All limits of a node.
pub struct Limits {
    accounts: Windows<AccountId>,
    requests: Buckets,
    handshakes: Buckets,
    failures: Windows<IpAddr>,
    /// One for each request that waits to be judged.
    waiting: Semaphore,
    time: Time,
}

/// The time since some moment. It never goes back, and neither does what is counted by it.
type Time = Box<dyn Fn() -> Duration + Send + Sync>;

impl Default for Limits {
    fn default() -> Self {
        let began = Instant::now();
        Self::timed_by(Box::new(move || began.elapsed()))
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits").finish_non_exhaustive()
    }
}

impl Limits {
    /// Returns limits of which nothing is used, by this time.
    pub fn timed_by(time: Time) -> Self {
        Self {
            accounts: Windows::new(ACCOUNTS_MAX),
            requests: Buckets::new(ADDRESSES_MAX),
            handshakes: Buckets::new(ADDRESSES_MAX),
            failures: Windows::new(ADDRESSES_MAX),
            waiting: Semaphore::new(WAITING_MAX),
            time,
        }
    }

    /// Counts a request of an account, once it can be judged; what takes too long is refused.
    pub async fn account_in_time(&self, account: &AccountId, max: u32) -> Verdict {
        let refused = |reset| Verdict { accepted: false, limit: max, remaining: 0, reset };
        let mut wait = match self.account(account, max) {
            Ok(verdict) => return verdict,
            Err(NotYet(wait)) => wait,
        };
        let Ok(_waiting) = self.waiting.try_acquire() else { return refused(wait) };
        let until = Instant::now() + JUDGED_PATIENCE;
        loop {
            if Instant::now() + wait > until {
                return refused(wait);
            }
            tokio::time::sleep(wait).await;
            match self.account(account, max) {
                Ok(verdict) => return verdict,
                Err(NotYet(longer)) => wait = longer,
            }
        }
    }

    /// Counts a request of an account. By a node alone exactly, so that in no 60 seconds more than
    /// `max` are accepted, and none is refused below that; by several, within a tenth of `max`. What
    /// is refused is not counted.
    pub fn account(&self, account: &AccountId, max: u32) -> Result<Verdict, NotYet> {
        let refused = Verdict { accepted: false, limit: max, remaining: 0, reset: FULL_PAUSE };
        self.accounts.count(account, max, &self.time).unwrap_or(Ok(refused))
    }

    /// Shares the limits of accounts among so many nodes, this one included. From now on it is kept
    /// what is to be told to the others.
    pub fn share_among(&self, nodes: u32) {
        self.accounts.share_among(nodes);
    }

    /// Returns among how many nodes they are shared.
    pub fn nodes(&self) -> u32 {
        self.accounts.nodes()
    }

    /// Returns what is to be told to the other nodes, of up to `accounts_max` accounts, and takes it
    /// for told.
    pub fn tell(&self, accounts_max: usize) -> Vec<Told> {
        let told = self.accounts.tell(accounts_max, &self.time);
        told.into_iter().map(|(account, slices)| Told { account, slices }).collect()
    }

    /// Counts what another node has accepted. Of accounts that find no place here nothing is counted.
    pub fn take_in(&self, told: &[Told]) {
        for Told { account, slices } in told {
            self.accounts.take_in(account, slices, &self.time);
        }
    }

    /// Returns how many slices are kept of what was told.
    #[cfg(test)]
    fn kept_slices(&self) -> usize {
        self.accounts.room().1
    }

    /// Counts a request of an address, whoever asks. An address may use its limit at once, and goes on
    /// at an even pace: in no 60 seconds more than twice `max` are accepted.
    pub fn address(&self, address: IpAddr, max: u32) -> Verdict {
        let address = addresses::counted(address);
        self.requests.count(address, max, (self.time)()).unwrap_or(Verdict::uncounted(max))
    }

    /// Counts a connection of an address that begins with a handshake, as loosely as its requests: one
    /// who shakes hands and asks nothing costs more than one who asks.
    pub fn handshake(&self, address: IpAddr, max: u32) -> Verdict {
        let address = addresses::counted(address);
        self.handshakes.count(address, max, (self.time)()).unwrap_or(Verdict::uncounted(max))
    }

    /// Counts a failed authentication of an address, as exactly as requests of an account.
    pub fn failure(&self, address: IpAddr, max: u32) -> Verdict {
        let address = addresses::counted(address);
        // Shared with nobody, so it can be judged at once.
        let judged = self.failures.count(&address, max, &self.time).and_then(Result::ok);
        judged.unwrap_or(Verdict::uncounted(max))
    }
}

impl Verdict {
    const fn uncounted(max: u32) -> Self {
        Self { accepted: true, limit: max, remaining: max, reset: Duration::ZERO }
    }
}

#[cfg(test)]
mod tests;
