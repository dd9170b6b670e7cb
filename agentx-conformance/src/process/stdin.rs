use agentx_resource::{ErrorKind, ExecEvent, ExitStatus, ProcessExt, Stdin};
use bytes::Bytes;

use super::support::{Subject, events, program};
use crate::{
    Failure, Outcome,
    failure::{ensure, ensure_eq, ensure_kind},
};

pub(super) async fn stdin_null(process: Subject) -> Outcome {
    let output = process.exec(program("cat", [])).await?;
    ensure_eq((output.status, output.stdout), (ExitStatus::Code(0), Bytes::new()), "the output")
}

pub(super) async fn stdin_bytes(process: Subject) -> Outcome {
    for content in ["", "one\ntwo"] {
        let stdin = Stdin::Bytes(Bytes::from_static(content.as_bytes()));
        let output = process.exec(program("cat", []).with_stdin(stdin)).await?;
        ensure_eq(output.stdout_text(), content, "the output")?;
    }
    Ok(())
}

pub(super) async fn stdin_large(process: Subject) -> Outcome {
    let content = Bytes::from(vec![b'x'; 4 << 20]);
    let output = process.exec(program("cat", []).with_stdin(Stdin::Bytes(content.clone()))).await?;
    ensure(output.stdout == content, "4 MiB do not come back as they were sent")
}

pub(super) async fn stdin_unread(process: Subject) -> Outcome {
    let content = Bytes::from(vec![b'x'; 4 << 20]);
    let output = process.exec(program("true", []).with_stdin(Stdin::Bytes(content))).await?;
    ensure_eq(output.status, ExitStatus::Code(0), "the status")
}

/// `cat` with live input; `None` where that is not declared, and refused.
async fn live_cat(process: &Subject) -> Result<Option<Box<dyn agentx_resource::Child>>, Failure> {
    let request = program("cat", []).with_stdin(Stdin::Piped);
    if process.capabilities().live_stdin {
        return Ok(Some(process.spawn(request).await?));
    }
    ensure_kind(process.spawn(request).await, ErrorKind::Unsupported, "undeclared live input")?;
    Ok(None)
}

pub(super) async fn stdin_live(process: Subject) -> Outcome {
    let Some(child) = live_cat(&process).await? else { return Ok(()) };
    for line in ["one\n", "two\n", "three\n"] {
        child.write_stdin(Bytes::from_static(line.as_bytes())).await?;
        let mut echoed = Vec::new();
        while echoed.len() < line.len() {
            match child.next_event().await? {
                Some(ExecEvent::Stdout(bytes)) => echoed.extend_from_slice(&bytes),
                other => return Err(Failure::new(format!("expected the echo of {line:?}, found {other:?}"))),
            }
        }
        ensure_eq(String::from_utf8_lossy(&echoed), line, "the echo")?;
    }
    child.close_stdin().await?;
    child.close_stdin().await?;
    ensure_eq(
        events(&*child).await?,
        [ExecEvent::Exited(ExitStatus::Code(0))],
        "what comes after the end of input",
    )
}

pub(super) async fn stdin_live_closed(process: Subject) -> Outcome {
    let Some(child) = live_cat(&process).await? else { return Ok(()) };
    child.close_stdin().await?;
    let written = child.write_stdin(Bytes::from_static(b"x")).await;
    ensure_kind(written, ErrorKind::InvalidInput, "a write after the close")
}

pub(super) async fn stdin_live_ended(process: Subject) -> Outcome {
    if !process.capabilities().live_stdin {
        return live_cat(&process).await.map(|_| ());
    }
    let child = process.spawn(program("true", []).with_stdin(Stdin::Piped)).await?;
    events(&*child).await?;
    let written = child.write_stdin(Bytes::from(vec![b'x'; 1 << 20])).await;
    ensure_kind(written, ErrorKind::Unavailable, "a write to what has ended")
}

pub(super) async fn stdin_not_live(process: Subject) -> Outcome {
    for stdin in [Stdin::Null, Stdin::Bytes(Bytes::from_static(b"x"))] {
        let child = process.spawn(program("cat", []).with_stdin(stdin)).await?;
        let written = child.write_stdin(Bytes::from_static(b"y")).await;
        ensure_kind(written, ErrorKind::Unsupported, "a write to what has no live input")?;
    }
    Ok(())
}
