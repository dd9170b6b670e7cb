//! The tools over a directory and real processes.
#![cfg(test)]
#![cfg(target_os = "linux")]

#[path = "../cases/mod.rs"]
mod cases;
mod differential;

use std::{os::unix::fs::symlink, path::Path, sync::Arc};

use agentx_core::ErrorKind;
use agentx_provider_local::{LocalEnv, LocalFileSystem, LocalProcess};
use agentx_sandbox::NodeRuntime;
use serde_json::json;
use tempfile::TempDir;

use self::cases::Pair;

fn pair() -> Pair {
    let dir = TempDir::new().unwrap();
    let fs = LocalFileSystem::open(dir.path()).unwrap();
    let process = LocalProcess::new(dir.path()).unwrap();
    let runtime = NodeRuntime::new(Arc::new(fs), Arc::new(LocalEnv::new()), Arc::new(process));
    Pair::new(runtime, None, dir)
}

cases::on!(crate::pair());

fn host(pair: &Pair) -> &Path {
    Path::new(pair.runtime.root())
}

#[tokio::test]
async fn links_are_followed_inside_and_refused_outside() {
    let pair = pair();
    let outside = TempDir::new().unwrap();
    std::fs::write(outside.path().join("secret.txt"), "outside").unwrap();
    pair.put("/real/a.txt", "inside").await;
    symlink(host(&pair).join("real"), host(&pair).join("in")).unwrap();
    symlink(outside.path(), host(&pair).join("out")).unwrap();
    symlink(outside.path().join("secret.txt"), host(&pair).join("out.txt")).unwrap();

    assert_eq!(pair.call("read", json!({"file_path": "in/a.txt"})).await, "     1\tinside\n");
    for (tool, input) in [
        ("read", json!({"file_path": "out/secret.txt"})),
        ("read", json!({"file_path": "out.txt"})),
        ("write", json!({"file_path": "out/new.txt", "content": "x"})),
        ("write", json!({"file_path": "out.txt", "content": "x"})),
        ("edit", json!({"file_path": "out.txt", "old_string": "outside", "new_string": "x"})),
        ("ls", json!({"path": "out"})),
        ("glob", json!({"pattern": "*", "path": "out"})),
        ("grep", json!({"pattern": "outside", "path": "out"})),
    ] {
        let error = pair.refused(tool, input.clone()).await;
        assert_eq!(error.kind(), ErrorKind::Escapes, "{tool} {input}: {error}");
        assert!(error.to_string().contains(pair.runtime.root()), "{error}");
    }
    assert_eq!(std::fs::read_to_string(outside.path().join("secret.txt")).unwrap(), "outside");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);

    // A walk does not follow them at all.
    assert_eq!(pair.call("grep", json!({"pattern": "side"})).await, pair.shown("/real/a.txt"));
    let listed = pair.call("ls", json!({})).await;
    assert!(listed.contains("\nin@") && listed.contains("\nout@"), "{listed}");
}

#[tokio::test]
async fn names_that_are_not_text_are_told() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let pair = pair();
    std::fs::write(host(&pair).join(OsStr::from_bytes(b"a\xff")), "").unwrap();
    let listed = pair.call("ls", json!({})).await;
    assert!(listed.contains("a\u{fffd} (0 bytes) (the name is not UTF-8"), "{listed}");
}

#[tokio::test]
async fn the_last_modified_file_comes_first() {
    let pair = pair();
    for (file, seconds) in [("b", 2), ("a", 1), ("c", 3)] {
        pair.put(&format!("/{file}"), "").await;
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        std::fs::File::options()
            .write(true)
            .open(host(&pair).join(file))
            .unwrap()
            .set_modified(time)
            .unwrap();
    }
    let expected = [pair.shown("/c"), pair.shown("/b"), pair.shown("/a")].join("\n");
    assert_eq!(pair.call("glob", json!({"pattern": "*"})).await, expected);
}

#[tokio::test]
async fn scripts_and_node_programs_run() {
    let pair = pair();
    let output = pair.runtime.script("sh", "read line || true; echo script in $(pwd)").await.unwrap();
    assert_eq!(output.stdout_text(), format!("script in {}\n", pair.runtime.root()));
    let output = pair.runtime.node(["-e", "console.log(process.cwd())"]).await.unwrap();
    match output.status.code() {
        // A machine without Node says so as a shell would.
        Some(127) => {}
        _ => assert_eq!(output.stdout_text(), format!("{}\n", pair.runtime.root())),
    }
}

#[tokio::test]
async fn one_shell_for_all_calls() {
    let pair = pair();
    pair.put("/sub/a.txt", "").await;
    let session = pair.runtime.shell_session(Arc::new(agentx_resource::memory::ManualClock::default())).await;
    let options = agentx_sandbox::ToolOptions::new().with_shell_session(session.unwrap());
    let tools = agentx_sandbox::tools_with(&pair.runtime, &options);
    let bash = async |command: &str| {
        cases::call(&tools, "bash", json!({"command": command})).await.unwrap().to_text()
    };
    assert_eq!(bash("cd sub; greeting=hello").await, "(no output)");
    assert_eq!(bash("pwd; echo $greeting; ls").await, format!("{}\nhello\na.txt", pair.shown("/sub")));
    assert_eq!(bash("ls missing 2>/dev/null || (exit 4)").await, "exit code 4");
    let ended = bash("echo last; exit 3").await;
    assert_eq!(
        ended,
        "[the shell has ended with this command; the next call begins a new one]\nlast\nexit code 3"
    );
    let next = bash("echo $greeting; pwd").await;
    let expected = "[a new shell: the variables, functions and jobs of the one before are gone]\n\n";
    assert_eq!(next, format!("{expected}{}", pair.shown("/sub")));
}
