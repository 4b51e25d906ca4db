//! Counts that are cheap: one number for each address.
//!
//! They are leaky buckets. The table of the `governor` crate does the same arithmetic, but has no
//! bound on its rows: one client of IPv6 has more networks than we have memory.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::limits::{FULL_PAUSE, Verdict, WINDOW};

/// A bucket for each address. It takes one window to run empty, and each request adds its share.
#[derive(Debug)]
pub(super) struct Buckets {
    rows: Mutex<Rows>,
    rows_max: usize,
}

#[derive(Debug, Default)]
struct Rows {
    /// When the bucket of an address has run empty.
    empty_at: BTreeMap<IpAddr, Duration>,
    /// When the empty ones were last dropped.
    swept_at: Duration,
}

impl Buckets {
    pub(super) fn new(rows_max: usize) -> Self {
        Self { rows: Mutex::default(), rows_max }
    }

    /// Counts one more, unless it does not fit. Returns `None` when there is no place for somebody new.
    pub(super) fn count(&self, address: IpAddr, max: u32, now: Duration) -> Option<Verdict> {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.sweep(now, WINDOW);
        if rows.empty_at.len() >= self.rows_max && !rows.empty_at.contains_key(&address) {
            rows.sweep(now, FULL_PAUSE);
            if rows.empty_at.len() >= self.rows_max {
                return None;
            }
        }
        let empty_at = rows.empty_at.entry(address).or_insert(now);
        let Some(share) = WINDOW.checked_div(max) else {
            return Some(Verdict { accepted: false, limit: 0, remaining: 0, reset: WINDOW });
        };
        let filled = empty_at.saturating_sub(now);
        let accepted = filled + share <= WINDOW;
        let filled = if accepted { filled + share } else { filled };
        *empty_at = now + filled;
        let room = WINDOW.saturating_sub(filled);
        let remaining = u32::try_from(room.as_nanos() / share.as_nanos().max(1)).unwrap_or(max);
        let reset = if remaining == 0 { (filled + share).saturating_sub(WINDOW) } else { filled };
        Some(Verdict { accepted, limit: max, remaining: remaining.min(max), reset })
    }
}

impl Rows {
    /// Drops the buckets that are empty, unless that was done so long ago or less.
    fn sweep(&mut self, now: Duration, pause: Duration) {
        if now.saturating_sub(self.swept_at) < pause {
            return;
        }
        self.empty_at.retain(|_, empty_at| *empty_at > now);
        self.swept_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn an_address_may_use_its_limit_at_once_and_goes_on_at_an_even_pace() {
        let buckets = Buckets::new(10);
        let count = |now| buckets.count(address(1), 60, Duration::from_secs(now)).unwrap();
        for before in (0..60).rev() {
            let verdict = count(5);
            assert!(verdict.accepted);
            assert_eq!(verdict.remaining, before);
        }

        let refused = count(5);
        assert_eq!((refused.accepted, refused.remaining), (false, 0));
        assert_eq!(refused.reset, Duration::from_secs(1));

        assert!(count(6).accepted);
        assert!(!count(6).accepted);
        assert_eq!(count(36).remaining, 29);
        assert_eq!(count(1_000).reset, Duration::from_secs(1));
    }

    #[test]
    fn a_changed_limit_counts_from_the_next_request_on() {
        let buckets = Buckets::new(10);
        let count = |max| buckets.count(address(1), max, Duration::ZERO).unwrap();
        assert!(count(60).accepted);

        // One of sixty was used, which is ten seconds' worth of six.
        assert_eq!(count(6).remaining, 4);
        let shut = count(0);
        assert_eq!((shut.accepted, shut.limit, shut.reset), (false, 0, WINDOW));
        assert!(count(6_000).accepted);
    }

    #[test]
    fn addresses_past_the_bound_are_not_counted_until_others_have_gone() {
        let buckets = Buckets::new(2);
        let count = |last, now| buckets.count(address(last), 60, Duration::from_secs(now));
        assert!(count(1, 100).is_some());
        assert!(count(2, 100).is_some());
        assert!(count(3, 100).is_none());
        // Both have run empty, and the table was searched a second ago.
        assert!(count(3, 101).is_some());
        assert_eq!(buckets.rows.lock().unwrap().empty_at.len(), 1);
    }
}
