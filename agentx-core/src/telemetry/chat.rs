use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use futures::{Stream, StreamExt};
use tracing::{Span, field::Empty};

use super::{Telemetry, content, error_type, fail, fail_with, metrics};
use crate::{
    BlockChange, Error, MessageAssembler, Model, ModelEvent, ModelRequest, ModelStream, Result, StopReason,
    Usage,
};

/// A model whose calls are told: see [`Telemetry::model`](super::Telemetry::model).
pub struct TracedModel<M> {
    telemetry: Telemetry,
    model: M,
}

impl<M> TracedModel<M> {
    pub(super) fn new(telemetry: Telemetry, model: M) -> Self {
        Self { telemetry, model }
    }
}

impl<M: Model> Model for TracedModel<M> {
    fn name(&self) -> &str {
        self.model.name()
    }

    fn call(&self, request: ModelRequest) -> ModelStream {
        let model = request.settings.model.as_deref().unwrap_or(self.model.name());
        let span = tracing::info_span!(
            target: "gen_ai",
            "chat",
            "otel.name" = Empty,
            "otel.kind" = "client",
            "otel.status_code" = Empty,
            "otel.status_description" = Empty,
            "error.type" = Empty,
            "gen_ai.operation.name" = "chat",
            "gen_ai.provider.name" = self.telemetry.provider(),
            "gen_ai.request.model" = model,
            "gen_ai.request.max_tokens" = request.settings.max_tokens,
            "gen_ai.request.stream" = true,
            "gen_ai.response.model" = Empty,
            "gen_ai.response.finish_reasons" = Empty,
            "gen_ai.response.time_to_first_chunk" = Empty,
            "gen_ai.usage.input_tokens" = Empty,
            "gen_ai.usage.output_tokens" = Empty,
            "gen_ai.usage.cache_read.input_tokens" = Empty,
            "gen_ai.usage.cache_creation.input_tokens" = Empty,
            "gen_ai.usage.reasoning.output_tokens" = Empty,
            "gen_ai.system_instructions" = Empty,
            "gen_ai.input.messages" = Empty,
            "gen_ai.output.messages" = Empty,
        );
        if span.is_disabled() && !metrics::enabled() {
            return self.model.call(request);
        }
        if !span.is_disabled() {
            span.record("otel.name", format!("chat {model}").as_str());
        }
        let mut said = None;
        if self.telemetry.shows(&span) {
            if let Some(system) = &request.system {
                span.record("gen_ai.system_instructions", content::system(&self.telemetry, system).as_str());
            }
            let asked = content::messages(&self.telemetry, &request.messages);
            span.record("gen_ai.input.messages", asked.as_str());
            said = Some(MessageAssembler::new());
        }
        let call = Call {
            started: self.telemetry.0.clock.now(),
            telemetry: self.telemetry.clone(),
            requested: model.to_owned(),
            answered: None,
            first: None,
            usage: Usage::default(),
            said,
            over: false,
            span: span.clone(),
        };
        let answer = span.in_scope(|| self.model.call(request));
        TracedAnswer { answer, call }.boxed()
    }
}

impl<M: fmt::Debug> fmt::Debug for TracedModel<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TracedModel").field(&self.model).finish()
    }
}

/// An answer as it comes. It ends before its span does.
struct TracedAnswer {
    answer: ModelStream,
    call: Call,
}

impl Stream for TracedAnswer {
    type Item = Result<ModelEvent>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let polled = {
            let _entered = this.call.span.enter();
            this.answer.poll_next_unpin(context)
        };
        match &polled {
            Poll::Ready(Some(Ok(event))) => this.call.hear(event),
            Poll::Ready(Some(Err(error))) => this.call.fail(error),
            Poll::Ready(None) if !this.call.over => this.call.end(Some("truncated")),
            Poll::Ready(None) | Poll::Pending => {}
        }
        polled
    }
}

/// What is known of a call.
struct Call {
    telemetry: Telemetry,
    span: Span,
    started: SystemTime,
    requested: String,
    answered: Option<String>,
    first: Option<Duration>,
    usage: Usage,
    /// What the model says, where that is shown.
    said: Option<MessageAssembler>,
    over: bool,
}

impl Call {
    fn hear(&mut self, event: &ModelEvent) {
        if let Some(said) = &mut self.said {
            said.push(event);
        }
        match event {
            ModelEvent::Start { model } => {
                self.span.record("gen_ai.response.model", model.as_str());
                self.answered = Some(model.clone());
            }
            ModelEvent::Block { change: BlockChange::Start(_), .. } if self.first.is_none() => {
                let first = self.elapsed();
                self.span.record("gen_ai.response.time_to_first_chunk", first.as_secs_f64());
                self.first = Some(first);
            }
            ModelEvent::Usage(usage) => self.usage = *usage,
            ModelEvent::Stop(reason) => self.stop(reason),
            _ => {}
        }
    }

    fn stop(&mut self, reason: &StopReason) {
        // Attributes of spans are no lists here: this is one, as JSON.
        let reasons = format!("[{:?}]", reason.as_str());
        self.span.record("gen_ai.response.finish_reasons", reasons.as_str());
        if let Some(said) = self.said.take() {
            let said = content::answer(&self.telemetry, &said.finish(), reason);
            self.span.record("gen_ai.output.messages", said.as_str());
        }
        self.end(None);
    }

    fn fail(&mut self, error: &Error) {
        fail_with(&self.telemetry, &self.span, error);
        self.end(Some(&error_type(error.kind())));
    }

    fn end(&mut self, error: Option<&str>) {
        if mem::replace(&mut self.over, true) {
            return;
        }
        if let Some(error) = error {
            fail(&self.span, error);
        }
        let usage = self.usage;
        if usage != Usage::default() {
            record_usage(&self.span, &usage);
        }
        metrics::Call {
            provider: self.telemetry.provider(),
            requested: &self.requested,
            answered: self.answered.as_deref(),
            error,
        }
        .tell(self.elapsed(), self.first, &usage);
        // It is over now, not when whoever asked lets go of the answer.
        self.span = Span::none();
    }

    fn elapsed(&self) -> Duration {
        self.telemetry.0.clock.now().duration_since(self.started).unwrap_or_default()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(Some("cancelled"));
    }
}

/// What was used. By the convention, input is all input, that of caches included.
pub(super) fn record_usage(span: &Span, usage: &Usage) {
    span.record("gen_ai.usage.input_tokens", usage.total_input());
    span.record("gen_ai.usage.output_tokens", usage.output_tokens);
    let rest = [
        ("gen_ai.usage.cache_read.input_tokens", usage.cache_read_input_tokens),
        ("gen_ai.usage.cache_creation.input_tokens", usage.cache_creation_input_tokens),
        ("gen_ai.usage.reasoning.output_tokens", usage.thinking_tokens),
    ];
    for (name, count) in rest.into_iter().filter(|(_, count)| *count > 0) {
        span.record(name, count);
    }
}
