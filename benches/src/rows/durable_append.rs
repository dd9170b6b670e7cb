//! What a message costs that is on the disk when its append returns, where many sessions append at once.

use std::{fs::File, io::Write, path::Path, sync::Arc};

use agentx_core::{
    ContainerId, ContainerRecord, ImageId, ImageRecord, ImageSpec, Message, MessageBody, MessageId,
    Repositories, SessionId, SessionRecord, SessionRepositoryExt as _, Timestamp,
};
use agentx_provider_local::SqliteExecutor;
use agentx_sql::SqlRepositories;
use futures::future::try_join_all;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{in_task, runtime};
use crate::{
    Result,
    measure::{Row, Variant},
};

const SESSIONS: usize = 64;
const SIZE: usize = 1 << 10;

/// The row: a message of each of 64 sessions.
///
/// # Errors
/// What the disk says.
pub fn row() -> Result<Row> {
    let runtime = runtime()?;
    let limit = Variant::new("write and fdatasync, one at a time (limit)", |count| {
        let directory = tempfile::tempdir()?;
        let mut file = File::create(directory.path().join("log"))?;
        for _ in 0..count * SESSIONS as u64 {
            file.write_all(&[b'x'; SIZE])?;
            file.sync_data()?;
        }
        Ok(())
    });
    let together = variant("agentx, 64 sessions at once", &runtime, true);
    let alone = variant("agentx, one session after another", &runtime, false);
    let question = "What does a durable message of 1 KiB cost?";
    let row = Row::new("durable_append", question, limit).per(SESSIONS as u64, "message");
    Ok(row.with(together).with(alone))
}

fn variant(name: &str, runtime: &Arc<Runtime>, at_once: bool) -> Variant {
    let (making, working) = (Arc::clone(runtime), Arc::clone(runtime));
    let prepare = move |count| Ok((count, making.block_on(Store::new())?));
    Variant::prepared(name, prepare, move |(count, store): &mut (u64, Store)| {
        let (count, sessions) = (*count, store.sessions.clone());
        let store = store.repositories.clone();
        in_task(&working, async move {
            let ways = sessions.into_iter().map(|session| say(store.clone(), session, count));
            if at_once {
                for way in try_join_all(ways.map(tokio::spawn)).await? {
                    way?;
                }
            } else {
                for way in ways {
                    way.await?;
                }
            }
            Ok(())
        })
    })
}

/// So many messages of a session.
async fn say(store: Repositories, session: SessionId, count: u64) -> Result<()> {
    for number in 0..count {
        let id = MessageId::new(format!("{session}-{number}"))?;
        let message = Message::new(id, Timestamp::default(), MessageBody::user("x".repeat(SIZE)));
        store.sessions.append_messages(&session, &[message]).await?;
    }
    Ok(())
}

/// Sessions in a database of their own.
struct Store {
    repositories: Repositories,
    sessions: Vec<SessionId>,
    // Last, so that nothing is written to it any more.
    _directory: TempDir,
}

impl Store {
    async fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let repositories = open(&directory.path().join("agentx.db")).await?;
        let (container, now) = (ContainerId::new("bench")?, Timestamp::default());
        repositories.containers.save_container(&ContainerRecord::new(container.clone(), now)).await?;
        let mut sessions = Vec::new();
        for number in 0..SESSIONS {
            let (image, session) =
                (ImageId::new(format!("i{number}"))?, SessionId::new(format!("s{number}"))?);
            let spec = ImageSpec::default();
            let record = ImageRecord::new(image.clone(), container.clone(), session.clone(), spec, now);
            let of = SessionRecord::new(session.clone(), image, container.clone(), now);
            repositories.images.create_image(&record, &of).await?;
            sessions.push(session);
        }
        Ok(Self { repositories, sessions, _directory: directory })
    }
}

async fn open(path: &Path) -> Result<Repositories> {
    let database = SqliteExecutor::open(path).await?;
    Ok(Repositories::new(SqlRepositories::open(Arc::new(database)).await?))
}
