use std::{fmt, iter::Sum};

use super::Billed;

/// An amount of money: 10^-9 US dollars each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NanoDollars(u128);

impl NanoDollars {
    const DOLLAR: u128 = 1_000_000_000;

    /// So many billionths of a dollar.
    pub const fn new(nanos: u128) -> Self {
        Self(nanos)
    }

    /// The amount in billionths of a dollar.
    pub const fn nanos(self) -> u128 {
        self.0
    }

    /// The amount in whole cents, rounded to the nearest.
    pub fn cents(self) -> u128 {
        const CENT: u128 = NanoDollars::DOLLAR / 100;
        self.0.saturating_add(CENT / 2) / CENT
    }
}

/// With all nine digits behind the point.
impl fmt::Display for NanoDollars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${}.{:09}", self.0 / Self::DOLLAR, self.0 % Self::DOLLAR)
    }
}

impl Sum for NanoDollars {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), |sum, amount| Self(sum.0.saturating_add(amount.0)))
    }
}

/// What each item comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bill {
    /// The items of which something was used.
    pub lines: Vec<Line>,
}

/// One item of a bill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Line {
    /// What was used.
    pub item: Billed,
    /// How much, in the item's unit.
    pub quantity: u64,
    /// How much of that is charged: all, or what lies above what the plan includes.
    pub charged: u64,
    /// What is charged for it.
    pub amount: NanoDollars,
}

impl Bill {
    /// The sum.
    pub fn total(&self) -> NanoDollars {
        self.lines.iter().map(|line| line.amount).sum()
    }

    /// What one item comes to.
    pub fn of(&self, item: Billed) -> NanoDollars {
        self.lines.iter().filter(|line| line.item == item).map(|line| line.amount).sum()
    }
}
