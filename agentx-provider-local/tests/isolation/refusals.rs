//! What can't be is an error, and says why.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use agentx_provider_local::{Isolation, LocalProcess, Namespaces, Network};
use agentx_resource::{Error, ErrorKind, ExecRequest, Process, ProcessExt};

use super::{SCOPES, full, isolated, said, sh};

fn refused(isolation: Isolation, root: &Path) -> Error {
    LocalProcess::new(root).unwrap().with_isolation(isolation).map(drop).unwrap_err()
}

#[test]
fn parts_that_contradict_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let nested = dir.path().join("nested");
    fs::create_dir(&nested).unwrap();
    for isolation in [
        Isolation::new().with_network(Network::None),
        Isolation::new().with_protected([".bashrc"]),
        Isolation::full().with_protected(["../x"]),
        Isolation::full().with_protected(["/etc/passwd"]),
        Isolation::full().with_root_at("workspace"),
        Isolation::full().with_root_at("/"),
        Isolation::full().with_root_at("/usr/share"),
        Isolation::full().with_root_at("/a/../b"),
        Isolation::full().with_root_at("/a/"),
        Isolation::full().with_readable("/"),
        Isolation::full().with_readable("/proc"),
        Isolation::full().with_writable("/tmp"),
        Isolation::full().with_writable("/dev"),
        Isolation::full().with_writable(nested),
    ] {
        let error = refused(isolation.clone(), dir.path());
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{isolation:?}: {error}");
    }
    assert_eq!(refused(Isolation::full(), Path::new("/")).kind(), ErrorKind::InvalidInput);
    let error = refused(Isolation::full().with_readable("/no/such/place"), dir.path());
    assert_eq!((error.kind(), error.path()), (ErrorKind::NotFound, Some("/no/such/place")));
    assert!(error.to_string().contains("to be readable"), "{error}");
    // Nothing that stood in for protected paths is left of all this.
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_protected_path_that_is_a_link() {
    let dir = tempfile::tempdir().unwrap();
    symlink("elsewhere", dir.path().join(".bashrc")).unwrap();
    let error = refused(Isolation::full(), dir.path());
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("symbolic link"), "{error}");
}

#[test]
fn a_root_that_was_replaced_meanwhile_is_not_mounted() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    let process = LocalProcess::new(&root).unwrap();
    fs::rename(&root, dir.path().join("away")).unwrap();
    let error = process.with_isolation(Isolation::full()).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

/// The machine of this test is an isolation itself, and has nothing to give.
#[test]
fn what_the_machine_lacks() {
    let Some(step) = std::env::var_os("AGENTX_TEST_NESTED") else { return };
    let dir = tempfile::tempdir().unwrap();
    for scope in SCOPES {
        let error = refused(full(scope), dir.path());
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        let told = error.to_string();
        assert!(told.contains(step.to_str().unwrap()), "{told}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn what_the_machine_lacks_is_an_error_that_says_what() {
    let exe = std::env::current_exe().unwrap();
    let no_memory = (full(Namespaces::PerOwner), "memfd_create: Operation not permitted");
    let no_mounts =
        (full(Namespaces::PerOwner).with_seccomp(false), "write /proc/self/setgroups: Read-only file system");
    for (outer, step) in [no_memory, no_mounts] {
        let Some((process, dir)) = isolated(outer) else { continue };
        fs::copy(&exe, dir.path().join("nested")).unwrap();
        let script = format!(
            "AGENTX_TEST_NESTED=\"{step}\" ./nested --exact isolation::refusals::what_the_machine_lacks 2>&1"
        );
        let output = sh(&process, &script).await;
        assert!(output.stdout_text().contains("1 passed"), "{}", output.stdout_text());
    }
}

/// The helper of an isolated process that was killed comes back isolated.
#[tokio::test]
async fn a_helper_that_was_killed_comes_back_isolated() {
    for scope in SCOPES {
        let Some((process, _dir)) = isolated(full(scope)) else { continue };
        assert_eq!(said(&process, "pwd").await, "/workspace");
        let mark = format!("33{}", std::process::id());
        let _child = process.spawn(ExecRequest::program("sleep", [mark.as_str()])).await.unwrap();
        let helper = ancestor(&mark).to_string();
        assert!(Command::new("kill").args(["-KILL", &helper]).status().unwrap().success());
        let mut answer = String::new();
        for _ in 0..100 {
            if let Ok(output) = process.exec(ExecRequest::shell("pwd")).await {
                answer = output.stdout_text().into_owned();
                if !answer.is_empty() {
                    break;
                }
            }
        }
        assert_eq!(answer, "/workspace\n");
    }
}

/// The child of this process from which the command descends that sleeps for so long.
fn ancestor(mark: &str) -> u32 {
    let stat = |pid: u32| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let parent =
        |pid: u32| stat(pid).rsplit(')').next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
    let pids = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
    let line = |pid: u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut pid = pids.into_iter().find(|pid| line(*pid) == format!("sleep\0{mark}\0")).unwrap();
    loop {
        match parent(pid) {
            above if above == std::process::id() => return pid,
            above => pid = above,
        }
    }
}
