use std::{
    fmt, iter,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{Budget, MicroDollars, Spent};
use crate::{BudgetKind, Outcome, Usage};

/// What is spent of a [`Budget`]: counted for itself, and for every ledger that it lies within. A turn's lies within its
/// session's, and that of a sub-agent's turn within the turn that called it. Cheap to clone; clones are the same ledger.
///
/// ```
/// use agentx_core::{Budget, Ledger, MicroDollars, Spent};
///
/// let session = Ledger::new(Budget::unbounded().with_cost(MicroDollars::from_dollars(5)), Spent::default());
/// let turn = Ledger::new(Budget::default(), Spent::default()).within(&session);
/// assert_eq!(turn.spent(), Spent::default());
/// ```
#[derive(Clone)]
pub struct Ledger(Arc<Account>);

struct Account {
    budget: Budget,
    spent: Mutex<Spent>,
    within: Option<Ledger>,
    /// A turn's. Its time passes within the time of the turn that it is part of, which is not counted twice.
    turn: bool,
}

/// A bound was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OverBudget {
    /// Which.
    pub kind: BudgetKind,
    /// Whether it belongs to a ledger around the one that was asked.
    pub shared: bool,
}

impl From<OverBudget> for Outcome {
    fn from(over: OverBudget) -> Self {
        if over.shared { Self::SharedBudget(over.kind) } else { Self::Budget(over.kind) }
    }
}

impl Ledger {
    /// A ledger of a budget of which so much was spent before.
    pub fn new(budget: Budget, spent: Spent) -> Self {
        Self(Arc::new(Account { budget, spent: Mutex::new(spent), within: None, turn: false }))
    }

    /// A new ledger of the same budget and as much spent, whose entries count for `outer` too.
    #[must_use]
    pub fn within(&self, outer: &Ledger) -> Self {
        let (budget, spent) = (self.0.budget.clone(), Mutex::new(self.spent()));
        Self(Arc::new(Account { budget, spent, within: Some(outer.clone()), turn: self.0.turn }))
    }

    pub(crate) fn of_turn(budget: Budget, within: Option<Ledger>) -> Self {
        Self(Arc::new(Account { budget, spent: Mutex::default(), within, turn: true }))
    }

    /// What was spent.
    pub fn spent(&self) -> Spent {
        *self.lock()
    }

    /// Whether a bound on money holds here or further out.
    pub fn bounds_cost(&self) -> bool {
        self.chain().any(|ledger| ledger.0.budget.cost.is_some())
    }

    /// The time that is left, where it is bounded here or further out.
    pub fn time_left(&self) -> Option<(Duration, OverBudget)> {
        self.chain()
            .enumerate()
            .filter_map(|(index, ledger)| {
                let left = ledger.0.budget.duration?.saturating_sub(ledger.lock().duration);
                Some((left, OverBudget { kind: BudgetKind::Duration, shared: index > 0 }))
            })
            .min_by_key(|(left, _)| *left)
    }

    /// Counts a turn that is about to begin.
    ///
    /// # Errors
    /// The bound that forbids it; nothing is counted then.
    pub fn begin_turn(&self) -> Result<(), OverBudget> {
        self.begin(
            |budget, spent| match budget.turns {
                Some(turns) if spent.turns >= turns => Some(BudgetKind::Turns),
                _ => None,
            },
            |spent| &mut spent.turns,
        )
    }

    /// Counts a model call that is about to begin.
    ///
    /// # Errors
    /// The bound that forbids it; nothing is counted then.
    pub fn begin_step(&self) -> Result<(), OverBudget> {
        self.begin(
            |budget, spent| {
                let steps = (spent.steps >= budget.steps).then_some(BudgetKind::Steps);
                steps.or_else(|| used_up(budget, spent))
            },
            |spent| &mut spent.steps,
        )
    }

    /// Counts a tool call that is about to begin.
    ///
    /// # Errors
    /// The bound that forbids it; nothing is counted then.
    pub fn begin_tool_call(&self) -> Result<(), OverBudget> {
        self.begin(
            |budget, spent| {
                let calls = (spent.tool_calls >= budget.tool_calls).then_some(BudgetKind::ToolCalls);
                calls.or_else(|| used_up(budget, spent))
            },
            |spent| &mut spent.tool_calls,
        )
    }

    /// Counts what a model call used; `cost` is none where the model's price is not known.
    pub fn add_call(&self, usage: Usage, cost: Option<MicroDollars>) {
        self.chain().for_each(|ledger| ledger.lock().add_call(usage, cost));
    }

    /// Counts the time of a turn that ends.
    pub(crate) fn add_time(&self, duration: Duration) {
        let outer = self.chain().skip(1).take_while(|ledger| !ledger.0.turn);
        for ledger in iter::once(self).chain(outer) {
            let mut spent = ledger.lock();
            spent.duration = spent.duration.saturating_add(duration);
        }
    }

    fn begin(
        &self,
        forbids: impl Fn(&Budget, &Spent) -> Option<BudgetKind>,
        count: impl Fn(&mut Spent) -> &mut u32,
    ) -> Result<(), OverBudget> {
        for (index, ledger) in self.chain().enumerate() {
            let mut spent = ledger.lock();
            if let Some(kind) = forbids(&ledger.0.budget, &spent) {
                drop(spent);
                for counted in self.chain().take(index) {
                    *count(&mut counted.lock()) -= 1;
                }
                return Err(OverBudget { kind, shared: index > 0 });
            }
            let counter = count(&mut spent);
            *counter = counter.saturating_add(1);
        }
        Ok(())
    }

    /// This ledger, then those around it.
    fn chain(&self) -> impl Iterator<Item = &Ledger> {
        iter::successors(Some(self), |ledger| ledger.0.within.as_ref())
    }

    fn lock(&self) -> MutexGuard<'_, Spent> {
        self.0.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn used_up(budget: &Budget, spent: &Spent) -> Option<BudgetKind> {
    let reached = |bound: Option<u64>, used: u64| bound.is_some_and(|bound| used >= bound);
    if reached(budget.output_tokens, spent.usage.output_tokens) {
        Some(BudgetKind::OutputTokens)
    } else if reached(budget.tokens, spent.usage.total()) {
        Some(BudgetKind::Tokens)
    } else if reached(budget.cost.map(MicroDollars::as_micros), spent.cost.as_micros()) {
        Some(BudgetKind::Cost)
    } else {
        None
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("budget", &self.0.budget)
            .field("spent", &self.spent())
            .field("within", &self.0.within)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(kind: BudgetKind, shared: bool) -> OverBudget {
        OverBudget { kind, shared }
    }

    #[test]
    fn what_is_refused_is_not_counted_anywhere() {
        let session = Ledger::new(Budget::unbounded().with_tool_calls(2), Spent::default());
        let turn = Ledger::of_turn(Budget::default(), Some(session.clone()));
        let nested = Ledger::of_turn(Budget::default().with_tool_calls(1), Some(turn.clone()));
        assert_eq!(nested.begin_tool_call(), Ok(()));
        assert_eq!(nested.begin_tool_call(), Err(over(BudgetKind::ToolCalls, false)));
        assert_eq!(turn.begin_tool_call(), Ok(()));
        assert_eq!(turn.begin_tool_call(), Err(over(BudgetKind::ToolCalls, true)));
        let counts = [&nested, &turn, &session].map(|ledger| ledger.spent().tool_calls);
        assert_eq!(counts, [1, 2, 2]);
    }

    #[test]
    fn tokens_and_money_of_inner_turns_count_for_the_outer() {
        let budget = Budget::unbounded().with_tokens(100).with_cost(MicroDollars::new(7));
        let outer = Ledger::of_turn(budget, None);
        let inner = Ledger::of_turn(Budget::default(), Some(outer.clone()));
        inner.add_call(Usage::new(90, 9), None);
        assert_eq!((outer.begin_step(), outer.spent().unpriced_calls), (Ok(()), 1));
        inner.add_call(Usage::default(), Some(MicroDollars::new(7)));
        assert_eq!(inner.begin_step(), Err(over(BudgetKind::Cost, true)));
        inner.add_call(Usage::new(1, 0), Some(MicroDollars::default()));
        assert_eq!(inner.begin_tool_call(), Err(over(BudgetKind::Tokens, true)));
        assert_eq!(outer.spent().steps, 1);
    }

    #[test]
    fn time_is_counted_once() {
        let second = Duration::from_secs(1);
        let session = Ledger::new(Budget::unbounded().with_duration(second * 10), Spent::default());
        let turn = Ledger::of_turn(Budget::default(), Some(session.clone()));
        let nested = Ledger::of_turn(Budget::default().with_duration(second * 20), Some(turn.clone()));
        nested.add_time(second);
        turn.add_time(second * 3);
        assert_eq!(
            [&nested, &turn, &session].map(|ledger| ledger.spent().duration),
            [1, 3, 3].map(|s| second * s)
        );
        assert_eq!(nested.time_left(), Some((second * 7, over(BudgetKind::Duration, true))));
    }
}
