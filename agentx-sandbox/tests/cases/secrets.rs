use std::sync::Arc;

use agentx_resource::{FileSystemExt, Secret, memory::MemoryFileSystem};
use agentx_sandbox::Offload;
use serde_json::json;

use super::Pair;

const KEY: &str = "sk-live-0123456789";

pub async fn no_tool_tells_a_secret(pair: Pair) {
    let store = Arc::new(MemoryFileSystem::new());
    let pair = pair.with(|runtime| {
        runtime
            .with_secrets([Secret::new(KEY), Secret::new("-----BEGIN\nMIIEvQ\n-----END")])
            .with_offload(Offload::new(store.clone(), "/large"))
    });
    pair.put("/.env", format!("A=1\nKEY={KEY}\nB=-----BEGIN\nMIIEvQ\n-----END\nC=3\n")).await;
    pair.put(&format!("/{KEY}.txt"), "").await;

    let env = pair.call("bash", json!({"command": "cat .env"})).await;
    assert!(env.contains("KEY=[redacted]\n") && !env.contains("MIIEvQ"), "{env}");
    let page = pair.call("read", json!({"file_path": ".env"})).await;
    assert_eq!(
        page,
        "     1\tA=1\n     2\tKEY=[redacted]\n     3\tB=[redacted]\n     4\t\n     5\t\n     6\tC=3\n"
    );
    let grep = json!({"pattern": "KEY|MII|C=", "output_mode": "content", "-n": false, "path": ".env"});
    let env = pair.shown("/.env");
    assert_eq!(pair.call("grep", grep).await, format!("{env}:KEY=[redacted]\n{env}:C=3"));
    // A search says nothing about what is not told.
    let guess = pair.call("grep", json!({"pattern": "sk-live-0", "path": ".env"})).await;
    assert_eq!(guess, "No matches in 1 files.");
    assert!(pair.call("ls", json!({})).await.contains("\n[redacted].txt (0 bytes)"));
    assert!(pair.call("glob", json!({"pattern": "*.txt"})).await.ends_with("/[redacted].txt"));
    let missing = pair.try_call("read", json!({"file_path": format!("no/{KEY}")})).await.unwrap();
    assert!(missing.is_error() && !missing.to_text().contains(KEY), "{missing:?}");

    // What is put away is clean too.
    let long = pair.call("bash", json!({"command": "cat .env; seq 1 20000"})).await;
    assert!(!long.contains(KEY));
    let stored = store.read_to_string(&super::path("/bash-call1.txt")).await.unwrap();
    assert!(stored.starts_with("A=1\nKEY=[redacted]\n"), "{stored:.100}");
}

pub async fn an_edit_keeps_them(pair: Pair) {
    let pair = pair.with(|runtime| runtime.with_secrets([Secret::new(KEY)]));
    pair.put("/.env", format!("KEY={KEY}\nSTAGE=test\n")).await;
    pair.call("edit", json!({"file_path": ".env", "old_string": "test", "new_string": "live"})).await;
    assert_eq!(pair.get("/.env").await, format!("KEY={KEY}\nSTAGE=live\n"));
}
