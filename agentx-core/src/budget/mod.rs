//! What turns may use, and what they have used.

mod ledger;
mod money;
mod spent;

use std::time::Duration;

pub use self::{
    ledger::{Ledger, OverBudget},
    money::MicroDollars,
    spent::Spent,
};

/// Bounds. Each is checked before the turn, model call or tool call begins that would go beyond it: what has begun is
/// finished, and counts. A turn that reaches a bound of its own ends with
/// [`Outcome::Budget`](crate::Outcome::Budget); one that reaches a bound that it shares, its session's for example, with
/// [`Outcome::SharedBudget`](crate::Outcome::SharedBudget).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Budget {
    /// The most turns: of use where several share the budget.
    pub turns: Option<u32>,
    /// The most model calls.
    pub steps: u32,
    /// The most tool calls that run.
    pub tool_calls: u32,
    /// The most output tokens.
    pub output_tokens: Option<u64>,
    /// The most tokens in all: input, cached or not, and output.
    pub tokens: Option<u64>,
    /// The most money. A model without a known price is then not asked.
    pub cost: Option<MicroDollars>,
    /// The longest time, waits for approvals included. It is the one bound that also ends what has begun. As with the
    /// others, it is the driver that keeps it: [`TurnFrame::deadline`](crate::TurnFrame::deadline) tells one of your own.
    pub duration: Option<Duration>,
}

impl Budget {
    /// No bounds.
    pub fn unbounded() -> Self {
        Self {
            turns: None,
            steps: u32::MAX,
            tool_calls: u32::MAX,
            output_tokens: None,
            tokens: None,
            cost: None,
            duration: None,
        }
    }

    /// With at most so many turns.
    pub fn with_turns(mut self, turns: u32) -> Self {
        self.turns = Some(turns);
        self
    }

    /// With at most so many model calls.
    pub fn with_steps(mut self, steps: u32) -> Self {
        self.steps = steps;
        self
    }

    /// With at most so many tool calls.
    pub fn with_tool_calls(mut self, tool_calls: u32) -> Self {
        self.tool_calls = tool_calls;
        self
    }

    /// With at most so many output tokens.
    pub fn with_output_tokens(mut self, tokens: u64) -> Self {
        self.output_tokens = Some(tokens);
        self
    }

    /// With at most so many tokens, input and output.
    pub fn with_tokens(mut self, tokens: u64) -> Self {
        self.tokens = Some(tokens);
        self
    }

    /// With at most so much money.
    pub fn with_cost(mut self, cost: MicroDollars) -> Self {
        self.cost = Some(cost);
        self
    }

    /// For at most this long.
    pub fn with_duration(mut self, duration: Duration) -> Self {
        self.duration = Some(duration);
        self
    }
}

/// 100 model calls, 1,000 tool calls; no bound on the rest.
impl Default for Budget {
    fn default() -> Self {
        Self { steps: 100, tool_calls: 1000, ..Self::unbounded() }
    }
}
