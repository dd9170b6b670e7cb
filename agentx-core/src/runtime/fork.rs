//! A new image that begins as a copy of another: of its files, and of its session.

use std::sync::Arc;

use futures::{FutureExt, channel::oneshot};

use super::{Runtime, Shared, writer::Writer};
use crate::{Error, ErrorKind, ImageId, ImageRecord, ImageSpec, MessageId, Result, SessionId, SessionRecord};

impl Runtime {
    /// A new image that begins as a copy of another: with all its messages, or those before a message of the user's, and
    /// with its files as they are now ([`WorkspaceProvider::fork`](crate::WorkspaceProvider::fork)). What is queued there,
    /// or waits for an approval, is not copied. With a message, the agent may be at work meanwhile, and the files are those
    /// that the copy finds; the state that they had before that message is not known.
    ///
    /// Dropping the future changes nothing: the copy goes on. There is an image only when it has all its files. What a
    /// process that dies, or a runtime that is dropped, leaves of a copy belongs to no image.
    ///
    /// # Errors
    /// `NotFound` for a missing image or message; `InvalidInput` for a message that is not the user's; `Busy` while the
    /// image's agent is at work, unless a message is given; `Unsupported` where the workspaces can't be forked; `Cancelled`
    /// where the host gave it up; whatever the store or the workspace reports. There is no new image then, but for `Lost`:
    /// the store does not know.
    pub async fn fork_image(
        &self,
        image: &ImageId,
        before: Option<&MessageId>,
        spec: ImageSpec,
    ) -> Result<ImageRecord> {
        let host = &self.shared.host;
        let source = self.find(image).await?;
        let place = match before {
            Some(message) => Some(self.place_of_user(&source.session_id, message).await?),
            None => None,
        };
        let (now, session) = (host.now(), SessionId::fresh(&*host.ids));
        let id = ImageId::fresh(&*host.ids);
        let mut made = ImageRecord::new(id, source.container_id.clone(), session.clone(), spec, now);
        made.parent_image_id = Some(source.image_id.clone());
        let session = SessionRecord::new(session, made.image_id.clone(), source.container_id.clone(), now);
        let fork = Fork { shared: self.shared.clone(), source, place, made: made.clone(), session };
        match place {
            Some(_) => {
                let (done, is_done) = oneshot::channel();
                // Whoever asked for it may no longer wait for this.
                host.spawn.spawn(async move { drop(done.send(fork.make(None).await)) }.boxed());
                let given_up = |_| {
                    Err(Error::new(ErrorKind::Cancelled, "fork image").with_message("its host gave it up"))
                };
                is_done.await.unwrap_or_else(given_up)?;
            }
            // All of it: nobody may be in the middle of a turn.
            None => {
                let agent = self.run(image).await?;
                agent.between(Box::new(|writer| Box::pin(fork.make(Some(writer))))).await?;
            }
        }
        Ok(made)
    }
}

struct Fork {
    shared: Arc<Shared>,
    source: ImageRecord,
    /// Of the message that is the first not to be copied.
    place: Option<u64>,
    made: ImageRecord,
    session: SessionRecord,
}

impl Fork {
    /// The files first: what has no session yet, nobody can reach.
    async fn make(self, writer: Option<&mut Writer>) -> Result<()> {
        let Self { shared, source, place, made, session } = self;
        let copy = async {
            if let Some(workspaces) = &shared.workspaces {
                let files = workspaces.fork(&made.container_id, &source.image_id, &made.image_id);
                match writer {
                    Some(writer) => writer.hold_during(files).await?,
                    None => files.await?,
                }
            }
            shared.repositories.sessions.fork_session(&source.session_id, place, &made, &session).await
        };
        let copied = copy.await;
        if let (Err(error), Some(workspaces)) = (&copied, &shared.workspaces)
            && error.kind() != ErrorKind::Lost
        {
            // The first failure is the one to tell. What can't be removed now belongs to no image.
            let _ = workspaces.delete(&made.container_id, &made.image_id).await;
        }
        copied
    }
}
