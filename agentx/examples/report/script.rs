//! What the agent does when no model is at hand: a script in place of one.
//!
//! It sees what a model would see, the conversation with all tool results, and chooses each call from them. Every
//! figure of the report is a tool's own answer; nothing is computed here.

use agentx::{MessageBody, Reply, ScriptedModel, core::ModelRequest};
use serde_json::json;

/// Directories that hold no work of their own, wherever they are: history, and what a build can make again.
const SET_ASIDE: [&str; 7] = [".git", ".hg", ".svn", ".venv", "__pycache__", "node_modules", "target"];

/// The scripted model.
pub(crate) fn model() -> ScriptedModel {
    ScriptedModel::new("scripted", |request| Ok(next(request)))
}

fn next(request: &ModelRequest) -> Reply {
    let seen = Seen(request);
    if !seen.answered("totals") {
        look(&seen)
    } else if seen.figure("files") == "0" && !seen.answered("report") {
        Reply::text(format!("{} I'll write that down.\n\n", seen.nothing())).call(
            "report",
            "write_output",
            report(&seen),
        )
    } else if !seen.answered("report") && !seen.answered("extensions") {
        survey(&seen)
    } else if !seen.answered("report") && !seen.answered("lines-rest") {
        count(&seen)
    } else if !seen.answered("report") {
        Reply::text("That is all I need. I'll write the report.\n\n").call(
            "report",
            "write_output",
            report(&seen),
        )
    } else {
        finish(&seen)
    }
}

fn look(seen: &Seen<'_>) -> Reply {
    let again = seen.earlier_totals().is_some();
    let opening = if again {
        "I have been here before. Let me see what is here now.\n\n"
    } else {
        "I'll look at the directory as a whole first.\n\n"
    };
    Reply::text(opening)
        .call("ls", "ls", json!({"path": "."}))
        .call(
            "totals",
            "bash",
            json!({"description": "Count files, bytes and directories", "command": totals()}),
        )
        .call(
            "aside",
            "bash",
            json!({
                "description": "Find directories of history and build output",
                "command": format!("find . {} -prune -printf '%f\\n' 2>/dev/null | sort -u", aside()),
            }),
        )
}

/// What `find` calls a directory that is set aside.
fn aside() -> String {
    format!("-type d \\( {} \\)", SET_ASIDE.map(|name| format!("-name {name}")).join(" -o "))
}

/// Only sizes and counts are printed, so that no file name can be mistaken for a figure.
fn totals() -> String {
    format!("all() {{ find . -mindepth 1 {} -prune -o \"$@\" 2>/dev/null; }}\n{TOTALS}", aside())
}

const TOTALS: &str = "\
printf 'directory %q\\n' \"$PWD\"
all -printf '%y %s\\n' | awk '
  $1 == \"f\" { files++; bytes += $2; if ($2 == 0) empty++ }
  $1 == \"d\" { directories++ }
  $1 == \"l\" { links++ }
  END { printf \"files %.0f\\nbytes %.0f\\ndirectories %.0f\\nlinks %.0f\\nempty %.0f\\n\",
        files, bytes, directories, links, empty }'
printf 'unreadable %s\\n' \"$(all ! -type l ! -readable -printf x | wc -c)\"
printf 'odd-names %s\\n' \"$(all -print0 | LC_ALL=C.UTF-8 grep -zaxvc '.*')\"";

fn survey(seen: &Seen<'_>) -> Reply {
    let files = files();
    let text = match seen.set_aside().as_slice() {
        [] => "Now what kinds of files there are, and the largest.\n\n".to_owned(),
        aside => format!(
            "I'll set {} aside: no work of its own. Now what kinds of files there are, and the largest.\n\n",
            aside.join(", ")
        ),
    };
    Reply::text(text)
        .call("extensions", "bash", json!({
            "description": "Count files by extension",
            "command": format!(
                "export LC_ALL=C\n{files} -name '?*.*' -printf '%f\\0' | sed -z 's/.*\\.//' \
                 | grep -zaE '^[A-Za-z0-9_+-]{{1,16}}$' | sort -z | uniq -zc | sort -z -k1,1nr -k2 | head -zn 12 \
                 | tr '\\0' '\\n'"
            ),
        }))
        .call("largest", "bash", json!({
            "description": "Find the largest files",
            "command": format!(
                "export LC_ALL=C\n{files} -printf '%s %P\\0' | sort -z -k1,1nr -k2 | head -zn 10 \
                 | while IFS= read -r -d '' line; do printf '%s %q\\n' \"${{line%% *}}\" \"${{line#* }}\"; done"
            ),
        }))
        .call("todo", "bash", json!({
            "description": "Count files with open points",
            "command": format!("{files} -print0 | xargs -0 -r grep -IlZE 'TODO|FIXME' -- | tr -cd '\\0' | wc -c"),
        }))
        .call("readme", "glob", json!({"pattern": "{README,readme,Readme}*"}))
        .call("licence", "glob", json!({"pattern": "{LICENSE,LICENCE,COPYING,license}*"}))
}

fn count(seen: &Seen<'_>) -> Reply {
    let files = files();
    let extensions = seen.extensions();
    let mut rest = files.clone();
    let mut reply = Reply::text("Now the lines, one kind after another.\n\n");
    for (index, extension) in extensions.iter().enumerate() {
        rest.push_str(&format!(" ! -name '?*.{extension}'"));
        reply = reply.call(
            format!("lines-{index}"),
            "bash",
            json!({
                "description": format!("Count the lines of .{extension} files"),
                "command": count_command(&format!("{files} -name '?*.{extension}'")),
            }),
        );
    }
    reply.call(
        "lines-rest",
        "bash",
        json!({
            "description": "Count the lines of all other files",
            "command": count_command(&rest),
        }),
    )
}

/// The `find` command for all files that are not set aside.
fn files() -> String {
    format!("find . {} -prune -o -type f", aside())
}

fn count_command(files: &str) -> String {
    format!(
        "files() {{ {files} \"$@\"; }}\n\
         printf 'files %s\\n' \"$(files -printf x | wc -c)\"\n\
         files -printf '%s\\n' | awk '{{s+=$1}} END {{printf \"bytes %.0f\\n\", s}}'\n\
         printf 'lines %s\\n' \"$(files -print0 | xargs -0 -r cat -- | wc -l)\""
    )
}

fn finish(seen: &Seen<'_>) -> Reply {
    let place = seen.text("report");
    Reply::text(format!(
        "{} files in {} directories, {} bytes. {}\n",
        seen.figure("files"),
        seen.figure("directories"),
        seen.figure("bytes"),
        place.lines().next().unwrap_or_default(),
    ))
}

fn report(seen: &Seen<'_>) -> serde_json::Value {
    let mut text = format!("# Report on {}\n\n", code(seen.figure("directory")));
    text += "| all of it | |\n|---|---:|\n";
    for (name, key) in
        [("Files", "files"), ("Directories", "directories"), ("Bytes", "bytes"), ("Links", "links")]
    {
        text += &format!("| {name} | {} |\n", seen.figure(key));
    }
    let aside = seen.set_aside();
    if !aside.is_empty() {
        let names: Vec<_> = aside.iter().map(code).collect();
        text += &format!("\nHistory and build output are left out of all figures: {}.\n", names.join(", "));
    }
    if seen.answered("lines-rest") {
        text += "\n## Lines by extension\n\n| extension | files | lines | bytes |\n|---|---:|---:|---:|\n";
        for (index, extension) in seen.extensions().iter().enumerate() {
            text += &row(seen, &format!(".{extension}"), &format!("lines-{index}"));
        }
        text += &row(seen, "all others", "lines-rest");
        text += "\n## The largest files\n\n| bytes | file |\n|---:|---|\n";
        for line in seen.text("largest").lines() {
            if let Some((bytes, name)) = line.split_once(' ') {
                text += &format!("| {bytes} | {} |\n", code(name).replace('|', "\\|"));
            }
        }
    }
    text += "\n## Worth saying\n\n";
    for remark in remarks(seen) {
        text += &format!("- {remark}\n");
    }
    json!({"name": "report.md", "content": text})
}

fn row(seen: &Seen<'_>, name: &str, label: &str) -> String {
    let cell = |key| seen.figure_of(label, key);
    format!("| {name} | {} | {} | {} |\n", cell("files"), cell("lines"), cell("bytes"))
}

fn remarks(seen: &Seen<'_>) -> Vec<String> {
    let mut remarks = Vec::new();
    let mut say = |text: &str, figure: &str| {
        if figure != "0" {
            remarks.push(format!("{text}: {figure}."));
        }
    };
    say("Empty files", &seen.figure("empty"));
    say("Entries that can't be read, and whose lines are not counted", &seen.figure("unreadable"));
    say("Names that are not UTF-8", &seen.figure("odd-names"));
    if seen.answered("todo") {
        say("Text files with open points (TODO or FIXME)", seen.text("todo").trim());
    }
    if seen.answered("readme") && !seen.text("readme").contains('/') {
        remarks.push("There is no README at the top.".to_owned());
    }
    if seen.answered("licence") && !seen.text("licence").contains('/') {
        remarks.push("There is no licence at the top.".to_owned());
    }
    if let Some(before) = seen.earlier_totals() {
        let (files, bytes) = (value(&before, "files"), value(&before, "bytes"));
        remarks.push(format!(
            "At the last report: {} files, {} bytes.",
            files.unwrap_or(UNKNOWN),
            bytes.unwrap_or(UNKNOWN)
        ));
    }
    if seen.figure("files") == "0" {
        remarks.push(seen.nothing().to_owned());
    }
    if remarks.is_empty() {
        remarks.push("Nothing out of the ordinary.".to_owned());
    }
    remarks
}

/// What is told in place of a figure that no tool gave.
const UNKNOWN: &str = "unknown";

/// The conversation, as the script looks at it.
struct Seen<'r>(&'r ModelRequest);

impl Seen<'_> {
    fn answered(&self, label: &str) -> bool {
        self.0.answer(label).is_some()
    }

    fn text(&self, label: &str) -> String {
        self.0
            .answer(label)
            .filter(|output| !output.is_error())
            .map(agentx::ToolOutput::to_text)
            .unwrap_or_default()
    }

    fn figure(&self, key: &str) -> String {
        self.figure_of("totals", key)
    }

    fn figure_of(&self, label: &str, key: &str) -> String {
        value(&self.text(label), key).unwrap_or(UNKNOWN).to_owned()
    }

    /// What to say of a directory in which no file was found.
    fn nothing(&self) -> &'static str {
        if self.figure("unreadable") == "0" {
            "There are no files."
        } else {
            "There are no files that can be seen."
        }
    }

    /// The totals of the last report of this session, if there was one.
    fn earlier_totals(&self) -> Option<String> {
        let messages = &self.0.messages;
        let now = messages.iter().rposition(|message| matches!(message, MessageBody::User { .. }))?;
        messages.iter().take(now).rev().find_map(|message| match message {
            MessageBody::Tool(result) if result.tool_call_id.starts_with("call_totals_") => {
                Some(result.output.to_text())
            }
            _ => None,
        })
    }

    fn set_aside(&self) -> Vec<String> {
        self.text("aside").lines().filter(|name| SET_ASIDE.contains(name)).map(str::to_owned).collect()
    }

    fn extensions(&self) -> Vec<String> {
        let text = self.text("extensions");
        text.lines()
            .filter_map(|line| Some(line.trim().split_once(' ')?.1.to_owned()))
            .filter(|name| plain(name))
            .collect()
    }
}

/// Names that can stand in a command as they are.
fn plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte))
}

/// The value behind `key` on a line of its own.
fn value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')).map(str::trim)
}

/// Markdown code, whatever is in it.
fn code(text: impl AsRef<str>) -> String {
    let text = text.as_ref();
    let longest = text.split(|character| character != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    if longest == 0 { format!("{fence}{text}{fence}") } else { format!("{fence} {text} {fence}") }
}
