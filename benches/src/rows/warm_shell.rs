//! What a command costs in a shell that is there already: bench row 7.

use std::{
    hint::black_box,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::Arc,
};

use agentx::SystemClock;
use agentx_provider_local::LocalProcess;
use agentx_resource::{ExecRequest, Process, ProcessExt, ShellOptions, ShellSession};

use super::{in_task, runtime};
use crate::{
    Result,
    measure::{Row, Variant},
};

/// The row.
///
/// # Errors
/// What the host says.
pub fn row() -> Result<Row> {
    let limit = Variant::new("std::process::Command::output of a new sh (limit)", |count| {
        for _ in 0..count {
            check(&Command::new("/bin/sh").args(["-c", "echo hi"]).output()?.stdout)?;
        }
        Ok(())
    });
    let question = "What does `echo hi` cost in a shell that stays, against a new one?";
    let row = Row::new("warm_shell", question, limit).per(1, "command").with(floor()?).with(fresh()?);
    Ok(row.with(warm("sh", "echo hi")?).with(warm("bash", "echo hi")?).with(warm("sh", "/bin/echo hi")?))
}

/// The least that a shell which stays can cost: a line to it and lines from it, by threads that wait in the kernel, and
/// nothing that could tell the command's output from the mark after it.
fn floor() -> Result<Variant> {
    let mut shell = Command::new("/bin/sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let missing = || "a pipe is missing".to_owned();
    let mut input = shell.stdin.take().ok_or_else(missing)?;
    let mut stdout = BufReader::new(shell.stdout.take().ok_or_else(missing)?);
    let mut stderr = BufReader::new(shell.stderr.take().ok_or_else(missing)?);
    Ok(Variant::new("a line to sh and back, over pipes that block (floor)", move |count| {
        for _ in 0..count {
            input.write_all(b"eval 'echo hi'; echo mark; echo mark >&2\n")?;
            let (mut output, mut rest) = (String::new(), String::new());
            while !output.ends_with("mark\n") && stdout.read_line(&mut output)? > 0 {}
            stderr.read_line(&mut rest)?;
            check(output.trim_end_matches("mark\n").as_bytes())?;
        }
        match shell.try_wait()? {
            Some(status) => Err(format!("the shell has ended: {status}").into()),
            None => Ok(()),
        }
    }))
}

/// A new shell for each command.
fn fresh() -> Result<Variant> {
    let (runtime, process) = (runtime()?, process()?);
    Ok(Variant::new("agentx ProcessExt::exec of a new sh", move |count| {
        let process = Arc::clone(&process);
        in_task(&runtime, async move {
            for _ in 0..count {
                let output = process.exec(ExecRequest::program("/bin/sh", ["-c", "echo hi"])).await?;
                check(&output.stdout)?;
            }
            Ok(())
        })
    }))
}

/// One shell for all commands.
fn warm(shell: &str, command: &'static str) -> Result<Variant> {
    let runtime = runtime()?;
    let session = ShellSession::new(process()?, Arc::new(SystemClock));
    let session = Arc::new(session.with_request(ExecRequest::program(shell, [""; 0])));
    Ok(Variant::new(format!("agentx ShellSession of {shell}: {command}"), move |count| {
        let session = Arc::clone(&session);
        in_task(&runtime, async move {
            for _ in 0..count {
                let output = session.run(command, ShellOptions::default()).await?;
                check(&output.output.stdout)?;
            }
            Ok(())
        })
    }))
}

fn process() -> Result<Arc<dyn Process>> {
    Ok(Arc::new(LocalProcess::new("/")?))
}

fn check(output: &[u8]) -> Result<()> {
    if black_box(output) == b"hi\n" { Ok(()) } else { Err("not what the command says".into()) }
}
