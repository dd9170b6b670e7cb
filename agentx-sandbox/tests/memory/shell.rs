//! A shell over a file system, as far as the cases need one: words, single quotes, `;` and `>`.

use std::{future::pending, sync::Arc};

use agentx_resource::{FileSystem, FileSystemExt, Invocation, ResourcePath, memory::ProgramContext};
use futures::TryStreamExt;

pub(crate) async fn run(context: ProgramContext) -> i32 {
    let Invocation::Shell { script } = context.invocation.clone() else { return 126 };
    let mut code = 0;
    for command in script.split(';') {
        let mut words = words(command);
        let target = words.iter().position(|word| word == ">").map(|at| words.split_off(at)[1].clone());
        let name = words.remove(0);
        if name == "exit" {
            return words[0].parse().unwrap();
        }
        match builtin(&context, &name, &words).await {
            Ok(output) => {
                code = 0;
                match target {
                    None => context.stdout.write(output).await,
                    Some(file) => {
                        files(&context).write_file(&place(&context, &file), output).await.unwrap();
                    }
                }
            }
            Err(message) => {
                code = 1;
                context.stderr.write(format!("{name}: {message}\n")).await;
            }
        }
    }
    code
}

async fn builtin(context: &ProgramContext, name: &str, words: &[String]) -> Result<Vec<u8>, String> {
    let text = match name {
        "pwd" => format!("{}\n", shown(context, &context.cwd)),
        "echo" => format!("{}\n", words.join(" ")),
        "printenv" => format!("{}\n", context.env.get(&words[0]).ok_or("not set")?),
        "seq" => {
            let (first, last): (u32, u32) = (words[0].parse().unwrap(), words[1].parse().unwrap());
            (first..=last).map(|number| number.to_string() + "\n").collect()
        }
        "sleep" => pending().await,
        "cat" => {
            let read = files(context).read_file(&place(context, &words[0])).await;
            return read.map(Vec::from).map_err(|_| format!("{}: No such file or directory", words[0]));
        }
        "find" => {
            let (start, mut found) = (place(context, &words[0]), String::new());
            let mut tree = files(context).walk(&start);
            while let Some(entry) = tree.try_next().await.unwrap() {
                if entry.metadata.is_file() {
                    let path = entry.path.unwrap();
                    found += &[&words[0], "/", path.strip_prefix(&start).unwrap(), "\n"].concat();
                }
            }
            found
        }
        _ => return Err("command not found".to_owned()),
    };
    Ok(text.into_bytes())
}

fn files(context: &ProgramContext) -> &Arc<dyn FileSystem> {
    context.files.as_ref().unwrap()
}

fn shown(context: &ProgramContext, path: &ResourcePath) -> String {
    format!("{}{}", context.root, path.as_str().trim_end_matches('/'))
}

fn place(context: &ProgramContext, path: &str) -> ResourcePath {
    match path.strip_prefix(&context.root) {
        Some(below) => ResourcePath::root().join(below).unwrap(),
        None => context.cwd.join(path).unwrap(),
    }
}

fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (at, part) in command.split('\'').enumerate() {
        match at % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}
