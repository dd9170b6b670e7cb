//! The files of a workspace.

use std::sync::Arc;

use agentx::{
    ContainerId, ImageId, async_trait,
    resource::{FileSystem, memory::MemoryFileSystem},
};
use agentx_server::{Quotas, ServerBuilder, WorkspaceFiles};
use serde_json::{Value, json};

use crate::support::{Client, serve_with};

/// One tree for all.
#[derive(Debug, Default)]
struct Tree(Arc<MemoryFileSystem>);

#[async_trait]
impl WorkspaceFiles for Tree {
    async fn files(&self, _: &ContainerId, _: &ImageId) -> agentx::Result<Arc<dyn FileSystem>> {
        Ok(self.0.clone())
    }
}

/// A client of a server with files, and the image to ask about.
async fn client(
    settings: impl FnOnce(ServerBuilder) -> ServerBuilder,
) -> (crate::support::Served, Client, Value) {
    let served = serve_with(|server| settings(server.workspace_files(Tree::default()))).await;
    let mut client = Client::connect(&served, None).await;
    let image = client.image("c").await["imageId"].clone();
    (served, client, image)
}

#[tokio::test]
async fn a_file_is_text_or_base64() {
    let (_served, mut client, image) = client(|server| server).await;
    let of = |path: &str, more: Value| {
        let mut params = json!({"imageId": image, "path": path});
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        params
    };
    client.call("os.write", of("/a.txt", json!({"content": "grüß"}))).await;
    let read = client.call("os.read", of("a.txt", json!({}))).await;
    assert_eq!(read, json!({"content": "grüß", "encoding": "utf8", "size": 6}));
    client.call("os.write", of("/b.bin", json!({"content": "/wD+", "encoding": "base64"}))).await;
    let read = client.call("os.read", of("/b.bin", json!({}))).await;
    assert_eq!(read, json!({"content": "/wD+", "encoding": "base64", "size": 3}));
    for wrong in [json!({"content": "?", "encoding": "base64"}), json!({"content": "x", "encoding": "utf7"})]
    {
        assert_eq!(client.ask("os.write", of("/c", wrong)).await["error"]["code"], -32602);
    }
    assert_eq!(client.ask("os.read", of("/c", json!({}))).await["error"]["code"], 404);
    // The client's fault, and no failure of the server's.
    assert_eq!(client.ask("os.read", of("/", json!({}))).await["error"]["code"], -32602);
    assert_eq!(client.ask("os.list", of("/a.txt", json!({}))).await["error"]["code"], -32602);
    client.call("os.write", of("/large", json!({"content": "x".repeat((4 << 20) + 1)}))).await;
    assert_eq!(client.ask("os.read", of("/large", json!({}))).await["error"]["code"], 413);
}

#[tokio::test]
async fn a_directory_is_listed_page_by_page() {
    let (_served, mut client, image) = client(|server| server).await;
    let names: Vec<String> = (0..25).map(|number| format!("f{number:02}")).collect();
    for name in names.iter().rev() {
        client.call("os.write", json!({"imageId": image, "path": name, "content": "x"})).await;
    }
    let (mut listed, mut after) = (Vec::new(), Value::Null);
    loop {
        let page = client.call("os.list", json!({"imageId": image, "limit": 10, "after": after})).await;
        let files = page["files"].as_array().unwrap();
        assert!(files.len() <= 10);
        listed.extend(files.iter().map(|file| file["name"].as_str().unwrap().to_owned()));
        after = page["next"].clone();
        if after.is_null() {
            break;
        }
    }
    assert_eq!(listed, names);
    let whole = client.call("os.list", json!({"imageId": image})).await;
    assert_eq!((whole["files"].as_array().map(Vec::len), whole.get("next")), (Some(25), None));
    let file = json!({"name": "f00", "path": "/f00", "type": "file", "size": 1});
    assert_eq!(whole["files"][0], file);
}

#[tokio::test]
async fn what_is_written_counts() {
    let (_served, mut client, image) =
        client(|server| server.quotas(Quotas::default().with_bytes_per_day(5))).await;
    let write = |content: &str| json!({"imageId": image, "path": "/f", "content": content});
    assert_eq!(client.ask("os.write", write("123456")).await["error"]["code"], 429);
    client.call("os.write", write("12345")).await;
    assert_eq!(client.ask("os.write", write("1")).await["error"]["code"], 429);
}
