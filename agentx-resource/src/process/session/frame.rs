//! The text that goes to the shell, and the marks by which its answer is told from the command's own output.
//!
//! A command travels as one quoted word, so that nothing in it can reach the shell's own grammar: what it leaves open
//! (a quote, a here-document, `if`) ends with the word. It runs with files of its own: `/dev/null` as its input, and
//! copies of the shell's two outputs. Whatever it does to them by `exec` is undone after it, and the originals are
//! closed to it. After it the shell writes a mark to both outputs.
//!
//! The shell's own standard error is `/dev/null`, which is the command's input too: what `set -x` tells of the lines
//! around a command goes there. A shell takes half a dozen system calls for each file that it redirects and back, which
//! is most of what a builtin costs; so there are no more than five.
//!
//! A mark is sent in two halves that only the shell's answer joins, so that no echo of the input (`set -v`, `set -x`)
//! is taken for it. All of this is POSIX; `command` and the backslashes pass by functions and aliases of these names.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    sync::atomic::{AtomicU64, Ordering},
};

/// The first byte of each mark, rare in any output.
pub(super) const FIRST: u8 = 0x1e;

/// Where marks come from: nobody can guess the next from those before it.
#[derive(Debug, Default)]
pub(super) struct Marks {
    key: RandomState,
    count: AtomicU64,
}

/// What ends a command's output: 64 random bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    first: String,
    second: String,
}

impl Marks {
    pub(super) fn next(&self) -> Mark {
        let bits = self.key.hash_one(self.count.fetch_add(1, Ordering::Relaxed));
        let text = format!("{bits:016x}");
        let (first, second) = text.split_at(8);
        Mark { first: first.to_owned(), second: second.to_owned() }
    }
}

impl Mark {
    /// A name that nobody else has.
    pub(super) fn function(&self) -> String {
        format!("_{}", self.first)
    }

    /// As the shell writes it.
    pub(super) fn bytes(&self) -> Vec<u8> {
        [&[FIRST], self.first.as_bytes(), self.second.as_bytes()].concat()
    }
}

/// What a new shell is told first: to keep its files elsewhere, how to answer, where to go, and to answer once.
pub(super) fn prologue(answer: &str, directory: Option<&str>, mark: &Mark) -> String {
    let Mark { first, second } = mark;
    let go = directory.map(|directory| format!("\\command cd -- {}\n", quoted(directory)));
    let go = go.unwrap_or_default();
    format!(
        "exec 7>&1 8>&2 2<>/dev/null\n\
         {answer}() {{ \\unset -f command; \
         \\command printf '\\036%s%s%s %s\\036%s%s' \"$2\" \"$3\" \"$1\" \"${{PWD-}}\" \"$2\" \"$3\" && \
         \\command printf '\\036%s%s' \"$2\" \"$3\" >&8; }}\n\
         {go}{answer} 0 {first} {second}\n"
    )
}

/// One command, and the answer after it. `status` is that of the command before it, for its `$?`.
pub(super) fn command(answer: &str, command: &str, status: i32, mark: &Mark) -> String {
    let Mark { first, second } = mark;
    // The empty line first: after a syntax error in `eval`, bash takes the first word of the next line for no keyword.
    let before = match status {
        0 => String::new(),
        // No child process, and no end of a shell that ends with the first failure.
        1 => "\n! \\command :;".to_owned(),
        code => format!("\n{{ (\\exit {code});}} >&2;"),
    };
    format!(
        "{before}\\command eval {} <&2 >&7 2>&8 7>&- 8>&-;{answer} \"$?\" {first} {second}||\\exit\n",
        quoted(command)
    )
}

/// One word that means `text`.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_differ_and_never_stand_whole_in_what_is_sent() {
        let marks = Marks::default();
        let (mark, other) = (marks.next(), marks.next());
        assert_ne!(mark, other);
        assert_ne!(Marks::default().next(), Marks::default().next());
        let whole = String::from_utf8(mark.bytes()[1..].to_vec()).unwrap();
        assert_eq!(whole.len(), 16);
        assert!(!command("answer", "echo hi", 0, &mark).contains(&whole));
        assert!(!prologue("answer", None, &mark).contains(&whole));
    }

    #[test]
    fn a_command_is_one_word() {
        assert_eq!(quoted("echo 'a' \"b\" $c\n"), "'echo '\\''a'\\'' \"b\" $c\n'");
    }
}
