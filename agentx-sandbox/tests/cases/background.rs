use std::sync::Arc;

use agentx_core::{ErrorKind, Tool};
use agentx_resource::{
    BackgroundLimits, BackgroundProcesses, BoxFuture, LogCursor, OutputStream, Secret, Spawn,
    memory::ManualClock,
};
use agentx_sandbox::{ToolOptions, tools_with};
use futures::StreamExt;
use serde_json::json;

use super::{Pair, call};

#[derive(Debug)]
struct Tasks;

impl Spawn for Tasks {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }
}

struct World {
    background: Arc<BackgroundProcesses>,
    tools: Vec<Arc<dyn Tool>>,
    _pair: Pair,
}

fn world(pair: Pair) -> World {
    let background = pair.runtime.background(Arc::new(ManualClock::default()), Arc::new(Tasks));
    let background = Arc::new(background.with_limits(BackgroundLimits::default().with_running(1)));
    let tools = tools_with(&pair.runtime, &ToolOptions::new().with_background(background.clone()));
    World { background, tools, _pair: pair }
}

impl World {
    async fn start(&self, command: &str) -> String {
        let input = json!({"command": command, "run_in_background": true});
        let told = call(&self.tools, "bash", input).await.unwrap().to_text();
        let id = self.background.list().last().unwrap().id.to_string();
        assert!(told.contains(&id), "{told}");
        id
    }

    async fn output(&self, id: &str) -> String {
        call(&self.tools, "bash_output", json!({"bash_id": id})).await.unwrap().to_text()
    }
}

pub async fn a_command_goes_on_by_itself(pair: Pair) {
    let world = world(pair);
    let id = world.start("echo one; echo two; sleep 600").await;
    let list = world.background.list();
    let mut pages = world.background.follow(&list[0].id, LogCursor::START).unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"two\n") {
        seen.extend(pages.next().await.unwrap().of(OutputStream::Stdout));
    }
    assert_eq!(world.output(&id).await, "one\ntwo\n[still running]");
    assert_eq!(world.output(&id).await, "(no new output)\n[still running]");
    let second = json!({"command": "echo", "run_in_background": true});
    let refused = call(&world.tools, "bash", second).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::LimitExceeded);

    let killed = call(&world.tools, "kill_shell", json!({"shell_id": id})).await.unwrap().to_text();
    assert!(killed.starts_with(&format!("{id} has ended: ")), "{killed}");
    let output = world.output(&id).await;
    assert!(output.starts_with("(no new output)\n[") && !output.contains("running"), "{output}");
    let again = call(&world.tools, "kill_shell", json!({"shell_id": id})).await.unwrap().to_text();
    assert!(again.contains("had already ended"), "{again}");
}

pub async fn what_it_wrote_is_filtered_and_told_in_pages(pair: Pair) {
    let world = world(pair);
    let id = world.start("seq 1 30; exit 3").await;
    let status = world.background.list()[0].id.clone();
    world.background.wait(&status).await.unwrap();
    let filtered = json!({"bash_id": id, "filter": "^2.$"});
    let told = call(&world.tools, "bash_output", filtered).await.unwrap().to_text();
    assert_eq!(told, "20\n21\n22\n23\n24\n25\n26\n27\n28\n29\n[exit code 3]");

    let id = world.start("seq 1 10000").await;
    let last = world.background.list()[1].id.clone();
    world.background.wait(&last).await.unwrap();
    let first = world.output(&id).await;
    assert!(
        first.starts_with("1\n2\n") && first.ends_with("[there is more: call bash_output again]"),
        "{first}"
    );
    let second = world.output(&id).await;
    assert!(second.ends_with("10000\n[exit code 0]"), "{second}");

    for (tool, input) in
        [("bash_output", json!({"bash_id": "nobody"})), ("kill_shell", json!({"shell_id": "nobody"}))]
    {
        assert_eq!(call(&world.tools, tool, input).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    let bad = json!({"bash_id": id, "filter": "("});
    let refused = call(&world.tools, "bash_output", bad).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
}

pub async fn no_secret_is_told(pair: Pair) {
    let world = world(pair.with(|runtime| runtime.with_secrets([Secret::new("s3cret-value")])));
    let id = world.start("echo key s3cret-value").await;
    let last = world.background.list()[0].id.clone();
    world.background.wait(&last).await.unwrap();
    assert_eq!(world.output(&id).await, "key [redacted]\n[exit code 0]");
}
