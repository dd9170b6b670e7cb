//! An agent that works with files alone.

use agentx::{Outcome, Reply, ScriptedModel};
use agentx_core::ModelRequest;
use serde_json::{Value, json};

use super::world::{World, assert_same};

const FILES: [(&str, &str); 4] = [
    ("/README.md", "# Notes\nOpen: tidy up\n"),
    ("/src/main.rs", "fn main() {\n    println!(\"hello\");\n}\n"),
    ("/src/a b/it's $odd.rs", "// open\n"),
    ("/data/empty.txt", ""),
];

/// Looks, searches, reads, changes, makes a mistake of each kind, and writes a result.
fn model() -> ScriptedModel {
    ScriptedModel::new("scripted", |request| Ok(next(request)))
}

fn next(request: &ModelRequest) -> Reply {
    let steps: [(&str, Reply); 4] = [
        (
            "ls",
            Reply::text("I'll look around.")
                .call("ls", "ls", json!({"path": "."}))
                .call("glob", "glob", json!({"pattern": "**/*.rs"}))
                .call("grep", "grep", json!({"pattern": "pen", "output_mode": "content"}))
                .call("read", "read", json!({"file_path": "src/main.rs"}))
                .call("odd", "read", json!({"file_path": "src/a b/it's $odd.rs"}))
                .call("missing", "read", json!({"file_path": "nowhere.txt"}))
                .call("outside", "read", json!({"file_path": "../../etc/passwd"})),
        ),
        (
            "edit",
            Reply::text("Now the changes.")
                .call(
                    "edit",
                    "edit",
                    json!({"file_path": "src/main.rs", "old_string": "hello", "new_string": "bye"}),
                )
                .call(
                    "twice",
                    "edit",
                    json!({"file_path": "README.md", "old_string": "o", "new_string": "0"}),
                )
                .call("write", "write", json!({"file_path": "new/deep/file.txt", "content": "ünï\n"})),
        ),
        ("check", Reply::text("Did it work?").call("check", "read", json!({"file_path": "src/main.rs"}))),
        (
            "output",
            Reply::text("").call(
                "output",
                "write_output",
                json!({"name": "report.md", "content": "# Done\n"}),
            ),
        ),
    ];
    let open = steps.into_iter().find(|(first, _)| request.answer(first).is_none());
    open.map_or_else(|| Reply::text("Done."), |(_, reply)| reply)
}

async fn run(world: &World) -> Value {
    let agent = world.agent(model()).await;
    for prompt in ["Tidy up.", "And once more."] {
        let report = agent.ask(prompt).await.unwrap();
        assert!(matches!(report.outcome, Outcome::Completed), "{report:?}");
        assert_eq!(report.text, "Done.");
    }
    world.left(agent).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn files_in_r2_and_a_session_in_d1_are_as_on_this_machine() {
    let local = run(&World::local().await.with_files(&FILES).await).await;
    let world = World::cloudflare().await;
    let cloudflare = run(&world.with_files(&FILES).await).await;
    assert_same(&cloudflare, &local);
    assert!(local["files"].to_string().contains("bye"));
}
