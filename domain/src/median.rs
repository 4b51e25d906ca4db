//! The median of the newest samples.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Keeps the newest `N` samples in order of size, so that the median is at hand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Median<const N: usize> {
    newest: VecDeque<i64>,
    sorted: Vec<i64>,
}

impl<const N: usize> Median<N> {
    /// Takes in a sample; the oldest goes when there are more than `N`.
    pub fn push(&mut self, sample: i64) {
        self.newest.push_back(sample);
        let (Ok(place) | Err(place)) = self.sorted.binary_search(&sample);
        self.sorted.insert(place, sample);
        if self.newest.len() > N
            && let Some(oldest) = self.newest.pop_front()
            && let Ok(place) = self.sorted.binary_search(&oldest)
        {
            self.sorted.remove(place);
        }
    }

    /// Returns how many samples there are, at most `N`.
    pub fn samples(&self) -> usize {
        self.sorted.len()
    }

    /// Returns the upper median; `None` before the first sample.
    pub fn get(&self) -> Option<i64> {
        self.sorted.get(self.sorted.len() / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_that_of_the_newest_samples() {
        let mut median = Median::<3>::default();
        assert_eq!(median.get(), None);

        let medians = [5, 1, 9, 9, 2, 2].map(|sample| {
            median.push(sample);
            median.get().unwrap()
        });

        assert_eq!(medians, [5, 5, 5, 9, 9, 2]);
    }
}
