use std::{sync::Arc, time::Duration};

use agentx_resource::{
    Clock, FileSystem, FileSystemExt, Invocation, MkdirOptions, ResourcePath,
    memory::{MemoryFileSystem, MemoryProcess, ProgramContext},
};

/// A process in memory that has the programs which the cases use, and a shell of one line: commands of plain words
/// with `;` between them, `>&2` at their end, and `exit`.
pub fn toolbox(clock: Arc<dyn Clock>) -> MemoryProcess {
    let mut process =
        MemoryProcess::new(Arc::clone(&clock)).with_file_system(Arc::new(MemoryFileSystem::new()));
    for name in ["cat", "echo", "env", "false", "mkdir", "printf", "pwd", "sleep", "touch", "true", "yes"] {
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
        "cat" => {
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
        "mkdir" | "touch" => return make(name, args, context).await,
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

async fn make(name: &str, args: &[String], context: &ProgramContext) -> i32 {
    let Some(files) = &context.files else { return 1 };
    for arg in args.iter().filter(|arg| !arg.starts_with('-')) {
        let path = if arg.starts_with('/') { ResourcePath::new(arg) } else { context.cwd.join(arg) };
        let made = match path {
            Ok(path) if name == "mkdir" => files.mkdir(&path, MkdirOptions::recursive()).await,
            Ok(path) => files.write_file(&path, "").await.map(|_| ()),
            Err(error) => Err(error),
        };
        if let Err(error) = made {
            context.stderr.write(format!("{name}: {error}\n")).await;
            return 1;
        }
    }
    0
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
