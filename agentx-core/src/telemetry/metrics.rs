//! Metrics, as events that a layer turns into measurements.

use std::time::Duration;

use crate::Usage;

/// Whether anybody listens. A layer for metrics knows them by the names of their fields.
pub(super) fn enabled() -> bool {
    tracing::event_enabled!(
        target: "gen_ai.metrics",
        tracing::Level::INFO,
        histogram.gen_ai.client.operation.duration
    )
}

/// What all measurements of a call have in common.
pub(super) struct Call<'c> {
    pub(super) provider: &'c str,
    pub(super) requested: &'c str,
    pub(super) answered: Option<&'c str>,
    pub(super) error: Option<&'c str>,
}

/// One measurement. A macro, since the names of fields are part of the place in the program.
macro_rules! measure {
    ($call:ident, $name:literal = $value:expr $(, $key:literal = $attribute:expr)*) => {
        tracing::event!(
            target: "gen_ai.metrics",
            tracing::Level::INFO,
            gen_ai.operation.name = "chat",
            "gen_ai.provider.name" = $call.provider,
            "gen_ai.request.model" = $call.requested,
            "gen_ai.response.model" = $call.answered,
            $($key = $attribute,)*
            $name = $value,
        )
    };
}

impl Call<'_> {
    pub(super) fn tell(&self, duration: Duration, first: Option<Duration>, usage: &Usage) {
        let seconds = duration.as_secs_f64();
        measure!(self, "histogram.gen_ai.client.operation.duration" = seconds, "error.type" = self.error);
        if let Some(first) = first.map(|first| first.as_secs_f64()) {
            measure!(self, "histogram.gen_ai.client.operation.time_to_first_chunk" = first);
        }
        if *usage != Usage::default() {
            let (input, output) = (usage.total_input(), usage.output_tokens);
            measure!(self, "histogram.gen_ai.client.token.usage" = input, "gen_ai.token.type" = "input");
            measure!(self, "histogram.gen_ai.client.token.usage" = output, "gen_ai.token.type" = "output");
        }
    }
}
