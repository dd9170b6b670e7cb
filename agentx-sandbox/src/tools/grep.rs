use std::{
    future::poll_fn,
    task::Poll,
    time::{Duration, SystemTime},
};

use agentx_core::{ErrorKind, Result, ToolContext, ToolDefinition, ToolOutput};
use agentx_resource::{FileKind, FileSystemExt, ReadOptions};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use globset::GlobMatcher;
use serde::Deserialize;
use serde_json::json;

use super::{
    Action, MAX_RESULT_CHARS, glob, schema,
    search::{Search, around, lines, shown},
    sniff::{Content, sniff},
    walk::Walk,
};
use crate::{NodeRuntime, runtime::Place};

/// The largest file that is searched; larger ones are counted.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// How many files are read at a time: it bounds memory, and hides the latency of a store.
const FILES_AT_ONCE: usize = 8;
/// How much is searched, in all.
const MAX_BYTES: u64 = 1 << 30;
/// How long is searched: even a pattern within its bounds may be slow.
const MAX_TIME: Duration = Duration::from_mins(1);
/// The most lines of context.
const MAX_CONTEXT: usize = 1000;

/// Finds text in files by a regular expression.
#[derive(Debug)]
pub(super) struct Grep(pub(super) NodeRuntime);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    pattern: String,
    path: Option<String>,
    glob: Option<String>,
    #[serde(default)]
    output_mode: Mode,
    #[serde(rename = "-i", default)]
    ignore_case: bool,
    #[serde(rename = "-n", default = "yes")]
    numbers: bool,
    #[serde(rename = "-A")]
    after: Option<usize>,
    #[serde(rename = "-B")]
    before: Option<usize>,
    #[serde(rename = "-C")]
    context: Option<usize>,
    head_limit: Option<usize>,
    #[serde(default)]
    multiline: bool,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Content,
    #[default]
    FilesWithMatches,
    Count,
}

fn yes() -> bool {
    true
}

#[async_trait]
impl Action for Grep {
    type Input = Input;

    fn definition(&self) -> ToolDefinition {
        let description = format!(
            "Searches the files below {} for a regular expression (Rust's syntax, line by line). Tells the files that \
             match, or with output_mode content the lines, or count. Binary files, files above 4 MiB, .git and what \
             git ignores are left out.",
            self.0.root()
        );
        let properties = json!({
            "pattern": {"type": "string", "description": "The regular expression"},
            "path": {"type": "string", "description": "A file or directory; the working directory by default"},
            "glob": {"type": "string", "description": "Only files like this: *.rs, src/**, !*.min.js"},
            "output_mode": {
                "type": "string",
                "enum": ["content", "files_with_matches", "count"],
                "description": "files_with_matches by default",
            },
            "-i": {"type": "boolean", "description": "Ignores case"},
            "-n": {"type": "boolean", "description": "Tells line numbers in content; true by default"},
            "-A": {"type": "integer", "description": "Lines after each match, in content", "minimum": 0},
            "-B": {"type": "integer", "description": "Lines before each match, in content", "minimum": 0},
            "-C": {"type": "integer", "description": "Lines before and after each match, in content", "minimum": 0},
            "head_limit": {"type": "integer", "description": "The most lines of the answer", "minimum": 0},
            "multiline": {"type": "boolean", "description": "Lets a match cross lines, and . match their ends"},
        });
        ToolDefinition::new("grep", description, schema(&properties, &["pattern"]))
    }

    async fn run(&self, input: Input, ToolContext { clock, .. }: ToolContext) -> Result<ToolOutput> {
        let search = Search::new(&input.pattern, input.ignore_case, input.multiline)?;
        let filter = input.glob.as_deref().map(Filter::new).transpose()?;
        let start = self.0.readable(input.path.as_deref().unwrap_or("."))?;
        let metadata = start.fs.metadata(&start.path).await.map_err(|error| start.explain(error))?;
        let mut answer = Answer::new(input.head_limit);
        let mut walk = Walk::new(start.clone());
        let (mut searched, mut too_large, mut binary) = (0, 0, 0);
        let mut allowance = Allowance { started: clock.now(), bytes: MAX_BYTES };
        let mut single = (!metadata.is_dir()).then_some(start.clone());
        while !answer.full {
            let batch = match single.take() {
                Some(file) => vec![file],
                None if metadata.is_dir() => next_files(&mut walk, &start, filter.as_ref()).await?,
                None => break,
            };
            if batch.is_empty() {
                break;
            }
            let mut contents =
                stream::iter(batch).map(async |place| (load(&place).await, place)).buffered(FILES_AT_ONCE);
            while let Some((loaded, place)) = contents.next().await {
                match loaded? {
                    Loaded::Text(content) => {
                        let content = self.0.redactor().bytes(&content);
                        if !allowance.take(content.len(), clock.now()) {
                            answer.stop();
                            break;
                        }
                        searched += 1;
                        let over = || allowance.is_over(clock.now());
                        let Some(matching) = matching(&search, &content, over).await else {
                            answer.stop();
                            break;
                        };
                        report(&content, &place.shown(), &matching, &input, &mut answer);
                    }
                    Loaded::Binary => binary += 1,
                    Loaded::Gone => {}
                    Loaded::TooLarge => too_large += 1,
                    Loaded::Unreadable => walk.count_unreadable(),
                }
                if answer.full {
                    break;
                }
            }
        }
        let mut remarks = walk.remarks();
        if binary > 0 && !metadata.is_dir() {
            // In a tree they are no news.
            remarks.push("The file is binary, and was not searched.".to_owned());
        }
        if too_large > 0 {
            remarks.push(format!("{too_large} files above 4 MiB were not searched."));
        }
        if answer.is_empty() {
            remarks.extend(walk.left_out());
        }
        Ok(answer.finish(searched, remarks).into())
    }
}

/// The next files of a walk, at most as many as are read at a time.
async fn next_files(walk: &mut Walk, start: &Place, filter: Option<&Filter>) -> Result<Vec<Place>> {
    let mut files = Vec::new();
    while files.len() < FILES_AT_ONCE {
        let Some(entry) = walk.next().await? else { break };
        let Some(path) = entry.path.filter(|_| entry.metadata.kind == FileKind::File) else { continue };
        let below = path.strip_prefix(&start.path).unwrap_or(path.relative());
        if filter.is_none_or(|filter| filter.accepts(below)) {
            files.push(start.at(path));
        }
    }
    Ok(files)
}

enum Loaded {
    Text(Bytes),
    Binary,
    TooLarge,
    Unreadable,
    Gone,
}

async fn load(place: &Place) -> Result<Loaded> {
    let read = async {
        let file = place.fs.read(&place.path, ReadOptions::default()).await?;
        file.bytes(MAX_FILE_BYTES).await
    };
    match read.await {
        Ok(content) if sniff(&content) == Content::Text => Ok(Loaded::Text(content)),
        Ok(_) => Ok(Loaded::Binary),
        Err(error) => match error.kind() {
            ErrorKind::LimitExceeded => Ok(Loaded::TooLarge),
            ErrorKind::PermissionDenied | ErrorKind::Escapes => Ok(Loaded::Unreadable),
            // It was removed, replaced or cut short while the search went on.
            ErrorKind::NotFound | ErrorKind::IsADirectory | ErrorKind::Truncated => Ok(Loaded::Gone),
            _ => Err(place.explain(error)),
        },
    }
}

/// How much more may be searched.
struct Allowance {
    started: SystemTime,
    bytes: u64,
}

impl Allowance {
    /// Whether a file of so many bytes may be searched now.
    fn take(&mut self, bytes: usize, now: SystemTime) -> bool {
        let left = self.bytes.checked_sub(bytes as u64);
        self.bytes = left.unwrap_or(0);
        left.is_some() && !self.is_over(now)
    }

    fn is_over(&self, now: SystemTime) -> bool {
        now.duration_since(self.started).unwrap_or_default() >= MAX_TIME
    }
}

/// The numbers of the lines that match; none when the time is over. Others run in between: a costly pattern must not
/// keep a thread for long.
async fn matching(search: &Search, content: &[u8], is_over: impl Fn() -> bool) -> Option<Vec<usize>> {
    let mut found = Vec::new();
    for step in search.steps(content) {
        found.extend(step);
        if is_over() {
            return None;
        }
        let mut yielded = false;
        poll_fn(|task| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            task.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
    Some(found)
}

fn report(content: &[u8], path: &str, matching: &[usize], input: &Input, answer: &mut Answer) {
    if matching.is_empty() {
        return;
    }
    match input.output_mode {
        Mode::FilesWithMatches => answer.push(path),
        Mode::Count => answer.push(&format!("{path}:{}", matching.len())),
        Mode::Content => report_lines(content, path, matching, input, answer),
    }
}

fn report_lines(content: &[u8], path: &str, matching: &[usize], input: &Input, answer: &mut Answer) {
    let bounded = |own: Option<usize>| own.or(input.context).unwrap_or(0).min(MAX_CONTEXT);
    let (before, after) = (bounded(input.before), bounded(input.after));
    let mut ranges = around(matching, before, after).into_iter().peekable();
    let mut matching = matching.iter().peekable();
    for (number, line) in lines(content).enumerate() {
        if ranges.next_if(|range| range.end <= number).is_some() && before + after > 0 {
            answer.push("--");
        }
        match ranges.peek() {
            None => break,
            Some(range) if !range.contains(&number) => continue,
            Some(_) if answer.full => break,
            Some(_) => {}
        }
        // As grep does: `:` marks a match, `-` a line of its context.
        let mark = if matching.next_if_eq(&&number).is_some() { ':' } else { '-' };
        let line = shown(line);
        if input.numbers {
            answer.push(&format!("{path}{mark}{}{mark}{line}", number + 1));
        } else {
            answer.push(&format!("{path}{mark}{line}"));
        }
    }
}

/// Which files are searched. As ripgrep takes it: a pattern without `/` is about the name alone, and `!` turns it
/// round.
struct Filter {
    matcher: GlobMatcher,
    whole_path: bool,
    negated: bool,
}

impl Filter {
    fn new(pattern: &str) -> Result<Self> {
        let (negated, pattern) = match pattern.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, pattern),
        };
        let whole_path = pattern.contains('/');
        let matcher = glob::matcher(pattern.trim_start_matches('/'), "grep")?;
        Ok(Self { matcher, whole_path, negated })
    }

    fn accepts(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        self.matcher.is_match(if self.whole_path { path } else { name }) != self.negated
    }
}

/// Lines for a model, bounded by their count and by their length.
struct Answer {
    text: String,
    lines: usize,
    limit: usize,
    /// Nothing more is taken.
    full: bool,
    /// The search was given up.
    stopped: bool,
}

impl Answer {
    fn new(head_limit: Option<usize>) -> Self {
        // No lines at all would be no answer: 0 means no limit of its own.
        let limit = head_limit.filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        Self { text: String::new(), lines: 0, limit, full: false, stopped: false }
    }

    fn push(&mut self, line: &str) {
        if self.lines == self.limit || self.text.len() + line.len() > MAX_RESULT_CHARS {
            self.full = true;
        }
        if !self.full {
            self.text.push_str(line);
            self.text.push('\n');
            self.lines += 1;
        }
    }

    /// The search takes too long.
    fn stop(&mut self) {
        self.full = true;
        self.stopped = true;
    }

    fn is_empty(&self) -> bool {
        self.lines == 0
    }

    fn finish(mut self, searched: usize, remarks: Vec<String>) -> String {
        if self.lines == 0 && (!self.full || self.stopped) {
            self.text = format!("No matches in {searched} files.\n");
        }
        if self.stopped {
            let why =
                "[the search stopped: it takes at most a minute and 1 GiB; narrow the path or the glob]\n";
            self.text.push_str(why);
        } else if self.full {
            let rest = "[there is more: narrow the pattern, the path or the glob]\n";
            self.text.push_str(rest);
        }
        for remark in remarks {
            self.text.push_str(&remark);
            self.text.push('\n');
        }
        self.text.truncate(self.text.trim_end().len());
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_files() {
        let accepts = |pattern, path| Filter::new(pattern).unwrap().accepts(path);
        assert!(accepts("*.rs", "src/a.rs") && !accepts("*.rs", "src/a.ts"));
        assert!(accepts("src/**", "src/x/a.rs") && !accepts("src/**", "lib/a.rs"));
        assert!(accepts("!*.min.js", "a.js") && !accepts("!*.min.js", "x/a.min.js"));
        assert!(accepts("*.{ts,tsx}", "a.tsx"));
    }

    #[test]
    fn a_search_is_bounded() {
        let (start, second) = (SystemTime::UNIX_EPOCH, Duration::from_secs(1));
        let mut allowance = Allowance { started: start, bytes: 10 };
        assert!(allowance.take(6, start + MAX_TIME.checked_sub(second).unwrap()));
        assert!(!allowance.take(5, start), "too many bytes");
        assert!(!Allowance { started: start, bytes: 10 }.take(1, start + MAX_TIME), "too late");
        let mut answer = Answer::new(None);
        answer.stop();
        assert!(answer.finish(7, Vec::new()).starts_with("No matches in 7 files.\n[the search stopped"));
    }

    /// What is found, and how often others could run.
    fn searched(search: &Search, content: &str, is_over: impl Fn() -> bool) -> (Option<Vec<usize>>, usize) {
        let mut searching = Box::pin(matching(search, content.as_bytes(), is_over));
        let mut pauses = 0;
        loop {
            match futures::FutureExt::now_or_never(&mut searching) {
                Some(found) => return (found, pauses),
                None => pauses += 1,
            }
        }
    }

    #[test]
    fn others_run_while_a_large_file_is_searched() {
        let content = "needle\n".repeat(100_000);
        for multiline in [false, true] {
            let search = Search::new("^needle$", false, multiline).unwrap();
            let (found, pauses) = searched(&search, &content, || false);
            assert!(pauses > 1, "{pauses}");
            assert_eq!(found, Some((0..100_000).collect()));
        }
    }

    /// Each match costs a pass over the whole rest of the file: it would take hours.
    #[test]
    fn a_search_that_costs_too_much_is_given_up_within_a_file() {
        let search = Search::new("a.*?b|a", false, true).unwrap();
        let steps = std::cell::Cell::new(0);
        let is_over = || steps.replace(steps.get() + 1) == 3;
        let (found, pauses) = searched(&search, &"a".repeat(1 << 18), is_over);
        assert_eq!((found, pauses), (None, 3));
    }

    #[test]
    fn an_answer_is_bounded() {
        let mut answer = Answer::new(Some(1));
        answer.push("a");
        assert!(!answer.full);
        answer.push("b");
        assert_eq!(answer.finish(1, vec![]), "a\n[there is more: narrow the pattern, the path or the glob]");
        let mut answer = Answer::new(None);
        (0..MAX_RESULT_CHARS).for_each(|_| answer.push("12345"));
        assert!(answer.full && answer.text.len() <= MAX_RESULT_CHARS);
        assert_eq!(Answer::new(Some(0)).finish(3, vec!["x".into()]), "No matches in 3 files.\nx");
    }
}
