//! bubblewrap in place of the helper.

use std::{fs, path::Path};

use agentx_provider_local::{
    AllowList, Engine, Guarantee, Isolation, LocalProcess, Namespaces, Network, Verdict,
};
use agentx_resource::{ErrorKind, ExecRequest, Process, ProcessExt, ResourcePath};

use super::{isolated, said, sh};

pub(super) fn bubblewrap() -> Isolation {
    Isolation::full().with_landlock(false).with_engine(Engine::Bubblewrap("bwrap".into()))
}

#[tokio::test]
async fn commands_see_the_same() {
    let Some((process, dir)) = isolated(bubblewrap().with_protected([".bashrc"])) else { return };
    assert_eq!(process.capabilities().root, "/workspace");
    fs::create_dir(dir.path().join("a")).unwrap();
    let request = ExecRequest::shell("pwd; echo hello > here; cat /workspace/a/here; echo $X; exit 3");
    let path = ResourcePath::new("/a").unwrap();
    let output = process.exec(request.with_cwd(path).with_env("X", "y")).await.unwrap();
    assert_eq!((output.stdout_text().as_ref(), output.status.code()), ("/workspace/a\nhello\ny\n", Some(3)));
    assert_eq!(fs::read_to_string(dir.path().join("a/here")).unwrap(), "hello\n");
    assert!(!sh(&process, "echo evil > .bashrc").await.status.success());
    let missing = process.exec(ExecRequest::program("no-such-program", ["x"])).await.unwrap();
    assert_eq!(missing.status.code(), Some(127));
    assert_eq!(said(&process, "ls -A /tmp; cat /etc/hosts | head -1").await, "127.0.0.1 localhost sandbox");
}

#[tokio::test]
async fn it_holds_what_it_says() {
    if isolated(bubblewrap()).is_none() {
        return;
    }
    let probe = bubblewrap().probe().await.unwrap();
    for guarantee in Guarantee::ALL {
        match probe.verdict(guarantee) {
            Verdict::Holds { .. } => {}
            // Its own first process is seen inside, and knows nothing.
            Verdict::Broken { by } if guarantee == Guarantee::Processes => {
                assert!(by.iter().all(|name| name.contains("init") || name.contains("parent")), "{by:?}");
            }
            // No limits were asked for.
            Verdict::Unavailable { .. } if guarantee == Guarantee::Tree => {}
            verdict => panic!("{guarantee}: {verdict:?}"),
        }
    }
}

#[test]
fn what_it_does_not_know_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    for (isolation, kind) in [
        (bubblewrap().with_landlock(true), ErrorKind::InvalidInput),
        (bubblewrap().with_namespaces(Some(Namespaces::PerOwner)), ErrorKind::InvalidInput),
        (bubblewrap().with_network(Network::Proxy(AllowList::default())), ErrorKind::InvalidInput),
        (bubblewrap().with_engine(Engine::Bubblewrap("/no/bwrap".into())), ErrorKind::Unsupported),
        (bubblewrap().with_engine(Engine::Bubblewrap("/bin/false".into())), ErrorKind::Unsupported),
    ] {
        let error = LocalProcess::new(dir.path()).unwrap().with_isolation(isolation).map(drop).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
    assert_eq!(fs::read_dir(Path::new(dir.path())).unwrap().count(), 0);
}
