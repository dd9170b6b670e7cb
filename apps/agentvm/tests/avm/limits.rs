//! What one owner's commands may use of the machine, while another's are served.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use serde_json::json;
use tempfile::TempDir;

use crate::{
    attacks::{key, running, wait_for},
    support::{Served, Socket, avm, complained, image, said},
};

fn data() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Whether this machine limits whole trees; where it does not, what is left out is said.
fn is_limited(data: &Path, flags: &[&str]) -> bool {
    let told = said(&avm(data).arg("doctor").args(flags).output().unwrap());
    let line = told.lines().find(|line| line.starts_with("commands")).unwrap_or_else(|| panic!("{told}"));
    if line.contains("FAILED") {
        assert!(line.contains("can't limit whole trees"), "{line}");
        println!("LEFT OUT: agentvm, limits of an owner's commands ({line})");
        return false;
    }
    true
}

/// What of limits this machine can do, and what the other tests leave out.
#[test]
fn summary() {
    let data = data();
    if is_limited(data.path(), &["--processes", "64", "--memory", "64m", "--cpu", "0.5"]) {
        println!("agentvm: limits of an owner's commands: tested");
    }
}

/// A client that is killed with its test.
struct Chat(Child);

impl Chat {
    fn start(served: &Served, data: &Path, key: &str, says: &str) -> Self {
        let mut chat = avm(data);
        chat.args(["chat", "--url", &format!("ws://{}/ws", served.address), "--key", key, says]);
        Self(chat.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The control group of a process in which processes are counted.
fn group(process: u32) -> Option<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{process}/cgroup")).ok()?;
    let groups = text.lines().filter(|line| line.contains("/agentx-tree-"));
    let mut places = groups.flat_map(|line| {
        let path = line.splitn(3, ':').last().unwrap_or_default();
        ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(|mount| PathBuf::from(format!("{mount}{path}")))
    });
    places.find(|place| place.join("pids.events").exists())
}

#[test]
fn what_forks_on_and_on_keeps_nobody_else_from_being_served() {
    let data = data();
    let (ann, bob) = (key(data.path(), "ann"), key(data.path(), "bob"));
    if !is_limited(data.path(), &["--processes", "64"]) {
        return;
    }
    let served = Served::start(data.path(), &["--processes", "64"]);
    // No other process has this name.
    let name = format!("4000.{}", std::process::id());
    let _bomb = Chat::start(
        &served,
        data.path(),
        &ann,
        &format!("$ b() {{ sleep 1000 & b | b & }}; b; exec sleep {name}"),
    );
    let process = wait_for(|| running(&format!("sleep\0{name}\0")));
    let group = group(process).expect("it is in a group");
    let number = |file: &str| -> Option<u64> {
        let text = fs::read_to_string(group.join(file)).ok()?;
        text.trim().trim_start_matches("max ").parse().ok()
    };
    wait_for(|| number("pids.events").filter(|refused| *refused > 0));
    assert!(number("pids.current").unwrap() <= 64);
    let answered = served.chat(data.path(), &["--key", &bob, "$ echo ser\"\"ved"]);
    assert!(said(&answered).trim_end().ends_with("served"), "{} {}", said(&answered), complained(&answered));
    // What it left was there all the time, and its owner is served, too.
    assert!(number("pids.current").unwrap() > 1);
    let answered = served.chat(data.path(), &["--key", &ann, "hello"]);
    assert!(said(&answered).contains("You said: hello"), "{}", complained(&answered));
}

#[test]
fn what_takes_too_much_memory_is_ended_and_told() {
    let data = data();
    let (ann, bob) = (key(data.path(), "ann"), key(data.path(), "bob"));
    if !is_limited(data.path(), &["--memory", "64m"]) {
        return;
    }
    let served = Served::start(data.path(), &["--memory", "64m"]);
    // It keeps a line that never ends.
    let hungry = served.chat(data.path(), &["--key", &ann, "$ tail /dev/zero"]);
    assert!(
        said(&hungry).contains("killed for too much memory"),
        "{} {}",
        said(&hungry),
        complained(&hungry)
    );
    for owner in [&ann, &bob] {
        let answered = served.chat(data.path(), &["--key", owner, "$ echo ser\"\"ved"]);
        assert!(
            said(&answered).trim_end().ends_with("served"),
            "{} {}",
            said(&answered),
            complained(&answered)
        );
    }
}

#[test]
fn what_fills_the_disk_is_ended_and_its_owner_refused_until_something_is_deleted() {
    let data = data();
    let (ann, bob) = (key(data.path(), "ann"), key(data.path(), "bob"));
    let served = Served::start(data.path(), &["--disk", "4m"]);
    let command = "$ i=0; while :; do i=$((i+1)); head -c 500000 /dev/zero > f$i; sleep 0.01; done";
    let filled = served.chat(data.path(), &["--key", &ann, command]);
    let told = said(&filled);
    assert!(told.contains("The command was ended: the quota of the disk is used up"), "{told}");
    let image = image(&filled);

    let write = |key: &str, image: &str| {
        let mut client = Socket::connect_as(&served.address, key).unwrap();
        client.answer("os.write", &json!({"imageId": image, "path": "note.txt", "content": "x"})).unwrap()
    };
    let refused = write(&ann, &image);
    assert_eq!(refused["error"]["code"], 429, "{refused}");
    assert!(refused["error"]["message"].as_str().unwrap().contains("used up"), "{refused}");
    // Nor in another conversation of the same owner.
    let elsewhere = served.chat(data.path(), &["--key", &ann, "$ echo x > y; echo ra\"\"n"]);
    assert!(said(&elsewhere).contains("can delete files, and write to none"), "{}", said(&elsewhere));
    // Somebody else has all of his.
    let other = served.chat(data.path(), &["--key", &bob, "$ echo x > y && echo wri\"\"tten"]);
    assert!(said(&other).trim_end().ends_with("written"), "{} {}", said(&other), complained(&other));

    let again =
        served.chat(data.path(), &["--key", &ann, "--image", &image, "$ rm -f f* && echo del\"\"eted"]);
    assert!(said(&again).contains("deleted"), "{} {}", said(&again), complained(&again));
    let written = write(&ann, &image);
    assert!(written.get("error").is_none(), "{written}");
}

#[test]
fn what_the_machine_lacks_is_an_error_where_it_is_asked_for_and_told_where_it_is_the_default() {
    let data = data();
    key(data.path(), "ann");
    // A user who may make no control groups. Who is not root is one already, or may make them.
    let nobody = 65_534;
    let is_root = rustix::process::getuid().is_root();
    if is_root {
        for entry in fs::read_dir(data.path()).unwrap() {
            chown(entry.unwrap().path(), Some(nobody), Some(nobody)).unwrap();
        }
        chown(data.path(), Some(nobody), Some(nobody)).unwrap();
    }
    let run = |args: &[&str]| {
        let mut command = avm(data.path());
        command.args(args);
        if is_root {
            command.uid(nobody).gid(nobody);
        }
        command.output()
    };
    let doctor = match run(&["doctor", "--isolation", "full"]) {
        Ok(doctor) => said(&doctor),
        Err(error) => return println!("LEFT OUT: agentvm, limits that a user can't set ({error})"),
    };
    let Some(line) = doctor.lines().find(|line| line.contains("NOT BOUNDED HERE: memory")) else {
        return println!("LEFT OUT: agentvm, limits that a user can't set (this one can): {doctor}");
    };
    assert!(line.contains("can't limit whole trees"), "{line}");
    let refused = run(&["serve", "--port", "0", "--isolation", "none", "--memory", "64m"]).unwrap();
    let told = complained(&refused);
    assert!(!refused.status.success() && told.contains("--memory"), "{told}");
    assert!(told.contains("can't limit whole trees"), "{told}");
}

#[test]
fn a_single_owner_is_bounded_where_that_is_asked_for() {
    let data = data();
    let served = Served::start(data.path(), &["--open-files", "64", "--disk", "64m"]);
    let told = said(&served.chat(data.path(), &["$ ulimit -n; ulimit -f"]));
    let (files, blocks) = told.trim_end().rsplit_once('\n').unwrap_or_else(|| panic!("{told}"));
    assert!(files.ends_with("64"), "{told}");
    assert!(blocks.parse::<u64>().unwrap() <= 64 << 10, "{told}");
    drop(served);
    let served = Served::start(data.path(), &[]);
    let told = said(&served.chat(data.path(), &["$ ulimit -f"]));
    assert!(told.trim_end().ends_with("unlimited"), "{told}");
}
