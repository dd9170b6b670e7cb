use agentx_resource::{ExecEvent, ExecRequest, ExitStatus, ProcessExt, Stdin};
use bytes::Bytes;
use futures::FutureExt;

use super::support::{LONG, Subject, ends, events, program, shell, spawn_telling};
use crate::{
    Failure, Outcome,
    failure::{ensure, ensure_eq},
};

const KILLED: ExecEvent = ExecEvent::Exited(ExitStatus::Killed);

pub(super) async fn kill_ends(process: Subject) -> Outcome {
    let child = process.spawn(program("sleep", [LONG])).await?;
    child.kill().await?;
    ensure_eq(events(&*child).await?, [KILLED], "the events")
}

pub(super) async fn kill_again(process: Subject) -> Outcome {
    let child = process.spawn(program("sleep", [LONG])).await?;
    child.kill().await?;
    child.kill().await?;
    ensure_eq(events(&*child).await?, [KILLED], "the events")?;
    child.kill().await?;
    let child = process.spawn(program("true", [])).await?;
    ensure_eq(events(&*child).await?, [ExecEvent::Exited(ExitStatus::Code(0))], "the events")?;
    child.kill().await?;
    ensure_eq(child.next_event().await?, None, "what follows the end")
}

pub(super) async fn kill_tree(process: Subject) -> Outcome {
    let script = format!("sleep {LONG} & echo $!; wait");
    let Some((child, grandchild)) = spawn_telling(&process, script).await? else { return Ok(()) };
    child.kill().await?;
    ensure(events(&*child).await?.contains(&KILLED), "the end is not told as killed")?;
    ends(&process, grandchild).await
}

pub(super) async fn drop_ends(process: Subject) -> Outcome {
    let script = format!("sleep {LONG} & echo $!; wait");
    let Some((child, grandchild)) = spawn_telling(&process, script).await? else { return Ok(()) };
    drop(child);
    ends(&process, grandchild).await
}

pub(super) async fn drop_exec(process: Subject) -> Outcome {
    for _ in 0..3 {
        let run = process.exec(program("sleep", [LONG]));
        ensure(run.now_or_never().is_none(), "a sleep ended at once")?;
    }
    let output = process.exec(program("echo", ["x"])).await?;
    ensure_eq(&output.stdout, "x\n", "a command after dropped ones")
}

pub(super) async fn exit_signal(process: Subject) -> Outcome {
    let Some(output) = shell(&process, ExecRequest::shell("kill -9 $$")).await? else { return Ok(()) };
    ensure_eq(output.status, ExitStatus::Signal(9), "the status")
}

pub(super) async fn events_end(process: Subject) -> Outcome {
    let child = process.spawn(program("echo", ["x"])).await?;
    let told = events(&*child).await?;
    let exits = told.iter().filter(|event| matches!(event, ExecEvent::Exited(_))).count();
    ensure_eq(exits, 1, "how often the exit is told")?;
    for _ in 0..3 {
        ensure_eq(child.next_event().await?, None, "what follows the end")?;
    }
    Ok(())
}

pub(super) async fn events_dropped_call(process: Subject) -> Outcome {
    let content = Bytes::from(vec![b'x'; 1 << 20]);
    let child = process.spawn(program("cat", []).with_stdin(Stdin::Bytes(content))).await?;
    let (mut received, mut exits) = (0, 0);
    loop {
        // Polled once and dropped, as by a caller that waits for several things.
        let event = match child.next_event().now_or_never() {
            Some(event) => event?,
            None => child.next_event().await?,
        };
        match event {
            Some(ExecEvent::Stdout(bytes)) => received += bytes.len(),
            Some(ExecEvent::Exited(_)) => exits += 1,
            Some(other) => {
                return Err(Failure::new(format!("an event that the case does not expect: {other:?}")));
            }
            None => break,
        }
    }
    ensure_eq((received, exits), (1 << 20, 1), "what was received")
}

pub(super) async fn child_ids(process: Subject) -> Outcome {
    let (a, b) = (process.spawn(program("true", [])).await?, process.spawn(program("true", [])).await?);
    ensure(!a.id().is_empty(), "a child has no id")?;
    ensure(a.id() != b.id(), "two children have one id")
}

pub(super) async fn child_debug(process: Subject) -> Outcome {
    let request = program("true", []).with_env("TOKEN", "kit-s3cret-value");
    let child = process.spawn(request.clone()).await?;
    let mut shown = format!("{child:?}{process:?}{request:?}");
    if let Err(error) = process.spawn(request.with_env("A=B", "kit-s3cret-value")).await {
        shown += &format!("{error:?}{error}");
    }
    ensure(!shown.contains("kit-s3cret-value"), "a variable's value is shown by Debug or by an error")
}
