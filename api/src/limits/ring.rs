//! What was accepted of one who asks, for as long as it matters: here, to the instant, and elsewhere,
//! as it was told.

use std::collections::VecDeque;
use std::time::Duration;

use crate::limits::shared::{BLIND, LATE, LEFT_PARTS, NotYet, SLACK_PART, SLICE, Slice};
use crate::limits::{Verdict, WINDOW};

/// Instants for which a ring keeps room, however few are in it.
pub(super) const ROOM_MIN: usize = 16;

/// Requests that one slice may claim. More is nonsense, and is cut to this.
const CLAIMED_MAX: u32 = 1_000_000;

/// Instants in nanoseconds, by a clock of this node.
///
/// It holds eight bytes for each request that was accepted here within the window, and sixteen for
/// each slice of the window in which any was elsewhere.
#[derive(Debug, Default)]
pub(super) struct Ring {
    /// Of this node, oldest first.
    own: VecDeque<u64>,
    /// So many of them, the newest, were not told to others.
    untold: usize,
    /// Of others, oldest first: up to an instant, so many. The instants are whole slices.
    heard: VecDeque<(u64, u32)>,
    /// The sum of what was heard.
    elsewhere: usize,
}

impl Ring {
    /// Counts one more, unless `max` are within the window, or may be by what others have accepted.
    pub(super) fn count(&mut self, now: u64, max: u32, nodes: u32) -> Result<Verdict, NotYet> {
        self.forget_before(now);
        let most = usize::try_from(max).unwrap_or(usize::MAX);
        let accepted = self.len() < most;
        if accepted {
            self.check_known(now, most, nodes)?;
            self.own.push_back(now);
            self.untold += 1;
        }
        let remaining = most.saturating_sub(self.len());
        // Of those that are too many now, the last to go makes room for one; with room left, all have
        // gone when the newest has.
        let awaited = match remaining {
            0 => self.instant(self.len() - most),
            _ => self.own.back().copied().max(self.heard.back().map(|(at, _)| *at)),
        };
        let leaves =
            awaited.map_or(nanos(WINDOW), |instant| (instant + nanos(WINDOW)).saturating_sub(now));
        let reset = Duration::from_nanos(leaves);
        if !accepted && self.certain(now) < most - most / SLACK_PART {
            return Err(NotYet(reset.min(LATE)));
        }
        let remaining = u32::try_from(remaining).unwrap_or(u32::MAX);
        Ok(Verdict { accepted, limit: max, remaining, reset })
    }

    /// Asks to wait when as much was accepted here within the blind time as may be by each of `nodes`.
    fn check_known(&self, now: u64, most: usize, nodes: u32) -> Result<(), NotYet> {
        if nodes <= 1 {
            return Ok(());
        }
        let known = self.own.partition_point(|instant| instant + nanos(BLIND) <= now);
        let blind = self.own.len() - known;
        let left = (most + most / SLACK_PART).saturating_sub(self.len() - blind);
        let nodes = usize::try_from(nodes).unwrap_or(usize::MAX);
        let share = (left / LEFT_PARTS.saturating_mul(nodes)).max(1);
        if blind < share {
            return Ok(());
        }
        let leaves = self.own.get(self.own.len() - share).map(|instant| instant + nanos(BLIND));
        Err(NotYet(Duration::from_nanos(leaves.unwrap_or(now).saturating_sub(now))))
    }

    /// Returns how many are within the window for certain: what was heard may have left it, since it
    /// is counted from when it came.
    fn certain(&self, now: u64) -> usize {
        let leaving = self
            .heard
            .iter()
            .take_while(|(at, _)| at + nanos(WINDOW) <= now + nanos(LATE))
            .map(|(_, count)| wide(*count));
        self.len() - leaving.sum::<usize>()
    }

    /// Counts what was accepted elsewhere.
    pub(super) fn take_in(&mut self, now: u64, slice: Slice) {
        let age = Duration::from_millis(slice.age_ms.into());
        let count = slice.count.min(CLAIMED_MAX);
        if age >= WINDOW || count == 0 {
            return;
        }
        // Rounded up: counted for too long rather than too short.
        let at = now.saturating_sub(nanos(age)).next_multiple_of(nanos(SLICE));
        let place = self.heard.partition_point(|(heard, _)| *heard < at);
        self.elsewhere = self.elsewhere.saturating_add(wide(count));
        match self.heard.get_mut(place) {
            Some((heard, counted)) if *heard == at => *counted = counted.saturating_add(count),
            _ => self.heard.insert(place, (at, count)),
        }
    }

    /// Returns what others are to be told, and takes it for told.
    pub(super) fn tell(&mut self, now: u64) -> Vec<Slice> {
        self.forget_before(now);
        let mut slices: Vec<Slice> = Vec::new();
        let mut of = None;
        for instant in self.own.range(self.own.len() - self.untold..) {
            let age = Duration::from_nanos(now.saturating_sub(*instant)).as_millis();
            let age_ms = u32::try_from(age).unwrap_or(u32::MAX);
            let slice = instant / nanos(SLICE);
            match slices.last_mut() {
                Some(last) if of == Some(slice) => {
                    *last = Slice { count: last.count + 1, age_ms };
                }
                _ => slices.push(Slice { count: 1, age_ms }),
            }
            of = Some(slice);
        }
        self.untold = 0;
        slices
    }

    /// Whether others are to be told for the first time since they last were.
    pub(super) const fn has_news(&self) -> bool {
        self.untold == 1
    }

    /// Forgets what is no longer within the window that ends now: it begins after the instant that is
    /// one window ago.
    pub(super) fn forget_before(&mut self, now: u64) {
        while self.own.front().is_some_and(|instant| instant + nanos(WINDOW) <= now) {
            self.own.pop_front();
        }
        self.untold = self.untold.min(self.own.len());
        while let Some((at, count)) = self.heard.front()
            && at + nanos(WINDOW) <= now
        {
            self.elsewhere -= wide(*count);
            self.heard.pop_front();
        }
        if self.own.capacity() > ROOM_MIN && self.own.capacity() / 4 > self.own.len() {
            self.own.shrink_to((self.own.len() * 2).max(ROOM_MIN));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.own.is_empty() && self.heard.is_empty()
    }

    fn len(&self) -> usize {
        self.own.len() + self.elsewhere
    }

    /// Returns when one of all was accepted, the oldest being number 0.
    fn instant(&self, number: usize) -> Option<u64> {
        let (mut before, mut own) = (0, self.own.iter().copied().peekable());
        for (at, count) in &self.heard {
            while let Some(instant) = own.next_if(|instant| instant <= at) {
                if before == number {
                    return Some(instant);
                }
                before += 1;
            }
            before += wide(*count);
            if before > number {
                return Some(*at);
            }
        }
        own.nth(number - before)
    }

    /// Returns for how many instants there is room, and how many slices are kept.
    #[cfg(test)]
    pub(super) fn room(&self) -> (usize, usize) {
        (self.own.capacity(), self.heard.len())
    }
}

fn wide(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Five hundred years of them have room.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
