//! The suite for repositories: containers, images, sessions and messages in one store.
//!
//! The factory gives an empty store. `MemoryRepositories` is the specification: each case says what it does, and a
//! store that keeps its data elsewhere can't be told from it.

use std::{collections::BTreeSet, sync::Arc};

use agentx_core::{
    AssistantMessage, AssistantPart, ContainerId, ContainerRecord, ContentPart, ErrorKind, ImageId,
    ImageRecord, ImageSpec, Message, MessageBody, MessageId, MessagePage, Repositories, SessionId,
    SessionRecord, StopReason, Timestamp, ToolCall, ToolOutput, ToolResult, Usage,
};
use futures::future::join_all;
use serde_json::json;

use crate::{
    Failure, Fresh, Outcome,
    failure::{ensure, ensure_eq, ensure_kind},
};

/// Makes a module of tests: one for each case of the suite for repositories. See the [crate](crate) for what the
/// arguments are.
#[macro_export]
macro_rules! repository_suite {
    ($module:ident, $factory:expr $(,)?) => {
        $crate::repository_suite!($module, $factory, $crate::Profile::new());
    };
    ($module:ident, $factory:expr, $profile:expr $(,)?) => {
        $crate::__repository_cases!(__tests { repository $module ($factory) ($profile) });
    };
}

/// The one list of the suite's cases.
#[doc(hidden)]
#[macro_export]
macro_rules! __repository_cases {
    ($then:ident $arguments:tt) => {
        $crate::$then! { $arguments
            container_missing container_saved container_replaced container_order container_deleted
            container_many

            image_created image_full image_missing_container image_taken image_session_taken image_updated
            image_update_missing image_order image_deleted image_race image_in_deleted_container

            session_missing message_none message_kinds message_fidelity message_moments message_taken
            message_taken_in_batch message_in_two_sessions message_pages message_places message_race
            message_append_while_deleted ids_case
        }
    };
}

crate::__repository_cases!(__table { Repositories });

impl Fresh<Repositories> {
    /// These repositories.
    pub fn repositories(repositories: Repositories) -> Self {
        Self::new(Arc::new(repositories))
    }
}

type Store = Arc<Repositories>;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn container(id: &str) -> Result<ContainerRecord, Failure> {
    Ok(ContainerRecord::new(ContainerId::new(id)?, at(1)))
}

/// The image `id` of a container, and its session: `of-` before the image's id.
fn image(id: &str, container: &str) -> Result<(ImageRecord, SessionRecord), Failure> {
    let (id, container) = (ImageId::new(id)?, ContainerId::new(container)?);
    let session = SessionId::new(format!("of-{id}"))?;
    let spec = ImageSpec::default().with_name(format!("image {id}"));
    let image = ImageRecord::new(id.clone(), container.clone(), session.clone(), spec, at(2));
    Ok((image, SessionRecord::new(session, id, container, at(3))))
}

fn message(id: impl Into<String>, text: &str) -> Result<Message, Failure> {
    Ok(Message::new(MessageId::new(id.into())?, at(4), MessageBody::user(text)))
}

async fn put(store: &Store, id: &str, container_id: &str) -> Result<(ImageRecord, SessionRecord), Failure> {
    if store.containers.find_container(&ContainerId::new(container_id)?).await?.is_none() {
        store.containers.save_container(&container(container_id)?).await?;
    }
    let (image, session) = image(id, container_id)?;
    store.images.create_image(&image, &session).await?;
    Ok((image, session))
}

async fn all(store: &Store, session: &SessionId) -> Result<Vec<Message>, Failure> {
    let stored = store.sessions.list_messages(session, MessagePage::first(100_000)).await?;
    let places = stored.iter().map(|stored| stored.seq);
    ensure(places.is_sorted_by(|a, b| a < b), "places of messages do not grow")?;
    Ok(stored.into_iter().map(|stored| stored.message).collect())
}

async fn no_container(store: &Store, id: &str) -> Outcome {
    let found = store.containers.find_container(&ContainerId::new(id)?).await?;
    ensure_eq(found, None, format!("the container {id}"))
}

/// Fails unless neither the image nor its session is there.
async fn no_image(store: &Store, (image, session): &(ImageRecord, SessionRecord)) -> Outcome {
    ensure_eq(store.images.find_image(&image.image_id).await?, None, "the image")?;
    no_session(store, &session.session_id).await
}

async fn no_session(store: &Store, id: &SessionId) -> Outcome {
    ensure_eq(store.sessions.find_session(id).await?, None, "the session")?;
    let page = store.sessions.list_messages(id, MessagePage::first(1)).await;
    ensure_kind(page, ErrorKind::NotFound, "messages of a session that is not there")?;
    for messages in [vec![], vec![message("m", "x")?]] {
        let appended = store.sessions.append_messages(id, &messages).await;
        ensure_kind(appended, ErrorKind::NotFound, "an append to a session that is not there")?;
    }
    Ok(())
}

/// What is not there is not found, and removing it does nothing.
async fn container_missing(store: Store) -> Outcome {
    no_container(&store, "c").await?;
    store.containers.delete_container(&ContainerId::new("c")?).await?;
    ensure_eq(store.containers.list_containers().await?, vec![], "the containers")
}

/// A container comes back as it was saved, also with a configuration that is the JSON null.
async fn container_saved(store: Store) -> Outcome {
    let settings = [None, Some(json!(null)), Some(json!({"a": [1, "ü\0'\"", {"b": null}], "c": -0.1}))];
    for (index, config) in settings.into_iter().enumerate() {
        let mut saved = container(&format!("c{index}"))?;
        (saved.config, saved.updated_at) = (config, at(7));
        store.containers.save_container(&saved).await?;
        let found = store.containers.find_container(&saved.container_id).await?;
        ensure_eq(found, Some(saved), "the container")?;
    }
    Ok(())
}

/// Saving again replaces all of it, and keeps its place, its images and its messages.
async fn container_replaced(store: Store) -> Outcome {
    let mut first = container("z")?;
    first.config = Some(json!({"old": true}));
    store.containers.save_container(&first).await?;
    let (_, session) = put(&store, "i", "z").await?;
    let said = message("m", "hi")?;
    store.sessions.append_messages(&session.session_id, std::slice::from_ref(&said)).await?;
    store.containers.save_container(&container("a")?).await?;
    (first.config, first.created_at, first.updated_at) = (None, at(5), at(6));
    store.containers.save_container(&first).await?;
    ensure_eq(store.containers.list_containers().await?, vec![first, container("a")?], "the containers")?;
    ensure_eq(all(&store, &session.session_id).await?, vec![said], "the messages")
}

/// Containers are listed in the order in which they were saved first, whatever their ids and times say.
async fn container_order(store: Store) -> Outcome {
    let mut saved = Vec::new();
    for (id, time) in [("m", 9), ("a", 8), ("z", 7), ("B", 6)] {
        let mut container = container(id)?;
        container.created_at = at(time);
        store.containers.save_container(&container).await?;
        saved.push(container);
    }
    ensure_eq(store.containers.list_containers().await?, saved, "the containers")
}

/// A container takes its images, sessions and messages with it, and nothing else.
async fn container_deleted(store: Store) -> Outcome {
    let (gone, kept) = (put(&store, "i1", "c1").await?, put(&store, "i2", "c2").await?);
    let also_gone = put(&store, "i3", "c1").await?;
    for (_, session) in [&gone, &kept, &also_gone] {
        store.sessions.append_messages(&session.session_id, &[message("m", "hi")?]).await?;
    }
    store.containers.delete_container(&gone.0.container_id).await?;
    no_container(&store, "c1").await?;
    no_image(&store, &gone).await?;
    no_image(&store, &also_gone).await?;
    ensure_eq(store.images.list_images(&gone.0.container_id).await?, vec![], "its images")?;
    ensure_eq(store.containers.list_containers().await?, vec![container("c2")?], "the containers")?;
    ensure_eq(store.images.find_image(&kept.0.image_id).await?, Some(kept.0), "the other image")?;
    ensure_eq(all(&store, &kept.1.session_id).await?, vec![message("m", "hi")?], "its messages")
}

/// A list of many is whole.
async fn container_many(store: Store) -> Outcome {
    let mut saved = Vec::new();
    for number in 0..300 {
        saved.push(container(&format!("c{number}"))?);
    }
    let results = join_all(saved.iter().map(|container| store.containers.save_container(container))).await;
    results.into_iter().collect::<Result<Vec<()>, _>>()?;
    let listed: BTreeSet<_> =
        store.containers.list_containers().await?.into_iter().map(|found| found.container_id).collect();
    ensure_eq(listed, saved.into_iter().map(|saved| saved.container_id).collect(), "the containers")
}

/// An image and its session are there together, and the session has no messages.
async fn image_created(store: Store) -> Outcome {
    let (image, session) = put(&store, "i", "c").await?;
    ensure_eq(store.images.find_image(&image.image_id).await?, Some(image.clone()), "the image")?;
    ensure_eq(store.images.list_images(&image.container_id).await?, vec![image], "the images")?;
    let found = store.sessions.find_session(&session.session_id).await?;
    ensure_eq(found, Some(session.clone()), "the session")?;
    ensure_eq(all(&store, &session.session_id).await?, vec![], "its messages")
}

/// Every field of an image comes back; an empty text is not an absent one.
async fn image_full(store: Store) -> Outcome {
    store.containers.save_container(&container("c")?).await?;
    for (id, text) in [("i1", ""), ("i2", "'; DROP TABLE images; -- \0 \u{1F600} \r\n")] {
        let (mut image, session) = image(id, "c")?;
        image.spec.name = text.to_owned();
        image.spec.description = Some(text.to_owned());
        image.spec.system_prompt = Some(text.to_owned());
        image.spec.mcp_servers = Some(json!({"files": {"command": "x", "args": [text]}}));
        image.spec.metadata.insert(text.to_owned(), json!([text, 1.5, null]));
        image.updated_at = at(9);
        store.images.create_image(&image, &session).await?;
        ensure_eq(store.images.find_image(&image.image_id).await?, Some(image), "the image")?;
    }
    Ok(())
}

/// Without a container there is no image, and no session either.
async fn image_missing_container(store: Store) -> Outcome {
    let orphan = image("i", "c")?;
    let created = store.images.create_image(&orphan.0, &orphan.1).await;
    ensure_kind(created, ErrorKind::NotFound, "an image in a container that is not there")?;
    no_image(&store, &orphan).await?;
    ensure_eq(store.images.list_images(&orphan.0.container_id).await?, vec![], "the images")
}

/// An image's id is given once, in whatever container; the second image leaves no session behind.
async fn image_taken(store: Store) -> Outcome {
    let (first, session) = put(&store, "i", "c1").await?;
    store.containers.save_container(&container("c2")?).await?;
    for container in ["c1", "c2"] {
        let (mut second, mut other) = image("i", container)?;
        other.session_id = SessionId::new("another")?;
        second.session_id = other.session_id.clone();
        let created = store.images.create_image(&second, &other).await;
        ensure_kind(created, ErrorKind::AlreadyExists, "an image's id that is taken")?;
        no_session(&store, &other.session_id).await?;
    }
    ensure_eq(store.images.find_image(&first.image_id).await?, Some(first), "the first image")?;
    let found = store.sessions.find_session(&session.session_id).await?;
    ensure_eq(found, Some(session), "its session")
}

/// A session's id is given once; the second image is not stored.
async fn image_session_taken(store: Store) -> Outcome {
    let (_, taken) = put(&store, "i1", "c").await?;
    let (mut image, mut session) = image("i2", "c")?;
    session.session_id = taken.session_id.clone();
    image.session_id = taken.session_id.clone();
    let created = store.images.create_image(&image, &session).await;
    ensure_kind(created, ErrorKind::AlreadyExists, "a session's id that is taken")?;
    ensure_eq(store.images.find_image(&image.image_id).await?, None, "the second image")?;
    ensure_eq(store.sessions.find_session(&taken.session_id).await?, Some(taken), "the session")
}

/// An update replaces what a user may change, also by nothing, and no other image.
async fn image_updated(store: Store) -> Outcome {
    let (mut image, session) = put(&store, "i2", "c").await?;
    let (other, _) = put(&store, "i1", "c").await?;
    image.spec.description = Some("d".to_owned());
    image.spec.system_prompt = Some("s".to_owned());
    image.spec.mcp_servers = Some(json!({"a": {}}));
    image.spec.metadata.insert("k".to_owned(), json!(1));
    image.updated_at = at(20);
    let mut bare = image.clone();
    bare.spec = ImageSpec::default().with_name("bare");
    for image in [image, bare] {
        store.images.update_image(&image).await?;
        let expected = vec![image.clone(), other.clone()];
        ensure_eq(store.images.list_images(&image.container_id).await?, expected, "the images")?;
    }
    let found = store.sessions.find_session(&session.session_id).await?;
    ensure_eq(found, Some(session), "the session")
}

/// An update makes no image.
async fn image_update_missing(store: Store) -> Outcome {
    store.containers.save_container(&container("c")?).await?;
    let missing = image("i", "c")?;
    let updated = store.images.update_image(&missing.0).await;
    ensure_kind(updated, ErrorKind::NotFound, "an update of an image that is not there")?;
    no_image(&store, &missing).await
}

/// The images of a container are listed in the order in which they were created.
async fn image_order(store: Store) -> Outcome {
    let mut expected = Vec::new();
    for id in ["m", "a", "z", "B"] {
        expected.push(put(&store, id, "c").await?.0);
        put(&store, &format!("{id}-elsewhere"), "d").await?;
    }
    ensure_eq(store.images.list_images(&ContainerId::new("c")?).await?, expected, "the images")
}

/// An image takes its session and messages with it; its id may then be given anew, to an empty session.
async fn image_deleted(store: Store) -> Outcome {
    let (gone, kept) = (put(&store, "i1", "c").await?, put(&store, "i2", "c").await?);
    for (_, session) in [&gone, &kept] {
        store.sessions.append_messages(&session.session_id, &[message("m", "hi")?]).await?;
    }
    for _ in 0..2 {
        store.images.delete_image(&gone.0.image_id).await?;
        no_image(&store, &gone).await?;
    }
    let images = store.images.list_images(&gone.0.container_id).await?;
    ensure_eq(images, vec![kept.0], "the images that are left")?;
    ensure_eq(all(&store, &kept.1.session_id).await?.len(), 1, "the messages that are left")?;
    put(&store, "i1", "c").await?;
    ensure_eq(all(&store, &gone.1.session_id).await?, vec![], "the messages of the new image")
}

/// Of many that create one image at once, one does.
async fn image_race(store: Store) -> Outcome {
    store.containers.save_container(&container("c")?).await?;
    let (image, session) = image("i", "c")?;
    let racers = (0..16).map(|_| {
        let (store, image, session) = (store.clone(), image.clone(), session.clone());
        tokio::spawn(async move { store.images.create_image(&image, &session).await })
    });
    let mut winners = 0;
    for result in join_all(racers).await {
        match result.map_err(|error| Failure::new(error.to_string()))? {
            Ok(()) => winners += 1,
            lost => ensure_kind(lost, ErrorKind::AlreadyExists, "an image that another created")?,
        }
    }
    ensure_eq(winners, 1, "the winners")
}

/// A container that is created anew under an old id is empty.
async fn image_in_deleted_container(store: Store) -> Outcome {
    let (image, session) = put(&store, "i", "c").await?;
    store.containers.delete_container(&image.container_id).await?;
    store.containers.save_container(&container("c")?).await?;
    ensure_eq(store.images.list_images(&image.container_id).await?, vec![], "the images")?;
    no_image(&store, &(image, session)).await
}

/// Without a session there are no messages: not even none of them.
async fn session_missing(store: Store) -> Outcome {
    no_session(&store, &SessionId::new("s")?).await
}

/// Appending nothing changes nothing, and tells the last place.
async fn message_none(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    store.sessions.append_messages(&session.session_id, &[]).await?;
    ensure_eq(all(&store, &session.session_id).await?, vec![], "the messages")?;
    let place = store.sessions.append_messages(&session.session_id, &[message("m", "hi")?]).await?;
    let same = store.sessions.append_messages(&session.session_id, &[]).await?;
    ensure_eq(same, place, "the last place")
}

/// Every kind of message comes back as it was.
async fn message_kinds(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let mut assistant = AssistantMessage::new(vec![
        AssistantPart::Thinking { reasoning: "hm".to_owned(), signature: Some("sig==".to_owned()) },
        AssistantPart::text("I look."),
        AssistantPart::ToolCall(ToolCall::new("call_1", "bash", json!({"command": "ls", "n": [1.5, null]}))),
        AssistantPart::ToolCall(ToolCall::from_json("call_2", "bash", "{\"broken")),
        AssistantPart::Opaque { provider: "anthropic".to_owned(), json: "{ \"a\":1.0 }".to_owned() },
        AssistantPart::Other(json!({"type": "hologram", "beam": [1, 2]})),
    ]);
    assistant.model = Some("model-1".to_owned());
    assistant.usage = Some(Usage::new(u64::MAX, 2));
    assistant.stop_reason = Some(StopReason::Other("new_reason".to_owned()));
    let outputs = vec![
        ToolOutput::text("a\n"),
        ToolOutput::Json(json!({"rows": []})),
        ToolOutput::error("no"),
        ToolOutput::ErrorJson(json!(null)),
        ToolOutput::ExecutionDenied("never".to_owned()),
        ToolOutput::Content(vec![
            ContentPart::Image { data: "AAAA".to_owned(), media_type: "image/png".to_owned() },
            ContentPart::File {
                data: String::new(),
                media_type: "application/pdf".to_owned(),
                filename: Some("a.pdf".to_owned()),
            },
            ContentPart::Other(json!({"type": "smell"})),
        ]),
    ];
    let mut bodies = vec![MessageBody::user("hi"), MessageBody::Assistant(assistant)];
    bodies.extend(
        outputs.into_iter().map(|output| MessageBody::Tool(ToolResult::new("call_1", "bash", output))),
    );
    bodies.push(MessageBody::Error { content: "overloaded".to_owned(), code: Some("busy".to_owned()) });
    bodies.push(MessageBody::Error { content: String::new(), code: None });
    let mut messages = Vec::new();
    for (index, body) in bodies.into_iter().enumerate() {
        messages.push(Message::new(MessageId::new(format!("m{index}"))?, at(index as u64), body));
    }
    let place = store.sessions.append_messages(&session.session_id, &messages).await?;
    let page = store.sessions.list_messages(&session.session_id, MessagePage::first(1000)).await?;
    ensure_eq(page.last().map(|stored| stored.seq), Some(place), "the place of the last")?;
    ensure_eq(all(&store, &session.session_id).await?, messages, "the messages")
}

/// Numbers and text survive to the last bit.
async fn message_fidelity(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let input = json!({
        "integers": [u64::MAX, i64::MIN, 9_007_199_254_740_993_u64],
        "floats": [0.1 + 0.2, f64::MIN_POSITIVE, f64::MAX, 1.0, 64.843_158_999_999_99, 5e-324, 1.234_567_890_123_456_7e22],
        "text": "\0\u{1}\u{7f}\u{2028}\u{feff}\u{10ffff} \"\\/ ü e\u{301}",
        "": {},
    });
    let call = AssistantPart::ToolCall(ToolCall::new("call", "t", input));
    let body = MessageBody::Assistant(AssistantMessage::new(vec![call]));
    let exact = Message::new(MessageId::new("m1")?, at(1), body);
    let messages = vec![exact, message("m2", "")?, message("m3", &"ü\n".repeat(200_000))?];
    store.sessions.append_messages(&session.session_id, &messages).await?;
    ensure_eq(all(&store, &session.session_id).await?, messages, "the messages")
}

/// The first moment and the last that a float holds exactly come back; the order of messages is not that of time.
async fn message_moments(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let mut messages = vec![message("late", "x")?, message("early", "x")?, message("between", "x")?];
    for (message, time) in messages.iter_mut().zip([(1 << 53) - 1, 0, 1_790_000_000_000]) {
        message.timestamp = at(time);
    }
    store.sessions.append_messages(&session.session_id, &messages).await?;
    ensure_eq(all(&store, &session.session_id).await?, messages, "the messages")
}

/// A message's id is given once in a session. A batch with one that is taken adds nothing.
async fn message_taken(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let first = message("m1", "first")?;
    store.sessions.append_messages(&session.session_id, std::slice::from_ref(&first)).await?;
    let batches = [vec![message("m1", "again")?], vec![message("m2", "new")?, message("m1", "again")?]];
    for batch in batches {
        let appended = store.sessions.append_messages(&session.session_id, &batch).await;
        ensure_kind(appended, ErrorKind::AlreadyExists, "a message's id that is taken")?;
        ensure_eq(all(&store, &session.session_id).await?, vec![first.clone()], "the messages")?;
    }
    store.sessions.append_messages(&session.session_id, &[message("m2", "new")?]).await?;
    Ok(())
}

/// The same holds for an id that one batch gives twice.
async fn message_taken_in_batch(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let batch = [message("m1", "a")?, message("m2", "b")?, message("m1", "c")?];
    let appended = store.sessions.append_messages(&session.session_id, &batch).await;
    ensure_kind(appended, ErrorKind::AlreadyExists, "a message's id that is given twice")?;
    ensure_eq(all(&store, &session.session_id).await?, vec![], "the messages")
}

/// Two sessions may each have a message of one id.
async fn message_in_two_sessions(store: Store) -> Outcome {
    for id in ["i1", "i2"] {
        let (_, session) = put(&store, id, "c").await?;
        let said = message("m", id)?;
        store.sessions.append_messages(&session.session_id, std::slice::from_ref(&said)).await?;
        ensure_eq(all(&store, &session.session_id).await?, vec![said], "the messages")?;
    }
    Ok(())
}

/// Pages of any size, one behind the other, give every message once; behind the last there is none.
async fn message_pages(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let (_, other) = put(&store, "j", "c").await?;
    let mut messages = Vec::new();
    for number in 0..25 {
        messages.push(message(format!("m{number}"), "x")?);
    }
    for batch in messages.chunks(4) {
        store.sessions.append_messages(&session.session_id, batch).await?;
        store.sessions.append_messages(&other.session_id, batch).await?;
    }
    for limit in [1, 7, 25, 26, usize::MAX] {
        let (mut found, mut page) = (Vec::new(), MessagePage::first(limit));
        loop {
            let stored = store.sessions.list_messages(&session.session_id, page).await?;
            ensure(stored.len() <= limit, format!("a page of {limit} has {} messages", stored.len()))?;
            let Some(last) = stored.last() else { break };
            page = MessagePage::after(last.seq, limit);
            found.extend(stored.into_iter().map(|stored| stored.message));
        }
        ensure_eq(&found, &messages, format!("pages of {limit}"))?;
    }
    for page in [MessagePage::first(0), MessagePage::after(u64::MAX, 1), MessagePage::after(u64::MAX, 0)] {
        let stored = store.sessions.list_messages(&session.session_id, page).await?;
        ensure_eq(stored, vec![], format!("{page:?}"))?;
    }
    Ok(())
}

/// Places grow from append to append, and each answer is the place of its last message.
async fn message_places(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let mut before = None;
    for number in 0..10 {
        let batch = [message(format!("a{number}"), "x")?, message(format!("b{number}"), "x")?];
        let place = store.sessions.append_messages(&session.session_id, &batch).await?;
        ensure(before < Some(place), "places do not grow")?;
        let page = before.map_or(MessagePage::first(10), |before| MessagePage::after(before, 10));
        let stored = store.sessions.list_messages(&session.session_id, page).await?;
        ensure_eq(stored.len(), 2, "the messages behind the last place")?;
        ensure_eq(stored.last().map(|stored| stored.seq), Some(place), "the place of the last")?;
        before = Some(place);
    }
    Ok(())
}

/// Appends from many sides at once are all there, each batch in its order and in one piece.
async fn message_race(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let racers = (0..16).map(|racer| {
        let (store, session) = (store.clone(), session.session_id.clone());
        tokio::spawn(async move {
            for round in 0..5 {
                let id = |part: &str| format!("m-{racer}-{round}-{part}");
                let batch = [message(id("a"), "x")?, message(id("b"), "x")?];
                store.sessions.append_messages(&session, &batch).await?;
            }
            Ok::<_, Failure>(())
        })
    });
    for result in join_all(racers).await {
        result.map_err(|error| Failure::new(error.to_string()))??;
    }
    let found: Vec<String> =
        all(&store, &session.session_id).await?.into_iter().map(|message| message.id.to_string()).collect();
    ensure_eq(found.len(), 160, "the messages")?;
    for pair in found.chunks(2) {
        let [first, second] = pair else { return Err(Failure::new("half a batch")) };
        let piece = first.strip_suffix("-a").is_some_and(|batch| *second == format!("{batch}-b"));
        ensure(piece, format!("a batch is torn: {first} stands before {second}"))?;
    }
    Ok(())
}

/// An append that races the removal of its session is done before it or refused, and leaves nothing behind.
async fn message_append_while_deleted(store: Store) -> Outcome {
    for round in 0..10 {
        let gone = put(&store, &format!("i{round}"), "c").await?;
        let (also, session) = (store.clone(), gone.1.session_id.clone());
        let said = message("m", "x")?;
        let appender = tokio::spawn(async move { also.sessions.append_messages(&session, &[said]).await });
        store.images.delete_image(&gone.0.image_id).await?;
        // Whether it came first is left open; what is left is not.
        match appender.await.map_err(|error| Failure::new(error.to_string()))? {
            Ok(_) => {}
            refused => ensure_kind(refused, ErrorKind::NotFound, "an append to a session that is removed")?,
        }
        no_image(&store, &gone).await?;
        put(&store, &format!("i{round}"), "c").await?;
        ensure_eq(all(&store, &gone.1.session_id).await?, vec![], "the messages of the new session")?;
    }
    Ok(())
}

/// Ids that differ in the case of a letter are different ids.
async fn ids_case(store: Store) -> Outcome {
    for id in ["a", "A"] {
        let (_, session) = put(&store, id, id).await?;
        store.sessions.append_messages(&session.session_id, &[message("m", id)?, message("M", id)?]).await?;
    }
    ensure_eq(store.containers.list_containers().await?.len(), 2, "the containers")?;
    store.images.delete_image(&ImageId::new("a")?).await?;
    let left = all(&store, &SessionId::new("of-A")?).await?;
    ensure_eq(left, vec![message("m", "A")?, message("M", "A")?], "the messages of the other")
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::repository_suite!(memory, || async { Fresh::repositories(Repositories::memory()) });
}
