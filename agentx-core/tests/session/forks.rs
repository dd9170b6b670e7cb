//! Forks of images that have files.

use std::sync::Mutex;

use agentx_core::{Error, ImageRepository, LeaseRepository, SessionId, Tool, WorkspaceProvider};
use agentx_resource::memory::ManualClock;
use futures::{
    channel::{mpsc, oneshot},
    future::BoxFuture as Boxed,
};

use super::*;

type Copying = Box<dyn Fn(ImageId, ImageId) -> Boxed<'static, Result<()>> + Send + Sync>;

/// Files that are names alone. What happens during a copy is the test's.
struct Places {
    copying: Copying,
    there: Mutex<Vec<ImageId>>,
}

impl Places {
    fn new<R>(copying: impl Fn(ImageId, ImageId) -> R + Send + Sync + 'static) -> Arc<Self>
    where
        R: Future<Output = Result<()>> + Send + 'static,
    {
        let copying: Copying = Box::new(move |from, to| copying(from, to).boxed());
        Arc::new(Self { copying, there: Mutex::default() })
    }

    fn there(&self) -> Vec<ImageId> {
        self.there.lock().unwrap().clone()
    }
}

impl std::fmt::Debug for Places {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Places")
    }
}

#[async_trait]
impl WorkspaceProvider for Places {
    async fn open(&self, _: &ContainerId, image: &ImageId) -> Result<Vec<Arc<dyn Tool>>> {
        let mut there = self.there.lock().unwrap();
        if !there.contains(image) {
            there.push(image.clone());
        }
        Ok(Vec::new())
    }

    async fn fork(&self, _: &ContainerId, from: &ImageId, to: &ImageId) -> Result<()> {
        // A part of it is there at once.
        self.there.lock().unwrap().push(to.clone());
        (self.copying)(from.clone(), to.clone()).await
    }

    async fn delete(&self, _: &ContainerId, image: &ImageId) -> Result<()> {
        self.there.lock().unwrap().retain(|there| there != image);
        Ok(())
    }
}

fn runtime(store: &Arc<MemoryRepositories>, host: Host, places: Arc<Places>) -> Runtime {
    let builder = Runtime::builder(counting(), host).workspaces(places);
    builder.repositories(Repositories::shared(store.clone())).build().unwrap()
}

fn images(runtime: &Runtime) -> Vec<ImageId> {
    let images = block_on(runtime.images(&ContainerId::new("alice").unwrap())).unwrap();
    images.into_iter().map(|image| image.image_id).collect()
}

/// An agent that has said something, and the message that it answered.
async fn spoken(runtime: &Runtime) -> (Agent, MessageId) {
    let agent = agent(runtime).await;
    agent.ask("one").await.unwrap();
    let first = agent.history().await.unwrap()[0].id.clone();
    (agent, first)
}

#[test]
fn a_fork_has_its_files_before_anybody_can_reach_it() {
    let world = World::new();
    let store = world.store.clone();
    let places = Places::new(move |_, to| {
        let store = store.clone();
        async move {
            assert!(store.find_image(&to).await?.is_none(), "an image without its files");
            Ok(())
        }
    });
    let runtime = runtime(&world.store, world.host, places.clone());
    block_on(async {
        let (source, first) = spoken(&runtime).await;
        for before in [None, Some(&first)] {
            let fork = runtime.fork_image(source.image_id(), before, ImageSpec::default()).await.unwrap();
            assert!(places.there().contains(&fork.image_id));
        }
    });
    assert_eq!(images(&runtime).len(), 3);
}

#[test]
fn a_fork_that_fails_leaves_nothing() {
    let world = World::new();
    let refused = Places::new(|_, _| async { Err(Error::new(ErrorKind::Unsupported, "fork workspace")) });
    // The session has gone when its files are there.
    let store = world.store.clone();
    let too_late = Places::new(move |from, _| {
        let store = store.clone();
        async move { store.delete_image(&from).await }
    });
    for (places, kind) in [(refused, ErrorKind::Unsupported), (too_late, ErrorKind::NotFound)] {
        for cut in [true, false] {
            let runtime = runtime(&world.store, world.host.clone(), places.clone());
            let (source, first) = block_on(spoken(&runtime));
            let there = places.there();
            let before = Some(&first).filter(|_| cut);
            let spec = ImageSpec::default();
            let error = block_on(runtime.fork_image(source.image_id(), before, spec)).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert_eq!(places.there(), there);
            assert!(images(&runtime).iter().all(|image| image == source.image_id()));
            block_on(runtime.delete_image(source.image_id())).unwrap();
        }
    }
}

#[test]
fn a_fork_that_nobody_waits_for_is_made_all_the_same() {
    let world = World::new();
    let (begun, mut beginning) = mpsc::unbounded();
    let places = Places::new(move |_, _| {
        let (open, opened) = oneshot::channel::<()>();
        begun.unbounded_send(open).unwrap();
        async move {
            opened.await.unwrap();
            Ok(())
        }
    });
    let runtime = runtime(&world.store, world.host, places.clone());
    let (source, first) = block_on(spoken(&runtime));
    let mut fork = Box::pin(runtime.fork_image(source.image_id(), Some(&first), ImageSpec::default()));
    assert!((&mut fork).now_or_never().is_none());
    let open = block_on(beginning.next()).unwrap();
    drop(fork);
    open.send(()).unwrap();
    while images(&runtime).len() < 2 {
        std::thread::yield_now();
    }
    assert!(images(&runtime).iter().all(|image| places.there().contains(image)));
}

#[test]
fn the_lease_is_held_while_files_are_copied() {
    let (clock, store) = (Arc::new(ManualClock::default()), Arc::new(MemoryRepositories::new()));
    let session = Arc::new(Mutex::new(None::<SessionId>));
    let places = {
        let (clock, store, session) = (clock.clone(), store.clone(), session.clone());
        Places::new(move |_, _| {
            let (clock, store) = (clock.clone(), store.clone());
            let session = session.lock().unwrap().clone().unwrap();
            async move {
                let until = store.find_lease(&session).await?.unwrap().until;
                clock.advance(until.since(Timestamp::from(clock.now())) / 2);
                // Ends only when the lease was renewed.
                while store.find_lease(&session).await?.unwrap().until <= until {
                    let mut yielded = false;
                    std::future::poll_fn(|cx| {
                        cx.waker().wake_by_ref();
                        if std::mem::replace(&mut yielded, true) {
                            std::task::Poll::Ready(())
                        } else {
                            std::task::Poll::Pending
                        }
                    })
                    .await;
                }
                Ok(())
            }
        })
    };
    let host = Host::new(clock, Arc::new(Threads), Arc::new(SequentialIds::new()));
    let runtime = runtime(&store, host, places);
    block_on(async {
        let (source, _) = spoken(&runtime).await;
        *session.lock().unwrap() = Some(source.session_id().clone());
        runtime.fork_image(source.image_id(), None, ImageSpec::default()).await.unwrap();
        assert!(runtime.lease(source.image_id()).await.unwrap().is_none(), "it is given back");
    });
}
