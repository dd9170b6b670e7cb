//! What a whole turn with one tool call costs, from the user's message to the stored end.

use std::{hint::black_box, path::Path, sync::Arc};

use agentx::{
    Agent, ContainerId, ImageSpec, Reply, Repositories, Runtime, ScriptedModel, SystemClock, ToolLoop,
    claude::messages::{MessagesModel, ReqwestTransport},
    local::SqliteExecutor,
    resource::{ApiSupply, memory::MemoryLlmProvider},
    tokio_host, tool_fn,
};
use agentx_sql::{Executor as _, SqlRepositories, Statement};
use agentx_tests::messages_server::MessagesServer;
use reqwest::Client;
use serde::Deserialize;
use serde_json::json;
use tempfile::TempDir;

use super::runtime;
use crate::{
    Result,
    measure::{Row, Variant},
    program,
    replay::{Answers, ReplayServer},
};

const QUESTION: &str = "How many files are there?";
/// With what is said before the tool call, 40 pieces of text.
const ANSWER: &str = "There are 42 files, and that is all that there is to say about them, unless somebody wants to \
                      know what is in each one, for which a look at every one of them would be a good beginning.";

/// The bytes of one turn: what the client sends, and what the server answers.
#[derive(Clone, Debug)]
struct Exchange {
    requests: [String; 2],
    answers: Answers,
}

/// What the variants of the row have in common.
#[derive(Clone, Debug)]
pub struct Turns {
    runtime: Arc<tokio::runtime::Runtime>,
    server: Arc<ReplayServer>,
    requests: [String; 2],
}

impl Turns {
    /// Starts the server.
    ///
    /// The exchange is recorded once: AgentX asks a Messages API that checks what it is sent. Then a server that only
    /// replays the answers takes its place, in a process of its own, so that its work does not blur the ratio.
    ///
    /// # Errors
    /// What the host says.
    pub fn start() -> Result<Self> {
        let runtime = runtime()?;
        let Exchange { requests, answers } = runtime.block_on(record())?;
        let server = if program::is_bench_program() {
            ReplayServer::spawn(&answers)?
        } else {
            runtime.block_on(ReplayServer::start(answers))?
        };
        Ok(Self { runtime, server: Arc::new(server), requests })
    }

    /// Where the server is.
    pub fn base_url(&self) -> String {
        self.server.base_url()
    }

    /// A client that does `turn` as often as it is told to, one after another, and checks what the model said last.
    pub fn variant<F>(&self, name: &str, turn: impl Fn() -> F + Clone + Send + Sync + 'static) -> Variant
    where
        F: Future<Output = Result<String>> + Send + 'static,
    {
        let turns = self.clone();
        Variant::new(name, move |count| {
            let turn = turn.clone();
            super::in_task(&turns.runtime, async move {
                for _ in 0..count {
                    check(turn().await? == ANSWER)?;
                }
                Ok(())
            })
        })
    }
}

/// The row.
///
/// # Errors
/// What the host says.
pub fn row() -> Result<Row> {
    over(&Turns::start()?)
}

/// [`row`] at this server, for peers to be added.
///
/// # Errors
/// What the host says.
pub fn over(turns: &Turns) -> Result<Row> {
    let memory = agentx("agentx, session in memory", turns, false)?;
    let sqlite = agentx("agentx, session in SQLite (FULL)", turns, true)?;
    let question = "What does a turn with one tool call cost, beside the model?";
    Ok(Row::new("turn", question, limit(turns)?).per(1, "turn").with(memory).with(sqlite))
}

/// The row of turns that are stored as they go, beside the least that a client can do which stores as much as often.
///
/// # Errors
/// What the host says.
pub fn persisted() -> Result<Row> {
    let turns = &Turns::start()?;
    let question = "What does a turn with one tool call cost that is stored as it goes?";
    let row = Row::new("turn_persisted", question, limit_with_commits(turns)?).per(1, "turn");
    let sqlite = agentx("agentx, session in SQLite (FULL)", turns, true)?;
    Ok(row.with(sqlite).with(agentx("agentx, session in memory", turns, false)?))
}

/// The least that a client can do.
fn limit(turns: &Turns) -> Result<Variant> {
    let (turns, client) = (turns.clone(), client()?);
    Ok(Variant::new("raw reqwest, lines split by hand (limit)", move |count| {
        let (client, turns) = (client.clone(), turns.clone());
        super::in_task(&turns.runtime.clone(), async move {
            for _ in 0..count {
                raw_turn(&client, &turns, None).await?;
            }
            Ok(())
        })
    }))
}

/// The same with a commit where AgentX makes one: of the question, of the call and that it begins, of its result, and of
/// the answer and the end.
fn limit_with_commits(turns: &Turns) -> Result<Variant> {
    let (turns, client) = (turns.clone(), client()?);
    let (making, asking) = (turns.clone(), client.clone());
    let prepare = move |count| {
        making.runtime.block_on(async {
            let directory = tempfile::tempdir()?;
            let database = SqliteExecutor::open(directory.path().join("raw.db")).await?;
            let table = "CREATE TABLE log (id INTEGER PRIMARY KEY, data TEXT NOT NULL)";
            database.execute(vec![Statement::new(table)]).await?;
            raw_turn(&asking, &making, Some(&database)).await?;
            Ok((count, Arc::new(database), directory))
        })
    };
    let name = "raw reqwest, and its rows in SQLite (limit)";
    Ok(Variant::prepared(
        name,
        prepare,
        move |(count, database, _): &mut (u64, Arc<SqliteExecutor>, TempDir)| {
            let (client, turns, count, database) =
                (client.clone(), turns.clone(), *count, Arc::clone(database));
            super::in_task(&turns.runtime.clone(), async move {
                for _ in 0..count {
                    raw_turn(&client, &turns, Some(&database)).await?;
                }
                Ok(())
            })
        },
    ))
}

/// A turn that keeps nothing in memory.
async fn raw_turn(client: &Client, turns: &Turns, database: Option<&SqliteExecutor>) -> Result<()> {
    let url = format!("{}/v1/messages", turns.base_url());
    for (number, request) in turns.requests.iter().enumerate() {
        if let Some(database) = database {
            commit(database, QUESTION).await?;
        }
        let answer = ask(client, &url, request.clone()).await?;
        check(last_data(&answer) == Some(br#"{"type":"message_stop"}"#))?;
        if let Some(database) = database {
            commit(database, ANSWER).await?;
        }
        if number == 0 {
            black_box(count_files(black_box(&Directory { path: "/".to_owned() })));
        }
    }
    Ok(())
}

/// A message and the events that tell of it.
async fn commit(database: &SqliteExecutor, text: &str) -> Result<()> {
    let row = || Statement::new("INSERT INTO log (data) VALUES (?1)").bind(text);
    database.execute(vec![row(), row(), row(), row()]).await?;
    Ok(())
}

/// Turns of AgentX, each the first of a new session, as sessions grow and turns with them. The sessions are made ready
/// before, and one turn is run, as in the limit: a new database's first statements are understood then. All share the
/// connections of one client, as those of the limit do.
fn agentx(name: &str, turns: &Turns, stored: bool) -> Result<Variant> {
    let prepare = {
        let (turns, transport) = (turns.clone(), ReqwestTransport::new()?);
        move |count| {
            turns.runtime.block_on(async {
                let directory = tempfile::tempdir()?;
                let repositories = if stored {
                    sqlite(&directory.path().join("agentx.db")).await?
                } else {
                    Repositories::memory()
                };
                let mut ready =
                    Ready::new(&turns.base_url(), transport.clone(), repositories, count + 1, directory)
                        .await?;
                if let Some(first) = ready.agents.pop() {
                    check(first.ask(QUESTION).await?.text == ANSWER)?;
                }
                Ok(ready)
            })
        }
    };
    let runtime = Arc::clone(&turns.runtime);
    Ok(Variant::prepared(name, prepare, move |ready: &mut Ready| {
        let agents = std::mem::take(&mut ready.agents);
        super::in_task(&runtime, async move {
            for agent in agents {
                check(agent.ask(QUESTION).await?.text == ANSWER)?;
            }
            Ok(())
        })
    }))
}

/// Agents that have not been asked anything.
struct Ready {
    agents: Vec<Agent>,
    _runtime: Runtime,
    // Last, so that nothing is written to it any more.
    _directory: TempDir,
}

impl Ready {
    async fn new(
        base_url: &str,
        transport: ReqwestTransport,
        repositories: Repositories,
        count: u64,
        directory: TempDir,
    ) -> Result<Self> {
        let supply = ApiSupply::new("no-key").with_base_url(base_url);
        let supply = Arc::new(MemoryLlmProvider::new("replay", supply));
        let model = MessagesModel::new(supply, transport, Arc::new(SystemClock));
        let schema =
            json!({"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]});
        let tool = tool_fn(
            "count_files",
            "Counts the files in a directory.",
            schema,
            async |directory: Directory| Ok(count_files(&directory)),
        );
        let runtime = Runtime::builder(ToolLoop::new(model), tokio_host()?)
            .repositories(repositories)
            .tool(Arc::new(tool))
            .build()?;
        let container = ContainerId::new("bench")?;
        runtime.create_container(&container).await?;
        let mut agents = Vec::new();
        for _ in 0..count {
            let image = runtime.create_image(&container, ImageSpec::default()).await?;
            agents.push(runtime.run(&image.image_id).await?);
        }
        Ok(Self { agents, _runtime: runtime, _directory: directory })
    }
}

async fn sqlite(path: &Path) -> Result<Repositories> {
    let database = SqliteExecutor::open(path).await?;
    Ok(Repositories::new(SqlRepositories::open(Arc::new(database)).await?))
}

#[derive(Deserialize)]
struct Directory {
    path: String,
}

/// What the tool does: nothing that costs.
fn count_files(directory: &Directory) -> String {
    format!("42 files in {}", directory.path)
}

/// One turn of AgentX at a server that checks it, and the same requests again for the bytes of the answers.
async fn record() -> Result<Exchange> {
    let model = ScriptedModel::new("claude", |request| match request.answer("count") {
        None => Ok(Reply::text("I count.").call("count", "count_files", json!({"path": "/src"}))),
        Some(_) => Ok(Reply::text(ANSWER)),
    });
    let server = MessagesServer::start(model);
    let (transport, directory) = (ReqwestTransport::new()?, tempfile::tempdir()?);
    let ready = Ready::new(&server.base_url(), transport, Repositories::memory(), 1, directory).await?;
    for agent in &ready.agents {
        check(agent.ask(QUESTION).await?.text == ANSWER)?;
    }
    let requests: Vec<_> = server.requests().iter().map(|request| request.body.to_string()).collect();
    let requests: [String; 2] =
        requests.try_into().map_err(|_| "a turn with one tool call has two requests")?;
    let (client, url) = (client()?, format!("{}/v1/messages", server.base_url()));
    let [call, end] = &requests;
    let answers = Answers {
        call: ask(&client, &url, call.clone()).await?,
        end: ask(&client, &url, end.clone()).await?,
    };
    Ok(Exchange { requests, answers })
}

/// A client as AgentX has one: HTTP/1.1, without a proxy.
fn client() -> Result<Client> {
    // Named, since a peer may bring another one.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Ok(Client::builder().tls_backend_preconfigured(tls).no_proxy().tcp_nodelay(true).build()?)
}

async fn ask(client: &Client, url: &str, body: String) -> Result<Vec<u8>> {
    let request = client
        .post(url)
        .header("content-type", "application/json")
        .header("anthropic-version", "2023-06-01")
        .header("x-api-key", "no-key");
    let mut response = request.body(body).send().await?.error_for_status()?;
    let mut answer = Vec::new();
    while let Some(piece) = response.chunk().await? {
        answer.extend_from_slice(&piece);
    }
    Ok(answer)
}

/// The data of the last event: every line is looked at, and nothing is made of it.
fn last_data(stream: &[u8]) -> Option<&[u8]> {
    let mut last = None;
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', stream) {
        let data = stream.get(start..end).and_then(|line| line.strip_prefix(b"data: "));
        last = data.or(last);
        start = end + 1;
    }
    last
}

fn check(right: bool) -> Result<()> {
    if right { Ok(()) } else { Err("not the answer that was expected".into()) }
}
