use std::{mem, sync::Arc};

use crate::{Ledger, ModelEvent, ModelTable, Usage};

/// Counts what one model call uses, however it ends: an answer that is voided, cut off or dropped was paid for too.
pub(super) struct Meter {
    ledger: Ledger,
    models: Arc<ModelTable>,
    model: Option<String>,
    used: Usage,
}

impl Meter {
    pub(super) fn new(ledger: Ledger, models: Arc<ModelTable>, model: Option<String>) -> Self {
        Self { ledger, models, model, used: Usage::default() }
    }

    pub(super) fn push(&mut self, event: &ModelEvent) {
        match event {
            ModelEvent::Start { model } => self.model = Some(model.clone()),
            // Counts are from the answer's beginning, so the last one is what counts.
            ModelEvent::Usage(used) => self.used = *used,
            ModelEvent::Restarted { .. } => self.count(),
            _ => {}
        }
    }

    fn count(&mut self) {
        let used = mem::take(&mut self.used);
        let cost = self.model.as_ref().and_then(|model| self.models.cost(model, &used));
        self.ledger.add_call(used, cost);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.count();
    }
}
