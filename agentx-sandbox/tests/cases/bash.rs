use std::sync::Arc;

use agentx_core::{ErrorKind, ToolOutput};
use agentx_resource::{
    ExecRequest, FileSystemExt,
    memory::{MemoryEnv, MemoryFileSystem},
};
use agentx_sandbox::{NodeRuntime, Offload};
use futures::FutureExt;
use serde_json::json;

use super::Pair;

pub async fn output_and_exit_code(pair: Pair) {
    assert_eq!(pair.call("bash", json!({"command": "echo a; echo b"})).await, "a\nb");
    assert_eq!(
        pair.call("bash", json!({"command": "exit 0", "description": "Nothing"})).await,
        "(no output)"
    );
    let failed = pair.try_call("bash", json!({"command": "echo out; exit 3"})).await.unwrap();
    assert_eq!(failed, ToolOutput::error("out\nexit code 3"));
    assert_eq!(
        pair.try_call("bash", json!({"command": "exit 4"})).await.unwrap(),
        ToolOutput::error("exit code 4")
    );
    let missing = pair.try_call("bash", json!({"command": "cat missing; echo after; exit 1"})).await.unwrap();
    let text = missing.to_text();
    // Standard output comes first.
    assert!(text.starts_with("after\ncat: missing: ") && text.ends_with("\nexit code 1"), "{text}");
}

pub async fn a_timeout_keeps_the_output(pair: Pair) {
    let call = pair.try_call("bash", json!({"command": "echo begun; sleep 600", "timeout": 2000}));
    let output = match pair.clock.clone() {
        None => call.await.unwrap(),
        Some(clock) => {
            let mut call = std::pin::pin!(call);
            assert!((&mut call).now_or_never().is_none());
            clock.advance(std::time::Duration::from_secs(2));
            call.now_or_never().expect("the time is up").unwrap()
        }
    };
    assert_eq!(output, ToolOutput::error("begun\ntimed out after 2000 ms, and was killed"));
}

pub async fn settings_are_variables(pair: Pair) {
    let settings = MemoryEnv::new([("STAGE", "test"), ("OTHER", "env")]).unwrap();
    let process = Arc::clone(pair.runtime.process());
    let runtime = NodeRuntime::new(Arc::clone(pair.runtime.file_system()), Arc::new(settings), process);
    let output = runtime.run("printenv STAGE").await.unwrap();
    assert_eq!(output.stdout_text(), "test\n");
    // What a request names comes first.
    let request = ExecRequest::shell("printenv OTHER").with_env("OTHER", "request");
    assert_eq!(runtime.exec(request).await.unwrap().stdout_text(), "request\n");
}

pub async fn a_long_output_is_put_away(pair: Pair) {
    let store = Arc::new(MemoryFileSystem::new());
    let pair = pair.with(|runtime| runtime.with_offload(Offload::new(store.clone(), "/large")));
    let output = pair.call("bash", json!({"command": "seq 1 20000"})).await;
    assert!(output.len() < 30_000);
    assert!(output.starts_with("1\n2\n3\n") && output.ends_with("\n19999\n20000"));
    // A hostile call id does not choose the place.
    assert!(output.contains("the whole output is in /large/bash-call1.txt"), "{output}");
    let whole: Vec<_> = (1..=20000).map(|number| number.to_string()).collect();
    assert_eq!(store.read_to_string(&super::path("/bash-call1.txt")).await.unwrap(), whole.join("\n"));

    let page = json!({"file_path": "/large/bash-call1.txt", "offset": 10_000, "limit": 1});
    assert!(pair.call("read", page).await.starts_with(" 10000\t10000\n"));
    let grep = json!({"pattern": "^12345$", "path": "/large", "output_mode": "content"});
    assert_eq!(pair.call("grep", grep).await, "/large/bash-call1.txt:12345:12345");
    // It is a place to look at, not to write to.
    let write = json!({"file_path": "/large/x", "content": ""});
    assert_eq!(pair.refused("write", write).await.kind(), ErrorKind::Escapes);
    let again = pair.call("bash", json!({"command": "seq 1 20000"})).await;
    assert!(again.contains("/large/bash-call1-2.txt"), "an earlier result is kept");
}

pub async fn a_long_output_without_a_place(pair: Pair) {
    let output = pair.call("bash", json!({"command": "seq 1 20000"})).await;
    assert!(output.len() < 30_000 && output.ends_with("\n20000"));
    // 108893 characters, of which 28000 are shown.
    assert!(output.contains("[80893 characters left out; run the command again"), "{output}");
    // Of 1288895 bytes, 128 KiB are held of each end.
    let output = pair.call("bash", json!({"command": "seq 1 200000"})).await;
    assert!(output.contains(" characters left out and 1026751 bytes that were not kept; "), "{output}");
    assert!(output.starts_with("1\n2\n") && output.ends_with("\n200000"));
}

pub async fn bad_input(pair: Pair) {
    for input in [
        json!({}),
        json!({"command": 1}),
        json!({"command": "  "}),
        json!({"command": "pwd", "timeout": 0}),
        json!({"command": "pwd", "timeout": 600_001}),
        json!({"command": "pwd", "timeout": -1}),
        json!({"command": "pwd", "run_in_background": true}),
    ] {
        let error = pair.refused("bash", input.clone()).await;
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{input}: {error}");
    }
    let unknown = pair.refused("bash", json!({"command": "pwd", "background": true})).await.to_string();
    assert!(unknown.contains("`background`") && unknown.contains("`timeout`"), "{unknown}");
}
