use std::{sync::Arc, time::Duration};

use agentx_resource::{
    Child, ErrorKind, ExecEvent, ExecOutput, ExecRequest, ExitStatus, Process, ProcessExt,
};

use crate::{
    Failure, Outcome,
    failure::{ensure, ensure_kind},
};

/// What each case gets.
pub(super) type Subject = Arc<dyn Process>;

/// Longer than any case takes, so that a command which is not ended shows.
pub(super) const LONG: &str = "300";

/// A program with these arguments.
pub(super) fn program<const N: usize>(name: &str, args: [&str; N]) -> ExecRequest {
    ExecRequest::program(name, args)
}

/// Runs shell source. Where no shell is declared, it must be refused, and there is no output.
pub(super) async fn shell(process: &Subject, request: ExecRequest) -> Result<Option<ExecOutput>, Failure> {
    if process.capabilities().shell {
        return Ok(Some(process.exec(request).await?));
    }
    ensure_kind(process.exec(request).await, ErrorKind::Unsupported, "an undeclared shell")?;
    Ok(None)
}

/// Whether a shell is declared; else it must be refused.
pub(super) async fn has_shell(process: &Subject) -> Result<bool, Failure> {
    if process.capabilities().shell {
        return Ok(true);
    }
    let refused = process.spawn(ExecRequest::shell(":")).await;
    ensure_kind(refused, ErrorKind::Unsupported, "an undeclared shell")?;
    Ok(false)
}

/// Starts shell source that writes a process id as its first line.
pub(super) async fn spawn_telling(
    process: &Subject,
    script: String,
) -> Result<Option<(Box<dyn Child>, u32)>, Failure> {
    if !process.capabilities().shell {
        let refused = process.spawn(ExecRequest::shell(script)).await;
        ensure_kind(refused, ErrorKind::Unsupported, "an undeclared shell")?;
        return Ok(None);
    }
    let child = process.spawn(ExecRequest::shell(script)).await?;
    let text = read_line(&*child).await?;
    let id =
        text.trim().parse().map_err(|error| Failure::new(format!("{text:?} is no process id: {error}")))?;
    Ok(Some((child, id)))
}

/// Fails unless the process `id` ends. One that is dead and not yet waited for has ended.
pub(super) async fn ends(process: &Subject, id: u32) -> Outcome {
    let script = format!(
        "kill -0 {id} 2>/dev/null || exit 1; \
         if [ -r /proc/{id}/status ]; then if grep -q '^State:[[:space:]]*[ZX]' /proc/{id}/status; then exit 1; fi; fi"
    );
    for _ in 0..200 {
        let output = process.exec(ExecRequest::shell(script.as_str())).await?;
        if output.status == ExitStatus::Code(1) {
            return Ok(());
        }
        ensure(output.status.success(), format!("whether {id} lives can't be told: {output:?}"))?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(Failure::new(format!("the process {id} goes on")))
}

/// All events up to the end.
pub(super) async fn events(child: &dyn Child) -> Result<Vec<ExecEvent>, Failure> {
    let mut events = Vec::new();
    while let Some(event) = child.next_event().await? {
        events.push(event);
    }
    Ok(events)
}

/// The next line of standard output. What follows it in the same event is not expected.
pub(super) async fn read_line(child: &dyn Child) -> Result<String, Failure> {
    read_until(child, "\n").await
}

/// Standard output up to one that ends so.
pub(super) async fn read_until(child: &dyn Child, end: &str) -> Result<String, Failure> {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        match child.next_event().await? {
            Some(ExecEvent::Stdout(bytes)) => read.extend_from_slice(&bytes),
            Some(ExecEvent::Stderr(_)) => {}
            other => {
                let read = String::from_utf8_lossy(&read);
                return Err(Failure::new(format!("{read:?} and then {other:?}, where {end:?} was due")));
            }
        }
    }
    Ok(String::from_utf8_lossy(&read).into_owned())
}

#[cfg(test)]
mod tests {
    use agentx_resource::{ProcessCapabilities, Result};
    use async_trait::async_trait;

    use super::*;
    use crate::{
        clock::TokioClock,
        process::{background, session, toolbox},
    };

    /// Runs shell source and does not say so.
    #[derive(Debug)]
    struct Secretive(Subject);

    #[async_trait]
    impl Process for Secretive {
        fn capabilities(&self) -> ProcessCapabilities {
            let mut capabilities = self.0.capabilities();
            capabilities.shell = false;
            capabilities
        }

        async fn spawn(&self, request: ExecRequest) -> Result<Box<dyn Child>> {
            self.0.spawn(request).await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_shell_that_is_not_declared_is_asked_for() {
        let process = || -> Subject { Arc::new(Secretive(Arc::new(toolbox(Arc::new(TokioClock))))) };
        for outcome in [
            background::background_streams(process()).await,
            background::background_drop_ends(process()).await,
            session::session_drop_ends(process()).await,
        ] {
            assert!(outcome.unwrap_err().to_string().contains("an undeclared shell"));
        }
    }
}
