//! Peers in Node: a process that does what it is told on its input, and says what it took.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use agentx_benches::{
    Result,
    measure::{Cost, Variant},
};

/// Names the `node_modules` with the packages of `node/package.json`. `cargo xtask bench` sets it.
const MODULES: &str = "AGENTX_BENCH_NODE_MODULES";

/// A script of `node/`, which runs until it is dropped.
pub struct Node {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// What the script reads. Last, so that it is gone after the script.
    file: Option<tempfile::NamedTempFile>,
}

impl Node {
    /// Starts the script with one argument.
    pub fn start(script: &str, argument: &str) -> Result<Self> {
        let modules = std::env::var_os(MODULES).ok_or_else(|| {
            let why = std::env::var("AGENTX_BENCH_NO_NODE").ok();
            why.unwrap_or_else(|| format!("{MODULES} is not set; `cargo xtask bench` sets it"))
        })?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("node").join(script);
        let mut child = Command::new("node")
            .arg(script)
            .arg(modules)
            .arg(argument)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("node can't be started: {error}"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("node has no input or no output".into());
        };
        Ok(Self { child, input, output: BufReader::new(output), file: None })
    }

    /// Keeps this file for as long as the script.
    pub fn with_file(mut self, file: tempfile::NamedTempFile) -> Self {
        self.file = Some(file);
        self
    }

    /// Does its work as often as it is told to. Its time by the clock has one line over a pipe in it, each way.
    pub fn variant(mut self, name: &str) -> Variant {
        Variant::elsewhere(name, move |count| {
            let begun = Instant::now();
            writeln!(self.input, "{count}")?;
            self.input.flush()?;
            let mut line = String::new();
            self.output.read_line(&mut line)?;
            let wall = begun.elapsed();
            // The script checks its answers, and says nothing but its microseconds when they are right.
            let cpu = line.trim().parse().map_err(|_| format!("node said {line:?}"))?;
            Ok(Cost { wall, cpu: Duration::from_micros(cpu) })
        })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A child that has ended already is as good as one that is ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
