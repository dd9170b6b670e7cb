//! What it serves, to whom, and what it refuses.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Stdio},
};

use serde_json::json;
use tempfile::TempDir;

use crate::support::{Served, Socket, avm, complained, image, kill, said};

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

    drop(served);
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
    let store = std::fs::read(data.path().join("agentvm.db")).unwrap();
    let log = std::fs::read(data.path().join("agentvm.db-wal")).unwrap_or_default();
    for bytes in [&store, &log] {
        assert!(!bytes.windows(key.len()).any(|window| window == key.as_bytes()));
    }

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
    assert_eq!(said(&revoked), "revoked\n");
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
    for mut child in (0..8).map(make).collect::<Vec<_>>().into_iter().flatten() {
        assert!(child.wait().unwrap().success());
    }
    let listed = said(&avm(data.path()).args(["key", "list"]).output().unwrap());
    assert_eq!(listed.lines().count(), 8, "{listed}");
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

/// Whoever remembers what its agent is called goes on with it.
#[test]
fn an_agent_keeps_its_id_when_the_server_is_killed() {
    let data = TempDir::new().unwrap();
    let mut served = Served::start(data.path(), &[]);
    let mut client = Socket::connect(&served.address).unwrap();
    let image = client.call("runtime.image.create", &json!({})).unwrap()["record"]["imageId"].clone();
    let run = client.call("runtime.image.run", &json!({"imageId": image})).unwrap();
    let said = |text: &str| json!({"instanceId": run["instanceId"], "content": text});
    client.call("runtime.message.send", &said("one")).unwrap();
    served.signal("-KILL");
    served.child.wait().unwrap();

    let served = Served::start(data.path(), &[]);
    let mut client = Socket::connect(&served.address).unwrap();
    let sent = client.call("runtime.message.send", &said("two")).unwrap();
    assert_eq!((&sent["instanceId"], &sent["imageId"]), (&run["instanceId"], &image));
    loop {
        let event = client.event().unwrap();
        assert_eq!(event["context"]["instanceId"], run["instanceId"], "{event}");
        if event["type"] == "turn_response" {
            break;
        }
    }
}

#[test]
fn this_machine_has_a_name() {
    let data = TempDir::new().unwrap();
    let served = Served::start(data.path(), &["--host", "localhost"]);
    assert!(served.address.starts_with("127.0.0.1:"), "{}", served.address);
    assert_eq!(said(&served.chat(data.path(), &["hello"])), "You said: hello\n");
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

/// A chat whose turn runs a command that has begun.
fn working(served: &Served, data: &TempDir, image: &str, command: &str) -> Child {
    let url = format!("ws://{}/ws", served.address);
    let mut chat = avm(data.path());
    chat.args(["chat", "--url", &url, "--image", image, &format!("$ touch begun; {command}")]);
    let chat = chat.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = data.path().join("workspaces").join("local:chat").join(image).join("begun");
    while !begun.exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    chat
}

/// Whoever listens when the server is told to stop hears how the turn ends.
#[test]
fn a_stop_ends_turns_before_connections() {
    let data = TempDir::new().unwrap();
    let served = Served::start(data.path(), &[]);
    let image = image(&served.chat(data.path(), &["hello"]));
    let chat = working(&served, &data, &image, "sleep 1; echo slept");
    served.signal("-TERM");
    let told = chat.wait_with_output().unwrap();
    assert!(said(&told).contains("slept"), "{} {}", said(&told), complained(&told));
}

/// A turn that takes longer than the server waits ends as if its user had interrupted it.
#[test]
fn a_stop_interrupts_turns_that_do_not_end() {
    let data = TempDir::new().unwrap();
    let mut served = Served::start(data.path(), &["--drain", "0"]);
    let image = image(&served.chat(data.path(), &["hello"]));
    let chat = working(&served, &data, &image, "echo before; sleep 3600");
    served.signal("-TERM");
    let told = chat.wait_with_output().unwrap();
    assert!(complained(&told).contains("[interrupted]"), "{} {}", said(&told), complained(&told));
    assert!(served.child.wait().unwrap().success());
    let served = Served::start(data.path(), &[]);
    assert_eq!(said(&served.chat(data.path(), &["--image", &image, "again"])), "You said: again\n");
}

/// Ctrl-C in a chat ends its turn, and what is said next is answered.
#[test]
fn a_chat_interrupts_its_turn() {
    let data = TempDir::new().unwrap();
    let served = Served::start(data.path(), &[]);
    let image = image(&served.chat(data.path(), &["hello"]));
    let chat = working(&served, &data, &image, "sleep 3600");
    kill("-INT", &chat.id().to_string());
    let told = chat.wait_with_output().unwrap();
    assert!(told.status.success() && complained(&told).contains("[interrupted]"), "{}", complained(&told));
    assert_eq!(said(&served.chat(data.path(), &["--image", &image, "again"])), "You said: again\n");
}

#[test]
fn a_tool_that_is_not_there_can_not_be_asked_for() {
    let data = TempDir::new().unwrap();
    let refused = avm(data.path()).args(["serve", "--port", "0", "--ask", "bsh"]).output().unwrap();
    assert!(complained(&refused).contains("there is no such tool"), "{}", complained(&refused));
    let listed = avm(data.path()).args(["key", "list", "--data-dir"]).arg(data.path()).output().unwrap();
    assert!(listed.status.success(), "{}", complained(&listed));
}

/// A server that was killed while it copied a workspace leaves half a copy, under a name that nobody can use.
#[test]
fn what_a_crash_left_of_a_fork_is_gone_with_the_next_start() {
    let data = TempDir::new().unwrap();
    let container = data.path().join("workspaces/local:work");
    let (left, kept) = (container.join(".agentx-0123456789abcdef.tmp"), container.join("img_1"));
    for image in [&left, &kept] {
        std::fs::create_dir_all(image.join("deep")).unwrap();
        std::fs::write(image.join("deep/file"), "x").unwrap();
    }
    let served = Served::start(data.path(), &[]);
    assert!(!left.exists() && kept.join("deep/file").exists());
    served.logged("copies of workspaces that were cut off are removed");
}
