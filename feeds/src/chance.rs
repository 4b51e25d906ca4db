//! Chance without state: what falls at a place depends on the seed and the place alone.

/// A place in a tree of draws. Each `at` goes to another, independent place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn of_seed(seed: u64) -> Self {
        Self(scramble(seed))
    }

    pub(crate) fn at(self, branch: u64) -> Self {
        Self(scramble(self.0 ^ scramble(branch)))
    }

    /// Returns a whole number from 0 to `limit - 1`.
    pub(crate) fn below(self, limit: u32) -> u32 {
        let scaled = (u128::from(self.0) * u128::from(limit)) >> 64;
        u32::try_from(scaled).unwrap_or(0)
    }

    /// Returns a number from 0 to 1.
    pub(crate) fn unit(self) -> f64 {
        f64::from(self.below(u32::MAX)) / f64::from(u32::MAX)
    }

    /// Returns a draw with mean 0 and deviation 1, nearly normal. It is a sum of four uniform
    /// draws, and so never beyond 3.5: prices keep within bounds.
    pub(crate) fn normal(self) -> f64 {
        let pieces = [0, 16, 32, 48].map(|bits| (self.0 >> bits) & 0xFFFF);
        let sum: u32 = pieces.iter().filter_map(|piece| u32::try_from(*piece).ok()).sum();
        (f64::from(sum) / 65_536.0 - 2.0) * 3_f64.sqrt()
    }
}

/// The finisher of splitmix64: each bit of the answer hangs on each bit of the value.
fn scramble(value: u64) -> u64 {
    let mut bits = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}
