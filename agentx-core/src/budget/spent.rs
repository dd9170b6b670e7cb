use std::{ops::AddAssign, time::Duration};

use serde::{Deserialize, Serialize};

use super::MicroDollars;
use crate::Usage;

/// What turns have used of their [`Budget`](crate::Budget)s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Spent {
    /// Turns that began.
    pub turns: u32,
    /// Model calls that began.
    pub steps: u32,
    /// Tool calls that began.
    pub tool_calls: u32,
    /// Tokens, those of answers that were voided or cut off included.
    pub usage: Usage,
    /// Money, as far as prices are known.
    pub cost: MicroDollars,
    /// Model calls that used tokens of a model without a known price: what they cost is missing in `cost`.
    pub unpriced_calls: u32,
    /// Time within turns.
    pub duration: Duration,
}

impl Spent {
    /// What was spent since it was `before`.
    #[must_use]
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            turns: self.turns.saturating_sub(before.turns),
            steps: self.steps.saturating_sub(before.steps),
            tool_calls: self.tool_calls.saturating_sub(before.tool_calls),
            usage: self.usage.since(&before.usage),
            cost: MicroDollars::new(self.cost.as_micros().saturating_sub(before.cost.as_micros())),
            unpriced_calls: self.unpriced_calls.saturating_sub(before.unpriced_calls),
            duration: self.duration.saturating_sub(before.duration),
        }
    }

    /// Adds the use of a model call; `cost` is none where the model's price is not known.
    pub fn add_call(&mut self, usage: Usage, cost: Option<MicroDollars>) {
        self.usage += usage;
        match cost {
            Some(cost) => self.cost += cost,
            None if usage == Usage::default() => {}
            None => self.unpriced_calls = self.unpriced_calls.saturating_add(1),
        }
    }
}

/// Adds what other turns spent.
impl AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.turns = self.turns.saturating_add(other.turns);
        self.steps = self.steps.saturating_add(other.steps);
        self.tool_calls = self.tool_calls.saturating_add(other.tool_calls);
        self.usage += other.usage;
        self.cost += other.cost;
        self.unpriced_calls = self.unpriced_calls.saturating_add(other.unpriced_calls);
        self.duration = self.duration.saturating_add(other.duration);
    }
}
