use std::{mem, sync::Arc};

use agentx_core::{Ledger, MicroDollars, ModelEvent, ModelTable, Usage};

/// Counts what the turn's model calls use, however they end: an answer that is voided, cut off or dropped was paid for
/// too.
#[derive(Debug)]
pub(super) struct Tally {
    ledger: Ledger,
    models: Arc<ModelTable>,
    model: Option<String>,
    used: Usage,
    /// What was counted of the turn's cost, in millionths of a dollar.
    counted: u64,
}

impl Tally {
    pub(super) fn new(ledger: Ledger, models: Arc<ModelTable>) -> Self {
        Self { ledger, models, model: None, used: Usage::default(), counted: 0 }
    }

    pub(super) fn push(&mut self, event: &ModelEvent) {
        match event {
            ModelEvent::Start { model } => self.model = Some(model.clone()),
            // Counts are from the answer's beginning, so the last one is what counts.
            ModelEvent::Usage(used) => self.used = *used,
            ModelEvent::Restarted { .. } | ModelEvent::Stop(_) => self.count(),
            _ => {}
        }
    }

    /// Whether money is bounded and the answering model's price is not known.
    pub(super) fn lacks_price(&self) -> bool {
        let priced = |model: &String| self.models.get(model).is_some_and(|info| info.prices.is_some());
        self.ledger.bounds_cost() && !self.model.as_ref().is_some_and(priced)
    }

    /// Counts what the CLI says that the turn cost beyond what was counted: it makes calls of its own, and knows prices
    /// that the table does not.
    pub(super) fn settle(&mut self, dollars: f64) {
        self.count();
        let Some(cost) = micros(dollars) else { return };
        let beyond = cost.saturating_sub(self.counted);
        if beyond > 0 {
            self.ledger.add_call(Usage::default(), Some(MicroDollars::new(beyond)));
            self.counted = cost;
        }
    }

    fn count(&mut self) {
        let used = mem::take(&mut self.used);
        let cost = self.model.as_ref().and_then(|model| self.models.cost(model, &used));
        self.counted = self.counted.saturating_add(cost.map_or(0, MicroDollars::as_micros));
        self.ledger.add_call(used, cost);
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.count();
    }
}

/// An amount that the CLI tells, in millionths of a dollar; none for what is no amount.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is finite, not negative, and a cast stops at the largest number"
)]
fn micros(dollars: f64) -> Option<u64> {
    (dollars.is_finite() && dollars >= 0.0).then(|| (dollars * 1e6).round() as u64)
}

#[cfg(test)]
mod tests {
    use agentx_core::{Budget, Spent, StopReason};

    use super::*;

    #[test]
    fn the_clis_own_figure_tops_up_what_was_counted() {
        let ledger = Ledger::new(Budget::default(), Spent::default());
        let mut tally = Tally::new(ledger.clone(), Arc::new(ModelTable::known()));
        tally.push(&ModelEvent::Start { model: "of no price".into() });
        tally.push(&ModelEvent::Usage(Usage::new(10, 5)));
        tally.push(&ModelEvent::Stop(StopReason::EndTurn));
        tally.settle(0.25);
        tally.settle(f64::NAN);
        tally.settle(-1.0);
        drop(tally);
        let spent = ledger.spent();
        assert_eq!((spent.cost.as_micros(), spent.usage.total(), spent.unpriced_calls), (250_000, 15, 1));
    }
}
