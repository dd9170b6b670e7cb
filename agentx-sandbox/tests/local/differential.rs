//! The same calls over memory and over a directory, one by one: what is answered and what is left must be the same.

use std::sync::Arc;

use agentx_core::{ErrorKind, Result, ToolOutput};
use agentx_resource::memory::{ManualClock, MemoryEnv, MemoryFileSystem, MemoryProcess};
use agentx_sandbox::NodeRuntime;
use serde_json::{Value, json};

use crate::cases::Pair;

const PATHS: &[&str] = &[
    "a.txt",
    "b.log",
    "src/a.rs",
    "src/deep/b.rs",
    "src/deep",
    "src",
    ".",
    "build/out.txt",
    "./src/../a.txt",
    "a.txt/below",
    "new/x/y.txt",
    ".gitignore",
    "src/.gitignore",
    ".git/HEAD",
    ".git/info/exclude",
    ".git/config",
    "../outside",
    "~/x",
    "",
    "a\0b",
    "\u{fc}\n.txt",
    "missing",
];
const CONTENTS: &[&str] = &[
    "",
    "a",
    "one\ntwo\nthree\n",
    "one\r\ntwo\r\n",
    "aaaa\nbbb\n\ncc",
    "*.log\n",
    "build/\n!keep\n",
    "*.rs\n!a.rs\n",
    "/src/deep\n",
    "\0binary",
    "\u{fc}n\u{ee} code\n",
];
const PATTERNS: &[&str] = &["a", "^b+$", "one|two", ".", "t.*e", "(", "\\s$", "", "\u{fc}"];
const GLOBS: &[&str] =
    &["**/*", "*.txt", "src/**/*.rs", "**/.git*", "{a,b}.*", "a[", "../*", "!*.rs", "src/*"];

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    fn call(&mut self) -> (&'static str, Value) {
        let path = self.of(PATHS);
        match self.below(9) {
            0..=2 => ("write", json!({"file_path": path, "content": self.of(CONTENTS)})),
            3 => {
                let (old, new) = (self.of(&["a", "one", "two\nthree", "b"]), self.of(&["x", "", "one\ntwo"]));
                let all = self.below(2) == 0;
                ("edit", json!({"file_path": path, "old_string": old, "new_string": new, "replace_all": all}))
            }
            4 => ("read", json!({"file_path": path, "offset": self.below(4), "limit": 1 + self.below(3)})),
            5 => ("ls", json!({"path": path})),
            6 => ("glob", json!({"pattern": self.of(GLOBS), "path": path})),
            _ => {
                let mode = self.of(&["content", "files_with_matches", "count"]);
                let (multiline, pattern) = (self.below(2) == 0, self.of(PATTERNS));
                let mut input =
                    json!({"pattern": pattern, "path": path, "output_mode": mode, "multiline": multiline});
                if self.below(3) == 0 {
                    input["glob"] = json!(self.of(GLOBS));
                }
                ("grep", input)
            }
        }
    }
}

/// What must be the same. The two know different times of change, so the order of the files that glob tells may differ.
fn comparable(tool: &str, answer: Result<ToolOutput>) -> std::result::Result<Vec<String>, ErrorKind> {
    let text = answer.map_err(|error| error.kind())?.to_text();
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    if tool == "glob" {
        lines.sort_unstable();
    }
    Ok(lines)
}

fn over_memory(root: &str) -> NodeRuntime {
    let fs = Arc::new(MemoryFileSystem::new());
    let process = MemoryProcess::new(Arc::new(ManualClock::default())).with_root(root);
    let process = process.with_file_system(fs.clone());
    NodeRuntime::new(fs, Arc::new(MemoryEnv::default()), Arc::new(process))
}

#[tokio::test]
async fn the_tools_answer_alike() {
    let mut answered = 0;
    for seed in 0..12 {
        let local = crate::pair();
        let memory = Pair::new(over_memory(local.runtime.root()), None, ());
        let mut numbers = Numbers(seed);
        for step in 0..120 {
            let (tool, input) = numbers.call();
            let here = comparable(tool, local.try_call(tool, input.clone()).await);
            let there = comparable(tool, memory.try_call(tool, input.clone()).await);
            assert_eq!(here, there, "seed {seed}, step {step}: {tool} {input}");
            answered += usize::from(here.is_ok());
        }
    }
    assert!(answered > 400, "a third of the calls is sound: {answered}");
}
