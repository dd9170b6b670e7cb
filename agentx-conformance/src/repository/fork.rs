use agentx_core::{
    ContainerId, ContentPart, ErrorKind, EventData, EventPage, ImageId, ImageRecord, Message, MessageBody,
    MessageId, QueuedMessage, SessionId, SessionRecord, SessionRepositoryExt as _,
};
use futures::future::join_all;

use super::support::{Store, all, at, image, message, no_image, put};
use crate::{
    Failure, Outcome,
    failure::{ensure, ensure_eq, ensure_kind},
};

fn summary(id: &str, through: &str) -> Result<Message, Failure> {
    let body = MessageBody::Summary {
        content: vec![ContentPart::text("so far")],
        through: MessageId::new(through)?,
    };
    Ok(Message::new(MessageId::new(id)?, at(5), body))
}

fn rewind(id: &str, before: &str) -> Result<Message, Failure> {
    let body = MessageBody::Rewind { before: MessageId::new(before)?, kept: None, removed: 1 };
    Ok(Message::new(MessageId::new(id)?, at(6), body))
}

/// A message is found by its id, in its own session.
pub(super) async fn message_found(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let (_, other) = put(&store, "j", "c").await?;
    let (first, second) = (message("m1", "x")?, message("m2", "y")?);
    store.sessions.append_messages(&session.session_id, &[first, second.clone()]).await?;
    let place = store.sessions.append_messages(&session.session_id, &[]).await?;
    let found = store.sessions.find_message(&session.session_id, &second.id).await?;
    ensure_eq(found.map(|found| (found.seq, found.message)), Some((place, second.clone())), "the message")?;
    let found = store.sessions.find_message(&session.session_id, &MessageId::new("M2")?).await?;
    ensure_eq(found, None, "a message that is not there")?;
    let found = store.sessions.find_message(&other.session_id, &second.id).await?;
    ensure_eq(found, None, "a message of another session")
}

/// The last summary or rewind before a place is found.
pub(super) async fn message_marks(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let (_, other) = put(&store, "j", "c").await?;
    let session = &session.session_id;
    ensure_eq(store.sessions.find_mark(session, None).await?, None, "the mark of an empty session")?;
    let first = store.sessions.append_messages(session, &[message("m1", "x")?]).await?;
    let marks = [summary("s1", "m1")?, rewind("r1", "m1")?, summary("s2", "m1")?];
    let mut before = None;
    for mark in marks {
        let place = store.sessions.append_messages(session, std::slice::from_ref(&mark)).await?;
        store.sessions.append_messages(session, &[message(format!("behind-{}", mark.id), "x")?]).await?;
        let found = store.sessions.find_mark(session, None).await?;
        ensure_eq(
            found.map(|found| (found.seq, found.message)),
            Some((place, mark.clone())),
            "the last mark",
        )?;
        let found = store.sessions.find_mark(session, Some(place)).await?;
        ensure_eq(found.map(|found| found.message), before, "the mark before")?;
        before = Some(mark);
    }
    ensure_eq(store.sessions.find_mark(session, Some(first)).await?, None, "the mark before the first")?;
    ensure_eq(store.sessions.find_mark(&other.session_id, None).await?, None, "the other's mark")
}

/// The records of a fork.
fn fork(id: &str, container: &str) -> Result<(ImageRecord, SessionRecord), Failure> {
    let (mut image, session) = image(id, container)?;
    image.parent_image_id = Some(ImageId::new("i")?);
    Ok((image, session))
}

/// A fork has the messages of its source with an event for each, and goes its own way from there.
pub(super) async fn fork_copied(store: Store) -> Outcome {
    let (_, source) = put(&store, "i", "c").await?;
    let source = &source.session_id;
    let messages = vec![message("m1", "x")?, summary("s1", "m1")?, message("m2", "y")?];
    store.sessions.append_messages(source, &messages).await?;
    let queued = QueuedMessage::new(MessageId::new("q")?, vec![], at(1));
    store.inbox.enqueue_message(source, &queued, 9).await?;
    let (image, session) = fork("f", "c")?;
    store.sessions.fork_session(source, None, &image, &session).await?;
    let copy = &session.session_id;
    ensure_eq(store.images.find_image(&image.image_id).await?, Some(image.clone()), "the image")?;
    ensure_eq(all(&store, copy).await?, messages.clone(), "the messages")?;
    let events = store.sessions.list_events(copy, EventPage::after(0, 9)).await?;
    let mut expected: Vec<_> = messages.iter().cloned().filter_map(EventData::of_message).collect();
    expected.push(EventData::SessionForked {
        original_session_id: source.clone(),
        new_session_id: copy.clone(),
        new_image_id: image.image_id.clone(),
        forked_at: session.created_at,
    });
    let numbers: Vec<_> = events.iter().map(|stored| stored.seq).collect();
    ensure_eq(numbers, (1..=expected.len() as u64).collect::<Vec<_>>(), "the numbers")?;
    let events: Vec<_> = events.into_iter().map(|stored| stored.event.data).collect();
    ensure_eq(events, expected, "the events")?;
    ensure_eq(store.inbox.list_queued(copy, 9).await?, vec![], "the queue")?;
    ensure_eq(
        store.sessions.find_mark(copy, None).await?.map(|mark| mark.message.id),
        Some(MessageId::new("s1")?),
        "the mark",
    )?;
    store.sessions.append_messages(copy, &[message("m3", "mine")?]).await?;
    store.images.delete_image(&ImageId::new("i")?).await?;
    ensure_eq(all(&store, copy).await?.len(), 4, "the messages without the source")
}

/// A fork before a place has what came before it.
pub(super) async fn fork_cut(store: Store) -> Outcome {
    let (_, source) = put(&store, "i", "c").await?;
    let source = &source.session_id;
    for id in ["m1", "m2", "m3"] {
        store.sessions.append_messages(source, &[message(id, "x")?]).await?;
    }
    for (index, id) in ["m1", "m2", "m3"].into_iter().enumerate() {
        let place = store.sessions.find_message(source, &MessageId::new(id)?).await?;
        let place = place.map(|found| found.seq);
        let (image, session) = fork(&format!("f{index}"), "c")?;
        store.sessions.fork_session(source, place, &image, &session).await?;
        let copied = all(&store, &session.session_id).await?;
        let copied: Vec<_> = copied.iter().map(|message| message.id.as_str()).collect();
        ensure_eq(
            copied,
            ["m1", "m2", "m3"].into_iter().take(index).collect::<Vec<_>>(),
            format!("the messages before {id}"),
        )?;
    }
    ensure_eq(all(&store, source).await?.len(), 3, "the messages of the source")
}

/// A fork of nothing, into nothing or onto something is refused, and leaves nothing.
pub(super) async fn fork_refused(store: Store) -> Outcome {
    let (_, source) = put(&store, "i", "c").await?;
    let (lost, missing) = (fork("f", "c")?, SessionId::new("missing")?);
    let refused = store.sessions.fork_session(&missing, None, &lost.0, &lost.1).await;
    ensure_kind(refused, ErrorKind::NotFound, "a fork of a session that is not there")?;
    no_image(&store, &lost).await?;
    let lost = fork("f", "nowhere")?;
    let refused = store.sessions.fork_session(&source.session_id, None, &lost.0, &lost.1).await;
    ensure_kind(refused, ErrorKind::NotFound, "a fork into a container that is not there")?;
    no_image(&store, &lost).await?;
    let taken = fork("i", "c")?;
    let refused = store.sessions.fork_session(&source.session_id, None, &taken.0, &taken.1).await;
    ensure_kind(refused, ErrorKind::AlreadyExists, "a fork onto an image that is there")?;
    let (image, mut session) = fork("f", "c")?;
    session.image_id = ImageId::new("other")?;
    let refused = store.sessions.fork_session(&source.session_id, None, &image, &session).await;
    ensure_kind(refused, ErrorKind::InvalidInput, "a fork whose session is another image's")
}

/// A key is given once in a container; an update may take one that is free, and no other.
pub(super) async fn image_key(store: Store) -> Outcome {
    let (mut first, _) = put(&store, "i1", "c").await?;
    let (mut second, _) = put(&store, "i2", "c").await?;
    let (mut elsewhere, _) = put(&store, "i3", "d").await?;
    first.spec.key = Some("k".to_owned());
    store.images.update_image(&first).await?;
    store.images.update_image(&first).await?;
    elsewhere.spec.key = Some("k".to_owned());
    store.images.update_image(&elsewhere).await?;
    second.spec.key = Some("k".to_owned());
    let refused = store.images.update_image(&second).await;
    ensure_kind(refused, ErrorKind::AlreadyExists, "a key that is taken")?;
    let mut third = image("i4", "c")?;
    third.0.spec.key = Some("k".to_owned());
    let refused = store.images.create_image(&third.0, &third.1).await;
    ensure_kind(refused, ErrorKind::AlreadyExists, "a key that is taken")?;
    no_image(&store, &third).await?;
    let keys: Vec<_> = store.images.list_images(&ContainerId::new("c")?).await?;
    let keys: Vec<_> = keys.into_iter().map(|image| image.spec.key).collect();
    ensure_eq(keys, vec![Some("k".to_owned()), None], "the keys")?;
    first.spec.key = None;
    store.images.update_image(&first).await?;
    store.images.create_image(&third.0, &third.1).await?;
    Ok(())
}

/// Of many that create an image of one key at once, one does.
pub(super) async fn image_key_race(store: Store) -> Outcome {
    put(&store, "first", "c").await?;
    let racers = (0..16).map(|racer| {
        let store = store.clone();
        tokio::spawn(async move {
            let (mut image, session) = image(&format!("i{racer}"), "c")?;
            image.spec.key = Some("k".to_owned());
            Ok::<_, Failure>(store.images.create_image(&image, &session).await)
        })
    });
    let mut winners = 0;
    for result in join_all(racers).await {
        match result.map_err(|error| Failure::new(error.to_string()))?? {
            Ok(()) => winners += 1,
            lost => ensure_kind(lost, ErrorKind::AlreadyExists, "a key that another took")?,
        }
    }
    ensure_eq(winners, 1, "the winners")
}

/// An image takes its events, its lease, its queue and its approvals with it.
pub(super) async fn image_leaves_nothing(store: Store) -> Outcome {
    for by_container in [false, true] {
        let (gone, session) = put(&store, "i", "c").await?;
        let session = &session.session_id;
        ensure_eq(store.sessions.last_event(session).await?, 0, "the events of a new session")?;
        ensure_eq(store.inbox.list_queued(session, 9).await?, vec![], "the queue of a new session")?;
        ensure_eq(store.inbox.list_approvals(session).await?, vec![], "the approvals of a new session")?;
        ensure_eq(store.leases.find_lease(session).await?, None, "the lease of a new session")?;
        super::inbox::fill(&store, session).await?;
        if by_container {
            store.containers.delete_container(&gone.container_id).await?;
        } else {
            store.images.delete_image(&gone.image_id).await?;
        }
        let queue = store.inbox.list_queued(session, 9).await;
        ensure_kind(queue, ErrorKind::NotFound, "the queue of a session that is removed")?;
    }
    let (_, session) = put(&store, "i", "c").await?;
    let waits = store.inbox.list_queued(&session.session_id, 9).await?;
    ensure(waits.is_empty(), "a queue outlives its container")
}
