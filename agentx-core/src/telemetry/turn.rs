use std::{
    fmt, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{Stream, StreamExt};
use tracing::{Span, field::Empty};

use super::{Telemetry, chat::record_usage, fail, fail_with, tool::TracedTool};
use crate::{Driver, DriverEvent, DriverStream, Outcome, Turn, TurnEnd};

/// A driver whose turns are told: see [`Telemetry::driver`](super::Telemetry::driver).
pub struct TracedDriver<D> {
    telemetry: Telemetry,
    driver: D,
}

impl<D> TracedDriver<D> {
    pub(super) fn new(telemetry: Telemetry, driver: D) -> Self {
        Self { telemetry, driver }
    }
}

impl<D: Driver> Driver for TracedDriver<D> {
    fn name(&self) -> &str {
        self.driver.name()
    }

    fn start(&self, mut turn: Turn) -> DriverStream {
        let span = tracing::info_span!(
            target: "gen_ai",
            "invoke_agent",
            "otel.name" = Empty,
            "otel.kind" = "internal",
            "otel.status_code" = Empty,
            "otel.status_description" = Empty,
            "error.type" = Empty,
            "gen_ai.operation.name" = "invoke_agent",
            "gen_ai.provider.name" = self.telemetry.provider(),
            "gen_ai.agent.name" = turn.agent_name.as_deref(),
            "gen_ai.conversation.id" = turn.session.as_ref().map(crate::SessionId::as_str),
            "gen_ai.request.model" = turn.settings.model.as_deref(),
            "gen_ai.usage.input_tokens" = Empty,
            "gen_ai.usage.output_tokens" = Empty,
            "gen_ai.usage.cache_read.input_tokens" = Empty,
            "gen_ai.usage.cache_creation.input_tokens" = Empty,
            "gen_ai.usage.reasoning.output_tokens" = Empty,
            "agentx.turn.outcome" = Empty,
        );
        if span.is_disabled() {
            return self.driver.start(turn);
        }
        let name = match &turn.agent_name {
            Some(name) => format!("invoke_agent {name}"),
            None => "invoke_agent".to_owned(),
        };
        span.record("otel.name", name.as_str());
        turn.tools = turn.tools.wrapped(|tool| Arc::new(TracedTool::new(self.telemetry.clone(), tool)));
        let events = span.in_scope(|| self.driver.start(turn));
        TracedTurn { events, span: TurnSpan { telemetry: self.telemetry.clone(), span } }.boxed()
    }
}

impl<D: fmt::Debug> fmt::Debug for TracedDriver<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TracedDriver").field(&self.driver).finish()
    }
}

/// A turn as it happens. What runs in it ends before its span does.
struct TracedTurn {
    events: DriverStream,
    span: TurnSpan,
}

impl Stream for TracedTurn {
    type Item = DriverEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<DriverEvent>> {
        let this = &mut *self;
        let polled = {
            let _entered = this.span.span.enter();
            this.events.poll_next_unpin(context)
        };
        if let Poll::Ready(Some(DriverEvent::End(end))) = &polled {
            this.span.end(end);
        }
        polled
    }
}

struct TurnSpan {
    telemetry: Telemetry,
    span: Span,
}

impl TurnSpan {
    fn end(&mut self, end: &TurnEnd) {
        let span = mem::replace(&mut self.span, Span::none());
        span.record("agentx.turn.outcome", end.outcome.as_str());
        if let Some(spent) = &end.spent {
            record_usage(&span, &spent.usage);
        }
        match &end.outcome {
            Outcome::Failed(error) => fail_with(&self.telemetry, &span, error),
            Outcome::Budget(_) | Outcome::SharedBudget(_) => fail(&span, "budget"),
            Outcome::Interrupted => fail(&span, "interrupted"),
            Outcome::Completed | Outcome::Truncated | Outcome::Refused | Outcome::Paused => {}
        }
    }
}

impl Drop for TurnSpan {
    fn drop(&mut self) {
        if !self.span.is_none() {
            self.end(&TurnEnd::new(Outcome::Interrupted));
        }
    }
}
