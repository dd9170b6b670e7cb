use std::ops::AddAssign;

use super::Billed;

/// How much was used of what is billed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consumption([u64; Billed::ALL.len()]);

impl Consumption {
    /// Adds a quantity, in the item's unit.
    pub fn add(&mut self, item: Billed, quantity: u64) {
        if let Some(sum) = self.0.get_mut(item.index()) {
            *sum = sum.saturating_add(quantity);
        }
    }

    /// With a further quantity.
    pub fn with(mut self, item: Billed, quantity: u64) -> Self {
        self.add(item, quantity);
        self
    }

    /// The quantity, in the item's unit.
    pub fn of(&self, item: Billed) -> u64 {
        self.0.get(item.index()).copied().unwrap_or(0)
    }

    /// What was used since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self::each(|item| self.of(item).saturating_sub(earlier.of(item)))
    }

    /// So many times as much.
    pub fn times(&self, factor: u64) -> Self {
        Self::each(|item| self.of(item).saturating_mul(factor))
    }

    fn each(quantity: impl Fn(Billed) -> u64) -> Self {
        let mut result = Self::default();
        for item in Billed::ALL {
            result.add(*item, quantity(*item));
        }
        result
    }
}

impl AddAssign<&Self> for Consumption {
    fn add_assign(&mut self, other: &Self) {
        for item in Billed::ALL {
            self.add(*item, other.of(*item));
        }
    }
}

#[cfg(feature = "r2")]
impl From<crate::R2Usage> for Consumption {
    fn from(used: crate::R2Usage) -> Self {
        Self::default().with(Billed::R2ClassA, used.class_a).with(Billed::R2ClassB, used.class_b)
    }
}

#[cfg(feature = "d1")]
impl From<crate::D1Usage> for Consumption {
    fn from(used: crate::D1Usage) -> Self {
        Self::default().with(Billed::D1RowRead, used.rows_read).with(Billed::D1RowWritten, used.rows_written)
    }
}

#[cfg(feature = "kv")]
impl From<crate::KvUsage> for Consumption {
    fn from(used: crate::KvUsage) -> Self {
        Self::default().with(Billed::KvRead, used.reads).with(Billed::KvList, used.lists)
    }
}
