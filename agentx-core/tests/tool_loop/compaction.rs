//! Conversations that no longer fit their model.

use std::{
    collections::{HashSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex},
};

use agentx_core::{
    AssistantMessage, AssistantPart, BlockChange, BlockKind, Budget, BudgetKind, Compaction,
    CompactionOptions, CompactionRequest, CompactionStep, Compactor, ContentPart, ContextOverflow, Driver,
    DriverEvent, Error, ErrorKind, EventData, Message, MessageBody, MessageId, Model, ModelEvent,
    ModelRequest, ModelStream, Moment, Outcome, Reply, Result, ScriptedModel, SequentialIds, StopReason,
    SummaryCompactor, Thinking, Timestamp, ToolLoop, ToolSet, Turn, TurnId, TurnInput, TurnMachine, Usage,
    tool_fn,
};
use async_trait::async_trait;
use futures::{StreamExt, executor::block_on, stream};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::json;

use crate::{outcome, support::StillClock};

/// What the API refuses of a conversation, as far as compaction could bring it about.
fn refusal(messages: &[MessageBody], bound: bool) -> Option<String> {
    if !matches!(messages.first(), Some(MessageBody::User { .. })) {
        return Some("the first message is not the user's".to_owned());
    }
    if matches!(messages.last(), Some(MessageBody::Assistant(_))) {
        return Some("there is nothing to answer".to_owned());
    }
    let mut open: HashSet<&str> = HashSet::new();
    let mut loops = false;
    for (index, message) in messages.iter().enumerate() {
        match message {
            MessageBody::Tool(result) => {
                if !open.remove(result.tool_call_id.as_str()) {
                    return Some(format!("{index}: a result without its call"));
                }
                if result.output.is_error() && result.output.to_text().trim().is_empty() {
                    return Some(format!("{index}: an error without content"));
                }
            }
            _ if !open.is_empty() => return Some(format!("{index}: calls without their results: {open:?}")),
            MessageBody::User { content } => {
                loops = false;
                let blank = |part: &ContentPart| part.as_text().is_some_and(|text| text.trim().is_empty());
                if content.is_empty() || content.iter().any(blank) {
                    return Some(format!("{index}: an empty message of the user's"));
                }
            }
            MessageBody::Assistant(message) => {
                let thinking = |part: &AssistantPart| matches!(part, AssistantPart::Thinking { .. });
                // What ends in thinking was cut off there: a client leaves that out.
                if message.content.is_empty() {
                    return Some(format!("{index}: an empty message"));
                }
                for part in &message.content {
                    let AssistantPart::Thinking { signature, .. } = part else { continue };
                    let signed = signature.as_deref() == Some(&sign(&messages[..index]));
                    if bound && !signed {
                        return Some(format!("{index}: thinking that is bound to another conversation"));
                    }
                }
                // With a budget for thinking, what calls tools begins with its thinking.
                let calls = message.tool_calls().count() > 0;
                if !bound && calls && loops && !message.content.first().is_some_and(thinking) {
                    return Some(format!("{index}: expected thinking, but found tool_use"));
                }
                loops |= calls;
                for call in message.tool_calls() {
                    open.insert(&call.id);
                }
            }
            other => return Some(format!("{index}: {other:?} is nothing for a model")),
        }
    }
    (!open.is_empty()).then(|| format!("calls without their results: {open:?}"))
}

fn sign(messages: &[MessageBody]) -> String {
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(messages).unwrap().hash(&mut hasher);
    hasher.finish().to_string()
}

/// One answer: how long its text is, and how much each of its calls will answer.
type Answer = (usize, Vec<usize>);

/// A model that thinks, signs, calls, and refuses what the API would refuse.
#[derive(Debug)]
struct Strict {
    answers: Mutex<VecDeque<Answer>>,
    made: Mutex<u64>,
    /// Whether its thinking is bound to what came before.
    bound: bool,
    summaries: Mutex<usize>,
}

impl Strict {
    fn new(answers: impl IntoIterator<Item = Answer>, bound: bool) -> Arc<Self> {
        let answers = Mutex::new(answers.into_iter().collect());
        Arc::new(Self { answers, made: Mutex::default(), bound, summaries: Mutex::default() })
    }
}

impl Model for Strict {
    fn name(&self) -> &'static str {
        "strict"
    }

    fn call(&self, request: ModelRequest) -> ModelStream {
        let summary =
            request.system.as_deref().is_some_and(|system| system.starts_with("You write summaries"));
        if let Some(why) = refusal(&request.messages, self.bound) {
            let error = Error::new(ErrorKind::InvalidInput, "call model").with_message(why);
            return stream::iter([Err(error)]).boxed();
        }
        let (text, calls) = if summary {
            *self.summaries.lock().unwrap() += 1;
            (40, Vec::new())
        } else {
            self.answers.lock().unwrap().pop_front().unwrap_or((5, Vec::new()))
        };
        let mut events = vec![ModelEvent::Start { model: "strict".into() }];
        let mut index = 0;
        let mut block = |changes: Vec<BlockChange>| {
            events.extend(changes.into_iter().map(|change| ModelEvent::Block { index, change }));
            events.push(ModelEvent::Block { index, change: BlockChange::Stop });
            index += 1;
        };
        block(vec![
            BlockChange::Start(BlockKind::Thinking),
            BlockChange::Thinking("hm".into()),
            BlockChange::Signature(sign(&request.messages)),
        ]);
        if text > 0 {
            block(vec![BlockChange::Start(BlockKind::Text), BlockChange::Text("x".repeat(text))]);
        }
        let reason = if calls.is_empty() { StopReason::EndTurn } else { StopReason::ToolUse };
        for size in calls {
            let mut made = self.made.lock().unwrap();
            *made += 1;
            let kind = BlockKind::ToolUse { id: format!("call_{made}"), name: "blob".into() };
            block(vec![BlockChange::Start(kind), BlockChange::InputJson(json!({"size": size}).to_string())]);
        }
        let bytes = serde_json::to_string(&*request.messages).unwrap().len() as u64;
        events.push(ModelEvent::Usage(Usage::new(bytes / 4, text as u64 / 4)));
        events.push(ModelEvent::Stop(reason));
        stream::iter(events.into_iter().map(Ok)).boxed()
    }
}

#[derive(Deserialize)]
struct Size {
    size: usize,
}

fn blob() -> ToolSet {
    let schema = json!({"type": "object"});
    let tool = tool_fn("blob", "Answers at length.", schema, async |Size { size }| Ok("y".repeat(size)));
    ToolSet::of([Arc::new(tool) as Arc<dyn agentx_core::Tool>]).unwrap()
}

/// A session as a store keeps it: rows are only ever added.
#[derive(Default)]
struct Session {
    stored: Vec<Message>,
    ids: SequentialIds,
}

impl Session {
    /// The ids of what a model is shown.
    fn shown(&self) -> Vec<MessageId> {
        let mut shown = Vec::new();
        for message in &self.stored {
            match &message.body {
                MessageBody::Summary { through, .. } => {
                    let last = shown.iter().position(|id| id == through).unwrap();
                    shown.splice(..=last, [message.id.clone()]);
                }
                body if body.is_shown() => shown.push(message.id.clone()),
                _ => {}
            }
        }
        shown
    }

    /// One turn, which is interrupted after `events` events.
    fn turn(
        &mut self,
        driver: &impl Driver,
        events: usize,
        settings: impl FnOnce(&mut Turn),
    ) -> Vec<DriverEvent> {
        let at = |seq: usize| Timestamp::from_millis(seq as u64);
        let user =
            Message::new(MessageId::fresh(&self.ids), at(self.stored.len()), MessageBody::user("go on"));
        let (machine, _) = TurnMachine::start(TurnId::new("turn_1").unwrap(), user.clone());
        let mut machine = machine.with_history(self.shown());
        self.stored.push(user);
        let mut turn = Turn::new(self.stored.clone(), Arc::new(StillClock)).with_tools(blob());
        settings(&mut turn);
        let told: Vec<_> = block_on(driver.start(turn).take(events).collect());
        let inputs = told.iter().cloned().map(TurnInput::Driver).chain([TurnInput::Interrupted]);
        for input in inputs {
            let moment = Moment { at: at(self.stored.len()), ids: &self.ids };
            let events = machine.step(moment, input);
            self.stored.extend(events.iter().filter_map(EventData::message).cloned());
        }
        told
    }
}

fn failure(events: &[DriverEvent]) -> Option<String> {
    match events.last() {
        Some(DriverEvent::End(end)) => match &end.outcome {
            Outcome::Failed(error) => Some(error.to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// Does what nobody would.
#[derive(Debug)]
struct Wild(Mutex<VecDeque<(u8, usize)>>);

#[async_trait]
impl Compactor for Wild {
    async fn compact(&self, request: CompactionRequest) -> Result<CompactionStep> {
        let (what, number) = self.0.lock().unwrap().pop_front().unwrap_or((0, 0));
        let calls = request.messages.iter().filter_map(|message| match message {
            MessageBody::Tool(result) => Some(result.tool_call_id.clone()),
            _ => None,
        });
        Ok(match what {
            0 => CompactionStep::Nothing,
            1 => CompactionStep::Offload(calls.skip(number).step_by(2).collect()),
            _ => CompactionStep::Summarize(Compaction::new(vec![ContentPart::text("so far")], number)),
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// However a session grows, is cut short and is compacted, its next request is one that the API takes.
    #[test]
    fn whatever_is_compacted_the_next_request_is_taken(
        turns in prop::collection::vec(
            (prop::collection::vec((0usize..300, prop::collection::vec(0usize..4000, 0..4)), 0..6), 0usize..80),
            1..6,
        ),
        wild in prop::option::of(prop::collection::vec((0u8..3, 0usize..12), 0..20)),
        bound in any::<bool>(),
        window in 300u64..4000,
    ) {
        let mut session = Session::default();
        let strict = Strict::new([], bound);
        let mut driver = ToolLoop::new(strict.clone()).with_context_window(window);
        driver = match wild {
            Some(steps) => driver.with_compactor(Arc::new(Wild(Mutex::new(steps.into())))),
            None => driver.with_compactor(Arc::new(SummaryCompactor::new(
                CompactionOptions::default().with_keep_results(1).with_offload_above(500),
            ))),
        };
        let thinking = (!bound).then_some(Thinking::Budget(1024));
        for (answers, events) in turns {
            *strict.answers.lock().unwrap() = answers.into();
            let told = session.turn(&driver, events, |turn| turn.settings.thinking = thinking);
            prop_assert_eq!(failure(&told), None);
        }
        strict.answers.lock().unwrap().clear();
        let told = session.turn(&driver, usize::MAX, |turn| turn.settings.thinking = thinking);
        prop_assert!(matches!(outcome(&told), Outcome::Completed), "{told:?}");
    }
}

/// A loop whose conversations may have 2,400 tokens, and which cuts outputs of more than so many bytes.
fn small(model: &Arc<Strict>, offload_above: usize) -> ToolLoop<Arc<Strict>> {
    let options = CompactionOptions::default().with_keep_results(1).with_offload_above(offload_above);
    ToolLoop::new(model.clone())
        .with_context_window(3000)
        .with_compactor(Arc::new(SummaryCompactor::new(options)))
}

/// A compactor that does this.
#[derive(Debug)]
struct Does(Step);

type Step = fn() -> Result<CompactionStep>;

#[async_trait]
impl Compactor for Does {
    async fn compact(&self, _: CompactionRequest) -> Result<CompactionStep> {
        (self.0)()
    }
}

fn roles(session: &Session) -> Vec<&str> {
    session.stored.iter().map(|message| message.body.role()).collect()
}

#[test]
fn old_outputs_go_first_and_stay_away_in_later_turns() {
    let strict = Strict::new([(0, vec![6000]), (0, vec![3000])], true);
    let mut session = Session::default();
    session.turn(&small(&strict, 1000), usize::MAX, |_| {});
    assert_eq!(roles(&session), ["user", "assistant", "tool", "assistant", "tool", "offload", "assistant"]);
    assert_eq!(*strict.summaries.lock().unwrap(), 0);
    // What was cut is not what makes the next turn too long.
    session.turn(&small(&strict, 1000), usize::MAX, |_| {});
    assert_eq!(roles(&session)[7..], ["user", "assistant"]);
    let whole = session.stored.iter().filter_map(|message| match &message.body {
        MessageBody::Tool(result) => Some(result.output.to_text().len()),
        _ => None,
    });
    assert_eq!(whole.collect::<Vec<_>>(), [6000, 3000], "what is stored stays whole");
}

#[test]
fn a_summary_takes_the_place_of_what_was_and_is_counted() {
    let strict = Strict::new((0..6).map(|_| (0, vec![3000])), true);
    let mut session = Session::default();
    let told = session.turn(&small(&strict, usize::MAX), usize::MAX, |_| {});
    let compactions: Vec<_> = told
        .iter()
        .filter_map(|event| match event {
            DriverEvent::Compacted(compaction) => Some(compaction),
            _ => None,
        })
        .collect();
    assert!(!compactions.is_empty());
    for compaction in &compactions {
        assert_eq!(compaction.kept, 0, "in the middle of a turn all is summarised");
        let text = compaction.summary[0].as_text().unwrap();
        assert!(
            text.contains(&"x".repeat(40)) && text.contains("go on") && text.contains("calls blob"),
            "{text}"
        );
        assert_eq!(compaction.usage.output_tokens, 10);
    }
    let end = told.last();
    let Some(DriverEvent::End(end)) = end else { panic!("{end:?}") };
    let asked = 7 + compactions.len();
    assert_eq!(end.spent.unwrap().steps as usize, asked);
    assert_eq!(*strict.summaries.lock().unwrap(), compactions.len());
}

#[test]
fn what_the_user_says_now_is_kept_as_it_is() {
    let strict = Strict::new([(12_000, vec![]), (5, vec![])], true);
    let mut session = Session::default();
    session.turn(&small(&strict, 1000), usize::MAX, |_| {});
    session.turn(&small(&strict, 1000), usize::MAX, |_| {});
    assert_eq!(roles(&session), ["user", "assistant", "user", "summary", "assistant"]);
    match &session.stored[3].body {
        MessageBody::Summary { through, .. } => assert_eq!(through, &session.stored[1].id),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_summary_is_within_the_budget_and_its_failure_ends_the_turn() {
    let long = || Strict::new((0..6).map(|_| (0, vec![3000])), true);
    let strict = long();
    let told = Session::default()
        .turn(&small(&strict, usize::MAX), usize::MAX, |turn| turn.budget = Budget::default().with_steps(4));
    assert!(matches!(outcome(&told), Outcome::Budget(BudgetKind::Steps)), "{:?}", told.last());

    let answers: [(Step, ErrorKind); 3] = [
        (|| Err(Error::new(ErrorKind::Unavailable, "compact")), ErrorKind::Unavailable),
        (|| panic!("as asked"), ErrorKind::Internal),
        (|| Ok(CompactionStep::Summarize(Compaction::new(Vec::new(), 0))), ErrorKind::InvalidInput),
    ];
    for (answer, kind) in answers {
        let driver = small(&long(), usize::MAX).with_compactor(Arc::new(Does(answer)));
        let told = Session::default().turn(&driver, usize::MAX, |_| {});
        assert!(matches!(outcome(&told), Outcome::Failed(error) if error.kind() == kind));
    }
    let endless: Step = || Ok(CompactionStep::Offload(vec!["call_1".to_owned()]));
    let driver = small(&long(), usize::MAX).with_compactor(Arc::new(Does(endless)));
    let told = Session::default().turn(&driver, usize::MAX, |_| {});
    assert!(matches!(outcome(&told), Outcome::Completed));
    assert_eq!(told.iter().filter(|event| matches!(event, DriverEvent::Offloaded(_))).count(), 1);
}

#[test]
fn without_a_compactor_and_below_the_share_nothing_is_done() {
    let untouched = |driver: ToolLoop<Arc<Strict>>| {
        let mut session = Session::default();
        session.turn(&driver, usize::MAX, |_| {});
        !roles(&session).iter().any(|role| ["summary", "offload"].contains(role))
    };
    let long = || Strict::new((0..4).map(|_| (0, vec![3000])), true);
    assert!(!untouched(small(&long(), usize::MAX)));
    assert!(untouched(small(&long(), usize::MAX).without_compactor()));
    assert!(untouched(small(&long(), usize::MAX).with_context_window(1 << 20)));
    assert!(!untouched(small(&long(), usize::MAX).with_context_window(1 << 20).with_compaction_at(0)));
}

/// Refuses what has more messages than it takes.
#[derive(Debug)]
struct Narrow(usize, Mutex<Vec<usize>>);

impl Model for Narrow {
    fn name(&self) -> &'static str {
        "narrow"
    }

    fn call(&self, request: ModelRequest) -> ModelStream {
        self.1.lock().unwrap().push(request.messages.len());
        if request.messages.len() > self.0 {
            let refused = Error::new(ErrorKind::InvalidInput, "call model").with_source(ContextOverflow);
            return stream::iter([Err(refused)]).boxed();
        }
        ScriptedModel::new("narrow", |_| Ok(Reply::text("short"))).call(request)
    }
}

#[test]
fn a_conversation_that_the_model_refuses_as_too_long_is_compacted() {
    let history = |count: usize| {
        let message = |n: usize| {
            let id = MessageId::new(format!("m{n}")).unwrap();
            let said = AssistantMessage::new(vec![AssistantPart::Text { text: "yes".into() }]);
            let body =
                if n.is_multiple_of(2) { MessageBody::user("go") } else { MessageBody::Assistant(said) };
            Message::new(id, Timestamp::from_millis(1), body)
        };
        Turn::new((0..count).map(message).collect(), Arc::new(StillClock))
    };
    // No table of models knows how little it takes.
    let model = Arc::new(Narrow(2, Mutex::default()));
    let told = crate::events(&ToolLoop::new(model.clone()), history(5));
    assert!(matches!(outcome(&told), Outcome::Completed), "{told:?}");
    assert!(told.iter().any(|event| matches!(event, DriverEvent::Compacted(_))));
    assert_eq!(*model.1.lock().unwrap(), [5, 1, 2], "asked, summarised, and asked again");

    // Where nothing can be done, or no longer, the refusal is the end.
    let model = Arc::new(Narrow(0, Mutex::default()));
    for (driver, calls) in [
        (ToolLoop::new(model.clone()).without_compactor(), 1),
        (ToolLoop::new(model.clone()).with_compactor(Arc::new(Does(|| Ok(CompactionStep::Nothing)))), 1),
        (ToolLoop::new(model.clone()), 2),
    ] {
        model.1.lock().unwrap().clear();
        let told = crate::events(&driver, history(5));
        assert!(matches!(outcome(&told), Outcome::Failed(error) if ContextOverflow::caused(&error)));
        assert_eq!(model.1.lock().unwrap().len(), calls);
    }
}
