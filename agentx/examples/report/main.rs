//! An agent writes a report about a directory.
//!
//! `cargo run --example report -- [DIRECTORY]`
//!
//! With `ANTHROPIC_API_KEY` set, Claude does the work; without it, a script drives the same tools on the same files.
#![expect(clippy::print_stderr, reason = "a program tells its errors there")]

mod script;
mod view;

use std::{
    env,
    ffi::OsString,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use agentx::{
    AgentBuilder, Error, Outcome, SoloAgent, TurnEvents,
    local::LocalFileSystem,
    local_runtime,
    sandbox::{Sandbox, Workspace},
};
use futures::StreamExt;
use view::{View, WhileRead};

const USAGE: &str = "usage: report [DIRECTORY]

Writes a report about DIRECTORY (by default this repository).
  ANTHROPIC_API_KEY   a key: Claude does the work; without it, a script does
  ANTHROPIC_BASE_URL  where the Messages API is
  AGENTX_HOME         where reports and sessions are kept (by default ~/.local/state/agentx)";

const PROMPT: &str = "\
Write a report about the directory that you are in, as Markdown, and save it with write_output as report.md. Say how \
many files, directories and bytes there are; how many lines, by extension; which files are the largest; and whatever \
else you find worth saying. Leave out history and what a build can make again (.git, target, node_modules and the \
like), and say what you left out. Take every figure from a command, and mind file names with spaces, quotes and newlines. \
Change nothing in the directory.";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let directory = match directory(env::args_os().skip(1).collect()) {
        Ok(Some(directory)) => directory,
        Ok(None) => return ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("report: {problem}");
            return ExitCode::from(2);
        }
    };
    match run(&directory).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("report: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The directory that the arguments name; none where they ask for help.
fn directory(mut args: Vec<OsString>) -> Result<Option<PathBuf>, String> {
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        eprintln!("{USAGE}");
        return Ok(None);
    }
    let given = match (args.pop(), args.pop()) {
        (None, _) => Path::new(env!("CARGO_MANIFEST_DIR")).join(".."),
        (Some(directory), None) => PathBuf::from(directory),
        (Some(_), Some(_)) => return Err("one directory at most; see --help".to_owned()),
    };
    let told = |error: io::Error| format!("{}: {error}", given.display());
    if given.as_os_str().is_empty() {
        return Err("the directory's name is empty".to_owned());
    }
    let directory = given.canonicalize().map_err(told)?;
    // A file is told as such, and so is a directory that can't be read.
    std::fs::read_dir(&directory).map_err(told)?;
    Ok(Some(directory))
}

/// Where the directory's reports and its session are kept: apart from the directory, unless that holds the user's state.
fn home_of(directory: &Path) -> Result<PathBuf, String> {
    let home = |name: &str, rest: &str| {
        env::var_os(name).filter(|home| !home.is_empty()).map(|home| Path::new(&home).join(rest))
    };
    let state = home("AGENTX_HOME", "")
        .or_else(|| home("XDG_STATE_HOME", "agentx"))
        .or_else(|| home("HOME", ".local/state/agentx"))
        .ok_or("neither AGENTX_HOME nor HOME is set: where should the report go?")?;
    let mut hasher = DefaultHasher::new();
    directory.hash(&mut hasher);
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
    Ok(state.join(format!("report/{name}-{:016x}", hasher.finish())))
}

async fn run(directory: &Path) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let home = home_of(directory)?;
    std::fs::create_dir_all(&home).map_err(|error| format!("{}: {error}", home.display()))?;
    let session = home.join("session.db");
    let (agent, unit) = agent(directory, &home, &session).await?;

    let mut view = View::new(WhileRead(io::stdout().lock()));
    view.line(&format!("A report about {}\n", directory.display()))?;
    if unit == SCRIPTED {
        view.line("(No ANTHROPIC_API_KEY: a script drives the tools in place of a model.)\n")?;
    }
    let mut turn = agent.send(PROMPT).await?;
    follow(&agent, &mut turn, &mut view).await?;
    let report = turn.finish().await;
    agent.close().await?;
    view.line(&format!("session  {}", session.display()))?;
    let report = report?;
    view.usage(&report, unit)?;
    Ok(match report.outcome {
        Outcome::Completed => {
            view.line(&format!("report   {}", home.join("output/report.md").display()))?;
            ExitCode::SUCCESS
        }
        Outcome::Interrupted => {
            view.line("interrupted")?;
            ExitCode::from(130)
        }
        other => {
            view.line(&format!("not finished: {other}"))?;
            ExitCode::FAILURE
        }
    })
}

/// What a scripted model counts.
const SCRIPTED: &str = "words";

/// The agent, and what its model counts.
async fn agent(directory: &Path, home: &Path, session: &Path) -> Result<(SoloAgent, &'static str), Error> {
    let files = LocalFileSystem::open(home)?;
    let workspace = Workspace::open(Arc::new(files)).await?.with_view(home.to_string_lossy());
    let (builder, unit) = match env::var_os("ANTHROPIC_API_KEY") {
        Some(_) => (agentx::agent(agentx::claude_from_env()?), "tokens"),
        None => (agentx::agent(script::model()), SCRIPTED),
    };
    let builder: AgentBuilder = builder
        .sandbox(Sandbox::new(local_runtime(directory)?).with_workspace(workspace))
        .session_file(session)
        .await?;
    Ok((builder.build().await?, unit))
}

/// Shows the turn to its end. Ctrl-C interrupts it.
async fn follow(agent: &SoloAgent, turn: &mut TurnEvents, view: &mut View<impl io::Write>) -> io::Result<()> {
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        let event = tokio::select! {
            event = turn.next() => event,
            asked = &mut interrupt => {
                asked?;
                agent.interrupt().await;
                return Ok(());
            }
        };
        match event {
            Some(event) => view.show(&event.data)?,
            None => return Ok(()),
        }
    }
}
