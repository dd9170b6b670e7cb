//! What an agent does, as `tracing` spans and metrics with the names of OpenTelemetry's conventions for generative AI.

mod chat;
mod content;
mod metrics;
mod tool;
mod turn;

use std::{fmt, sync::Arc};

use agentx_resource::{Clock, Secret};
use tracing::Span;

use self::{chat::TracedModel, turn::TracedDriver};
use crate::{Driver, Error, ErrorKind, Model};

/// Tells of turns, model calls and tool calls through [`tracing`], by the names of OpenTelemetry's [conventions for
/// generative AI], version 1.41.
///
/// | span | is | its parent |
/// |---|---|---|
/// | `invoke_agent {gen_ai.agent.name}` | a turn | where the host runs it: none |
/// | `chat {gen_ai.request.model}` | a model call, its retries included | the turn, or what else calls |
/// | `execute_tool {gen_ai.tool.name}` | a tool call that runs | the turn |
///
/// The spans have the target `gen_ai` and the level `INFO`. What failed has `error.type`: the error's kind, `interrupted`
/// or `budget` of a turn, `cancelled` of a call that was dropped, `tool_error` of a tool that says so itself.
/// Metrics are events of the target `gen_ai.metrics`, in the form that the metrics layer of `tracing-opentelemetry` takes:
/// `histogram.gen_ai.client.operation.duration` and `…time_to_first_chunk` in seconds, `histogram.gen_ai.client.token.usage`.
///
/// What is said and done is not shown, unless [`with_content`](Self::with_content) asks for it. Whoever subscribes to
/// nothing pays next to nothing: neither spans nor wrappers are made.
///
/// ```
/// use agentx_core::{Reply, ScriptedModel, ToolLoop, telemetry::Telemetry};
/// use agentx_resource::memory::ManualClock;
/// use std::sync::Arc;
///
/// let telemetry = Telemetry::new("scripted", Arc::new(ManualClock::default()));
/// let model = ScriptedModel::replies([Reply::text("Hello.")]);
/// let driver = telemetry.driver(ToolLoop::new(telemetry.model(model)));
/// # let _ = driver;
/// ```
///
/// [conventions for generative AI]: https://opentelemetry.io/docs/specs/semconv/gen-ai/
#[derive(Clone)]
pub struct Telemetry(Arc<Options>);

#[derive(Clone)]
struct Options {
    provider: String,
    clock: Arc<dyn Clock>,
    content: bool,
    secrets: Vec<Secret>,
}

impl Telemetry {
    /// Of the models of `provider`, by the convention's name for it: `anthropic`, `openai`, `aws.bedrock`. `clock` measures
    /// how long calls take.
    pub fn new(provider: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Options { provider: provider.into(), clock, content: false, secrets: Vec::new() }))
    }

    /// Shows what is said and done too: the system prompt, messages, the input and output of tools. Each text is cut to
    /// 16 KiB, and of a conversation the latest 64 KiB are shown. Images and files are left out.
    pub fn with_content(mut self) -> Self {
        Arc::make_mut(&mut self.0).content = true;
        self
    }

    /// Replaces these values by `[redacted]` in what is shown. Values shorter than 8 bytes are left alone.
    pub fn with_secrets(mut self, secrets: impl IntoIterator<Item = Secret>) -> Self {
        Arc::make_mut(&mut self.0).secrets.extend(secrets);
        self
    }

    /// Tells of the calls of a model.
    pub fn model<M: Model>(&self, model: M) -> TracedModel<M> {
        TracedModel::new(self.clone(), model)
    }

    /// Tells of the turns of a driver, and of the tools that they run.
    pub fn driver<D: Driver>(&self, driver: D) -> TracedDriver<D> {
        TracedDriver::new(self.clone(), driver)
    }

    fn provider(&self) -> &str {
        &self.0.provider
    }

    /// Whether a span shows content.
    fn shows(&self, span: &Span) -> bool {
        self.0.content && !span.is_disabled()
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry")
            .field("provider", &self.0.provider)
            .field("content", &self.0.content)
            .finish_non_exhaustive()
    }
}

/// A kind of error as an attribute has it: words of no user, and few of them.
fn error_type(kind: ErrorKind) -> String {
    kind.as_str().replace(' ', "_")
}

/// Notes on a span that its work failed.
fn fail(span: &Span, error_type: &str) {
    span.record("error.type", error_type);
    span.record("otel.status_code", "ERROR");
}

/// Notes an error. Its words may be a user's or a provider's: they are content.
fn fail_with(telemetry: &Telemetry, span: &Span, error: &Error) {
    fail(span, &error_type(error.kind()));
    if telemetry.shows(span) {
        span.record("otel.status_description", content::text(telemetry, &error.to_string()).as_str());
    }
}
