//! Whole runs, recorded and replayed: the same to the byte without model, files, commands or key; and what has changed is
//! told.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod divergences;
mod outside;
#[path = "../../../agentx/examples/report/script.rs"]
mod script;

use std::{fs, path::Path, sync::Arc};

use agentx::{
    AgentBuilder, Model, Recording, Repositories, SoloAgent, ToolLoop,
    local::LocalFileSystem,
    local_runtime,
    resource::cassette::CassetteMode,
    sandbox::{Sandbox, Workspace},
};
use agentx_core::{EventPage, MessagePage, TurnEvents};
use agentx_driver_claude::messages::{MessagesModel, ReqwestTransport};
use agentx_resource::{ApiSupply, memory::MemoryLlmProvider};
use agentx_tests::messages_server::{Fault, MessagesServer};
use futures::StreamExt;
use tempfile::TempDir;

const KEY: &str = "sk-ant-planted-key";

/// A run, and what can be changed of it.
struct Run {
    home: TempDir,
    mode: CassetteMode,
    system: &'static str,
    ask: [&'static str; 2],
    parallel: usize,
    cwd: &'static str,
}

impl Run {
    fn new() -> Self {
        Self {
            home: TempDir::new().unwrap(),
            mode: CassetteMode::Record,
            system: "You write reports.",
            ask: ["Write a report.", "And once more."],
            parallel: 8,
            cwd: "/",
        }
    }

    fn replayed(mut self) -> Self {
        self.mode = CassetteMode::Replay;
        self
    }

    fn file(&self) -> std::path::PathBuf {
        self.home.path().join("report.jsonl")
    }

    async fn recording(&self) -> Recording {
        agentx::recording(self.file()).mode(self.mode).secret(KEY).open().await.unwrap()
    }

    /// The agent of the example, in `directory` when it is recorded.
    async fn agent<M: Model>(
        &self,
        recording: &Recording,
        store: &Repositories,
        directory: Option<&Path>,
        model: impl FnOnce() -> M,
    ) -> agentx::Result<SoloAgent> {
        let files = || Ok(Arc::new(LocalFileSystem::open(self.home.path())?) as Arc<_>);
        let workspace = Workspace::open(recording.file_system("home", files)?).await?.with_view("/home");
        let runtime = recording.runtime("project", || local_runtime(directory.unwrap()))?;
        let runtime = runtime.with_cwd(agentx_resource::ResourcePath::new(self.cwd)?);
        let driver =
            ToolLoop::new(recording.model("model", || Ok(model()))?).with_parallel_tools(self.parallel);
        AgentBuilder::new(driver)
            .recording(recording)
            .repositories(store.clone())
            .system_prompt(self.system)
            .sandbox(Sandbox::new(runtime).with_workspace(workspace))
            .build()
            .await
    }

    /// Two turns, and all that came of them.
    async fn play<M: Model>(
        &self,
        directory: Option<&Path>,
        model: impl FnOnce() -> M,
    ) -> agentx::Result<Played> {
        let (recording, store) = (self.recording().await, Repositories::memory());
        let agent = self.agent(&recording, &store, directory, model).await?;
        let mut told = Vec::new();
        for ask in self.ask {
            let mut turn = agent.send(ask).await?;
            told.extend(all(&mut turn).await);
            told.push(format!("{:?}", turn.finish().await?));
        }
        let session = agent.session_id();
        let stored = store.sessions.list_events(session, EventPage::after(0, usize::MAX)).await?;
        let messages = store.sessions.list_messages(session, MessagePage::after(0, usize::MAX)).await?;
        let rest = format!(
            "{:?} {:?}",
            store.images.find_image(agent.image_id()).await?,
            store.sessions.find_session(session).await?
        );
        recording.finish().await?;
        Ok(Played {
            told,
            stored: stored.iter().map(|event| format!("{event:?}")).collect(),
            messages: messages.iter().map(|message| format!("{message:?}")).collect(),
            rest,
        })
    }
}

/// All that is told of a turn, with its ids, its times and its place.
async fn all(turn: &mut TurnEvents) -> Vec<String> {
    turn.map(|event| format!("{event:?}")).collect().await
}

#[derive(Debug, PartialEq)]
struct Played {
    told: Vec<String>,
    stored: Vec<String>,
    messages: Vec<String>,
    rest: String,
}

fn project() -> TempDir {
    let directory = TempDir::new().unwrap();
    for (name, content) in
        [("README.md", "# Here\nTODO: more\n"), ("src/main.rs", "fn main() {}\n"), ("a b.rs", "1\n2")]
    {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    directory
}

/// A replay makes no model.
fn no_model() -> agentx::ScriptedModel {
    panic!("a model is made in a replay")
}

async fn is_replayed_to_the_byte() {
    let (run, directory) = (Run::new(), project());
    let recorded = run.play(Some(directory.path()), script::model).await.unwrap();
    assert!(recorded.messages.len() > 20 && recorded.told.len() > 100, "{recorded:#?}");
    drop(directory);
    fs::remove_dir_all(run.home.path().join("output")).unwrap();
    let run = run.replayed();
    for _ in 0..3 {
        let replayed = run.play(None, no_model).await.unwrap();
        for (index, (now, then)) in replayed.told.iter().zip(&recorded.told).enumerate() {
            assert_eq!(now, then, "event {index}");
        }
        assert_eq!(replayed, recorded);
    }
    assert!(!run.home.path().join("output").exists(), "a replay writes nothing");
}

#[tokio::test]
async fn the_report_is_replayed_to_the_byte_on_one_thread() {
    is_replayed_to_the_byte().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_report_is_replayed_to_the_byte_on_many_threads() {
    is_replayed_to_the_byte().await;
}

/// The real driver, with a key, over HTTP, with a connection that breaks; then without any of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_of_the_real_driver_is_replayed_without_key_and_network() {
    let (run, directory) = (Run::new(), project());
    let server = MessagesServer::start(script::model());
    server.inject(Fault::ResetAfter { events: 4 });
    let supply = ApiSupply::new(KEY).with_base_url(server.base_url());
    let claude = || {
        let supply = Arc::new(MemoryLlmProvider::new("test", supply));
        MessagesModel::new(supply, ReqwestTransport::new().unwrap(), Arc::new(agentx::SystemClock))
    };
    let recorded = run.play(Some(directory.path()), claude).await.unwrap();
    assert!(server.requests().len() >= 10);
    assert!(recorded.told.iter().any(|event| event.contains("MessageRestarted")));
    drop((server, directory));
    let cassette = fs::read_to_string(run.file()).unwrap();
    assert!(!cassette.contains(KEY) && cassette.ends_with("\"end\":true}\n"));
    assert_eq!(run.replayed().play(None, no_model).await.unwrap(), recorded);
}

/// One builder for both.
#[tokio::test]
async fn a_recording_is_made_once() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("once.jsonl");
    let mut times = Vec::new();
    for round in 0..3 {
        let recording = agentx::recording(&file).open().await.unwrap();
        assert_eq!(recording.is_replay(), round > 0);
        let model =
            recording.model("m", || Ok(agentx::ScriptedModel::replies([agentx::Reply::text("Hello.")])));
        let agent = agentx::agent(model.unwrap()).recording(&recording).build().await.unwrap();
        agent.ask("Hi").await.unwrap();
        times.push(format!("{:?}", agent.history().await.unwrap()));
        recording.finish().await.unwrap();
    }
    assert!(times.windows(2).all(|pair| pair.first() == pair.last()), "{times:?}");
}
