use std::{fmt, ops::AddAssign};

use serde::{Deserialize, Serialize};

/// An amount of money, in millionths of a US dollar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MicroDollars(u64);

impl MicroDollars {
    /// So many millionths of a dollar.
    pub const fn new(micros: u64) -> Self {
        Self(micros)
    }

    /// So many cents.
    pub const fn from_cents(cents: u64) -> Self {
        Self(cents.saturating_mul(10_000))
    }

    /// So many dollars.
    pub const fn from_dollars(dollars: u64) -> Self {
        Self(dollars.saturating_mul(1_000_000))
    }

    /// The amount in millionths of a dollar.
    pub const fn as_micros(self) -> u64 {
        self.0
    }
}

impl AddAssign for MicroDollars {
    fn add_assign(&mut self, other: Self) {
        self.0 = self.0.saturating_add(other.0);
    }
}

/// As `$1.234567`.
impl fmt::Display for MicroDollars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}
