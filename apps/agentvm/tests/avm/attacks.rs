//! Two owners with shells on one server: what one tries upon the other gets nothing. Each attempt is tried without
//! isolation, too, where it gets what it wants: one that can't work proves nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use tempfile::TempDir;

use crate::support::{Served, avm, complained, said};

/// What the victim has and nobody else may see.
const SECRET: &str = "the-secret-of-ann";

/// A server, and a command of the victim's that goes on until the test ends.
struct Scene {
    data: TempDir,
    served: Served,
    chat: Child,
    /// The victim's file, as the server's machine names it.
    file: PathBuf,
    /// The victim's process.
    process: u32,
}

impl Drop for Scene {
    fn drop(&mut self) {
        // It may have ended by itself; its command ends with the server.
        drop(self.chat.kill());
        drop(self.chat.wait());
    }
}

impl Scene {
    fn new(data: TempDir, isolation: &str, key: Option<&str>) -> Self {
        let served = Served::start(data.path(), &["--isolation", isolation]);
        // No other process has this name.
        let name = format!("{}.{}", 3_000, std::process::id());
        let begin = format!("$ echo {SECRET} > secret.txt; exec sleep {name}");
        let mut chat = avm(data.path());
        chat.args(["chat", "--url", &format!("ws://{}/ws", served.address)]).args(with(key)).arg(begin);
        let chat = chat.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Nobody tells of another's process or file: they are looked for.
        let process = wait_for(|| running(&format!("sleep\0{name}\0")));
        let file = wait_for(|| find(&data.path().join("workspaces"), "secret.txt"));
        Self { data, served, chat, file, process }
    }

    /// Runs all attempts in one command of somebody else's, and gives the names of those that got something.
    fn attack(&self, key: Option<&str>) -> Vec<&'static str> {
        let (data, file) = (self.data.path().display(), self.file.display());
        let (victim, server) = (self.process, self.served.child.id());
        let port = self.served.address.rsplit(':').next().unwrap();
        let folder = self.file.parent().unwrap().display();
        let attempts = [
            ("read a file", format!("grep -q {SECRET} {file}")),
            ("find files", format!("grep -rqs {SECRET} {data}/workspaces")),
            ("write a file", format!("echo x > {folder}/written")),
            ("enter by a link", format!("ln -sf {folder} there && grep -q {SECRET} there/secret.txt")),
            ("read through /proc", format!("grep -q {SECRET} /proc/{victim}/cwd/secret.txt")),
            ("read a root through /proc", format!("grep -q {SECRET} /proc/{server}/root{file}")),
            ("read the database", format!("head -c 6 {data}/agentvm.db | grep -q SQLite")),
            ("read the server's environment", format!("grep -qz AVM_DATA_DIR /proc/{server}/environ")),
            ("read a command", format!("grep -qz sleep /proc/{victim}/cmdline")),
            ("signal a command", format!("kill -0 {victim}")),
            ("signal the server", format!("kill -0 {server}")),
            ("reach the server", format!("bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}'")),
            ("stop a command", format!("kill -STOP {victim} && kill -CONT {victim}")),
        ];
        // Each by itself: what fails keeps none of the others from being tried.
        let tried: Vec<String> = attempts
            .iter()
            .enumerate()
            .map(|(number, (_, attempt))| format!("( {attempt} ) >/dev/null 2>&1 && echo got\"\"-{number}-"))
            .collect();
        let command = format!("$ {}; echo tri\"\"ed", tried.join("; "));
        let mut flags = with(key);
        flags.push(&command);
        let ran = self.served.chat(self.data.path(), &flags);
        let told = said(&ran);
        assert!(told.contains("tried"), "{told}{}", complained(&ran));
        let got = attempts.iter().enumerate().filter(|(number, _)| told.contains(&format!("got-{number}-")));
        got.map(|(_, (name, _))| *name).collect()
    }
}

fn with(key: Option<&str>) -> Vec<&str> {
    key.map_or_else(Vec::new, |key| vec!["--key", key])
}

pub(crate) fn wait_for<T>(look: impl Fn() -> Option<T>) -> T {
    loop {
        if let Some(found) = look() {
            return found;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The process with exactly these arguments.
pub(crate) fn running(arguments: &str) -> Option<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut numbers = processes.filter_map(|process| process.file_name().to_str()?.parse().ok());
    numbers.find(|number| {
        fs::read(format!("/proc/{number}/cmdline")).is_ok_and(|found| found == arguments.as_bytes())
    })
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    for entry in fs::read_dir(folder).ok()?.flatten() {
        let path = entry.path();
        let is_whole = || fs::read_to_string(&path).is_ok_and(|text| text.contains(SECRET));
        let found = if path.is_dir() {
            find(&path, name)
        } else {
            (path.ends_with(name) && is_whole()).then_some(path)
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

pub(crate) fn key(data: &Path, owner: &str) -> String {
    let made = avm(data).args(["key", "create", owner]).output().unwrap();
    assert!(made.status.success(), "{}", complained(&made));
    said(&made).trim().to_owned()
}

#[test]
fn what_one_owners_shell_tries_upon_another_gets_nothing() {
    let data = TempDir::new().unwrap();
    let (ann, bob) = (key(data.path(), "ann"), key(data.path(), "bob"));
    let doctor = said(&avm(data.path()).arg("doctor").output().unwrap());
    let scene = Scene::new(data, "full", Some(&ann));
    assert_eq!(scene.attack(Some(&bob)), <[&str; 0]>::default(), "{doctor}");
    // The other is as it was.
    assert_eq!(fs::read_to_string(&scene.file).unwrap().trim(), SECRET);
    assert!(running(&format!("sleep\0{}.{}\0", 3_000, std::process::id())).is_some());
}

#[test]
fn without_isolation_each_attempt_gets_what_it_wants() {
    let data = TempDir::new().unwrap();
    let scene = Scene::new(data, "none", None);
    let got = scene.attack(None);
    assert_eq!(got.len(), 13, "{got:?}");
}
