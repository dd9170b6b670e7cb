use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use agentx_resource::cassette::Cassette;
use futures::{StreamExt, stream};
use serde_json::{Map, Value};

use super::{not_live, to_value};
use crate::{Model, ModelEvent, ModelRequest, ModelSettings, ModelStream, Result};

/// A model whose answers are on a cassette, event by event as they came.
///
/// Of a question only what is new is written down: `messages` begins with the message number `from`, and what is as in the
/// model's question before is left out. So a long conversation makes no longer lines, and a model that several agents ask
/// at the same time is given to each under a name of its own.
pub struct RecordedModel {
    shared: Arc<Shared>,
}

struct Shared {
    cassette: Cassette,
    /// By which a replay finds it again.
    port: String,
    name: String,
    live: Option<Arc<dyn Model>>,
    before: Mutex<Question>,
}

/// The last question, part by part.
#[derive(Default)]
struct Question {
    messages: Vec<Value>,
    rest: Map<String, Value>,
}

impl RecordedModel {
    /// The model of this name on a cassette. `make` is called to record, and not in a replay: that needs no key.
    ///
    /// # Errors
    /// Those of `make`; in a replay, `Diverged` where no model of this name was recorded.
    pub fn new<M: Model>(
        cassette: &Cassette,
        port: impl Into<String>,
        make: impl FnOnce() -> Result<M>,
    ) -> Result<Self> {
        let port = port.into();
        let live = if cassette.is_replay() { None } else { Some(Arc::new(make()?) as Arc<dyn Model>) };
        let name = cassette.constant("model.name", &port, || {
            live.as_ref().map(|model| model.name().to_owned()).ok_or_else(not_live)
        })?;
        let cassette = cassette.clone();
        Ok(Self { shared: Arc::new(Shared { cassette, port, name, live, before: Mutex::default() }) })
    }
}

impl Model for RecordedModel {
    fn name(&self) -> &str {
        &self.shared.name
    }

    fn call(&self, request: ModelRequest) -> ModelStream {
        let shared = self.shared.clone();
        let answer = async move {
            let question = shared.question(&request);
            let call = match shared.cassette.call("model.call", &shared.port, question).await {
                Ok(call) => call,
                Err(error) => return stream::iter([Err(error)]).boxed(),
            };
            let live = shared.live.as_ref().map(|model| model.call(request));
            let events = stream::unfold(Some((call, live)), |state| async move {
                let (call, mut live) = state?;
                let next = async {
                    match &mut live {
                        Some(live) => live.next().await.transpose(),
                        None => Err(not_live()),
                    }
                };
                match call.next::<ModelEvent>(next).await {
                    Ok(Some(event)) => Some((Ok(event), Some((call, live)))),
                    Ok(None) => None,
                    Err(error) => Some((Err(error), None)),
                }
            });
            events.boxed()
        };
        stream::once(answer).flatten().boxed()
    }
}

impl Shared {
    /// What is new in a question.
    fn question(&self, request: &ModelRequest) -> Value {
        let ModelRequest { system, messages, tools, settings } = request;
        let messages: Vec<Value> = messages.iter().map(to_value).collect();
        let rest = [
            ("system", Value::from(system.as_deref())),
            ("tools", tools.iter().map(to_value).collect()),
            ("settings", settings_of(settings)),
        ];
        let rest: Map<_, _> = rest.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();

        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let same = before.messages.iter().zip(&messages).take_while(|(old, new)| old == new).count();
        let mut question = Map::new();
        if same > 0 {
            question.insert("from".to_owned(), Value::from(same));
        }
        question.insert("messages".to_owned(), messages.iter().skip(same).cloned().collect());
        let new = rest.iter().filter(|(key, value)| before.rest.get(*key) != Some(*value));
        question.extend(new.map(|(key, value)| (key.clone(), value.clone())));
        *before = Question { messages, rest };
        Value::Object(question)
    }
}

/// What is set. All fields are named, so that none is forgotten.
fn settings_of(settings: &ModelSettings) -> Value {
    let ModelSettings {
        model,
        max_tokens,
        thinking,
        thinking_display,
        effort,
        stop_sequences,
        tool_choice,
        parallel_tool_calls,
        output_schema,
        server_tools,
    } = settings;
    let fields = [
        ("model", to_value(model)),
        ("max_tokens", to_value(max_tokens)),
        ("thinking", to_value(thinking)),
        ("thinking_display", to_value(thinking_display)),
        ("effort", to_value(effort)),
        ("stop_sequences", to_value(stop_sequences)),
        ("tool_choice", to_value(tool_choice)),
        ("parallel_tool_calls", to_value(parallel_tool_calls)),
        ("output_schema", output_schema.as_deref().cloned().unwrap_or_default()),
        ("server_tools", server_tools.iter().cloned().collect()),
    ];
    let is_set = |value: &Value| !value.is_null() && value.as_array().is_none_or(|items| !items.is_empty());
    let set = fields.into_iter().filter(|(_, value)| is_set(value));
    Value::Object(set.map(|(key, value)| (key.to_owned(), value)).collect())
}

impl fmt::Debug for RecordedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordedModel").field("name", &self.shared.name).finish_non_exhaustive()
    }
}
