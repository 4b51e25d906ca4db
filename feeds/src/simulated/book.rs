//! The book of one slot.
//!
//! Prices are cut into cells, and each cell has one level, at a price that never changes. The cell
//! of the middle price stays empty; the cells below it are bids and those above it asks, so that a
//! book is never crossed. How much rests in a cell is drawn anew every ten seconds, for each cell
//! at a time of its own: from slot to slot, few levels change.

use std::ops::Range;

use crate::chance::Chance;

/// Levels on each side.
pub(super) const LEVELS: i64 = 60;

/// Slots for which a level keeps its size.
const LEVEL_SLOTS: u32 = 40;

/// How an instrument's levels lie.
#[derive(Debug, Clone)]
pub(super) struct Grid {
    pub(super) chance: Chance,
    /// Ticks from cell to cell.
    pub(super) cell_ticks: u32,
    /// Half of all levels hold more lots than this.
    pub(super) lots_median: f64,
}

/// The book of a slot, in ticks and lots: whole numbers of the smallest price and size.
#[derive(Debug, Clone)]
pub(super) struct Book<'a> {
    grid: &'a Grid,
    slot: u64,
    /// The cell of the middle price.
    middle: i64,
}

/// A level in ticks and lots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resting {
    pub(super) ticks: i64,
    pub(super) lots: i64,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Half {
    Bids,
    Asks,
}

impl<'a> Book<'a> {
    /// The book around a middle price.
    pub(super) fn around(middle_ticks: i64, slot: u64, grid: &'a Grid) -> Self {
        Self { grid, slot, middle: middle_ticks.div_euclid(i64::from(grid.cell_ticks)) }
    }

    pub(super) fn best(&self, half: Half) -> Resting {
        match half {
            Half::Bids => self.level(self.middle - 1),
            Half::Asks => self.level(self.middle + 1),
        }
    }

    /// Returns all levels of a half, the best first.
    pub(super) fn levels(&self, half: Half) -> Vec<Resting> {
        let cells = self.cells(half);
        match half {
            Half::Bids => cells.rev().map(|cell| self.level(cell)).collect(),
            Half::Asks => cells.map(|cell| self.level(cell)).collect(),
        }
    }

    /// Returns the levels of a half that differ from the book before, with zero lots where none
    /// is left.
    pub(super) fn changes(&self, before: &Book<'_>, half: Half) -> Vec<Resting> {
        let (old, new) = (before.cells(half), self.cells(half));
        let changed = |cell: &i64| match (old.contains(cell), new.contains(cell)) {
            (true, true) => before.drawn(*cell) != self.drawn(*cell),
            (was, is) => was != is,
        };
        (old.start.min(new.start)..old.end.max(new.end))
            .filter(changed)
            .map(|cell| {
                let gone = Resting { ticks: self.ticks(cell), lots: 0 };
                if new.contains(&cell) { self.level(cell) } else { gone }
            })
            .collect()
    }

    fn cells(&self, half: Half) -> Range<i64> {
        match half {
            Half::Bids => self.middle - LEVELS..self.middle,
            Half::Asks => self.middle + 1..self.middle + 1 + LEVELS,
        }
    }

    fn level(&self, cell: i64) -> Resting {
        let bell = self.chance(cell).at(self.drawn(cell)).normal();
        // At most e^3.5 = 33 medians, and always something.
        #[expect(clippy::cast_possible_truncation, reason = "far below 2^52")]
        let lots = (self.grid.lots_median * bell.exp()).round() as i64;
        Resting { ticks: self.ticks(cell), lots: lots.max(1) }
    }

    fn ticks(&self, cell: i64) -> i64 {
        let cell_ticks = self.grid.cell_ticks;
        cell * i64::from(cell_ticks) + i64::from(self.chance(cell).below(cell_ticks))
    }

    /// Returns which draw of a cell's size this slot sees.
    fn drawn(&self, cell: i64) -> u64 {
        let phase = self.chance(cell).at(0).below(LEVEL_SLOTS);
        (self.slot + u64::from(phase)) / u64::from(LEVEL_SLOTS)
    }

    fn chance(&self, cell: i64) -> Chance {
        self.grid.chance.at(cell.unsigned_abs())
    }
}
