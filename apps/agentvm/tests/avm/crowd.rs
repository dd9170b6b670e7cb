//! Many connections that say nothing, or never end what they begin to say.

use std::{io::Write, net::TcpStream};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{Served, Socket};

/// How many connections there are, unless `AVM_CROWD` says otherwise: as many as a short test may open.
const CROWD: usize = 2_000;

/// What each may cost the server at most, in KiB: what a socket is given for a frame, and room for allocators.
const EACH: usize = 64;

/// What the server may need beside them, in KiB.
const BESIDE: usize = 32 << 10;

/// How many connections this process may open.
fn crowd() -> usize {
    let wanted = std::env::var("AVM_CROWD").map_or(CROWD, |count| count.parse().expect("a number"));
    let files = getrlimit(Resource::Nofile);
    let most = files.maximum.unwrap_or(u64::MAX).min(wanted as u64 + 256);
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: files.maximum }).unwrap();
    wanted.min(usize::try_from(most).unwrap().saturating_sub(256))
}

/// The memory that a process has, in KiB.
fn memory(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A conversation from its beginning to an answer.
fn converse(address: &str, container: &str) {
    let mut client = Socket::connect(address).unwrap();
    client.call("container.create", &json!({"containerId": container})).unwrap();
    let made = client.call("image.create", &json!({"containerId": container})).unwrap();
    let message = json!({"imageId": made["record"]["imageId"], "content": "hello"});
    client.call("message.send", &message).unwrap();
    loop {
        let event = client.event().unwrap();
        if event["type"] == "assistant_message" {
            assert_eq!(event["data"]["content"][0]["text"], "You said: hello");
            return;
        }
    }
}

#[test]
fn a_crowd_that_says_nothing_keeps_nobody_out_and_costs_little() {
    let data = TempDir::new().unwrap();
    let served = Served::start(data.path(), &[]);
    // What is made once for all is made before it is measured.
    converse(&served.address, "before");
    let (count, before) = (crowd(), memory(served.child.id()));

    let (mut silent, mut sockets) = (Vec::new(), Vec::new());
    for number in 0..count {
        match number % 3 {
            // It may be at its bounds, and says so.
            0 => sockets.extend(Socket::connect(&served.address).ok()),
            said => {
                let mut stream = TcpStream::connect(&served.address).unwrap();
                // One that was silent for too long may be closed already.
                let begun: &[u8] = if said == 1 { b"" } else { b"GET /ws HTTP/1.1\r\nHost: 127.0" };
                drop(stream.write_all(begun));
                silent.push(stream);
            }
        }
    }
    assert!(sockets.len() >= count.min(900) / 3, "{} of {count}", sockets.len());
    for round in 0..5 {
        converse(&served.address, &format!("beside {round}").replace(' ', "-"));
    }
    let grown = memory(served.child.id()).saturating_sub(before);
    assert!(grown <= BESIDE + count * EACH, "{grown} KiB for {count} connections");
    // Who was there before is there still.
    let last = sockets.last_mut().unwrap();
    last.call("container.list", &json!({})).unwrap();
    drop((silent, sockets));
    converse(&served.address, "after");
}
