use std::fmt::Write;

use agentx_resource::{ErrorKind, ExecRequest, Invocation, Result, Stdin};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::container::http::fail;

/// What the script says on standard error, behind the mark, before the command runs.
pub(super) const READY: &str = " ready";
/// The directory is not there.
pub(super) const MISSING: &str = " missing";
/// It is something else.
pub(super) const NO_DIRECTORY: &str = " no directory";

/// The request as a text for a POSIX shell, which begins with one line of standard error: `mark`, and whether the command
/// runs now or why not.
pub(super) fn script(request: &ExecRequest, root: &str, mark: &str) -> Result<String> {
    let invalid =
        |message: &str| Err(fail(ErrorKind::InvalidInput, "spawn").with_message(message.to_owned()));
    let words: Vec<&str> = match &request.invocation {
        Invocation::Program { program, .. } if program.is_empty() => return invalid("the program is empty"),
        Invocation::Program { program, args } => {
            [&**program].into_iter().chain(args.iter().map(String::as_str)).collect()
        }
        Invocation::Shell { script } => vec!["sh", "-c", script],
        _ => {
            return Err(
                fail(ErrorKind::Unsupported, "spawn").with_message("a kind of command that is not known")
            );
        }
    };
    if words.iter().any(|word| word.contains('\0')) {
        return invalid("NUL in the command");
    }
    let mut command = "env -i PATH=\"$PATH\"".to_owned();
    for (name, value) in &request.env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return invalid("the name or the value of a variable is none");
        }
        // A variable can be named otherwise than `env` would take it for one.
        if name.starts_with('-') {
            return invalid("the name of a variable begins with `-`");
        }
        command = format!("{command} {}", quoted(&format!("{name}={value}")));
    }
    for word in &words {
        command = format!("{command} {}", quoted(word));
    }
    let at = quoted(&format!("{}{}", root.trim_end_matches('/'), request.cwd));
    let mut script = format!(
        "if cd -- {at} 2>/dev/null; then echo '{mark}{READY}' >&2; \
         elif [ -e {at} ]; then echo '{mark}{NO_DIRECTORY}' >&2; exit 1; \
         else echo '{mark}{MISSING}' >&2; exit 1; fi; "
    );
    match &request.stdin {
        // Its status is the command's, the last one of the pipeline.
        Stdin::Bytes(bytes) => {
            // Text takes what it is given.
            let _ = write!(script, "printf %s {} | base64 -d | {command}", quoted(&STANDARD.encode(bytes)));
        }
        _ => {
            let _ = write!(script, "exec {command} </dev/null");
        }
    }
    Ok(script)
}

/// A word that a shell takes as it is.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use agentx_resource::ResourcePath;

    use super::*;

    #[test]
    fn words_are_taken_as_they_are() {
        let request = ExecRequest::program("echo", ["it's", "$HOME; `x`"])
            .with_env("A", "b c")
            .with_cwd(ResourcePath::new("/d e").unwrap());
        let script = script(&request, "/workspace", "m").unwrap();
        assert!(script.contains("cd -- '/workspace/d e'"), "{script}");
        assert!(
            script.ends_with(r#"exec env -i PATH="$PATH" 'A=b c' 'echo' 'it'\''s' '$HOME; `x`' </dev/null"#),
            "{script}"
        );
    }

    #[test]
    fn what_a_shell_could_take_otherwise_is_refused() {
        for request in [
            ExecRequest::program("", [""; 0]),
            ExecRequest::program("a\0", [""; 0]),
            ExecRequest::program("a", [""; 0]).with_env("A=B", "c"),
            ExecRequest::program("a", [""; 0]).with_env("-i", "c"),
        ] {
            assert_eq!(script(&request, "/", "m").unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    }
}
