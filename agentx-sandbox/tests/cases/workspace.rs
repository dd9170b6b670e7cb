use std::sync::Arc;

use agentx_core::{ContainerId, ErrorKind, ImageId, WorkspaceProvider};
use agentx_resource::{FileSystem, FileSystemExt, memory::MemoryFileSystem};
use agentx_sandbox::{Sandbox, SandboxProvider, Workspace};
use serde_json::json;

use super::{Pair, call, path};

/// A workspace beside the pair.
async fn sandbox(pair: &Pair) -> (Arc<dyn FileSystem>, Sandbox) {
    let fs: Arc<dyn FileSystem> = Arc::new(MemoryFileSystem::new());
    let workspace = Workspace::open(Arc::clone(&fs)).await.unwrap().with_view("/home/alice/results/");
    (fs, Sandbox::new(pair.runtime.clone()).with_workspace(workspace))
}

pub async fn results_are_published(pair: Pair) {
    let (fs, sandbox) = sandbox(&pair).await;
    for directory in ["/temp", "/projects", "/output"] {
        assert!(fs.metadata(&path(directory)).await.unwrap().is_dir());
    }
    let tools = sandbox.tools();
    let told = call(&tools, "write_output", json!({"name": "report.md", "content": "# Done"})).await.unwrap();
    assert_eq!(told.to_text(), "Wrote 6 bytes to /home/alice/results/output/report.md.");
    assert_eq!(fs.read_to_string(&path("/output/report.md")).await.unwrap(), "# Done");

    pair.put("/chart.png", b"\x89PNG\0\xff").await;
    let copy = json!({"name": "charts/june.png", "file_path": pair.shown("/chart.png")});
    call(&tools, "write_output", copy).await.unwrap();
    assert_eq!(*fs.read_file(&path("/output/charts/june.png")).await.unwrap(), *b"\x89PNG\0\xff");

    let workspace = sandbox.workspace().unwrap();
    workspace.temp().write_file(&path("/x"), "").await.unwrap();
    workspace.clear_temp().await.unwrap();
    assert!(!fs.exists(&path("/temp/x")).await.unwrap());
    assert!(fs.exists(&path("/output/report.md")).await.unwrap());
    // Opened again, it is the same workspace.
    let again = Workspace::open(fs).await.unwrap();
    assert!(again.output().exists(&path("/report.md")).await.unwrap());
}

pub async fn a_result_never_escapes(pair: Pair) {
    let (fs, sandbox) = sandbox(&pair).await;
    let tools = sandbox.tools();
    for name in ["", ".", "/etc/passwd", "../temp/x", "a/../../x", "a/"] {
        let error = call(&tools, "write_output", json!({"name": name, "content": "x"})).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::InvalidPath), "{name}: {error}");
    }
    for input in [json!({"name": "a"}), json!({"name": "a", "content": "x", "file_path": "b"})] {
        let error = call(&tools, "write_output", input).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    let outside = json!({"name": "a", "file_path": "/etc/passwd"});
    assert_eq!(call(&tools, "write_output", outside).await.unwrap_err().kind(), ErrorKind::Escapes);
    assert!(fs.readdir(&path("/output")).await.unwrap().is_empty());
}

pub async fn large_results_go_to_temp(pair: Pair) {
    let (fs, sandbox) = sandbox(&pair).await;
    let tools = sandbox.tools();
    let output = call(&tools, "bash", json!({"command": "seq 1 20000"})).await.unwrap().to_text();
    let place = "/home/alice/results/temp/bash-call1.txt";
    assert!(output.contains(place), "{output}");
    assert!(fs.exists(&path("/temp/bash-call1.txt")).await.unwrap());
    let page = call(&tools, "read", json!({"file_path": place, "limit": 1})).await.unwrap();
    assert!(page.to_text().starts_with("     1\t1\n"));
}

pub async fn the_provider_offers_all(pair: Pair) {
    let (_, sandbox) = sandbox(&pair).await;
    let provider = SandboxProvider::shared(sandbox);
    let (alice, image) = (ContainerId::new("alice").unwrap(), ImageId::new("img_1").unwrap());
    let tools = provider.open(&alice, &image).await.unwrap();
    let names: Vec<_> = tools.iter().map(|tool| tool.definition().name.as_str()).collect();
    assert_eq!(names, ["bash", "read", "write", "edit", "glob", "grep", "ls", "write_output"]);
    for tool in &tools {
        let definition = tool.definition();
        assert_eq!(definition.input_schema["type"], "object", "{}", definition.name);
        assert!(definition.description.len() > 40, "{}", definition.name);
    }
    pair.put("/kept", "").await;
    provider.delete(&alice, &image).await.unwrap();
    assert_eq!(pair.get("/kept").await, "", "a user's own directory is left alone");
}
