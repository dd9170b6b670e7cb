//! What was exported.

use opentelemetry::{Value, trace::TracerProvider};
use opentelemetry_sdk::{
    metrics::{
        InMemoryMetricExporter, PeriodicReader, SdkMeterProvider,
        data::{Metric, ResourceMetrics, ScopeMetrics},
    },
    trace::{InMemorySpanExporter, SdkTracerProvider, SpanData},
};
use tracing::subscriber::DefaultGuard;
use tracing_opentelemetry::MetricsLayer;
use tracing_subscriber::layer::SubscriberExt;

/// The spans of this thread from here on.
pub(crate) struct Spans {
    exporter: InMemorySpanExporter,
    _provider: SdkTracerProvider,
    _guard: DefaultGuard,
}

impl Spans {
    pub(crate) fn listen() -> Self {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("agentx"));
        let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
        Self { exporter, _provider: provider, _guard: guard }
    }

    /// Those that were closed since this was last asked.
    pub(crate) fn finished(&self) -> Finished {
        let spans = self.exporter.get_finished_spans().unwrap();
        self.exporter.reset();
        Finished(spans.into_iter().map(Span).collect())
    }
}

/// Closed spans.
pub(crate) struct Finished(pub(crate) Vec<Span>);

impl Finished {
    pub(crate) fn named(&self, name: &str) -> Vec<&Span> {
        let mut spans: Vec<_> = self.0.iter().filter(|span| span.name == name).collect();
        spans.sort_by_key(|span| span.start_time);
        spans
    }

    pub(crate) fn one(&self, name: &str) -> &Span {
        let spans = self.named(name);
        assert_eq!(spans.len(), 1, "{name}: {:?}", tree(self));
        spans[0]
    }

    /// No attribute, status or event holds any of this.
    pub(crate) fn assert_without(&self, texts: &[&str]) {
        for span in &self.0 {
            let all = format!("{:?}", span.0);
            for text in texts {
                assert!(!all.contains(text), "{text:?} in {all}");
            }
        }
    }
}

pub(crate) struct Span(SpanData);

impl std::ops::Deref for Span {
    type Target = SpanData;

    fn deref(&self) -> &SpanData {
        &self.0
    }
}

impl Span {
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.attributes.iter().find(|one| one.key.as_str() == key).map(|one| &one.value)
    }

    pub(crate) fn text(&self, key: &str) -> String {
        self.get(key).unwrap_or_else(|| panic!("{key} of {}: {:?}", self.name, self.attributes)).to_string()
    }

    pub(crate) fn number(&self, key: &str) -> u64 {
        self.text(key).parse().unwrap()
    }
}

/// The names, each below its parent, in their order by name.
pub(crate) fn tree(spans: &Finished) -> Vec<String> {
    let mut lines = Vec::new();
    let known = |span: &Span| spans.0.iter().any(|one| one.span_context.span_id() == span.parent_span_id);
    let mut roots: Vec<_> = spans.0.iter().filter(|span| !known(span)).collect();
    roots.sort_by_key(|span| span.start_time);
    for root in roots {
        below(spans, root, 0, &mut lines);
    }
    lines
}

fn below(spans: &Finished, span: &Span, depth: usize, lines: &mut Vec<String>) {
    lines.push(format!("{}{}", "  ".repeat(depth), span.name));
    let is_child = |one: &&Span| one.parent_span_id == span.span_context.span_id();
    let mut children: Vec<_> = spans.0.iter().filter(is_child).collect();
    children.sort_by_key(|span| (span.name.clone(), span.start_time));
    for child in children {
        below(spans, child, depth + 1, lines);
    }
}

/// The measurements of this thread from here on.
pub(crate) struct Metrics {
    exporter: InMemoryMetricExporter,
    provider: SdkMeterProvider,
    _guard: DefaultGuard,
}

impl Metrics {
    pub(crate) fn listen() -> Self {
        let exporter = InMemoryMetricExporter::default();
        let reader = PeriodicReader::builder(exporter.clone()).build();
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        let layer = MetricsLayer::new(provider.clone());
        let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
        Self { exporter, provider, _guard: guard }
    }

    /// All that was measured.
    pub(crate) fn collect(&self) -> Vec<ResourceMetrics> {
        self.provider.force_flush().unwrap();
        self.exporter.get_finished_metrics().unwrap()
    }
}

/// The metrics, by name.
pub(crate) fn by_name(measured: &[ResourceMetrics]) -> Vec<&Metric> {
    let scopes = measured.iter().flat_map(ResourceMetrics::scope_metrics);
    let mut metrics: Vec<_> = scopes.flat_map(ScopeMetrics::metrics).collect();
    metrics.sort_by(|one, other| one.name().cmp(other.name()));
    metrics
}
