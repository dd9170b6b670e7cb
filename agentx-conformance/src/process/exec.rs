use agentx_resource::{ErrorKind, ExecRequest, ExitStatus, ProcessExt, ResourcePath, Stdin};
use bytes::Bytes;

use super::support::{Subject, program, shell};
use crate::{
    Outcome,
    failure::{ensure, ensure_eq, ensure_kind},
};

pub(super) async fn exec_output(process: Subject) -> Outcome {
    let output = process.exec(program("echo", ["hello"])).await?;
    ensure_eq(output.status, ExitStatus::Code(0), "the status")?;
    ensure_eq(&output.stdout, "hello\n", "standard output")?;
    ensure_eq(&output.stderr, "", "standard error")?;
    ensure_eq((output.stdout_dropped, output.stderr_dropped), (0, 0), "what was dropped")
}

pub(super) async fn exec_code(process: Subject) -> Outcome {
    ensure_eq(process.exec(program("false", [])).await?.status, ExitStatus::Code(1), "the status")
}

pub(super) async fn exec_shell(process: Subject) -> Outcome {
    let request = ExecRequest::shell("echo out; echo err >&2; exit 3");
    let Some(output) = shell(&process, request).await? else { return Ok(()) };
    ensure_eq(output.status, ExitStatus::Code(3), "the status")?;
    ensure_eq(&output.stdout, "out\n", "standard output")?;
    ensure_eq(&output.stderr, "err\n", "standard error")
}

pub(super) async fn exec_missing_program(process: Subject) -> Outcome {
    let output = process.exec(program("agentx-kit-no-such-program", ["x"])).await?;
    ensure_eq(output.status, ExitStatus::Code(127), "the status")
}

pub(super) async fn exec_empty_program(process: Subject) -> Outcome {
    ensure_kind(process.exec(program("", [])).await, ErrorKind::InvalidInput, "exec")
}

pub(super) async fn exec_nul(process: Subject) -> Outcome {
    for request in
        [program("ec\0ho", []), program("echo", ["a\0b"]), program("echo", []).with_env("A", "a\0b")]
    {
        let what = format!("{request:?}");
        ensure_kind(process.exec(request).await, ErrorKind::InvalidInput, what)?;
    }
    Ok(())
}

pub(super) async fn exec_bad_variable(process: Subject) -> Outcome {
    for name in ["", "A=B", "A\0B"] {
        let request = program("echo", []).with_env(name, "x");
        ensure_kind(process.exec(request).await, ErrorKind::InvalidInput, format!("the variable {name:?}"))?;
    }
    Ok(())
}

pub(super) async fn exec_arguments(process: Subject) -> Outcome {
    let args = ["a b", "", "$HOME", "*", "'", "\"", "\\", "`x`", "a;b|c&d>e", "ünï", "-n", "a\nb"];
    let request = ExecRequest::program("printf", ["[%s]"].into_iter().chain(args));
    let output = process.exec(request).await?;
    let expected = format!("[{}]", args.join("]["));
    ensure_eq(output.stdout_text(), expected, "the arguments as printed")
}

pub(super) async fn exec_binary(process: Subject) -> Outcome {
    let content: Bytes = (0..=255).chain([0, 13, 10, 255]).collect();
    let output = process.exec(program("cat", []).with_stdin(Stdin::Bytes(content.clone()))).await?;
    ensure_eq(output.stdout, content, "standard output")
}

pub(super) async fn exec_many(process: Subject) -> Outcome {
    let runs = (0..16).map(|index| {
        let (process, text) = (process.clone(), format!("run {index}"));
        async move {
            let output = process.exec(ExecRequest::program("echo", [text.as_str()])).await?;
            ensure_eq(output.stdout_text(), format!("{text}\n"), "the output of one of many")
        }
    });
    futures::future::try_join_all(runs).await.map(|_| ())
}

/// What `pwd` prints in `cwd`.
async fn pwd(process: &Subject, cwd: ResourcePath) -> Result<String, crate::Failure> {
    let output = process.exec(program("pwd", []).with_cwd(cwd)).await?;
    Ok(output.stdout_text().trim_end_matches('\n').to_owned())
}

pub(super) async fn exec_cwd_root(process: Subject) -> Outcome {
    ensure_eq(pwd(&process, ResourcePath::root()).await?, process.capabilities().root, "what pwd prints")
}

pub(super) async fn exec_cwd(process: Subject) -> Outcome {
    let made = process.exec(program("mkdir", ["-p", "sub dir/ünï"])).await?;
    ensure(made.status.success(), format!("mkdir: {made:?}"))?;
    let capabilities = process.capabilities();
    let expected = format!("{}/sub dir/ünï", capabilities.root.trim_end_matches('/'));
    ensure_eq(pwd(&process, ResourcePath::new("/sub dir/ünï")?).await?, expected, "what pwd prints")
}

pub(super) async fn exec_cwd_missing(process: Subject) -> Outcome {
    let request = program("pwd", []).with_cwd(ResourcePath::new("/gone")?);
    ensure_kind(process.exec(request).await, ErrorKind::NotFound, "exec")
}

pub(super) async fn exec_cwd_file(process: Subject) -> Outcome {
    let made = process.exec(program("touch", ["file"])).await?;
    ensure(made.status.success(), format!("touch: {made:?}"))?;
    let request = program("pwd", []).with_cwd(ResourcePath::new("/file")?);
    ensure_kind(process.exec(request).await, ErrorKind::NotADirectory, "exec")
}

pub(super) async fn exec_env(process: Subject) -> Outcome {
    let request = program("env", []).with_env("AGENTX_A", "a b=c").with_env("AGENTX_EMPTY", "");
    let output = process.exec(request).await?;
    let text = output.stdout_text();
    for line in ["AGENTX_A=a b=c", "AGENTX_EMPTY="] {
        ensure(text.lines().any(|found| found == line), format!("the command does not see {line}"))?;
    }
    Ok(())
}

pub(super) async fn exec_env_clean(process: Subject) -> Outcome {
    let output = process.exec(program("env", [])).await?;
    // Cargo sets these for every test, so the kit's own environment has them.
    let text = output.stdout_text();
    let inherited: Vec<_> = text.lines().filter(|line| line.starts_with("CARGO")).collect();
    ensure_eq(inherited, [""; 0], "the variables that are inherited")
}
