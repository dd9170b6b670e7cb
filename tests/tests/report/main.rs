//! The README's first command, as a user runs it: true figures, whatever the directory holds; the same report through
//! the real driver; and nothing left behind when it is interrupted.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod census;
mod program;
#[path = "../../../agentx/examples/report/script.rs"]
mod script;

use std::{collections::HashSet, ffi::OsStr, fs, os::unix::ffi::OsStrExt, path::Path};

use agentx_core::{Reply, ScriptedModel};
use agentx_tests::messages_server::MessagesServer;
use census::{Census, Report};
use program::Program;
use serde_json::json;
use tempfile::TempDir;

fn write(directory: &Path, name: impl AsRef<OsStr>, content: impl AsRef<[u8]>) {
    let path = directory.join(name.as_ref());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A directory with whatever a name may be.
fn odd_directory() -> TempDir {
    let directory = TempDir::new().unwrap();
    let root = directory.path();
    write(root, "README.md", "# Odd\nTODO: tidy up\n");
    write(root, "src/main.rs", "fn main() {\n}\n");
    write(root, "src/no line end.rs", "one\ntwo");
    write(root, "a b/it's \"quoted\" `code` | $(pipe).rs", "1\n2\n3\n");
    write(root, "new\nline/files 999\n.rs", "1\n");
    write(root, "-rf", "dash\n");
    write(root, "archive.tar.gz", [0, 159, 146, 150, b'\n', 0]);
    write(root, ".hidden", "h\n");
    write(root, ".hidden.rs", "h\n");
    write(root, "dot.", "d\n");
    write(root, "empty.txt", "");
    write(root, OsStr::from_bytes(b"bad\xff\xfename.rs"), "x\ny\n");
    write(root, OsStr::from_bytes(b"ext.\xff"), "z\n");
    fs::create_dir(root.join("nothing inside")).unwrap();
    std::os::unix::fs::symlink("/etc", root.join("outside")).unwrap();
    std::os::unix::fs::symlink("missing", root.join("dangling.rs")).unwrap();
    directory
}

#[track_caller]
fn assert_true(report: &Report, directory: &Path) {
    let census = Census::take(directory);
    assert_eq!(report.figure("Files"), census.files, "{}", report.text);
    assert_eq!(report.figure("Directories"), census.directories, "{}", report.text);
    assert_eq!(report.figure("Bytes"), census.bytes, "{}", report.text);
    assert_eq!(report.figure("Links"), census.links, "{}", report.text);
    let mut rest = census.by_extension.clone();
    for (extension, told) in report.extensions() {
        let counted = rest.remove(&extension).unwrap_or_else(|| panic!("{extension}: {}", report.text));
        assert_eq!(told, counted, "{extension}: {}", report.text);
    }
    let others =
        rest.into_values().fold([0; 3], |sum, one| [sum[0] + one[0], sum[1] + one[1], sum[2] + one[2]]);
    if let Some(told) = report.others() {
        assert_eq!(told, others, "{}", report.text);
    }
    assert_eq!(report.largest(), census.largest.into_iter().take(10).collect::<Vec<_>>(), "{}", report.text);
}

#[test]
fn the_figures_are_true_whatever_the_names() {
    let (directory, program) = (odd_directory(), Program::new());
    let run = program.run(directory.path());
    assert_eq!(run.code, Some(0), "{run:?}");
    let report = program.report(directory.path());
    assert_true(&report, directory.path());
    let mut extensions: Vec<_> = report.extensions().into_keys().collect();
    extensions.sort_unstable();
    assert_eq!(extensions, ["gz", "md", "rs", "txt"], "{}", report.text);
    assert!(report.others().is_some(), "{}", report.text);
    assert!(report.text.contains("Names that are not UTF-8: 2."), "{}", report.text);
    for told in ["● bash", "✓ ls", "[step 2", "words in", "session  /", "report   /"] {
        assert!(run.stdout.contains(told), "{told:?} is missing: {}", run.stdout);
    }
}

#[test]
fn an_empty_directory_has_a_report() {
    let (directory, program) = (TempDir::new().unwrap(), Program::new());
    let run = program.run(directory.path());
    assert_eq!(run.code, Some(0), "{run:?}");
    let report = program.report(directory.path());
    assert_true(&report, directory.path());
    assert!(report.text.contains("There are no files."), "{}", report.text);
}

#[test]
fn ten_thousand_files_are_counted() {
    let (directory, program) = (TempDir::new().unwrap(), Program::new());
    for n in 0..10_000 {
        let name = format!("d{}/file {n}.{}", n % 50, ["rs", "md", "txt"][n % 3]);
        write(directory.path(), name, "line\n".repeat(n % 7));
    }
    let run = program.run(directory.path());
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_true(&program.report(directory.path()), directory.path());
}

#[test]
fn a_change_is_seen_and_the_session_goes_on() {
    let (directory, program) = (odd_directory(), Program::new());
    let first = program.run(directory.path());
    write(directory.path(), "new.py", "a\nb\nc\n");
    fs::remove_file(directory.path().join("archive.tar.gz")).unwrap();
    // What is set aside, wherever it is, is in no figure.
    write(directory.path(), "target/debug/made.py", "a\n");
    write(directory.path(), "deep/er/node_modules/got.py", "a\n");
    let second = program.run(directory.path());
    assert_eq!((first.code, second.code), (Some(0), Some(0)), "{second:?}");
    let report = program.report(directory.path());
    let census = Census::take(directory.path());
    assert_eq!(report.figure("Files"), census.files - 2);
    assert_eq!(report.extensions().get("py"), Some(&[1, 3, 6]), "{}", report.text);
    assert!(!report.extensions().contains_key("gz"));
    // The calls follow from what was found.
    let calls = |run: &program::Run| -> HashSet<String> {
        run.stdout.lines().filter(|line| line.starts_with('●')).map(str::to_owned).collect()
    };
    let new: HashSet<_> = calls(&second).difference(&calls(&first)).cloned().collect();
    assert!(new.iter().any(|call| call.contains(".py files")), "{new:?}");
    let gone: HashSet<_> = calls(&first).difference(&calls(&second)).cloned().collect();
    assert!(gone.iter().any(|call| call.contains(".gz files")), "{gone:?}");
    assert!(second.stdout.contains("I'll set node_modules, target aside"), "{}", second.stdout);
    assert!(second.stdout.contains("I have been here before"), "{}", second.stdout);
    assert!(report.text.contains("At the last report: 13 files"), "{}", report.text);
}

#[test]
fn a_directory_that_is_not_there_is_one_clear_line() {
    let program = Program::new();
    for wrong in ["/no/such/directory", "/etc/passwd"] {
        let run = program.run(Path::new(wrong));
        assert_eq!(run.code, Some(2));
        assert_eq!(run.stdout, "");
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        assert!(run.stderr.contains(wrong), "{}", run.stderr);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_driver_makes_the_same_report() {
    let directory = odd_directory();
    let (scripted, real) = (Program::new(), Program::new());
    assert_eq!(scripted.run(directory.path()).code, Some(0));

    let server = MessagesServer::start(script::model());
    let real = real.with_server(&server.base_url());
    let root = directory.path().to_owned();
    let (real, run) = tokio::task::spawn_blocking(move || {
        let run = real.run(&root);
        (real, run)
    })
    .await
    .unwrap();
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("tokens in"), "{}", run.stdout);
    assert_eq!(server.requests().len(), 5);
    assert_eq!(real.report(directory.path()).text, scripted.report(directory.path()).text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_leaves_no_process_and_a_session_that_goes_on() {
    // A number that no other process on this machine has among its arguments.
    let mark = format!("61.{}", std::process::id());
    let command = format!("setsid sleep {mark} & sleep {mark}");
    let model = ScriptedModel::new("scripted", move |request| match request.last_user_text() {
        Some(_) if request.messages.len() == 1 => {
            Ok(Reply::text("This takes a minute.").call("slow", "bash", json!({"command": command})))
        }
        _ => Ok(Reply::text("Good to be back.")),
    });
    let server = MessagesServer::start(model);
    let directory = TempDir::new().unwrap();
    let program = Program::new().with_server(&server.base_url());
    let root = directory.path().to_owned();
    tokio::task::spawn_blocking(move || {
        let running = program.start(&root);
        program::wait_until("both commands run", || program::processes_with(&mark) == 2);
        let run = running.interrupt();
        assert_eq!(run.code, Some(130), "{run:?}");
        assert_eq!(program::processes_with(&mark), 0, "a descendant lives");

        let run = program.run(&root);
        assert_eq!(run.code, Some(0), "{run:?}");
        assert!(run.stdout.contains("Good to be back."), "{}", run.stdout);
    })
    .await
    .unwrap();
    // The server refuses a history that the API would refuse; the second request shows the interrupted call answered.
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    let messages = requests[1].body["messages"].to_string();
    assert!(messages.contains("interrupted the turn"), "{messages}");
}
