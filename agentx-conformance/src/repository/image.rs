use agentx_core::{ContainerId, ErrorKind, ImageSpec, SessionId, SessionRepositoryExt as _};
use futures::future::join_all;
use serde_json::json;

use super::support::{Store, all, at, container, image, message, no_image, no_session, put};
use crate::{
    Failure, Outcome,
    failure::{ensure_eq, ensure_kind},
};

/// An image and its session are there together, and the session has no messages.
pub(super) async fn image_created(store: Store) -> Outcome {
    let (image, session) = put(&store, "i", "c").await?;
    ensure_eq(store.images.find_image(&image.image_id).await?, Some(image.clone()), "the image")?;
    ensure_eq(store.images.list_images(&image.container_id).await?, vec![image], "the images")?;
    let found = store.sessions.find_session(&session.session_id).await?;
    ensure_eq(found, Some(session.clone()), "the session")?;
    ensure_eq(all(&store, &session.session_id).await?, vec![], "its messages")
}

/// Every field of an image comes back; an empty text is not an absent one.
pub(super) async fn image_full(store: Store) -> Outcome {
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
pub(super) async fn image_missing_container(store: Store) -> Outcome {
    let orphan = image("i", "c")?;
    let created = store.images.create_image(&orphan.0, &orphan.1).await;
    ensure_kind(created, ErrorKind::NotFound, "an image in a container that is not there")?;
    no_image(&store, &orphan).await?;
    ensure_eq(store.images.list_images(&orphan.0.container_id).await?, vec![], "the images")
}

/// An image's id is given once, in whatever container; the second image leaves no session behind.
pub(super) async fn image_taken(store: Store) -> Outcome {
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
pub(super) async fn image_session_taken(store: Store) -> Outcome {
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
pub(super) async fn image_updated(store: Store) -> Outcome {
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
pub(super) async fn image_update_missing(store: Store) -> Outcome {
    store.containers.save_container(&container("c")?).await?;
    let missing = image("i", "c")?;
    let updated = store.images.update_image(&missing.0).await;
    ensure_kind(updated, ErrorKind::NotFound, "an update of an image that is not there")?;
    no_image(&store, &missing).await
}

/// The images of a container are listed in the order in which they were created.
pub(super) async fn image_order(store: Store) -> Outcome {
    let mut expected = Vec::new();
    for id in ["m", "a", "z", "B"] {
        expected.push(put(&store, id, "c").await?.0);
        put(&store, &format!("{id}-elsewhere"), "d").await?;
    }
    ensure_eq(store.images.list_images(&ContainerId::new("c")?).await?, expected, "the images")
}

/// An image takes its session and messages with it; its id may then be given anew, to an empty session.
pub(super) async fn image_deleted(store: Store) -> Outcome {
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
pub(super) async fn image_race(store: Store) -> Outcome {
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
pub(super) async fn image_in_deleted_container(store: Store) -> Outcome {
    let (image, session) = put(&store, "i", "c").await?;
    store.containers.delete_container(&image.container_id).await?;
    store.containers.save_container(&container("c")?).await?;
    ensure_eq(store.images.list_images(&image.container_id).await?, vec![], "the images")?;
    no_image(&store, &(image, session)).await
}
