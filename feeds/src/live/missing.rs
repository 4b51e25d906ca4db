//! Which trades of an instrument have not come, by their ids.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::tick::Tick;
use domain::time::Timestamp;
use tokio::time::Instant;

use crate::feed::Hole;

/// Holes of an instrument that are kept. Beyond it the two oldest become one: what lies between
/// them is then asked for once more, and seen to be no news.
const HOLES_MAX: usize = 256;

/// The trade ids of one instrument.
#[derive(Debug, Default)]
pub(super) struct Missing {
    last: Option<(u64, Option<Timestamp>)>,
    holes: BTreeMap<u64, Kept>,
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    hole: Hole,
    due: Instant,
    /// Whether it is being asked for.
    asked: bool,
}

impl Missing {
    /// Begins after a trade that was recorded before, with the holes that were left then.
    pub(super) fn after(trade_id: Option<u64>, holes: &[Hole], at: Instant) -> Self {
        let mut missing = Self { last: trade_id.map(|id| (id, None)), holes: BTreeMap::new() };
        for hole in holes {
            missing.keep(Kept { hole: *hole, due: at, asked: false });
        }
        missing
    }

    /// Takes in a trade. A hole that it leaves is due after some patience: trades may come out of
    /// order.
    pub(super) fn hear(&mut self, tick: &Tick, at: Instant, patience: Duration) {
        let (id, traded_at) = (tick.trade_id, tick.traded_at);
        match self.last {
            Some((last, _)) if id <= last => self.fill(id),
            Some((last, after)) if id > last + 1 => {
                let hole = Hole { first: last + 1, last: id - 1, after, before: traded_at };
                self.keep(Kept { hole, due: at + patience, asked: false });
                self.last = Some((id, Some(traded_at)));
            }
            _ => self.last = Some((id, Some(traded_at))),
        }
    }

    /// Returns a hole to ask for. It is not returned again until it is put back.
    pub(super) fn due(&mut self, at: Instant) -> Option<Hole> {
        let kept = self.holes.values_mut().find(|kept| !kept.asked && kept.due <= at)?;
        kept.asked = true;
        Some(kept.hole)
    }

    /// Puts back what is still missing of a hole that was asked for.
    pub(super) fn put_back(&mut self, asked: &Hole, rest: Hole, due: Instant) {
        self.close(asked);
        self.keep(Kept { hole: rest, due, asked: false });
    }

    /// Forgets a hole that was asked for: filled, or given up.
    pub(super) fn close(&mut self, asked: &Hole) {
        self.holes.remove(&asked.first);
    }

    fn fill(&mut self, id: u64) {
        let Some((&first, kept)) = self.holes.range(..=id).next_back() else { return };
        // What is being asked for stays as it is: its answer closes it.
        if id > kept.hole.last || kept.asked {
            return;
        }
        let kept = *kept;
        self.holes.remove(&first);
        if first < id {
            self.keep(Kept { hole: Hole { last: id - 1, ..kept.hole }, ..kept });
        }
        if id < kept.hole.last {
            self.keep(Kept { hole: Hole { first: id + 1, ..kept.hole }, ..kept });
        }
    }

    fn keep(&mut self, kept: Kept) {
        self.holes.insert(kept.hole.first, kept);
        if self.holes.len() <= HOLES_MAX {
            return;
        }
        let mut idle = self.holes.values().filter(|kept| !kept.asked);
        if let (Some(&one), Some(&next)) = (idle.next(), idle.next()) {
            self.holes.remove(&next.hole.first);
            let whole = Hole { last: next.hole.last, before: next.hole.before, ..one.hole };
            self.holes.insert(whole.first, Kept { hole: whole, ..one });
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::tick::Side;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(500);

    fn tick(trade_id: u64) -> Tick {
        Tick {
            trade_id,
            price: "1".parse().unwrap(),
            quantity: "1".parse().unwrap(),
            taker: Side::Buy,
            traded_at: Timestamp::from_millis(trade_id.cast_signed()),
            received_at: Timestamp::default(),
        }
    }

    /// Returns the holes that are due after these ids have come.
    fn holes(known: Option<u64>, ids: &[u64]) -> Vec<(u64, u64)> {
        let (mut missing, at) = (Missing::after(known, &[], Instant::now()), Instant::now());
        for id in ids {
            missing.hear(&tick(*id), at, PATIENCE);
        }
        assert!(missing.due(at).is_none(), "nothing is asked for at once");
        std::iter::from_fn(|| missing.due(at + PATIENCE))
            .map(|hole| (hole.first, hole.last))
            .collect()
    }

    #[test]
    fn a_hole_is_what_lies_between_two_ids() {
        assert_eq!(holes(None, &[5, 6, 7]), []);
        assert_eq!(holes(None, &[5, 9, 10, 12]), [(6, 8), (11, 11)]);
        assert_eq!(holes(Some(3), &[5]), [(4, 4)]);
        assert_eq!(holes(Some(3), &[4, 5]), []);
    }

    #[test]
    fn trades_out_of_order_or_told_twice_leave_no_hole() {
        assert_eq!(holes(None, &[5, 7, 6, 8, 8, 5, 1]), []);
        assert_eq!(holes(None, &[5, 10, 7]), [(6, 6), (8, 9)]);
    }

    #[test]
    fn a_hole_is_asked_for_once_and_again_when_it_is_put_back() {
        let (mut missing, at) = (Missing::after(Some(1), &[], Instant::now()), Instant::now());
        missing.hear(&tick(10), at, PATIENCE);
        let hole = missing.due(at + PATIENCE).unwrap();
        assert_eq!(missing.due(at + PATIENCE), None);
        missing.hear(&tick(5), at, PATIENCE);

        missing.put_back(&hole, Hole { first: 6, ..hole }, at + PATIENCE * 2);

        assert_eq!(missing.due(at + PATIENCE), None);
        let again = missing.due(at + PATIENCE * 2).unwrap();
        assert_eq!((again.first, again.last), (6, 9));
        missing.close(&again);
        assert_eq!(missing.due(at + PATIENCE * 2), None);
    }

    #[test]
    fn holes_are_bounded_and_none_is_forgotten() {
        let ids: Vec<u64> = (0..=300).map(|id| id * 2).collect();
        let holes = holes(None, &ids);

        assert_eq!(holes.len(), HOLES_MAX);
        assert!((1..600).step_by(2).all(|id| holes.iter().any(|(a, b)| (*a..=*b).contains(&id))));
    }
}
