use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{StreamExt, stream};

use super::meter::Meter;
use crate::{
    Error, ErrorKind, Ledger, Model, ModelEvent, ModelRequest, ModelStream, ModelTable, OverBudget, Usage,
};

/// The turn's model, for others than the turn itself: what they use is bounded and counted all the same.
pub(super) struct Metered<M> {
    pub(super) model: Arc<M>,
    pub(super) ledger: Ledger,
    pub(super) models: Arc<ModelTable>,
    pub(super) seen: Seen,
}

/// What became of the calls of a [`Metered`] model.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(Arc<Mutex<(Usage, Option<OverBudget>)>>);

impl Seen {
    /// What the calls that are over used.
    pub(super) fn used(&self) -> Usage {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    /// The bound that forbade one.
    pub(super) fn over(&self) -> Option<OverBudget> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    fn note(&self, event: &ModelEvent, last: &mut Usage) {
        match event {
            ModelEvent::Usage(used) => *last = *used,
            ModelEvent::Restarted { .. } | ModelEvent::Stop(_) => {
                self.0.lock().unwrap_or_else(PoisonError::into_inner).0 += std::mem::take(last);
            }
            _ => {}
        }
    }
}

impl<M: Model> Model for Metered<M> {
    fn name(&self) -> &str {
        self.model.name()
    }

    fn call(&self, request: ModelRequest) -> ModelStream {
        if let Err(over) = self.ledger.begin_step() {
            self.seen.0.lock().unwrap_or_else(PoisonError::into_inner).1 = Some(over);
            let error = Error::new(ErrorKind::LimitExceeded, "call model")
                .with_message(format!("the budget of {} is used up", over.kind));
            return stream::iter([Err(error)]).boxed();
        }
        let model = request.settings.model.clone();
        let mut meter = Meter::new(self.ledger.clone(), self.models.clone(), model);
        let (seen, mut last) = (self.seen.clone(), Usage::default());
        let answer = self.model.call(request);
        answer
            .inspect(move |event| {
                if let Ok(event) = event {
                    meter.push(event);
                    seen.note(event, &mut last);
                }
            })
            .boxed()
    }
}

impl<M> fmt::Debug for Metered<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metered").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}
