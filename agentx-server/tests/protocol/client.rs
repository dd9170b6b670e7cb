//! The project's own client against the server: what a program does with a remote conversation.

use std::sync::Arc;

use agentx::{
    ContainerId, Decision, ErrorKind, Event, EventData, ImageId, ImageSpec, Result, Tool, ToolContext,
    ToolDefinition, ToolOutput, async_trait,
    client::{Conversation, ConversationExt, Events, RemoteAgent, RemoteBuilder, RemoteRuntime, Turn},
    core::{ContentPart, OutcomeKind, SessionId},
    resource::{FileSystem, memory::MemoryFileSystem},
};
use agentx_server::WorkspaceFiles;
use futures::StreamExt;
use tokio::time::timeout;

use crate::support::{Served, WAIT, serve, serve_ann_and_bob, serve_with};

pub(crate) fn remote(served: &Served) -> RemoteBuilder {
    RemoteRuntime::builder(format!("ws://{}/ws", served.address))
}

/// A conversation in a container of its own.
pub(crate) async fn agent(runtime: &RemoteRuntime) -> RemoteAgent {
    let container = ContainerId::new("work").unwrap();
    runtime.create_container(&container).await.unwrap();
    let image = runtime.create_image(&container, ImageSpec::default().with_name("Chat")).await.unwrap();
    runtime.run(&image.image_id).await.unwrap()
}

/// The next event of a turn or of a stream, in time.
pub(crate) async fn next<S: futures::Stream<Item = Arc<Event>> + Unpin>(events: &mut S) -> Arc<Event> {
    timeout(WAIT, events.next()).await.expect("an event in time").expect("the stream goes on")
}

/// The events up to and with the first that is looked for.
pub(crate) async fn until<S: futures::Stream<Item = Arc<Event>> + Unpin>(
    events: &mut S,
    is_last: impl Fn(&EventData) -> bool,
) -> Vec<Arc<Event>> {
    let mut heard = Vec::new();
    loop {
        heard.push(next(events).await);
        if is_last(&heard[heard.len() - 1].data) {
            return heard;
        }
    }
}

pub(crate) fn is_end(data: &EventData) -> bool {
    matches!(data, EventData::TurnResponse { .. })
}

/// One of the server's tools, for an agent of its own.
#[derive(Debug)]
struct Shared(Arc<dyn Tool>);

#[async_trait]
impl Tool for Shared {
    fn definition(&self) -> &ToolDefinition {
        self.0.definition()
    }

    async fn call(&self, input: serde_json::Value, context: ToolContext) -> Result<ToolOutput> {
        self.0.call(input, context).await
    }
}

/// What the two kinds of agents must do alike.
async fn converse(agent: &dyn Conversation) {
    let turn = agent.ask("hello").await.unwrap();
    assert_eq!((turn.text.as_str(), &turn.outcome), ("You said: hello", &OutcomeKind::Completed));
    assert_eq!(agent.ask("add").await.unwrap().text, "done");

    let mut events = agent.events(None).await.unwrap();
    let mut turn = agent.send("pay").await.unwrap();
    until(&mut turn, |data| matches!(data, EventData::ApprovalRequested { .. })).await;
    let waiting = agent.approvals().await.unwrap();
    let [approval] = waiting.as_slice() else { panic!("{waiting:?}") };
    assert_eq!((approval.call.name.as_str(), approval.reason.as_str()), ("pay", "It costs money."));
    assert_eq!(Some(&approval.turn_id), turn.turn_id());
    agent.answer(&approval.approval_id, Decision::Allow).await.unwrap();
    assert_eq!(timeout(WAIT, turn.finish()).await.unwrap().unwrap().text, "done");
    let heard = until(&mut events, is_end).await;
    assert!(heard.iter().any(|event| matches!(event.data, EventData::ToolCompleted { .. })));

    let mut turn = agent.send("wait").await.unwrap();
    until(&mut turn, |data| matches!(data, EventData::ToolExecuting { .. })).await;
    agent.interrupt().await.unwrap();
    let summary = timeout(WAIT, turn.finish()).await.unwrap().unwrap();
    assert_eq!(summary.outcome, OutcomeKind::Interrupted);

    let roles: Vec<_> =
        agent.messages().await.unwrap().iter().map(|message| message.body.role().to_owned()).collect();
    let (plain, tool) = (["user", "assistant"], ["user", "assistant", "tool", "assistant"]);
    let called: &[&str] = &["user", "assistant", "tool"];
    assert_eq!(roles, [&plain[..], &tool, &tool, called].concat());
    let empty = agent.send_parts(vec![ContentPart::text(" ")]).await.unwrap_err();
    assert_eq!(empty.kind(), ErrorKind::InvalidInput);
    agent.close().await.unwrap();
}

#[tokio::test]
async fn a_local_and_a_remote_agent_do_the_same() {
    let local = agentx::agent(crate::support::model()).permission(crate::support::AskBeforePaying);
    let local = crate::support::tools().into_iter().fold(local, |agent, tool| agent.tool(Shared(tool)));
    converse(&local.build().await.unwrap()).await;
    let served = serve().await;
    converse(&agent(&remote(&served).connect().await.unwrap()).await).await;
}

#[tokio::test]
async fn containers_and_images_are_made_changed_and_removed() {
    let served = serve().await;
    let runtime = remote(&served).connect().await.unwrap();
    let container = ContainerId::new("work").unwrap();
    let missing = runtime.create_image(&container, ImageSpec::default()).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    runtime.create_container(&container).await.unwrap();
    assert_eq!(runtime.containers().await.unwrap(), std::slice::from_ref(&container));

    let mut spec = ImageSpec::default().with_name("Chat").with_system_prompt("Be brief.");
    spec.metadata.insert("customData".to_owned(), serde_json::json!({"k": 1}));
    let mut image = runtime.create_image(&container, spec.clone()).await.unwrap();
    assert_eq!((&image.spec, &image.container_id), (&spec, &container));
    let keyed = runtime.create_image(&container, ImageSpec::default().with_key("k")).await.unwrap_err();
    assert_eq!(keyed.kind(), ErrorKind::Unsupported);
    image.spec.name = "Other".to_owned();
    image = runtime.update_image(image).await.unwrap();
    assert_eq!(image.spec.name, "Other");
    assert_eq!(runtime.image(&image.image_id).await.unwrap(), Some(image.clone()));
    assert_eq!(runtime.images(&container).await.unwrap(), [image.clone()]);

    runtime.delete_image(&image.image_id).await.unwrap();
    assert_eq!(runtime.image(&image.image_id).await.unwrap(), None);
    assert_eq!(runtime.run(&image.image_id).await.unwrap_err().kind(), ErrorKind::NotFound);
    runtime.delete_container(&container).await.unwrap();
    runtime.delete_container(&container).await.unwrap();
    assert!(runtime.containers().await.unwrap().is_empty());
}

/// A message that is sent while a turn is under way waits, and what its sender gets is its own turn.
#[tokio::test]
async fn a_second_message_has_its_own_turn() {
    let served = serve().await;
    let agent = agent(&remote(&served).connect().await.unwrap()).await;
    let mut first = agent.send("wait").await.unwrap();
    until(&mut first, |data| matches!(data, EventData::ToolExecuting { .. })).await;
    let mut second = agent.send("hello").await.unwrap();
    assert_eq!(second.turn_id(), None);
    agent.interrupt().await.unwrap();
    assert!(matches!(next(&mut second).await.data, EventData::UserMessage(_)));
    assert_ne!(second.turn_id(), first.turn_id());
    assert_eq!(timeout(WAIT, second.finish()).await.unwrap().unwrap().text, "You said: hello");
    assert_eq!(first.finish().await.unwrap().outcome, OutcomeKind::Interrupted);
}

#[derive(Debug)]
struct OneWorkspace(Arc<MemoryFileSystem>);

#[async_trait]
impl WorkspaceFiles for OneWorkspace {
    async fn files(&self, _: &ContainerId, _: &ImageId) -> Result<Arc<dyn FileSystem>> {
        Ok(self.0.clone())
    }
}

#[tokio::test]
async fn files_of_the_workspace_are_written_listed_and_read() {
    let files = OneWorkspace(Arc::new(MemoryFileSystem::new()));
    let served = serve_with(|server| server.workspace_files(files)).await;
    let agent = agent(&remote(&served).connect().await.unwrap()).await;
    agent.write_file("/notes.md", "# Notes\n").await.unwrap();
    let entries = agent.list_files("/").await.unwrap();
    let [entry] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!((entry.name.as_str(), entry.kind.as_str(), entry.size), ("notes.md", "file", 8));
    assert_eq!(agent.read_file("notes.md").await.unwrap(), "# Notes\n");
    assert_eq!(agent.read_file("/none").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_key_opens_what_is_its_owners_alone() {
    let served = serve_ann_and_bob().await;
    let wrong = remote(&served).key("no").connect().await.unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::Unauthenticated);
    let nobody = remote(&served).connect().await.unwrap();
    assert_eq!(nobody.containers().await.unwrap_err().kind(), ErrorKind::Unauthenticated);
    let builder = remote(&served).key("key-of-ann");
    assert!(!format!("{builder:?}").contains("key-of-ann"));
    let anns = agent(&builder.connect().await.unwrap()).await;
    let bob = remote(&served).key("key-of-bob").connect().await.unwrap();
    assert_eq!(bob.run(anns.image_id()).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(bob.containers().await.unwrap(), []);
}

/// Two that listen, and nobody: a message of the model's is stored once, and each who listens hears it once.
#[tokio::test]
async fn a_message_is_stored_once_however_many_listen() {
    let served = serve().await;
    let (one, other) = (remote(&served).connect().await.unwrap(), remote(&served).connect().await.unwrap());
    let agent = agent(&one).await;
    let tab = other.run(agent.image_id()).await.unwrap();
    let mut streams: Vec<Events> = Vec::new();
    for listener in [&agent, &agent, &tab] {
        streams.push(listener.events(None).await.unwrap());
    }
    drop(agent.send("hello").await.unwrap());
    for events in &mut streams {
        let heard = until(events, is_end).await;
        let of_model = heard.iter().filter(|event| matches!(event.data, EventData::AssistantMessage(_)));
        assert_eq!(of_model.count(), 1);
    }
    // Nobody listens.
    let (session, image) = (agent.session_id().clone(), agent.image_id().clone());
    drop((streams, tab, other));
    let turn = agent.send("again").await.unwrap();
    drop((turn, agent, one));
    let late = remote(&served).connect().await.unwrap().run(&image).await.unwrap();
    assert_eq!(SessionId::clone(late.session_id()), session);
    let mut events = late.events(Some(0.into())).await.unwrap();
    until(&mut events, is_end).await;
    until(&mut events, is_end).await;
    let said: Vec<String> =
        late.messages().await.unwrap().iter().map(|message| message.body.text()).collect();
    assert_eq!(said, ["hello", "You said: hello", "again", "You said: again"]);
}

/// A stream that nobody reads holds up neither the turn nor another stream of the same connection.
#[tokio::test]
async fn a_stream_that_is_not_read_slows_nobody() {
    let served = serve().await;
    let agent = agent(&remote(&served).connect().await.unwrap()).await;
    let unread = agent.events(None).await.unwrap();
    for _ in 0..3 {
        let turn: Turn = agent.send("hello").await.unwrap();
        timeout(WAIT, turn.finish()).await.unwrap().unwrap();
    }
    let mut unread = unread;
    for _ in 0..3 {
        until(&mut unread, is_end).await;
    }
}
