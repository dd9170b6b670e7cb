use std::collections::BTreeSet;

use agentx_core::{ContainerId, SessionRepositoryExt as _};
use futures::future::join_all;
use serde_json::json;

use super::support::{Store, all, at, container, message, no_container, no_image, put};
use crate::{Outcome, failure::ensure_eq};

/// What is not there is not found, and removing it does nothing.
pub(super) async fn container_missing(store: Store) -> Outcome {
    no_container(&store, "c").await?;
    store.containers.delete_container(&ContainerId::new("c")?).await?;
    ensure_eq(store.containers.list_containers().await?, vec![], "the containers")
}

/// A container comes back as it was saved, also with a configuration that is the JSON null.
pub(super) async fn container_saved(store: Store) -> Outcome {
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
pub(super) async fn container_replaced(store: Store) -> Outcome {
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
pub(super) async fn container_order(store: Store) -> Outcome {
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
pub(super) async fn container_deleted(store: Store) -> Outcome {
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
pub(super) async fn container_many(store: Store) -> Outcome {
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
