use agentx_resource::{Child, ErrorKind, ExecEvent, ExecRequest, ExitStatus, Signal};

use super::support::{LONG, Subject, events, program, read_line};
use crate::{
    Outcome,
    failure::{ensure, ensure_eq, ensure_kind},
};

/// A command that has told that it is ready, where signals are declared; else they must be refused.
async fn ready(process: &Subject, script: String) -> Result<Option<Box<dyn Child>>, crate::Failure> {
    let capabilities = process.capabilities();
    if !capabilities.signals {
        let child = process.spawn(program("sleep", [LONG])).await?;
        ensure_kind(child.signal(Signal::Interrupt).await, ErrorKind::Unsupported, "an undeclared signal")?;
        child.kill().await?;
        let killed = ExecEvent::Exited(ExitStatus::Killed);
        ensure_eq(events(&*child).await?, [killed], "the events after a refused signal")?;
        return Ok(None);
    }
    if !capabilities.shell {
        return Ok(None);
    }
    let child = process.spawn(ExecRequest::shell(script)).await?;
    ensure_eq(read_line(&*child).await?, "ready\n".to_owned(), "the first line")?;
    Ok(Some(child))
}

pub(super) async fn signal_told(process: Subject) -> Outcome {
    for (signal, name) in [
        (Signal::Interrupt, "INT"),
        (Signal::Hangup, "HUP"),
        (Signal::Quit, "QUIT"),
        (Signal::Terminate, "TERM"),
        (Signal::User1, "USR1"),
        (Signal::User2, "USR2"),
    ] {
        let script =
            format!("trap 'echo got {name}; exit 7' {name}; echo ready; while :; do sleep 0.05; done");
        let Some(child) = ready(&process, script).await? else { return Ok(()) };
        child.signal(signal).await?;
        ensure_eq(read_line(&*child).await?, format!("got {name}\n"), "what the command says")?;
        let end = events(&*child).await?;
        ensure(end.contains(&ExecEvent::Exited(ExitStatus::Code(7))), format!("{name} ended in {end:?}"))?;
    }
    Ok(())
}

pub(super) async fn signal_ends(process: Subject) -> Outcome {
    for (signal, number) in [(Signal::Terminate, 15), (Signal::Kill, 9)] {
        let script = format!("echo ready; exec sleep {LONG}");
        let child = match ready(&process, script).await? {
            Some(child) => child,
            // Without a shell nobody says that he is ready. Nobody catches these signals, however early they come.
            None if process.capabilities().signals => process.spawn(program("sleep", [LONG])).await?,
            None => return Ok(()),
        };
        child.signal(signal).await?;
        let end = events(&*child).await?;
        ensure(end.contains(&ExecEvent::Exited(ExitStatus::Signal(number))), format!("{signal:?}: {end:?}"))?;
    }
    Ok(())
}

pub(super) async fn signal_stops(process: Subject) -> Outcome {
    let script = "trap 'echo on; exit 5' USR1; echo ready; while :; do sleep 0.05; done";
    let Some(child) = ready(&process, script.to_owned()).await? else { return Ok(()) };
    child.signal(Signal::Stop).await?;
    child.signal(Signal::User1).await?;
    child.signal(Signal::Continue).await?;
    ensure_eq(
        read_line(&*child).await?,
        "on\n".to_owned(),
        "what a command says that was stopped and goes on",
    )?;
    let end = events(&*child).await?;
    ensure(end.contains(&ExecEvent::Exited(ExitStatus::Code(5))), format!("the end: {end:?}"))
}

pub(super) async fn signal_ended(process: Subject) -> Outcome {
    let child = process.spawn(program("true", [])).await?;
    ensure_eq(events(&*child).await?, [ExecEvent::Exited(ExitStatus::Code(0))], "the events")?;
    let sent = child.signal(Signal::Terminate).await;
    if process.capabilities().signals {
        sent?;
    } else {
        ensure_kind(sent, ErrorKind::Unsupported, "an undeclared signal, after the end")?;
    }
    ensure_eq(child.next_event().await?, None, "what follows the end")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use agentx_resource::{Process, ProcessCapabilities, Result};
    use async_trait::async_trait;

    use super::*;
    use crate::{
        clock::TokioClock,
        faulty::{FaultyProcess, ProcessFault},
        process::toolbox,
    };

    /// Declares signals and no shell, and sends no signal.
    #[derive(Debug)]
    struct Programs(FaultyProcess);

    #[async_trait]
    impl Process for Programs {
        fn capabilities(&self) -> ProcessCapabilities {
            ProcessCapabilities::new("/").with_signals()
        }

        async fn spawn(&self, request: ExecRequest) -> Result<Box<dyn Child>> {
            self.0.spawn(request).await
        }
    }

    // Time stands still unless all wait for it, so that a command which is not ended ends at once.
    #[tokio::test(start_paused = true)]
    async fn signals_are_tried_also_without_a_shell() {
        let toolbox = Arc::new(toolbox(Arc::new(TokioClock)));
        let process = Programs(FaultyProcess::new(toolbox, ProcessFault::SwallowsSignals));
        let failure = signal_ends(Arc::new(process)).await.unwrap_err();
        assert!(failure.to_string().contains("Terminate"), "{failure}");
    }
}
