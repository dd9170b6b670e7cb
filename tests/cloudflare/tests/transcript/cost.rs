//! What a turn uses, as R2 and D1 tell it.

use agentx::{Reply, ScriptedModel};
use agentx_core::ModelRequest;
use agentx_provider_cloudflare::cost::{Billed, Consumption, Prices, TurnShape};
use serde_json::{Value, json};

use super::world::World;

/// Calls one tool, where the prompt names one, and ends.
fn next(request: &ModelRequest) -> Reply {
    let prompt = request.last_user_text().unwrap_or_default();
    let (name, input) = prompt.split_once(' ').unwrap_or((&prompt, ""));
    if name == "talk" || request.answer(&prompt).is_some() {
        return Reply::text("Done.");
    }
    let input: Value = serde_json::from_str(input).unwrap();
    Reply::text("").call(prompt.clone(), name, input)
}

async fn used(world: &World, agent: &agentx::SoloAgent, prompt: &str) -> Consumption {
    let before = world.consumption();
    agent.ask(prompt).await.unwrap();
    world.consumption().since(&before)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_turn_has_its_price() {
    let files = [("/a.txt", "one\n"), ("/b/c.txt", "two\n")];
    let world = World::cloudflare().await.with_files(&files).await;
    let agent = world.agent(ScriptedModel::new("scripted", |request| Ok(next(request)))).await;
    used(&world, &agent, "talk").await;
    let talk = TurnShape::default();
    let call = TurnShape { calls: 1, ..talk };
    let steps = [
        ("talk", Value::Null, talk),
        ("read", json!({"file_path": "a.txt"}), TurnShape { reads: 1, ..call }),
        ("write", json!({"file_path": "new.txt", "content": "x"}), TurnShape { creates: 1, ..call }),
        ("write", json!({"file_path": "a.txt", "content": "three\n"}), TurnShape { overwrites: 1, ..call }),
        (
            "edit",
            json!({"file_path": "a.txt", "old_string": "three", "new_string": "four"}),
            TurnShape { edits: 1, ..call },
        ),
        ("ls", json!({"path": "."}), TurnShape { lists: 1, ..call }),
    ];
    for (tool, input, shape) in steps {
        let batches = world.batches();
        let prompt = if input.is_null() { tool.to_owned() } else { format!("{tool} {input}") };
        let (used, model) = (used(&world, &agent, &prompt).await, shape.consumption());
        for item in [Billed::D1RowRead, Billed::D1RowWritten, Billed::R2ClassA, Billed::R2ClassB] {
            let (used, model) = (used.of(item), model.of(item));
            // Less is good news, and the table is to tell it.
            assert!(
                used <= model && model <= used + used / 4 + 1,
                "{prompt}: {item}: {used}, and not {model}"
            );
        }
        let batches = world.batches() - batches;
        println!("{prompt}: {}, {batches} requests to D1", Prices::published().bill(&used).total());
    }
}
