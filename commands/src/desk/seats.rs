//! The accounts that are held, and whose turn it is at each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::name::AccountId;
use eventlog::entry::Offset;
use eventlog::stream::Stream;
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use crate::desk::folded::Folded;

/// Accounts that are held folded. When there are more, the one that was used least recently goes,
/// and is read again when it is next asked for; while all are in use, orders for others are turned
/// away as busy. An account takes a few kilobytes, and nearly a megabyte when it knows as many keys
/// and closed positions as it may.
pub const ACCOUNTS_HELD_MAX: usize = 1_024;

/// Orders that wait for their turn at one account. More are turned away as busy.
pub const ORDERS_WAITING_MAX: usize = 1_024;

/// How long an order waits for its turn behind others. Then it is turned away as busy.
pub const TURN_PATIENCE: Duration = Duration::from_secs(9);

/// How long an order waits for its own twin, which is being carried out.
pub const IN_PROGRESS_PATIENCE: Duration = Duration::from_secs(5);

/// All accounts that are held.
pub(super) struct Seats {
    accounts_max: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    seats: BTreeMap<AccountId, (Arc<Seat>, u64)>,
    /// Counts how often a seat was asked for.
    asked: u64,
    /// The newest offset that was written to an account which is held no more.
    written_elsewhere: Offset,
}

/// One account.
pub(super) struct Seat {
    pub(super) stream: Stream,
    /// Orders this node's writers: one at a time reads, decides and appends, and holds this while
    /// it waits for the log. It is not for readers of views, nor for other nodes.
    folded: Arc<tokio::sync::Mutex<Folded>>,
    /// The orders that have or wait for a turn, and how many times.
    orders: Mutex<BTreeMap<Uuid, usize>>,
    last_written: Mutex<Offset>,
}

/// Why there is no turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoTurn {
    InProgress,
    Busy,
}

/// The right to read and write one account. While it lives, no other order of this node does.
pub(super) struct Turn {
    pub(super) folded: OwnedMutexGuard<Folded>,
    /// Whether an append of this order has had an unknown outcome.
    pub(super) is_unknown: bool,
    pub(super) place: Place,
}

/// A place among the orders of an account.
pub(super) struct Place {
    pub(super) seat: Arc<Seat>,
    append_id: Option<Uuid>,
}

impl Seats {
    pub(super) fn new(accounts_max: usize) -> Self {
        Self { accounts_max, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Whoever panicked elsewhere left whole seats: each is put in and taken out in one step.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn at an account; `append_id` is that of the order, if it is one.
    pub(super) async fn turn(
        &self,
        account: &AccountId,
        append_id: Option<Uuid>,
    ) -> Result<Turn, NoTurn> {
        let seat = self.held().seat(account, self.accounts_max).ok_or(NoTurn::Busy)?;
        let (place, twins) = Place::take(seat, append_id)?;
        let (patience, otherwise) = match twins {
            0 => (TURN_PATIENCE, NoTurn::Busy),
            _ => (IN_PROGRESS_PATIENCE, NoTurn::InProgress),
        };
        let turn = Arc::clone(&place.seat.folded).lock_owned();
        match tokio::time::timeout(patience, turn).await {
            Ok(folded) => Ok(Turn { folded, is_unknown: false, place }),
            Err(_) => Err(otherwise),
        }
    }

    /// Returns an offset at or after all that was written to an account from here.
    pub(super) fn last_written(&self, account: &AccountId) -> Offset {
        let held = self.held();
        match held.seats.get(account) {
            Some((seat, _)) => *seat.last_written(),
            None => held.written_elsewhere,
        }
    }

    #[cfg(test)]
    pub(super) fn accounts(&self) -> usize {
        self.held().seats.len()
    }
}

impl Held {
    fn seat(&mut self, account: &AccountId, accounts_max: usize) -> Option<Arc<Seat>> {
        self.asked += 1;
        if let Some((seat, asked)) = self.seats.get_mut(account) {
            *asked = self.asked;
            return Some(Arc::clone(seat));
        }
        if self.seats.len() >= accounts_max {
            self.let_one_go()?;
        }
        let seat = Arc::new(Seat {
            stream: Stream::Account(account.clone()),
            folded: Arc::default(),
            orders: Mutex::default(),
            // It may have been held before.
            last_written: Mutex::new(self.written_elsewhere),
        });
        self.seats.insert(account.clone(), (Arc::clone(&seat), self.asked));
        Some(seat)
    }

    /// Lets go of the account that was used least recently and is not in use.
    fn let_one_go(&mut self) -> Option<()> {
        // Seats are handed out only under the lock that is held here: one that nobody has now
        // cannot be had by anybody before it is gone, so no account ever has two.
        let idle = self.seats.iter().filter(|(_, (seat, _))| Arc::strong_count(seat) == 1);
        let oldest = idle.min_by_key(|(_, (_, asked))| *asked)?.0.clone();
        let (seat, _) = self.seats.remove(&oldest)?;
        self.written_elsewhere = self.written_elsewhere.max(*seat.last_written());
        Some(())
    }
}

impl Seat {
    fn last_written(&self) -> MutexGuard<'_, Offset> {
        self.last_written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn orders(&self) -> MutexGuard<'_, BTreeMap<Uuid, usize>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that this node has written up to here.
    pub(super) fn written(&self, offset: Offset) {
        let mut last = self.last_written();
        *last = offset.max(*last);
    }
}

impl Place {
    /// Takes a place; returns how many have one for the same order.
    fn take(seat: Arc<Seat>, append_id: Option<Uuid>) -> Result<(Self, usize), NoTurn> {
        let Some(id) = append_id else { return Ok((Self { seat, append_id }, 0)) };
        let twins = {
            let mut orders = seat.orders();
            if orders.len() >= ORDERS_WAITING_MAX && !orders.contains_key(&id) {
                return Err(NoTurn::Busy);
            }
            let count = orders.entry(id).or_default();
            *count += 1;
            *count - 1
        };
        Ok((Self { seat, append_id }, twins))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(id) = self.append_id else { return };
        let mut orders = self.seat.orders();
        let Some(count) = orders.get_mut(&id) else { return };
        *count -= 1;
        if *count == 0 {
            orders.remove(&id);
        }
    }
}
