use std::time::Duration;

use agentx_resource::{
    Child, ErrorKind, ExecEvent, ExecRequest, ExitStatus, ProcessExt, Stdin, TerminalSize,
};

use super::support::{Subject, events, program, read_until};
use crate::{
    Failure, Outcome,
    failure::{ensure, ensure_eq, ensure_kind},
};

const SIZE: TerminalSize = TerminalSize { columns: 101, rows: 37 };
/// The longest that a command may take which should end by itself.
const PATIENCE: Duration = Duration::from_mins(1);

/// Shell source in a terminal with live input, where terminals are declared; else they must be refused.
async fn typed(process: &Subject, script: &str) -> Result<Option<Box<dyn Child>>, Failure> {
    let capabilities = process.capabilities();
    if !capabilities.terminal {
        let refused = process.exec(program("true", []).with_terminal(SIZE)).await;
        ensure_kind(refused, ErrorKind::Unsupported, "an undeclared terminal")?;
        return Ok(None);
    }
    if !capabilities.shell || !capabilities.live_stdin {
        return Ok(None);
    }
    let request =
        ExecRequest::shell(script).with_terminal(SIZE).with_stdin(Stdin::Piped).with_timeout(PATIENCE);
    Ok(Some(process.spawn(request).await?))
}

pub(super) async fn terminal_is_one(process: Subject) -> Outcome {
    let script = "test -t 0 && test -t 1 && test -t 2 && echo a terminal; echo error >&2; exit 3";
    let Some(child) = typed(&process, script).await? else { return Ok(()) };
    let told = events(&*child).await?;
    ensure(!told.iter().any(|event| matches!(event, ExecEvent::Stderr(_))), "standard error is apart")?;
    ensure_eq(shown(&told), "a terminal\r\nerror\r\n".to_owned(), "what is shown")?;
    ensure(told.contains(&ExecEvent::Exited(ExitStatus::Code(3))), format!("the end: {told:?}"))
}

pub(super) async fn terminal_size(process: Subject) -> Outcome {
    let Some(child) = typed(&process, "stty size").await? else { return Ok(()) };
    ensure_eq(shown(&events(&*child).await?), "37 101\r\n".to_owned(), "the size")
}

pub(super) async fn terminal_resize(process: Subject) -> Outcome {
    let script = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done";
    let Some(child) = typed(&process, script).await? else {
        let child = process.spawn(program("true", [])).await?;
        let resized = child.resize(SIZE).await;
        ensure_kind(resized, ErrorKind::Unsupported, "a resize without a terminal")?;
        events(&*child).await?;
        return Ok(());
    };
    read_until(&*child, "ready\r\n").await?;
    child.resize(TerminalSize { columns: 55, rows: 22 }).await?;
    ensure_eq(shown(&events(&*child).await?), "22 55\r\n".to_owned(), "the size that the command is told")
}

pub(super) async fn terminal_input(process: Subject) -> Outcome {
    let script = "stty -echo; echo ready; IFS= read -r line; echo \"<$line>\"; cat >/dev/null; echo end";
    let Some(child) = typed(&process, script).await? else { return Ok(()) };
    read_until(&*child, "ready\r\n").await?;
    child.write_stdin("a b\n".into()).await?;
    read_until(&*child, "<a b>\r\n").await?;
    // The end of input, as it is typed.
    child.write_stdin("\x04".into()).await?;
    ensure_eq(shown(&events(&*child).await?), "end\r\n".to_owned(), "what follows the end of input")
}

pub(super) async fn terminal_interrupt(process: Subject) -> Outcome {
    let script = "trap 'echo interrupted; exit 9' INT; echo ready; while :; do sleep 0.05; done";
    let Some(child) = typed(&process, script).await? else { return Ok(()) };
    read_until(&*child, "ready\r\n").await?;
    child.write_stdin("\x03".into()).await?;
    read_until(&*child, "interrupted\r\n").await?;
    let end = events(&*child).await?;
    ensure(end.contains(&ExecEvent::Exited(ExitStatus::Code(9))), format!("the end: {end:?}"))
}

/// All that was shown.
fn shown(events: &[ExecEvent]) -> String {
    events
        .iter()
        .filter_map(|event| match event {
            ExecEvent::Stdout(bytes) => Some(String::from_utf8_lossy(bytes)),
            _ => None,
        })
        .collect()
}
