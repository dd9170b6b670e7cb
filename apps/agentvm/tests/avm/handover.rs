//! A server that takes another's place, while clients come and turns run.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Served, Socket, avm, complained, image, said};

/// Asks for `/health` on a connection of its own, which must be answered.
fn health(address: &str) {
    let mut stream = TcpStream::connect(address).expect("no connection is refused");
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("no connection is cut off");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Comes all the time while `change` goes on.
fn besieged<T>(address: &str, change: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let comers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut times = 0;
                    while !over.load(Ordering::Relaxed) {
                        health(address);
                        times += 1;
                    }
                    times
                })
            })
            .collect();
        let changed = change();
        over.store(true, Ordering::Relaxed);
        for comer in comers {
            assert!(comer.join().unwrap() > 0);
        }
        changed
    })
}

/// A client with a conversation that listens.
fn client(address: &str) -> (Socket, Value) {
    let mut socket = Socket::connect(address).unwrap();
    socket.call("container.create", &json!({"containerId": "c"})).unwrap();
    let image = socket.call("image.create", &json!({"containerId": "c"})).unwrap()["record"].clone();
    socket.call("image.run", &json!({"imageId": image["imageId"]})).unwrap();
    socket.say("subscribe", &json!({"topic": image["sessionId"], "afterCursor": "0"})).unwrap();
    (socket, image)
}

/// Hears events up to one of this kind, and gives the places of those that are stored.
fn hear(socket: &mut Socket, last: &str) -> Vec<u64> {
    let mut heard = Vec::new();
    loop {
        let event = socket.event().unwrap();
        heard.extend(event["cursor"].as_str().unwrap().parse::<u64>());
        if event["type"] == last {
            return heard;
        }
    }
}

/// The process that has the data directory.
fn holder(data: &TempDir) -> String {
    std::fs::read_to_string(data.path().join("lock")).unwrap().trim().to_owned()
}

#[test]
fn a_server_takes_anothers_place_and_no_connection_is_refused_and_no_event_lost() {
    let data = TempDir::new().unwrap();
    let mut old = Served::start(data.path(), &[]);
    let (mut socket, image) = client(&old.address);
    let say = |text: &str| json!({"imageId": image["imageId"], "content": text});
    socket.ask("message.send", &say("$ sleep 1; echo slept")).unwrap();
    let mut heard = hear(&mut socket, "tool_executing");

    let address = old.address.clone();
    let new = besieged(&address, || {
        let new = Served::start(data.path(), &["--upgrade"]);
        assert_eq!(new.address, address);
        assert!(old.child.wait().unwrap().success());
        // It serves while others come.
        health(&address);
        new
    });
    // The turn that ran was finished, and then the client was told that the server goes away.
    heard.extend(hear(&mut socket, "turn_response"));
    let gone = loop {
        match socket.event() {
            Ok(event) => heard.extend(event["cursor"].as_str().unwrap().parse::<u64>()),
            Err(gone) => break gone,
        }
    };
    assert_eq!(gone.code, Some(1001));

    let mut socket = Socket::connect(&new.address).unwrap();
    socket.call("image.run", &json!({"imageId": image["imageId"]})).unwrap();
    let last = heard.last().unwrap().to_string();
    socket.say("subscribe", &json!({"topic": image["sessionId"], "afterCursor": last})).unwrap();
    socket.ask("message.send", &say("and on")).unwrap();
    heard.extend(hear(&mut socket, "turn_response"));
    let counted: Vec<u64> = (1..=*heard.last().unwrap()).collect();
    assert_eq!(heard, counted, "each event once, in its order");
    let messages = socket.call("image.messages", &json!({"imageId": image["imageId"]})).unwrap();
    let slept = |message: &&Value| message["role"] == "tool" && message.to_string().contains("slept");
    assert_eq!(messages["messages"].as_array().unwrap().iter().filter(slept).count(), 1);
}

#[test]
fn a_hangup_starts_the_program_anew_in_the_same_place() {
    let data = TempDir::new().unwrap();
    let mut served = Served::start(data.path(), &[]);
    let image = image(&served.chat(data.path(), &["hello"]));
    let address = served.address.clone();
    let followed = besieged(&address, || {
        served.signal("-HUP");
        let followed = served.followed();
        assert!(served.child.wait().unwrap().success());
        followed
    });
    assert_eq!(followed, address);
    assert_ne!(holder(&data), served.child.id().to_string());
    let chat = served.chat(data.path(), &["--image", &image, "again"]);
    assert_eq!(said(&chat), "You said: again\n", "{}", complained(&chat));
}

/// A turn that waits for a permission is no work that is waited for, and goes on in the next process; a chat outlives its
/// server.
#[test]
fn what_waits_for_a_permission_goes_on_behind_an_upgrade_and_so_does_a_chat() {
    let data = TempDir::new().unwrap();
    let mut old = Served::start(data.path(), &["--ask", "bash", "--drain", "3600"]);
    let mut chat = avm(data.path());
    chat.args(["chat", "--url", &format!("ws://{}/ws", old.address), "please run `echo made`"]);
    let mut chat = chat.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(chat.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(told.any(|line| line.contains("asks for a permission")));
    let new = Served::start(data.path(), &["--ask", "bash", "--upgrade"]);
    assert!(old.child.wait().unwrap().success());
    assert_eq!(new.address, old.address);
    chat.stdin.take().unwrap().write_all(b"y\n").unwrap();
    let ended = chat.wait_with_output().unwrap();
    let told: Vec<_> = told.collect();
    assert!(ended.status.success() && said(&ended).contains("made"), "{} {}", said(&ended), told.join("\n"));
}

/// An older program can't read what a newer one's server has: it must not take its place, nor make anything of it.
#[test]
fn a_server_whose_store_is_of_a_newer_program_keeps_its_place() {
    let data = TempDir::new().unwrap();
    let served = Served::start(data.path(), &[]);
    let store = rusqlite::Connection::open(data.path().join("agentvm.db")).unwrap();
    store.execute("INSERT INTO agentx_migrations (version, name) VALUES (9999, 'of_later')", []).unwrap();
    for args in [&["serve", "--port", "0", "--upgrade"][..], &["key", "list"]] {
        let refused = avm(data.path()).args(args).output().unwrap();
        let told = format!("{}{}", said(&refused), complained(&refused));
        assert!(!refused.status.success() && told.contains("a newer AgentX is needed"), "{args:?}: {told}");
    }
    assert_eq!(holder(&data), served.child.id().to_string());
    health(&served.address);
}

/// A newer program does not change the store under an older one's server.
#[test]
fn a_store_that_an_older_server_uses_is_not_migrated_by_a_command() {
    let data = TempDir::new().unwrap();
    let served = Served::start(data.path(), &[]);
    assert!(served.chat(data.path(), &["hello"]).status.success());
    let store = rusqlite::Connection::open(data.path().join("agentvm.db")).unwrap();
    store.execute("DELETE FROM agentx_migrations WHERE version > 1", []).unwrap();
    let create = || avm(data.path()).args(["key", "create", "ann", "--adopt"]).output().unwrap();
    let refused = complained(&create());
    assert!(refused.contains("an older program: upgrade it first"), "{refused}");
    let version: i64 =
        store.query_row("SELECT max(version) FROM agentx_migrations", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 1);
}

#[test]
fn a_server_that_is_killed_while_another_waits_for_its_end_is_followed_all_the_same() {
    let data = TempDir::new().unwrap();
    let old = Served::start(data.path(), &["--drain", "3600"]);
    let (mut socket, image) = client(&old.address);
    socket.ask("message.send", &json!({"imageId": image["imageId"], "content": "$ sleep 3600"})).unwrap();
    hear(&mut socket, "tool_executing");
    let address = old.address.clone();
    let new = std::thread::scope(|scope| {
        let new = scope.spawn(|| Served::start(data.path(), &["--upgrade"]));
        old.logged("takes this one's place");
        // The old one takes nothing more: what comes waits, and is answered by the new one.
        besieged(&address, || {
            old.signal("-KILL");
            new.join().unwrap()
        })
    });
    assert_eq!(new.address, address);
}

#[test]
fn a_data_directory_has_one_server() {
    let data = TempDir::new().unwrap();
    let first = Served::start(data.path(), &[]);
    let second = avm(data.path()).args(["serve", "--port", "0"]).stdout(Stdio::null()).output().unwrap();
    let told = complained(&second);
    let expected = format!("is in use by process {}; take its place with --upgrade", first.child.id());
    assert!(!second.status.success() && told.contains(&expected), "{told}");
    health(&first.address);
    // Where there is none, there is nothing to take over.
    let empty = TempDir::new().unwrap();
    health(&Served::start(empty.path(), &["--upgrade"]).address);
}
