//! What running a command costs, with its output caught and its whole tree swept.

use std::{hint::black_box, process::Command, sync::Arc};

use agentx_provider_local::LocalProcess;
use agentx_resource::{ExecRequest, Process, ProcessExt};

use super::{in_task, runtime};
use crate::{
    Result,
    measure::{Row, Variant},
};

const ARGUMENTS: [&str; 2] = ["-c", "echo hi"];

/// The row.
///
/// # Errors
/// What the host says.
pub fn row() -> Result<Row> {
    let runtime = runtime()?;
    let limit = Variant::new("std::process::Command::output (limit)", |count| {
        for _ in 0..count {
            check(&Command::new("/bin/sh").args(ARGUMENTS).output()?.stdout)?;
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
                    let output = process.exec(ExecRequest::program("/bin/sh", ARGUMENTS)).await?;
                    check(&output.stdout)?;
                }
                Ok(())
            })
        })
    };
    let tokio = Variant::new("tokio::process::Command::output", move |count| {
        in_task(&runtime, async move {
            for _ in 0..count {
                check(&tokio::process::Command::new("/bin/sh").args(ARGUMENTS).output().await?.stdout)?;
            }
            Ok(())
        })
    });
    let question = "What does `sh -c 'echo hi'` cost, with nothing of it left behind?";
    Ok(Row::new("exec", question, limit).per(1, "command").with(agentx).with(tokio))
}

fn check(output: &[u8]) -> Result<()> {
    if black_box(output) == b"hi\n" { Ok(()) } else { Err("not what the command says".into()) }
}
