use std::sync::Arc;

use agentx_core::{
    ContainerId, ContainerRecord, ErrorKind, EventData, ImageId, ImageRecord, ImageSpec, Message,
    MessageBody, MessageId, MessagePage, Repositories, SessionId, SessionRecord, SessionRepositoryExt as _,
    Timestamp,
};

use crate::{
    Failure, Outcome,
    failure::{ensure, ensure_eq, ensure_kind},
};

/// What each case gets.
pub(super) type Store = Arc<Repositories>;

pub(super) fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub(super) fn container(id: &str) -> Result<ContainerRecord, Failure> {
    Ok(ContainerRecord::new(ContainerId::new(id)?, at(1)))
}

/// The image `id` of a container, and its session: `of-` before the image's id.
pub(super) fn image(id: &str, container: &str) -> Result<(ImageRecord, SessionRecord), Failure> {
    let (id, container) = (ImageId::new(id)?, ContainerId::new(container)?);
    let session = SessionId::new(format!("of-{id}"))?;
    let spec = ImageSpec::default().with_name(format!("image {id}"));
    let image = ImageRecord::new(id.clone(), container.clone(), session.clone(), spec, at(2));
    Ok((image, SessionRecord::new(session, id, container, at(3))))
}

pub(super) fn message(id: impl Into<String>, text: &str) -> Result<Message, Failure> {
    Ok(Message::new(MessageId::new(id.into())?, at(4), MessageBody::user(text)))
}

/// An event without a message, one of several.
pub(super) fn event(number: u64) -> EventData {
    EventData::ConversationEnd { reason: format!("reason {number}") }
}

pub(super) async fn put(
    store: &Store,
    id: &str,
    container_id: &str,
) -> Result<(ImageRecord, SessionRecord), Failure> {
    if store.containers.find_container(&ContainerId::new(container_id)?).await?.is_none() {
        store.containers.save_container(&container(container_id)?).await?;
    }
    let (image, session) = image(id, container_id)?;
    store.images.create_image(&image, &session).await?;
    Ok((image, session))
}

pub(super) async fn all(store: &Store, session: &SessionId) -> Result<Vec<Message>, Failure> {
    let stored = store.sessions.list_messages(session, MessagePage::first(100_000)).await?;
    let places = stored.iter().map(|stored| stored.seq);
    ensure(places.is_sorted_by(|a, b| a < b), "places of messages do not grow")?;
    Ok(stored.into_iter().map(|stored| stored.message).collect())
}

pub(super) async fn no_container(store: &Store, id: &str) -> Outcome {
    let found = store.containers.find_container(&ContainerId::new(id)?).await?;
    ensure_eq(found, None, format!("the container {id}"))
}

/// Fails unless neither the image nor its session is there.
pub(super) async fn no_image(store: &Store, (image, session): &(ImageRecord, SessionRecord)) -> Outcome {
    ensure_eq(store.images.find_image(&image.image_id).await?, None, "the image")?;
    no_session(store, &session.session_id).await
}

pub(super) async fn no_session(store: &Store, id: &SessionId) -> Outcome {
    ensure_eq(store.sessions.find_session(id).await?, None, "the session")?;
    let page = store.sessions.list_messages(id, MessagePage::first(1)).await;
    ensure_kind(page, ErrorKind::NotFound, "messages of a session that is not there")?;
    for messages in [vec![], vec![message("m", "x")?]] {
        let appended = store.sessions.append_messages(id, &messages).await;
        ensure_kind(appended, ErrorKind::NotFound, "an append to a session that is not there")?;
    }
    Ok(())
}
