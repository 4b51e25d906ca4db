//! One figure beside its yardstick: how it is measured, printed and judged.

use std::time::Duration;

use anyhow::Result;

/// Rounds of each row; an odd number has a median of its own.
const ROUNDS: usize = 9;

/// How far a ratio may miss its goal before `--check` fails.
pub const SLACK: f64 = 3.0;

/// What the ratio of ours to the yardstick is to reach.
#[derive(Clone, Copy)]
pub enum Goal {
    /// More is better.
    AtLeast(f64),
    /// Less is better.
    AtMost(f64),
}

/// One row: what is measured, its yardstick, and what the ratio is to reach.
pub struct Row {
    pub path: String,
    pub yardstick: &'static str,
    pub unit: &'static str,
    pub goal: Goal,
    pub ours: Vec<f64>,
    pub theirs: Vec<f64>,
}

impl Row {
    /// Runs both sides in turn. Each returns how much it did per second.
    pub async fn measure(
        path: &str,
        yardstick: &'static str,
        unit: &'static str,
        goal: Goal,
        ours: impl AsyncFnMut() -> Result<f64>,
        theirs: impl AsyncFnMut() -> Result<f64>,
    ) -> Result<Self> {
        Self::measured_in(ROUNDS, path, yardstick, unit, goal, ours, theirs).await
    }

    /// The same in another number of rounds: an odd one.
    pub async fn measured_in(
        rounds: usize,
        path: &str,
        yardstick: &'static str,
        unit: &'static str,
        goal: Goal,
        mut ours: impl AsyncFnMut() -> Result<f64>,
        mut theirs: impl AsyncFnMut() -> Result<f64>,
    ) -> Result<Self> {
        let path = path.to_owned();
        let mut row = Self { path, yardstick, unit, goal, ours: vec![], theirs: vec![] };
        // A round that is not counted warms caches and files.
        ours().await?;
        theirs().await?;
        for _ in 0..rounds {
            row.ours.push(ours().await?);
            row.theirs.push(theirs().await?);
        }
        Ok(row)
    }

    /// Prints the row; false when the ratio is far from what it is to reach.
    pub fn print(mut self) -> bool {
        let (ours, theirs) = (median(&mut self.ours), median(&mut self.theirs));
        let ratio = ours / theirs;
        let word = if self.goal.is_reached(ratio, 1.0) { "reached" } else { "MISSED" };
        println!(
            "| {} | {} | {ours:.0} {} | {theirs:.0} | {ratio:.2} | {} | {word} |",
            self.path,
            self.yardstick,
            self.unit,
            self.goal.text()
        );
        self.goal.is_reached(ratio, SLACK)
    }

    /// Prints a row without figures: what it takes is not on this machine.
    pub fn print_not_measured(path: &str, yardstick: &str, goal: Goal, reason: &str) {
        println!("| {path} | {yardstick} | not measured: {reason} | | | {} | |", goal.text());
    }
}

impl Goal {
    fn is_reached(self, ratio: f64, slack: f64) -> bool {
        match self {
            Self::AtLeast(least) => ratio * slack >= least,
            Self::AtMost(most) => ratio <= most * slack,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(least) => format!("{least:.2}"),
            Self::AtMost(most) => format!("≤ {most:.2}"),
        }
    }
}

pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Returns how much was done per second.
pub fn rate(done: usize, took: Duration) -> f64 {
    done as f64 / took.as_secs_f64()
}
