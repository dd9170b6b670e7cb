use std::collections::{HashMap, HashSet};

use agentx_core::{Result, Tool, ToolCall, ToolContext, ToolDefinition, ToolOutput, ToolResult, ToolSet};
use async_trait::async_trait;
use futures::channel::{mpsc, oneshot};
use serde_json::{Value, json};

use crate::code::{
    CliRequest,
    mcp::{self, Asked},
};

/// How many grants may wait to be told to the CLI; each call waits for its own anyway.
const GRANTS: usize = 64;

/// How many calls the CLI may ask about before any of them is known.
const ASKED: usize = 10_000;

/// What the CLI asks about tool calls, and what it is answered: a call is decided on and run as any driver's, and the
/// CLI's questions wait for what comes of it.
#[derive(Debug)]
pub(super) struct Desk {
    /// The CLI's questions that are not answered, by call.
    asked: HashMap<String, Vec<Question>>,
    /// How calls stand that were decided on.
    known: HashMap<String, Standing>,
    /// Calls without an end.
    open: HashSet<String>,
    /// Calls that the CLI runs itself, until it tells their result.
    granted: HashMap<String, oneshot::Sender<ToolOutput>>,
    /// Results that the CLI told of calls that it was not granted.
    early: HashMap<String, ToolOutput>,
    grant: mpsc::Sender<Grant>,
}

/// What the CLI asks about a call.
#[derive(Debug)]
struct Question {
    request: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Whether it may run with this input.
    Permission(Value),
    /// What one of the turn's tools answers, to this message.
    Result(Value),
}

#[derive(Debug)]
enum Standing {
    /// One of the turn's tools runs.
    Runs,
    /// The CLI may run it, with this input.
    Granted(Value),
    /// It is answered.
    Ended(ToolResult),
}

/// A call that the CLI may run.
#[derive(Debug)]
pub(super) struct Grant {
    id: String,
    input: Value,
    result: oneshot::Sender<ToolOutput>,
}

impl Desk {
    /// An empty desk, and where calls are granted to the CLI.
    pub(super) fn new() -> (Self, mpsc::Receiver<Grant>) {
        let (grant, grants) = mpsc::channel(GRANTS);
        let desk = Self {
            asked: HashMap::new(),
            known: HashMap::new(),
            open: HashSet::new(),
            granted: HashMap::new(),
            early: HashMap::new(),
            grant,
        };
        (desk, grants)
    }

    /// Whether any call has no end yet.
    pub(super) fn is_busy(&self) -> bool {
        !self.open.is_empty()
    }

    /// Whether the CLI waits for an answer.
    pub(super) fn is_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    /// The turn's tools, and for each other name that is called, a tool that lets the CLI run it.
    pub(super) fn tools(&mut self, own: &ToolSet, calls: &[ToolCall]) -> ToolSet {
        if self.open.is_empty() {
            // The CLI has all results of the answers before.
            self.known.clear();
            self.early.clear();
        }
        let mut others: Vec<std::sync::Arc<dyn Tool>> = Vec::new();
        for call in calls {
            self.open.insert(call.id.clone());
            let is_new = others.iter().all(|tool| tool.definition().name != call.name);
            if own.get(&call.name).is_none() && is_new {
                let schema = json!({"type": "object"});
                let definition = ToolDefinition::new(&call.name, "A tool of the claude CLI's own.", schema);
                others.push(std::sync::Arc::new(CliTool { definition, grant: self.grant.clone() }));
            }
        }
        // A name that no set takes is no tool's.
        own.with(others).unwrap_or_else(|_| own.clone())
    }

    /// The CLI asks something. Gives what can be answered at once.
    pub(super) fn request(&mut self, id: String, request: CliRequest) -> Vec<Value> {
        match request {
            CliRequest::Permission { tool_use_id: Some(call), agent: None, input, .. } => {
                self.ask(&call, Question { request: id, kind: Kind::Permission(input) })
            }
            // A call that no answer of the model's has is not one that anybody could decide on.
            CliRequest::Permission { .. } => {
                vec![respond(&id, &deny("Only calls of the agent itself may run."))]
            }
            CliRequest::Mcp { message, .. } => match mcp::ask(&message, &[]) {
                Asked::Call { id: message, tool_use_id: Some(call) } => {
                    self.ask(&call, Question { request: id, kind: Kind::Result(message) })
                }
                Asked::Call { id: message, tool_use_id: None } => {
                    let answer = mcp::refuse(&message, "The call has no id.");
                    vec![respond(&id, &json!({"mcp_response": answer}))]
                }
                // It was answered in passing.
                Asked::Answer(_) => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    fn ask(&mut self, call: &str, question: Question) -> Vec<Value> {
        let questions: usize = self.asked.values().map(Vec::len).sum();
        if questions >= ASKED {
            let why = "Too many calls wait for an answer.";
            let response = match question.kind {
                Kind::Permission(_) => deny(why),
                Kind::Result(message) => json!({"mcp_response": mcp::refuse(&message, why)}),
            };
            return vec![respond(&question.request, &response)];
        }
        self.asked.entry(call.to_owned()).or_default().push(question);
        self.settle(call)
    }

    /// The CLI no longer wants this answer.
    pub(super) fn cancel(&mut self, request: &str) {
        self.asked.retain(|_, questions| {
            questions.retain(|question| question.request != request);
            !questions.is_empty()
        });
    }

    /// A call of one of the turn's tools began.
    pub(super) fn started(&mut self, call: &str, is_own: bool) -> Vec<Value> {
        if !is_own {
            // It is the CLI that begins it, when it is told that it may.
            return Vec::new();
        }
        self.known.insert(call.to_owned(), Standing::Runs);
        self.settle(call)
    }

    /// The CLI may run a call.
    pub(super) fn grant(&mut self, grant: Grant) -> Vec<Value> {
        let Grant { id, input, result } = grant;
        if let Some(output) = self.early.remove(&id) {
            // Where nobody waits any more, the call has ended otherwise.
            let _ = result.send(output);
            return Vec::new();
        }
        self.granted.insert(id.clone(), result);
        self.known.insert(id.clone(), Standing::Granted(input));
        self.settle(&id)
    }

    /// The CLI tells the result of a call.
    pub(super) fn told(&mut self, call: &str, output: ToolOutput) {
        match self.granted.remove(call) {
            // Where nobody waits any more, the call has ended otherwise.
            Some(result) => drop(result.send(output)),
            None if self.open.contains(call) => drop(self.early.insert(call.to_owned(), output)),
            None => {}
        }
    }

    /// A call is answered.
    pub(super) fn ended(&mut self, result: ToolResult) -> Vec<Value> {
        let call = result.tool_call_id.clone();
        self.open.remove(&call);
        self.known.insert(call.clone(), Standing::Ended(result));
        self.settle(&call)
    }

    /// What was told of an answer is void: its calls will not come.
    pub(super) fn forget(&mut self) {
        self.asked.clear();
    }

    /// The frames' answers to what is asked about a call, as far as it is known.
    fn settle(&mut self, call: &str) -> Vec<Value> {
        let Some(standing) = self.known.get(call) else { return Vec::new() };
        let Some(questions) = self.asked.remove(call) else { return Vec::new() };
        let (mut answers, mut rest) = (Vec::new(), Vec::new());
        for question in questions {
            match answer(standing, &question.kind) {
                Some(response) => answers.push(respond(&question.request, &response)),
                None => rest.push(question),
            }
        }
        if !rest.is_empty() {
            self.asked.insert(call.to_owned(), rest);
        }
        answers
    }
}

fn answer(standing: &Standing, asked: &Kind) -> Option<Value> {
    let allow = |input: &Value| Some(json!({"behavior": "allow", "updatedInput": input}));
    match (standing, asked) {
        // A call that was denied or failed is told as a denial, which the model sees in the same words.
        (Standing::Ended(result), Kind::Permission(_)) if result.output.is_error() => {
            Some(deny(&result.clone().into_shown().output.to_text()))
        }
        (Standing::Granted(input), Kind::Permission(_))
        | (Standing::Runs | Standing::Ended(_), Kind::Permission(input)) => allow(input),
        (Standing::Ended(result), Kind::Result(message)) => {
            Some(json!({"mcp_response": mcp::answer(message, result)}))
        }
        (Standing::Granted(_), Kind::Result(message)) => {
            let why = "This tool is not one of the server's.";
            Some(json!({"mcp_response": mcp::refuse(message, why)}))
        }
        (Standing::Runs, Kind::Result(_)) => None,
    }
}

/// The frame that answers a request.
fn respond(request: &str, response: &Value) -> Value {
    let response = json!({"subtype": "success", "request_id": request, "response": response});
    json!({"type": "control_response", "response": response})
}

/// The answer to a permission that is not given.
fn deny(reason: &str) -> Value {
    let reason = if reason.trim().is_empty() { "It was denied." } else { reason };
    json!({"behavior": "deny", "message": reason})
}

/// A tool of the CLI's own: to run it is to let the CLI run it.
#[derive(Debug)]
struct CliTool {
    definition: ToolDefinition,
    grant: mpsc::Sender<Grant>,
}

#[async_trait]
impl Tool for CliTool {
    fn definition(&self) -> &ToolDefinition {
        &self.definition
    }

    async fn call(&self, input: Value, context: ToolContext) -> Result<ToolOutput> {
        let (result, output) = oneshot::channel();
        let grant = Grant { id: context.call_id, input, result };
        let gone = || ToolOutput::error("The process of the claude CLI that the call belongs to is gone.");
        if self.grant.clone().try_send(grant).is_err() {
            return Ok(gone());
        }
        Ok(output.await.unwrap_or_else(|_| gone()))
    }
}
