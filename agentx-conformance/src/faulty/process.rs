use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use agentx_resource::{
    Child, ExecRequest, Invocation, Process, ProcessCapabilities, ResourceLimits, Result, Stdin,
};
use async_trait::async_trait;

use super::{ProcessFault as Fault, child::FaultyChild};

/// Children that go on although nobody holds them any more, until their process is dropped.
pub(super) type Strays = Arc<Mutex<Vec<Box<dyn Child>>>>;

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
}

impl FaultyProcess {
    /// Runs commands by `inner`, with this fault.
    pub fn new(inner: Arc<dyn Process>, fault: Fault) -> Self {
        Self { inner, fault, strays: Arc::default(), last: Arc::default() }
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
        self.inner.capabilities()
    }

    async fn spawn(&self, request: ExecRequest) -> Result<Box<dyn Child>> {
        let (timed, live) = (request.timeout.is_some(), request.stdin == Stdin::Piped);
        let child = self.inner.spawn(self.request(request)).await?;
        Ok(Box::new(FaultyChild::new(child, self.fault, timed, live, Arc::clone(&self.strays))))
    }
}
