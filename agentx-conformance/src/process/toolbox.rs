use std::{sync::Arc, time::Duration};

use agentx_resource::{
    Clock, Error, ErrorKind, FileSystem, FileSystemExt, Invocation, MkdirOptions, RemoveOptions,
    ResourcePath, Result, TransferOptions,
    memory::{MemoryFileSystem, MemoryProcess, ProgramContext},
};
use bytes::BytesMut;
use futures::TryStreamExt;

const NAMES: [&str; 15] = [
    "cat", "echo", "env", "false", "find", "mkdir", "mv", "printf", "pwd", "rm", "sleep", "tee", "touch",
    "true", "yes",
];

/// A process in memory that has the programs which the cases use, and a shell of one line: commands of plain words
/// with `;` between them, `>&2` at their end, and `exit`.
pub fn toolbox(clock: Arc<dyn Clock>) -> MemoryProcess {
    let mut process =
        MemoryProcess::new(Arc::clone(&clock)).with_file_system(Arc::new(MemoryFileSystem::new()));
    for name in NAMES {
        let clock = Arc::clone(&clock);
        process = process.program(name, move |mut context| {
            let clock = Arc::clone(&clock);
            async move {
                let args = context.args().to_vec();
                run(name, &args, &mut context, &*clock).await
            }
        });
    }
    process.shell(move |context| shell(context, Arc::clone(&clock)))
}

async fn run(name: &str, args: &[String], context: &mut ProgramContext, clock: &dyn Clock) -> i32 {
    let out = context.stdout.clone();
    match name {
        "cat" if args.is_empty() => {
            while let Some(piece) = context.stdin.read().await {
                out.write(piece).await;
            }
        }
        "echo" => out.write(args.join(" ") + "\n").await,
        "env" => {
            for (key, value) in &context.env {
                out.write(format!("{key}={value}\n")).await;
            }
        }
        "false" => return 1,
        "cat" | "find" | "mkdir" | "mv" | "rm" | "tee" | "touch" => {
            let Some(files) = context.files.clone() else { return 1 };
            if let Err(error) = on_files(name, args, context, &*files).await {
                context.stderr.write(format!("{name}: {error}\n")).await;
                return 1;
            }
        }
        "printf" => match args.split_first() {
            Some((format, [])) => out.write(format.clone()).await,
            Some((format, args)) => {
                out.write(args.iter().map(|arg| format.replace("%s", arg)).collect::<String>()).await;
            }
            None => return 2,
        },
        "pwd" if context.cwd.is_root() => out.write(format!("{}\n", context.root)).await,
        "pwd" => out.write(format!("{}{}\n", context.root.trim_end_matches('/'), context.cwd)).await,
        "sleep" => match args.first().and_then(|seconds| seconds.parse().ok()) {
            Some(seconds) => clock.sleep(Duration::from_secs(seconds)).await,
            None => return 1,
        },
        "true" => {}
        "yes" => loop {
            out.write("y\n").await;
        },
        _ => {
            context.stderr.write(format!("{name}: command not found\n")).await;
            return 127;
        }
    }
    0
}

/// A program that works on the process's tree.
async fn on_files(
    name: &str,
    args: &[String],
    context: &mut ProgramContext,
    files: &dyn FileSystem,
) -> Result<()> {
    let words: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    if let ("mv", [from, to]) = (name, &*words) {
        let (from, to) = (resolve(context, from)?, resolve(context, to)?);
        return files.rename(&from, &to, TransferOptions::default()).await;
    }
    for word in words {
        let path = resolve(context, word)?;
        match name {
            "cat" => context.stdout.write(files.read_file(&path).await?).await,
            "find" => {
                let mut lines = format!("{word}\n");
                for entry in files.walk(&path).try_collect::<Vec<_>>().await? {
                    let below = entry.path.as_ref().and_then(|found| found.strip_prefix(&path));
                    lines += &format!("{word}/{}\n", below.unwrap_or(&entry.name));
                }
                context.stdout.write(lines).await;
            }
            "mkdir" => files.mkdir(&path, MkdirOptions::recursive()).await?,
            "rm" if args.iter().any(|arg| arg == "-r") => files.rm(&path, RemoveOptions::recursive()).await?,
            "rm" => files.rm(&path, RemoveOptions::default()).await?,
            "tee" => {
                let mut input = BytesMut::new();
                while let Some(piece) = context.stdin.read().await {
                    input.extend_from_slice(&piece);
                    context.stdout.write(piece).await;
                }
                files.write_file(&path, input.freeze()).await?;
            }
            _ => files.write_file(&path, "").await.map(|_| ())?,
        }
    }
    Ok(())
}

/// The path that a program means by `arg`: below its directory, or as the process sees it.
fn resolve(context: &ProgramContext, arg: &str) -> Result<ResourcePath> {
    if !arg.starts_with('/') {
        return context.cwd.join(arg);
    }
    let below = arg.strip_prefix(context.root.trim_end_matches('/'));
    match below.filter(|below| below.is_empty() || below.starts_with('/')) {
        Some("") => Ok(ResourcePath::root()),
        Some(below) => ResourcePath::new(below),
        None => Err(Error::new(ErrorKind::NotFound, "open").with_path(arg)),
    }
}

async fn shell(mut context: ProgramContext, clock: Arc<dyn Clock>) -> i32 {
    let Invocation::Shell { script } = context.invocation.clone() else { return 2 };
    let mut code = 0;
    for command in script.split(';') {
        let mut words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        let stdout = context.stdout.clone();
        if words.last().is_some_and(|word| word == ">&2") {
            words.pop();
            context.stdout = context.stderr.clone();
        }
        if words.iter().any(|word| word.contains(['&', '|', '<', '>', '$', '`', '(', '\'', '"', '\\'])) {
            context.stderr.write(format!("not a command of plain words: {command}\n")).await;
            return 2;
        }
        let Some((name, args)) = words.split_first() else { continue };
        if name == "exit" {
            return args.first().and_then(|code| code.parse().ok()).unwrap_or(code);
        }
        code = run(name, args, &mut context, &*clock).await;
        context.stdout = stdout;
    }
    code
}
