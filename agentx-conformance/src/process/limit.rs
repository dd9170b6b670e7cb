use std::time::Duration;

use agentx_resource::{ExecEvent, ExecRequest, ExitStatus, OutputLimit, OutputStream, ProcessExt};

use super::support::{LONG, Subject, events, program, shell};
use crate::{
    Outcome,
    failure::{ensure, ensure_eq},
};

pub(super) async fn limit_below(process: Subject) -> Outcome {
    for limit in [OutputLimit::truncate(10), OutputLimit::kill(10), OutputLimit::none()] {
        let output = process.exec(program("printf", ["0123456789"]).with_output_limit(limit)).await?;
        ensure_eq(output.status, ExitStatus::Code(0), "the status")?;
        ensure_eq(&output.stdout, "0123456789", "the output")?;
        ensure_eq(output.stdout_dropped, 0, "what was dropped")?;
    }
    Ok(())
}

pub(super) async fn limit_truncates(process: Subject) -> Outcome {
    let request = program("printf", ["0123456789abcdef"]).with_output_limit(OutputLimit::truncate(10));
    let child = process.spawn(request.clone()).await?;
    let told = events(&*child).await?;
    let truncated = ExecEvent::Truncated { stream: OutputStream::Stdout, dropped: 6 };
    ensure_eq(told.iter().filter(|event| **event == truncated).count(), 1, "how often the cut is told")?;
    let output = process.exec(request).await?;
    ensure_eq(output.status, ExitStatus::Code(0), "the status")?;
    ensure_eq(&output.stdout, "0123456789", "what is kept")?;
    ensure_eq((output.stdout_dropped, output.stderr_dropped), (6, 0), "what was dropped")
}

pub(super) async fn limit_zero(process: Subject) -> Outcome {
    let output =
        process.exec(program("printf", ["0123"]).with_output_limit(OutputLimit::truncate(0))).await?;
    ensure_eq(output.status, ExitStatus::Code(0), "the status")?;
    ensure_eq(&output.stdout, "", "what is kept")?;
    ensure_eq(output.stdout_dropped, 4, "what was dropped")
}

pub(super) async fn limit_kills(process: Subject) -> Outcome {
    let output = process.exec(program("yes", []).with_output_limit(OutputLimit::kill(100_000))).await?;
    ensure_eq(output.status, ExitStatus::OutputLimit, "the status")?;
    ensure_eq(output.stdout.len(), 100_000, "how much is kept")
}

pub(super) async fn timeout_unneeded(process: Subject) -> Outcome {
    let output = process.exec(program("echo", ["x"]).with_timeout(Duration::from_hours(1))).await?;
    ensure_eq((output.status, output.stdout_text()), (ExitStatus::Code(0), "x\n".into()), "the output")
}

pub(super) async fn timeout_ends(process: Subject) -> Outcome {
    let output = process.exec(program("sleep", [LONG]).with_timeout(Duration::from_millis(100))).await?;
    ensure_eq(output.status, ExitStatus::TimedOut, "the status")
}

pub(super) async fn timeout_keeps_output(process: Subject) -> Outcome {
    let request =
        ExecRequest::shell(format!("echo begun; sleep {LONG}")).with_timeout(Duration::from_secs(2));
    let Some(output) = shell(&process, request).await? else { return Ok(()) };
    ensure_eq(output.status, ExitStatus::TimedOut, "the status")?;
    ensure(output.stdout == "begun\n", format!("what came before the timeout is lost: {output:?}"))
}
