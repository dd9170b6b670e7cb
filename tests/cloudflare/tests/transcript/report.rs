//! The agent of the example `report`, which works with commands.

use agentx::Outcome;
use serde_json::Value;

use super::{
    script,
    world::{World, assert_same},
};

const FILES: [(&str, &str); 6] = [
    ("/README.md", "# Notes\nOpen: tidy up\n"),
    ("/src/main.rs", "fn main() {\n    println!(\"hello\");\n}\n"),
    ("/src/a b/it's $odd.rs", "// open\n"),
    ("/src/no line end.rs", "one\ntwo"),
    ("/data/empty.txt", ""),
    ("/target/built.o", "built\n"),
];

/// Two reports; between them the container, where there is one, is released, and so it is at the end.
async fn run(world: &World) -> Value {
    let agent = world.agent(script::model()).await;
    for _ in 0..2 {
        let report = agent.ask("Write a report about the directory.").await.unwrap();
        assert!(matches!(report.outcome, Outcome::Completed), "{report:?}");
        if let Some(container) = &world.container {
            assert!(container.is_warm(), "commands ran in the container");
            container.release().await.unwrap();
        }
    }
    world.left(agent).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn the_report_from_r2_d1_and_a_container_is_that_of_this_machine() {
    let local = run(&World::local().await.with_files(&FILES).await).await;
    let world = World::with_container().await.with_files(&FILES).await;
    let cloudflare = run(&world).await;
    assert!(local["files"].to_string().contains("| .rs | 3 |"), "the report was written");
    assert_same(&cloudflare, &local);
}
