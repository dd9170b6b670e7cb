//! What a whole turn with one tool call costs, from the user's message to the stored end.

use std::{hint::black_box, path::Path, sync::Arc};

use agentx::{
    Agent, ContainerId, ImageSpec, Reply, Repositories, Runtime, ScriptedModel, SystemClock, ToolLoop,
    claude::messages::{MessagesModel, ReqwestTransport},
    local::SqliteExecutor,
    resource::{ApiSupply, memory::MemoryLlmProvider},
    tokio_host, tool_fn,
};
use agentx_sql::SqlRepositories;
use agentx_tests::messages_server::MessagesServer;
use reqwest::Client;
use serde::Deserialize;
use serde_json::json;
use tempfile::TempDir;

use super::runtime;
use crate::{
    Result,
    measure::{Row, Variant},
    replay::{Answers, ReplayServer},
};

const QUESTION: &str = "How many files are there?";
const ANSWER: &str = "There are 42 files, and that is all that there is to say about them.";

/// The bytes of one turn: what the client sends, and what the server answers.
#[derive(Clone, Debug)]
struct Exchange {
    requests: [String; 2],
    answers: Answers,
}

/// The row.
///
/// The exchange is recorded once: AgentX asks a Messages API that checks what it is sent. Then a server that only
/// replays the answers takes its place, so that its work does not blur the ratio.
///
/// # Errors
/// What the host says.
pub fn row() -> Result<Row> {
    let runtime = runtime()?;
    let exchange = runtime.block_on(record())?;
    let server = Arc::new(runtime.block_on(ReplayServer::start(exchange.answers))?);
    let base_url = server.base_url();

    let limit = {
        let (runtime, url) = (Arc::clone(&runtime), format!("{base_url}/v1/messages"));
        let (client, requests) = (client()?, exchange.requests);
        Variant::new("raw reqwest, lines split by hand (limit)", move |count| {
            let _server = &server;
            let (client, url, requests) = (client.clone(), url.clone(), requests.clone());
            super::in_task(&runtime, async move {
                for _ in 0..count {
                    for request in &requests {
                        let answer = ask(&client, &url, request.clone()).await?;
                        check(last_data(&answer) == Some(br#"{"type":"message_stop"}"#))?;
                    }
                    black_box(count_files(black_box(&Directory { path: "/".to_owned() })));
                }
                Ok(())
            })
        })
    };
    let memory = agentx("agentx, session in memory", &runtime, base_url.clone(), false);
    let sqlite = agentx("agentx, session in SQLite (FULL)", &runtime, base_url, true);
    let question = "What does a turn with one tool call cost, beside the model?";
    Ok(Row::new("turn", question, limit).per(1, "turn").with(memory).with(sqlite))
}

/// Turns of AgentX, each the first of a new session, as sessions grow and turns with them. The sessions are made ready
/// before.
fn agentx(name: &str, runtime: &Arc<tokio::runtime::Runtime>, base_url: String, stored: bool) -> Variant {
    let prepare = {
        let runtime = Arc::clone(runtime);
        move |count| {
            runtime.block_on(async {
                let directory = tempfile::tempdir()?;
                let repositories = if stored {
                    sqlite(&directory.path().join("agentx.db")).await?
                } else {
                    Repositories::memory()
                };
                Ready::new(&base_url, repositories, count, directory).await
            })
        }
    };
    let runtime = Arc::clone(runtime);
    Variant::prepared(name, prepare, move |ready: &mut Ready| {
        let agents = std::mem::take(&mut ready.agents);
        super::in_task(&runtime, async move {
            for agent in agents {
                check(agent.ask(QUESTION).await?.text == ANSWER)?;
            }
            Ok(())
        })
    })
}

/// Agents that have not been asked anything.
struct Ready {
    agents: Vec<Agent>,
    _runtime: Runtime,
    // Last, so that nothing is written to it any more.
    _directory: TempDir,
}

impl Ready {
    async fn new(base_url: &str, repositories: Repositories, count: u64, directory: TempDir) -> Result<Self> {
        let supply = ApiSupply::new("no-key").with_base_url(base_url);
        let supply = Arc::new(MemoryLlmProvider::new("replay", supply));
        let model = MessagesModel::new(supply, ReqwestTransport::new()?, Arc::new(SystemClock));
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
    let ready = Ready::new(&server.base_url(), Repositories::memory(), 1, tempfile::tempdir()?).await?;
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
    let tls = rustls::ClientConfig::builder()
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
