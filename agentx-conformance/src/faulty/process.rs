use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use agentx_resource::{
    Child, Error, ErrorKind, ExecRequest, Invocation, Process, ProcessCapabilities, ResourceLimits, Result,
    Stdin,
};
use async_trait::async_trait;

use super::{
    ProcessFault as Fault,
    child::{Asked, FaultyChild, Shared},
};

/// Children that go on although nobody holds them any more, until their process is dropped.
pub(super) type Strays = Arc<Mutex<Vec<Box<dyn Child>>>>;

/// A command among those that run, as long as this lives.
#[derive(Debug)]
pub(super) struct Running {
    all: Arc<AtomicUsize>,
    before: usize,
    /// Whether it counts for ever.
    pub(super) leaks: bool,
}

impl Running {
    fn new(all: &Arc<AtomicUsize>) -> Self {
        Self { all: Arc::clone(all), before: all.fetch_add(1, Ordering::SeqCst), leaks: false }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.leaks {
            self.all.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// A process with one fault.
///
/// It runs its commands by another that has none. What [`ProcessFault::LeavesOnKill`](Fault::LeavesOnKill),
/// [`LeavesOnDrop`](Fault::LeavesOnDrop) and [`SignalAsSuccess`](Fault::SignalAsSuccess) do shows only where commands
/// have process ids.
#[derive(Clone)]
pub struct FaultyProcess {
    inner: Arc<dyn Process>,
    fault: Fault,
    strays: Strays,
    last: Arc<Mutex<String>>,
    running: Arc<AtomicUsize>,
}

impl FaultyProcess {
    /// Runs commands by `inner`, with this fault.
    pub fn new(inner: Arc<dyn Process>, fault: Fault) -> Self {
        Self { inner, fault, strays: Arc::default(), last: Arc::default(), running: Arc::default() }
    }

    /// The request as the fault sees it.
    fn request(&self, mut request: ExecRequest) -> ExecRequest {
        match self.fault {
            Fault::SplitsArguments => {
                if let Invocation::Program { program, args } = &mut request.invocation
                    && !program.is_empty()
                {
                    let line = format!("{program} {}", args.join(" "));
                    let mut words = line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned);
                    *program = words.next().unwrap_or_default();
                    *args = words.collect();
                }
            }
            Fault::EmptyIsMissing => {
                if let Invocation::Program { program, .. } = &mut request.invocation
                    && program.is_empty()
                {
                    "agentx-kit-nothing".clone_into(program);
                }
            }
            Fault::CutsAtNul => {
                let cut = |text: &mut String| {
                    if let Some(at) = text.find('\0') {
                        text.truncate(at);
                    }
                };
                if let Invocation::Program { program, args } = &mut request.invocation {
                    cut(program);
                    args.iter_mut().for_each(cut);
                }
                request.env.values_mut().for_each(cut);
            }
            Fault::DropsBadVariables => {
                request.env.retain(|name, _| !name.is_empty() && !name.contains(['=', '\0']));
            }
            Fault::AddsNewline => {
                if let Stdin::Bytes(bytes) = &request.stdin {
                    request.stdin = Stdin::Bytes([bytes, &b"\n"[..]].concat().into());
                }
            }
            Fault::LimitOffByOne => {
                request.output_limit.head = request.output_limit.head.saturating_sub(1);
            }
            Fault::IgnoresCwd => request.cwd = agentx_resource::ResourcePath::root(),
            Fault::LosesEmptyVariables => request.env.retain(|_, value| !value.is_empty()),
            Fault::InheritsEnv => {
                request.env.insert("CARGO_MANIFEST_DIR".to_owned(), "/home/me".to_owned());
            }
            Fault::LeavesInputOpen if request.stdin == Stdin::Null => request.stdin = Stdin::Piped,
            Fault::IgnoresTimeout => request.timeout = None,
            Fault::IgnoresIdleTimeout => request.idle_timeout = None,
            Fault::IdleFromStart => request.timeout = request.timeout.or(request.idle_timeout.take()),
            Fault::DropsTail => request.output_limit.tail = 0,
            Fault::AcceptsLimits => request.limits = ResourceLimits::default(),
            Fault::FakesTerminal => request.terminal = None,
            Fault::ShowsVariables => {
                let shown = format!("{:?}", request.env);
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) = shown;
            }
            _ => {}
        }
        request
    }
}

impl fmt::Debug for FaultyProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyProcess")
            .field("inner", &self.inner)
            .field("fault", &self.fault)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Process for FaultyProcess {
    fn capabilities(&self) -> ProcessCapabilities {
        let mut capabilities = self.inner.capabilities();
        if self.fault == Fault::MisstatesRoot {
            capabilities.root.push_str("/elsewhere");
        }
        capabilities
    }

    async fn spawn(&self, request: ExecRequest) -> Result<Box<dyn Child>> {
        let slots = match self.fault {
            Fault::OneAtATime => 1,
            Fault::LeaksSlots => 3,
            _ => usize::MAX,
        };
        let running = Running::new(&self.running);
        if running.before >= slots {
            return Err(Error::new(ErrorKind::Busy, "spawn"));
        }
        if self.fault == Fault::OneAtATime {
            tokio::task::yield_now().await;
        }
        let asked = Asked {
            timed: request.timeout.is_some(),
            live: request.stdin == Stdin::Piped,
            input: match &request.stdin {
                Stdin::Bytes(bytes) => bytes.len(),
                _ => 0,
            },
        };
        let child = self.inner.spawn(self.request(request)).await?;
        let shared = Shared { strays: Arc::clone(&self.strays), running };
        Ok(Box::new(FaultyChild::new(child, self.fault, asked, shared)))
    }
}
