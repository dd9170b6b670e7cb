use std::time::Duration;

use agentx_resource::{
    ErrorKind, ExecEvent, ExecRequest, ExitStatus, OutputLimit, OutputStream, ProcessExt, ResourceLimits,
};

use super::support::{LONG, Subject, events, program, shell};
use crate::{
    Outcome,
    failure::{ensure, ensure_eq, ensure_kind},
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

pub(super) async fn limit_tail(process: Subject) -> Outcome {
    let request = program("printf", ["0123456789abcdef"]);
    for (head, tail, dropped, kept) in [
        (4, 3, 9, "0123def"),
        (0, 5, 11, "bcdef"),
        (10, 6, 0, "0123456789abcdef"),
        (2, 60, 0, "0123456789abcdef"),
    ] {
        let limit = OutputLimit::head_and_tail(head, tail);
        let output = process.exec(request.clone().with_output_limit(limit)).await?;
        ensure_eq(output.status, ExitStatus::Code(0), "the status")?;
        ensure_eq(&output.stdout, kept, "what is kept")?;
        ensure_eq(output.stdout_dropped, dropped, "what was dropped")?;
        let at = if dropped == 0 { kept.len() } else { usize::try_from(head).unwrap_or(usize::MAX) };
        ensure_eq(output.stdout_head, at, "where it is missing")?;
    }
    Ok(())
}

pub(super) async fn limit_tail_order(process: Subject) -> Outcome {
    let limit = OutputLimit::head_and_tail(2, 2);
    let child = process.spawn(program("printf", ["abcdef"]).with_output_limit(limit)).await?;
    let told: Vec<_> =
        events(&*child).await?.into_iter().filter(|event| !matches!(event, ExecEvent::Exited(_))).collect();
    let truncated = ExecEvent::Truncated { stream: OutputStream::Stdout, dropped: 2 };
    let [ExecEvent::Stdout(head), cut, ExecEvent::Stdout(tail)] = &*told else {
        return Err(crate::Failure::new(format!("not head, cut and tail, but {told:?}")));
    };
    ensure_eq((&**head, cut, &**tail), (&b"ab"[..], &truncated, &b"ef"[..]), "the events")
}

pub(super) async fn idle_ends(process: Subject) -> Outcome {
    let output = process.exec(program("sleep", [LONG]).with_idle_timeout(Duration::from_millis(100))).await?;
    ensure_eq(output.status, ExitStatus::TimedOut, "the status")
}

pub(super) async fn idle_spares(process: Subject) -> Outcome {
    // Longer in all than it may be silent.
    let script = "echo 1; sleep 1; echo 2; sleep 1; echo 3; sleep 1; echo 4; sleep 1; echo 5";
    let request = ExecRequest::shell(script).with_idle_timeout(Duration::from_secs(3));
    let Some(output) = shell(&process, request).await? else { return Ok(()) };
    ensure_eq((output.status, &*output.stdout), (ExitStatus::Code(0), &b"1\n2\n3\n4\n5\n"[..]), "the output")
}

pub(super) async fn idle_dropped_output(process: Subject) -> Outcome {
    // What is thrown away was written all the same.
    let script = "echo 1; sleep 1; echo 2; sleep 1; echo 3; sleep 1; echo 4; sleep 1; echo 5";
    let request = ExecRequest::shell(script)
        .with_idle_timeout(Duration::from_secs(3))
        .with_output_limit(OutputLimit::truncate(1));
    let Some(output) = shell(&process, request).await? else { return Ok(()) };
    ensure_eq((output.status, output.stdout_dropped), (ExitStatus::Code(0), 9), "the output")
}

/// Runs shell source within limits where they are declared; else they must be refused.
async fn within(
    process: &Subject,
    script: &str,
    limits: ResourceLimits,
) -> Result<Option<agentx_resource::ExecOutput>, crate::Failure> {
    let capabilities = process.capabilities();
    if !capabilities.limits {
        let refused = process.exec(program("true", []).with_limits(limits)).await;
        ensure_kind(refused, ErrorKind::Unsupported, "an undeclared limit")?;
        return Ok(None);
    }
    if !capabilities.shell {
        return Ok(None);
    }
    Ok(Some(process.exec(ExecRequest::shell(script).with_limits(limits)).await?))
}

pub(super) async fn limit_file_size(process: Subject) -> Outcome {
    let limits = ResourceLimits::default().with_file_size(4096);
    let script = "(while :; do printf 0123456789abcdef || exit 1; done) 2>/dev/null >big; wc -c <big";
    let Some(output) = within(&process, script, limits).await? else { return Ok(()) };
    ensure_eq(output.stdout_text().trim(), "4096", "the size of the file")
}

pub(super) async fn limit_open_files(process: Subject) -> Outcome {
    let limits = ResourceLimits::default().with_open_files(32);
    let Some(output) = within(&process, "ulimit -n", limits).await? else { return Ok(()) };
    ensure_eq(output.stdout_text().trim(), "32", "the limit that the command sees")
}

pub(super) async fn limit_cpu_time(process: Subject) -> Outcome {
    let limits = ResourceLimits::default().with_cpu_time(Duration::from_secs(1));
    let Some(output) = within(&process, "while :; do :; done", limits).await? else { return Ok(()) };
    ensure(matches!(output.status, ExitStatus::Signal(_)), format!("an endless loop ended in {output:?}"))
}

pub(super) async fn limit_memory(process: Subject) -> Outcome {
    let limits = ResourceLimits::default().with_memory(256 << 20);
    // Doubled until it would be 1 GiB.
    let script = "x=0123456789abcdef; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26; \
                  do x=$x$x; done; echo ${#x}";
    let Some(output) = within(&process, script, limits).await? else { return Ok(()) };
    ensure(!output.status.success(), format!("1 GiB within 256 MiB: {:?}", output.status))
}
