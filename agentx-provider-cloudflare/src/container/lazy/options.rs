use std::{fmt, sync::Arc, time::Duration};

use agentx_resource::{
    Error, ProcessCapabilities,
    mirror::{MirrorOptions, SyncReport},
};

use crate::container::ContainerOptions;

/// How a [`LazyContainer`](super::LazyContainer) works.
#[derive(Clone)]
#[non_exhaustive]
pub struct LazyOptions {
    /// What commands can do. Known before there is a container, which must have it all; by default what `agentx-container`
    /// has.
    pub process: ProcessCapabilities,
    /// How the tree is mirrored: what is left out, how many files at a time, bounds.
    pub mirror: MirrorOptions,
    /// How long a client of the container waits.
    pub container: ContainerOptions,
    /// How long a container may take to start and to answer; two minutes by default. The hand-over is not part of it.
    pub start: Duration,
    /// How long open files may keep a start or a release waiting; 30 seconds by default.
    pub patience: Duration,
    /// How long a container that does not answer is asked again before it is taken for lost; 10 seconds by default.
    pub loss: Duration,
    pub(super) observer: Option<Observer>,
}

pub(super) type Observer = Arc<dyn Fn(&ContainerEvent) + Send + Sync>;

impl LazyOptions {
    /// A container whose commands see the tree at `root`.
    pub fn new(root: impl Into<String>) -> Self {
        let root = root.into();
        let process = ProcessCapabilities::new(&*root);
        Self {
            process: process.with_shell().with_live_stdin().with_signals().with_limits().with_terminal(),
            mirror: MirrorOptions::new(root),
            container: ContainerOptions::default(),
            start: Duration::from_mins(2),
            patience: Duration::from_secs(30),
            loss: Duration::from_secs(10),
            observer: None,
        }
    }

    /// With these capabilities of commands.
    pub fn with_process(mut self, process: ProcessCapabilities) -> Self {
        self.process = process;
        self
    }

    /// With this mirror.
    pub fn with_mirror(mut self, mirror: MirrorOptions) -> Self {
        self.mirror = mirror;
        self
    }

    /// With these waits of a client.
    pub fn with_container(mut self, container: ContainerOptions) -> Self {
        self.container = container;
        self
    }

    /// Lets a container take so long to start.
    pub fn with_start(mut self, wait: Duration) -> Self {
        self.start = wait;
        self
    }

    /// Waits so long for open files.
    pub fn with_patience(mut self, wait: Duration) -> Self {
        self.patience = wait;
        self
    }

    /// Takes a container for lost that is silent for so long.
    pub fn with_loss(mut self, wait: Duration) -> Self {
        self.loss = wait;
        self
    }

    /// Calls `observer` with each event as it happens. It must not block.
    pub fn with_observer(mut self, observer: impl Fn(&ContainerEvent) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }
}

impl fmt::Debug for LazyOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LazyOptions")
            .field("process", &self.process)
            .field("start", &self.start)
            .field("patience", &self.patience)
            .field("loss", &self.loss)
            .finish_non_exhaustive()
    }
}

/// What happens to a container.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ContainerEvent {
    /// The first command came, and a container is asked for.
    Starting,
    /// Its server answers.
    Started {
        /// Which instance it is.
        instance: String,
        /// How long that took: a cold start, or next to nothing.
        took: Duration,
    },
    /// The tree is in the container, and file verbs go there.
    HandedOver {
        /// What was copied.
        report: SyncReport,
        /// How long that took.
        took: Duration,
    },
    /// It could not be started, or the tree could not be handed over. File verbs go to the store.
    NotStarted {
        /// Why.
        error: Error,
    },
    /// What was new in the container is saved in the store.
    Synced {
        /// What was copied.
        report: SyncReport,
        /// How long that took.
        took: Duration,
    },
    /// Symbolic links and execute bits could not be noted in the store, or not be made again in the container. All else
    /// is where it should be.
    LinksLost {
        /// Why.
        error: Error,
    },
    /// It was used by nobody, and could not be released.
    NotReleased {
        /// Why.
        error: Error,
    },
    /// The tree is in the store, file verbs go there, and the container was ended.
    Released {
        /// Why the engine could not end it, if it could not.
        stopped: Option<Error>,
    },
    /// The container is gone, with all that was not saved. File verbs go to the store.
    Lost {
        /// How that was seen.
        error: Error,
        /// How long ago all was saved: at the last sync, or at the hand-over.
        unsaved: Duration,
    },
}
