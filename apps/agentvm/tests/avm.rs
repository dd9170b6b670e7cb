//! `avm`, as its users run it: a process, its flags, its signals.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
};

use tempfile::TempDir;

/// `avm` with a clean environment: no key, no home of anybody's.
fn avm(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_avm"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("AVM_DATA_DIR", data)
        .stdin(Stdio::null());
    command
}

/// A server that is killed with its test.
struct Served {
    child: Child,
    address: String,
}

impl Served {
    fn start(data: &Path, flags: &[&str]) -> Self {
        let mut command = avm(data);
        let mut child = command
            .args(["serve", "--port", "0"])
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address =
            line.split_once("http://").expect("it serves").1.split_whitespace().next().unwrap().to_owned();
        Self { child, address }
    }

    fn chat(&self, data: &Path, flags: &[&str]) -> Output {
        let url = format!("ws://{}/ws", self.address);
        avm(data).args(["chat", "--url", &url]).args(flags).output().unwrap()
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn complained(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The image that a chat tells of.
fn image(output: &Output) -> String {
    let complaint = complained(output);
    let line = complaint
        .lines()
        .find_map(|line| line.strip_prefix("image "))
        .unwrap_or_else(|| panic!("{complaint}"));
    line.to_owned()
}

#[test]
fn a_chat_is_answered_runs_commands_in_its_workspace_and_goes_on_after_a_restart() {
    let data = TempDir::new().unwrap();
    let served = Served::start(data.path(), &[]);
    let first = served.chat(data.path(), &["hello"]);
    assert_eq!(said(&first), "You said: hello\n", "{}", complained(&first));
    let image = image(&first);
    let ran = served.chat(data.path(), &["--image", &image, "$ echo made > made.txt; cat made.txt"]);
    assert!(said(&ran).contains("made"), "{} {}", said(&ran), complained(&ran));
    let file = data.path().join("workspaces").join("local:chat").join(&image).join("made.txt");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "made\n");

    // Told to stop, it ends well; killed, it loses nothing either.
    for signal in ["-TERM", "-KILL"] {
        let mut served = Served::start(data.path(), &[]);
        assert_eq!(said(&served.chat(data.path(), &["--image", &image, "again"])), "You said: again\n");
        served.signal(signal);
        let status = served.child.wait().unwrap();
        assert_eq!(status.success(), signal == "-TERM", "{signal}: {status}");
    }
    let served = Served::start(data.path(), &[]);
    assert_eq!(said(&served.chat(data.path(), &["--image", &image, "and on"])), "You said: and on\n");
}

#[test]
fn with_keys_nobody_comes_in_without_one_and_a_revoked_one_opens_nothing() {
    let data = TempDir::new().unwrap();
    let made = avm(data.path()).args(["key", "create", "ann"]).output().unwrap();
    assert!(made.status.success(), "{}", complained(&made));
    let key = said(&made).trim().to_owned();
    let file = std::fs::read_to_string(data.path().join("keys")).unwrap();
    assert!(!file.contains(&key) && file.ends_with(" ann\n"), "{file}");

    let served = Served::start(data.path(), &["--isolation", "none"]);
    let refused = served.chat(data.path(), &["hello"]);
    assert!(
        !refused.status.success() && complained(&refused).contains("who asks is not known"),
        "{}",
        complained(&refused)
    );
    assert!(!served.chat(data.path(), &["--key", "avm_guess", "hello"]).status.success());
    assert_eq!(said(&served.chat(data.path(), &["--key", &key, "hello"])), "You said: hello\n");

    let listed = said(&avm(data.path()).args(["key", "list"]).output().unwrap());
    let hash = listed.split_whitespace().next().unwrap().to_owned();
    let revoked = avm(data.path()).args(["key", "revoke", &hash]).output().unwrap();
    assert_eq!(said(&revoked), "revoked: 1\n");
    // The server looks once a second.
    while served.chat(data.path(), &["--key", &key, "hello"]).status.success() {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// Its shell would be among the first owner's files.
#[test]
fn a_second_owner_gets_into_no_server_without_isolation() {
    let data = TempDir::new().unwrap();
    let key = |owner: &str| {
        let made = avm(data.path()).args(["key", "create", owner]).output().unwrap();
        said(&made).trim().to_owned()
    };
    let ann = key("ann");
    let served = Served::start(data.path(), &["--isolation", "none"]);
    let (bob, anns_other) = (key("bob"), key("ann"));
    // The server looks once a second: when it knows this key, it has seen the other's.
    while !served.chat(data.path(), &["--key", &anns_other, "hello"]).status.success() {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(!served.chat(data.path(), &["--key", &bob, "hello"]).status.success());
    assert!(served.chat(data.path(), &["--key", &ann, "hello"]).status.success());
}

#[test]
fn keys_that_are_made_at_once_are_all_kept() {
    let data = TempDir::new().unwrap();
    let make = |number: usize| {
        avm(data.path()).args(["key", "create", &format!("owner{number}")]).stdout(Stdio::null()).spawn()
    };
    for mut child in (0..16).map(make).collect::<Vec<_>>().into_iter().flatten() {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(std::fs::read_to_string(data.path().join("keys")).unwrap().lines().count(), 16);
}

/// Whoever never ends its headers holds neither a place nor the server's end.
#[test]
fn a_connection_that_says_nothing_whole_is_ended() {
    let data = TempDir::new().unwrap();
    let mut served = Served::start(data.path(), &[]);
    let half = || {
        let mut half = TcpStream::connect(&served.address).unwrap();
        half.write_all(b"GET /health HTTP/1.1\r\nHost: local").unwrap();
        half
    };
    let mut first = half();
    first.set_read_timeout(Some(std::time::Duration::from_mins(1))).unwrap();
    first.read_to_end(&mut Vec::new()).expect("the server ends it");
    let _second = half();
    // It is served by then: connections are taken in their order.
    assert!(served.chat(data.path(), &["hello"]).status.success());
    served.signal("-TERM");
    assert!(served.child.wait().unwrap().success());
}

/// Clients that talk until the server is gone: what each was answered, and the image that it talked to.
fn talk(served: &Served, data: &Path, name: &str, answered: &mpsc::Sender<()>) -> (String, Vec<String>) {
    let first = served.chat(data, &[&format!("{name}.0")]);
    let image = image(&first);
    let (mut said, mut last) = (Vec::new(), first);
    while last.status.success() {
        said.push(format!("{name}.{}", said.len()));
        // Nobody counts any more once the server is killed.
        let _ = answered.send(());
        let next = format!("{name}.{}", said.len());
        last = served.chat(data, &["--image", &image, &next]);
    }
    (image, said)
}

/// The texts of an image's messages.
fn stored(served: &Served, image: &str) -> Vec<String> {
    let mut stream = TcpStream::connect(&served.address).unwrap();
    let head =
        format!("GET /api/images/{image}/messages HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let body: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let text = |message: &serde_json::Value| match message["content"].as_str() {
        Some(text) => text.to_owned(),
        None => message["content"][0]["text"].as_str().unwrap().to_owned(),
    };
    body["messages"].as_array().unwrap_or_else(|| panic!("{body}")).iter().map(text).collect()
}

#[test]
fn a_server_that_is_killed_under_load_loses_and_doubles_nothing_that_it_answered() {
    let data = TempDir::new().unwrap();
    let mut talks = Vec::new();
    for round in 0..20 {
        let served = Served::start(data.path(), &[]);
        let (answered, answers) = mpsc::channel();
        let told = std::thread::scope(|scope| {
            let talkers: Vec<_> = (0..3)
                .map(|number| {
                    let (served, answered, path) = (&served, answered.clone(), data.path());
                    scope.spawn(move || talk(served, path, &format!("{round}.{number}"), &answered))
                })
                .collect();
            // All of them began; it is killed in the middle of whatever comes then.
            for _ in 0..4 + round % 3 {
                answers.recv().unwrap();
            }
            served.signal("-KILL");
            talkers.into_iter().map(|talker| talker.join().unwrap()).collect::<Vec<_>>()
        });
        talks.extend(told);
    }
    let served = Served::start(data.path(), &[]);
    for (image, said) in talks {
        let stored = stored(&served, &image);
        let count = |text: &str| stored.iter().filter(|stored| *stored == text).count();
        for text in &said {
            assert_eq!((count(text), count(&format!("You said: {text}"))), (1, 1), "{text} in {stored:?}");
        }
        assert!(stored.iter().all(|text| count(text) == 1), "{stored:?}");
    }
}

#[test]
fn what_would_be_unsafe_is_refused_with_the_reason() {
    let data = TempDir::new().unwrap();
    let serve =
        |flags: &[&str]| avm(data.path()).args(["serve", "--port", "0"]).args(flags).output().unwrap();
    let open = serve(&["--host", "0.0.0.0"]);
    assert!(
        !open.status.success() && complained(&open).contains("make a key first"),
        "{}",
        complained(&open)
    );
    for owner in ["ann", "bob"] {
        assert!(avm(data.path()).args(["key", "create", owner]).output().unwrap().status.success());
    }
    let shared = serve(&["--isolation", "none"]);
    assert!(
        !shared.status.success() && complained(&shared).contains("--isolation full"),
        "{}",
        complained(&shared)
    );
    std::fs::write(data.path().join("keys"), "nonsense\n").unwrap();
    let broken = serve(&[]);
    assert!(
        !broken.status.success() && complained(&broken).contains("line 1 is no key"),
        "{}",
        complained(&broken)
    );
}

#[test]
fn the_doctor_tells_what_holds() {
    let data = TempDir::new().unwrap();
    let told = said(&avm(data.path()).arg("doctor").output().unwrap());
    for what in ["store", "keys", "model", "isolation"] {
        assert!(told.lines().any(|line| line.starts_with(what)), "{told}");
    }
    assert!(told.contains("SQLite opens") && told.contains("scripted model"), "{told}");
}

/// As root on this kind of machine all of it holds; elsewhere the server says what does not, and serves nobody.
#[test]
fn full_isolation_is_tried_before_anybody_is_served() {
    let data = TempDir::new().unwrap();
    let mut serving = avm(data.path());
    serving
        .args(["serve", "--port", "0", "--isolation", "full"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = serving.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    drop(child.kill());
    let told = complained(&child.wait_with_output().unwrap());
    assert!(line.contains("http://") || told.contains("does not hold on this machine"), "{line}{told}");
    if line.contains("http://") {
        let served = Served::start(data.path(), &["--isolation", "full"]);
        let ran = served.chat(data.path(), &["$ ls /etc/shadow; ls /; echo here"]);
        assert!(
            said(&ran).contains("here") && !said(&ran).contains("root:"),
            "{} {}",
            said(&ran),
            complained(&ran)
        );
        assert!(said(&ran).contains("No such file"), "{} {}", said(&ran), complained(&ran));
    }
}

/// Whoever listens when the server is told to stop hears how the turn ends.
#[test]
fn a_stop_ends_turns_before_connections() {
    let data = TempDir::new().unwrap();
    let served = Served::start(data.path(), &[]);
    let image = image(&served.chat(data.path(), &["hello"]));
    let url = format!("ws://{}/ws", served.address);
    let mut chat = avm(data.path());
    chat.args(["chat", "--url", &url, "--image", &image, "$ touch begun; sleep 1; echo slept"]);
    let chat = chat.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = data.path().join("workspaces").join("local:chat").join(&image).join("begun");
    while !begun.exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    served.signal("-TERM");
    let told = chat.wait_with_output().unwrap();
    assert!(said(&told).contains("slept"), "{} {}", said(&told), complained(&told));
}

#[test]
fn a_tool_that_is_not_there_can_not_be_asked_for() {
    let data = TempDir::new().unwrap();
    let refused = avm(data.path()).args(["serve", "--port", "0", "--ask", "bsh"]).output().unwrap();
    assert!(complained(&refused).contains("there is no such tool"), "{}", complained(&refused));
    let listed = avm(data.path()).args(["key", "list", "--data-dir"]).arg(data.path()).output().unwrap();
    assert!(listed.status.success(), "{}", complained(&listed));
}
