//! What running a command costs, with its output caught and its whole tree seen to; in a small and in a large host.

use std::{hint::black_box, process::Command, sync::Arc};

use agentx_provider_local::LocalProcess;
use agentx_resource::{ExecRequest, Process, ProcessExt};

use super::{in_task, runtime};
use crate::{
    Result,
    measure::{Row, Variant},
};

/// The memory of a large host. Whoever starts commands by copying page tables pays for it.
const LARGE: usize = 2 << 30;
const PAGE: usize = 4096;

/// A command, and what it says.
#[derive(Clone, Copy)]
struct Job {
    program: &'static str,
    args: &'static [&'static str],
    output: &'static [u8],
}

const SHELL: Job = Job { program: "/bin/sh", args: &["-c", "echo hi"], output: b"hi\n" };
const TRUE: Job = Job { program: "/bin/true", args: &[], output: b"" };

impl Job {
    fn check(self, output: &[u8]) -> Result<()> {
        if black_box(output) == self.output { Ok(()) } else { Err("not what the command says".into()) }
    }
}

/// A shell.
///
/// # Errors
/// What the host says.
pub fn of_shell() -> Result<Row> {
    row("exec", "What does `sh -c 'echo hi'` cost, with nothing of it left behind?", SHELL, Vec::new())
}

/// The least of programs.
///
/// # Errors
/// What the host says.
pub fn of_true() -> Result<Row> {
    row("exec_true", "What does `true` cost, with nothing of it left behind?", TRUE, Vec::new())
}

/// A shell, from a host that holds much memory.
///
/// # Errors
/// What the host says.
pub fn in_large_host() -> Result<Row> {
    let mut memory = vec![0_u8; LARGE];
    memory.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
    row("exec_2g", "What does `sh -c 'echo hi'` cost from a host that holds 2 GiB?", SHELL, memory)
}

/// All variants run while `memory` is held.
fn row(name: &'static str, question: &'static str, job: Job, memory: Vec<u8>) -> Result<Row> {
    let runtime = runtime()?;
    let limit = Variant::new("std::process::Command::output (limit)", move |count| {
        black_box(&memory);
        for _ in 0..count {
            job.check(&Command::new(job.program).args(job.args).output()?.stdout)?;
        }
        Ok(())
    });
    let agentx = {
        let process: Arc<dyn Process> = Arc::new(LocalProcess::new("/")?);
        let runtime = Arc::clone(&runtime);
        Variant::new("agentx LocalProcess, dyn Process", move |count| {
            let process = Arc::clone(&process);
            in_task(&runtime, async move {
                for _ in 0..count {
                    let request = ExecRequest::program(job.program, job.args.iter().copied());
                    job.check(&process.exec(request).await?.stdout)?;
                }
                Ok(())
            })
        })
    };
    let tokio = Variant::new("tokio::process::Command::output", move |count| {
        in_task(&runtime, async move {
            for _ in 0..count {
                let output = tokio::process::Command::new(job.program).args(job.args).output().await?;
                job.check(&output.stdout)?;
            }
            Ok(())
        })
    });
    Ok(Row::new(name, question, limit).per(1, "command").with(agentx).with(tokio))
}
