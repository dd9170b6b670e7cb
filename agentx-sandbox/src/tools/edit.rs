use std::borrow::Cow;

use agentx_core::{Error, ErrorKind, Result, ToolContext, ToolDefinition, ToolOutput};
use agentx_resource::{ReadOptions, WriteMode};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;

use super::{Action, schema};
use crate::{NodeRuntime, runtime::Place};

/// The largest file, before and after.
const MAX_BYTES: usize = 16 << 20;
/// How often the file is read anew when somebody else has written it meanwhile.
const ATTEMPTS: usize = 2;

/// Replaces text in a file: exactly one occurrence, or all of them. The text is plain: no pattern, no `$1`.
///
/// Where the file system has conditional writes, what somebody else writes meanwhile is never lost.
#[derive(Debug)]
pub(super) struct Edit(pub(super) NodeRuntime);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    file_path: String,
    old_string: String,
    new_string: String,
    #[serde(default)]
    replace_all: bool,
}

#[async_trait]
impl Action for Edit {
    type Input = Input;

    fn definition(&self) -> ToolDefinition {
        let description = format!(
            "Replaces text in a file below {}. old_string must occur exactly once, letter for letter (without the \
             line numbers that read shows); add lines around it until it does, or set replace_all.",
            self.0.root()
        );
        let properties = json!({
            "file_path": {"type": "string", "description": "The file: absolute, or relative to the working directory"},
            "old_string": {"type": "string", "description": "The text to replace"},
            "new_string": {"type": "string", "description": "The text to put there"},
            "replace_all": {"type": "boolean", "description": "Replaces every occurrence; false by default"},
        });
        ToolDefinition::new(
            "edit",
            description,
            schema(&properties, &["file_path", "old_string", "new_string"]),
        )
    }

    async fn run(&self, input: Input, _context: ToolContext) -> Result<ToolOutput> {
        let place = self.0.writable(&input.file_path, "edit")?;
        if input.old_string.is_empty() {
            return Err(fail(
                &place,
                ErrorKind::InvalidInput,
                "old_string is empty; use write for a new file, or name the text beside the new one",
            ));
        }
        if input.old_string == input.new_string {
            return Err(fail(&place, ErrorKind::InvalidInput, "old_string and new_string are the same"));
        }
        let conditional = place.fs.capabilities().if_match.is_some();
        for _ in 0..ATTEMPTS {
            let file = place.fs.read(&place.path, ReadOptions::default()).await;
            let file = file.map_err(|error| place.explain(error))?;
            let mode = match &file.metadata.version {
                Some(version) if conditional => WriteMode::IfMatch(version.clone()),
                _ => WriteMode::Overwrite,
            };
            let bytes = file.bytes(MAX_BYTES as u64).await.map_err(|error| place.explain(error))?;
            let text = str::from_utf8(&bytes).map_err(|_| {
                fail(&place, ErrorKind::InvalidInput, "not UTF-8 text; use a command that understands it")
            })?;
            let edited = replace(text, &input).map_err(|refusal| refusal.explain(&place))?;
            match place.fs.write(&place.path, edited.text.into(), mode.into()).await {
                Ok(_) => return Ok(told(&place, edited.count, edited.line)),
                Err(error) if error.kind() == ErrorKind::ConditionFailed => {}
                Err(error) => return Err(place.explain(error)),
            }
        }
        Err(fail(&place, ErrorKind::Busy, "somebody else keeps changing this file; read it again"))
    }
}

fn told(place: &Place, count: usize, line: usize) -> ToolOutput {
    let shown = place.shown();
    match count {
        1 => format!("Replaced 1 occurrence in {shown}, at line {line}.").into(),
        _ => format!("Replaced {count} occurrences in {shown}, the first at line {line}.").into(),
    }
}

#[derive(Debug)]
struct Edited {
    text: String,
    count: usize,
    /// The line of the first replacement.
    line: usize,
}

#[derive(Debug, PartialEq)]
enum Refusal {
    NotFound,
    Ambiguous(usize),
    Same,
    TooLarge,
}

fn replace(text: &str, input: &Input) -> Result<Edited, Refusal> {
    let (old, new) = with_line_ends_of(text, &input.old_string, &input.new_string);
    if old == new {
        return Err(Refusal::Same);
    }
    let first = text.find(&*old).ok_or(Refusal::NotFound)?;
    let count = text.matches(&*old).count();
    if !input.replace_all {
        // One that begins within another is not among the matches, and might be the one that is meant.
        let second = old.chars().next().map_or(first, |char| first + char.len_utf8());
        let overlaps = text.get(second..).is_some_and(|rest| rest.contains(&*old));
        if count > 1 || overlaps {
            return Err(Refusal::Ambiguous(count.max(2)));
        }
    }
    let len = (text.len() - count * old.len()).saturating_add(count.saturating_mul(new.len()));
    if len > MAX_BYTES {
        return Err(Refusal::TooLarge);
    }
    let line = 1 + text.bytes().take(first).filter(|byte| *byte == b'\n').count();
    Ok(Edited { text: text.replace(&*old, &new), count, line })
}

/// In a file whose every line ends in CR LF, that is what a line end of the model's text means: `read` shows none of
/// the CRs.
fn with_line_ends_of<'i>(text: &str, old: &'i str, new: &'i str) -> (Cow<'i, str>, Cow<'i, str>) {
    let line_ends = text.matches('\n').count();
    if line_ends == 0 || text.matches("\r\n").count() < line_ends {
        return (old.into(), new.into());
    }
    let crlf = |text: &str| text.replace("\r\n", "\n").replace('\n', "\r\n").into();
    (crlf(old), crlf(new))
}

impl Refusal {
    fn explain(self, place: &Place) -> Error {
        match self {
            Self::NotFound => fail(
                place,
                ErrorKind::InvalidInput,
                "old_string was not found; it must match letter for letter, blanks included: read the file again",
            ),
            Self::Ambiguous(count) => fail(
                place,
                ErrorKind::InvalidInput,
                format!(
                    "old_string was found {count} times; add lines around it until it is unique, or set replace_all"
                ),
            ),
            Self::Same => fail(place, ErrorKind::InvalidInput, "old_string and new_string are the same"),
            Self::TooLarge => fail(
                place,
                ErrorKind::LimitExceeded,
                format!("the file would have more than {MAX_BYTES} bytes"),
            ),
        }
    }
}

fn fail(place: &Place, kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(kind, "edit").with_path(place.shown()).with_message(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(text: &str, old: &str, new: &str, replace_all: bool) -> Result<String, Refusal> {
        let (old_string, new_string) = (old.to_owned(), new.to_owned());
        let input = Input { file_path: String::new(), old_string, new_string, replace_all };
        replace(text, &input).map(|edited| edited.text)
    }

    #[test]
    fn exactly_one_occurrence_is_replaced() {
        assert_eq!(edit("a b c", "b", "x", false).unwrap(), "a x c");
        assert_eq!(edit("a b a", "a", "x", false), Err(Refusal::Ambiguous(2)));
        assert_eq!(edit("a b a", "a", "x", true).unwrap(), "x b x");
        assert_eq!(edit("ününü", "ünü", "x", false), Err(Refusal::Ambiguous(2)));
        assert_eq!(edit("ününü", "ünü", "x", true).unwrap(), "xnü");
        assert_eq!(edit("a", "A", "x", false), Err(Refusal::NotFound));
        assert_eq!(edit("a", "b", "x", true), Err(Refusal::NotFound));
    }

    #[test]
    fn the_text_is_plain() {
        assert_eq!(edit("f(x)", "x", "$&$1\\1", false).unwrap(), "f($&$1\\1)");
        assert_eq!(edit("a.c abc", ".", "$", false).unwrap(), "a$c abc");
    }

    #[test]
    fn the_files_line_ends_are_kept() {
        assert_eq!(edit("a\r\nb\r\nc", "a\nb", "x\ny\nz", false).unwrap(), "x\r\ny\r\nz\r\nc");
        assert_eq!(edit("a\r\nb\r\n", "a\r\nb", "x\r\ny", false).unwrap(), "x\r\ny\r\n");
        assert_eq!(edit("a\r\nb\n", "b", "x\ny", false).unwrap(), "a\r\nx\ny\n");
        assert_eq!(edit("a\r\nb\r\n", "a\nb", "a\r\nb", false), Err(Refusal::Same));
    }

    #[test]
    fn the_result_is_bounded_before_it_is_made() {
        let text = "a".repeat(1 << 20);
        assert_eq!(edit(&text, "a", &"b".repeat(17), true), Err(Refusal::TooLarge));
    }
}
