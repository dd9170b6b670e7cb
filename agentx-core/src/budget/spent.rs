use std::time::Duration;

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
