//! Where an agent lives: its files, its commands, its workspace and its store.

use std::{sync::Arc, time::Duration};

use agentx::{
    AgentBuilder, SoloAgent, ToolLoop,
    local::{LocalFileSystem, LocalProcess, SqliteExecutor},
    sandbox::{NodeRuntime, Sandbox, Workspace},
};
use agentx_container::{Server, Settings};
use agentx_core::{EventPage, MessagePage, Repositories, ScriptedModel};
use agentx_provider_cloudflare::{
    ApiToken, CloudflareApi, ContainerAddress, D1Executor, FixedContainer, LazyContainer, LazyOptions,
    R2Bucket, R2FileSystem, R2Keys, cost::Consumption,
};
use agentx_resource::{
    FileSystem, FileSystemExt, MkdirOptions, Process, ResourcePath,
    memory::{MemoryEnv, MemoryProcess},
};
use agentx_sql::{Executor, SqlRepositories};
use agentx_tests_cloudflare::{BUCKET, Place, S3_CREDENTIALS, TOKEN};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::normal::normal;

/// The directory in which the agent works: at the root, commands in a container also see the mirror's notes.
const PROJECT: &str = "/project";

/// The most that a transcript of these tests has.
const PAGE: usize = 10_000;

pub(crate) struct World {
    files: Arc<dyn FileSystem>,
    process: Arc<dyn Process>,
    workspace: Arc<dyn FileSystem>,
    /// Where the workspace is, in the words of its user.
    view: String,
    repositories: Repositories,
    /// The tree, the workspace and the database, where they cost something.
    billed: Option<(Arc<R2FileSystem>, Arc<R2FileSystem>, D1Executor)>,
    /// The container, where commands run in one.
    pub(crate) container: Option<LazyContainer>,
    /// What must outlive the rest.
    _guard: Option<tempfile::TempDir>,
}

/// Fails at the first difference.
#[track_caller]
pub(crate) fn assert_same(one: &Value, other: &Value) {
    for part in ["files", "messages", "events"] {
        let of = |left: &Value| left[part].as_array().unwrap().clone();
        let (one, other) = (of(one), of(other));
        for (one, other) in one.iter().zip(&other) {
            assert_eq!(one, other, "one of the {part}");
        }
        assert_eq!(one.len(), other.len(), "{part}");
    }
}

fn path(path: &str) -> ResourcePath {
    ResourcePath::new(path).unwrap()
}

impl World {
    /// A directory of this machine, its commands, and SQLite.
    pub(crate) async fn local() -> Self {
        let guard = tempfile::tempdir().unwrap();
        let [root, home] = ["root", "home"].map(|name| guard.path().canonicalize().unwrap().join(name));
        std::fs::create_dir(&root).unwrap();
        std::fs::create_dir(&home).unwrap();
        Self {
            files: Arc::new(LocalFileSystem::open(&root).unwrap()),
            process: Arc::new(LocalProcess::new(&root).unwrap()),
            workspace: Arc::new(LocalFileSystem::open(&home).unwrap()),
            view: home.to_str().unwrap().to_owned(),
            repositories: store(SqliteExecutor::open(home.join("session.db")).await.unwrap()).await,
            billed: None,
            container: None,
            _guard: Some(guard),
        }
    }

    /// R2 and D1, and no commands.
    pub(crate) async fn cloudflare() -> Self {
        let place = Place::take();
        let (id, secret) = S3_CREDENTIALS;
        let files = |name: &str| {
            let bucket = R2Bucket::new("local", BUCKET, R2Keys::new(id, secret))
                .with_endpoint(place.s3_endpoint())
                .with_prefix(format!("{}/{name}", place.prefix()));
            Arc::new(R2FileSystem::connect(&bucket).unwrap())
        };
        let clock = Arc::new(agentx::SystemClock);
        let api = CloudflareApi::at(place.explorer_api(), ApiToken::value(TOKEN), clock.clone()).unwrap();
        let database = D1Executor::new(api, place.database()).unwrap();
        let [tree, home] = ["root", "home"].map(files);
        Self {
            repositories: store(database.clone()).await,
            billed: Some((tree.clone(), home.clone(), database)),
            files: tree,
            process: Arc::new(MemoryProcess::new(clock).with_root("/workspace")),
            workspace: home,
            view: "/home/agent".to_owned(),
            container: None,
            _guard: None,
        }
    }

    /// R2 and D1, and commands in a container: the server that would run inside one, started here by hand.
    pub(crate) async fn with_container() -> Self {
        const SECRET: &str = "a-token-of-the-tests";
        let guard = tempfile::tempdir().unwrap();
        // As long as that of `local`: the transcript also says how many bytes a file has that names it.
        let root = guard.path().canonicalize().unwrap().join("root");
        std::fs::create_dir(&root).unwrap();
        let server = Server::new(Settings::new(&root).with_token(SECRET)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = ContainerAddress::new(format!("http://{}", listener.local_addr().unwrap()));
        tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
        let world = Self::cloudflare().await;
        let engine = Arc::new(FixedContainer::new(address.with_token(SECRET)));
        let options = LazyOptions::new(root.to_str().unwrap());
        let container = LazyContainer::new(world.files.clone(), engine, options);
        Self {
            files: container.files(),
            process: container.process(),
            container: Some(container),
            _guard: Some(guard),
            ..world
        }
    }

    /// What was used until now of all that is billed.
    pub(crate) fn consumption(&self) -> Consumption {
        let (tree, home, database) = self.billed.as_ref().unwrap();
        let mut all = Consumption::from(database.usage());
        all += &Consumption::from(tree.usage().unwrap());
        all += &Consumption::from(home.usage().unwrap());
        all
    }

    /// How many batches D1 has answered until now.
    pub(crate) fn batches(&self) -> u64 {
        self.billed.as_ref().unwrap().2.usage().batches
    }

    /// With these files in the directory in which the agent works.
    pub(crate) async fn with_files(self, files: &[(&str, &str)]) -> Self {
        for (name, content) in files {
            let name = path(&format!("{PROJECT}{name}"));
            if let Some(parent) = name.parent() {
                self.files.mkdir(&parent, MkdirOptions::recursive()).await.unwrap();
            }
            self.files.write_file(&name, (*content).to_owned()).await.unwrap();
        }
        // Glob lists by time, and R2 tells whole seconds: what the agent changes is to be later than these. Among
        // themselves, the later one has the earlier name, by which those of one second are listed.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        self
    }

    pub(crate) async fn agent(&self, model: ScriptedModel) -> SoloAgent {
        let env = Arc::new(MemoryEnv::default());
        let runtime = NodeRuntime::new(self.files.clone(), env, self.process.clone());
        let runtime = runtime.with_cwd(path(PROJECT));
        let workspace = Workspace::open(self.workspace.clone()).await.unwrap().with_view(&self.view);
        let sandbox = Sandbox::new(runtime).with_workspace(workspace);
        // One call after the other: side by side, they would end in the order of their world's speed.
        let driver = ToolLoop::new(model).with_parallel_tools(1);
        let agent = AgentBuilder::new(driver).sandbox(sandbox).repositories(self.repositories.clone());
        agent.build().await.unwrap()
    }

    /// What an agent leaves behind when it is closed.
    pub(crate) async fn left(&self, agent: SoloAgent) -> Value {
        let left = self.transcript(&agent).await;
        agent.close().await.unwrap();
        left
    }

    /// All that is stored of the agent's session, and all files, mapped.
    async fn transcript(&self, agent: &SoloAgent) -> Value {
        let session = agent.session_id();
        let sessions = &self.repositories.sessions;
        let messages = sessions.list_messages(session, MessagePage::first(PAGE)).await.unwrap();
        let events = sessions.list_events(session, EventPage::after(0, PAGE)).await.unwrap();
        assert!(!messages.is_empty() && !events.is_empty());
        let messages: Vec<_> = messages.iter().map(|stored| json!(stored.message)).collect();
        let events: Vec<_> = events
            .iter()
            .map(|stored| json!({"seq": stored.seq, "turn": stored.event.turn_id, "data": stored.event.data}))
            .collect();
        let tree = self.tree().await;
        let root = &self.process.capabilities().root;
        let names = [
            (self.view.as_str(), "/WORKSPACE"),
            (root.as_str(), "/ROOT"),
            (" (local): ", " (provider): "),
            (" (r2): ", " (provider): "),
        ];
        normal(&json!({"messages": messages, "events": events, "files": tree}), &names)
    }

    /// All files of the tree and the workspace, with their contents.
    async fn tree(&self) -> Vec<(String, String)> {
        use futures::TryStreamExt;
        let mut all = Vec::new();
        for (name, files) in [("", &self.files), ("workspace:", &self.workspace)] {
            for entry in files.walk(&ResourcePath::root()).try_collect::<Vec<_>>().await.unwrap() {
                let path = entry.path.unwrap();
                // SQLite lies beside the results.
                if entry.metadata.is_file() && !path.as_str().starts_with("/session.db") {
                    all.push((format!("{name}{path}"), files.read_to_string(&path).await.unwrap()));
                }
            }
        }
        all.sort();
        all
    }
}

async fn store(executor: impl Executor) -> Repositories {
    Repositories::new(SqlRepositories::open(Arc::new(executor)).await.unwrap())
}
