use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    mem,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use agentx_core::{Driver, DriverStream, ErrorKind, Message, MessageBody, ModelTable, Result, Turn};
use agentx_resource::{ApiSupply, Clock, LLMProvider, Process, ProcessExt};
use futures::future::{self, Either};

use super::{
    ClaudeCodeSettings, Frame, PROVIDER, TurnResult, cli::Cli, cli::Observer, failure, launch,
    launch::Launch, transcript, turn,
};

/// How long a turn that is interrupted from here may take to end.
const WIND_DOWN: Duration = Duration::from_secs(5);

/// A [`Driver`] over the claude CLI. A clone is the same driver, and one driver serves any number of conversations at a
/// time, each in a process of its own.
///
/// A process is kept between turns, so that the next turn of its conversation begins at once. Where it was ended or has
/// died, another is started and told the history. Dropping the driver ends all that it keeps, and dropping a turn's
/// stream ends the turn's process; [`ClaudeCode::close`] lets those that are kept end by themselves.
///
/// The turn's budget is kept as closely as the CLI lets it: model calls that follow one of its own tools are counted when
/// they have begun.
///
/// ```
/// use std::sync::Arc;
///
/// use agentx_driver_claude::code::{ClaudeCode, ClaudeCodeSettings};
/// use agentx_resource::{ApiSupply, Process, memory::{ManualClock, MemoryLlmProvider}};
///
/// # fn driver(process: Arc<dyn Process>) -> ClaudeCode {
/// let supply = MemoryLlmProvider::new("fixed", ApiSupply::new("sk-ant-…"));
/// // A program takes the clock of its runtime.
/// let clock = Arc::new(ManualClock::default());
/// let settings = ClaudeCodeSettings::new("/home/agent").with_program("/opt/claude/claude");
/// ClaudeCode::new(process, settings, clock).with_supply(Arc::new(supply))
/// # }
/// ```
#[derive(Clone)]
pub struct ClaudeCode {
    shared: Arc<Shared>,
}

/// What all turns share.
pub(super) struct Shared {
    process: Arc<dyn Process>,
    pub(super) settings: ClaudeCodeSettings,
    clock: Arc<dyn Clock>,
    supply: Option<Arc<dyn LLMProvider<ApiSupply>>>,
    pub(super) models: Arc<ModelTable>,
    observer: Option<Observer>,
    /// Processes between turns; the one that was used last is the last.
    idle: Mutex<Vec<(Talk, Seen)>>,
    sessions: AtomicU64,
}

/// A process of the CLI, and how it was started.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) cli: Cli,
    launch: Launch,
    /// It was started before this turn, which it has not said anything about: it may have died unnoticed.
    pub(super) is_kept: bool,
}

/// What a process knows of a conversation.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Seen {
    /// How long the history was when its last turn began, and a hash of the messages' ids.
    count: usize,
    ids: u64,
    /// Hashes of what was told since.
    told: Vec<u64>,
}

impl ClaudeCode {
    /// A driver that runs the CLI through `process`.
    pub fn new(process: Arc<dyn Process>, settings: ClaudeCodeSettings, clock: Arc<dyn Clock>) -> Self {
        Self {
            shared: Arc::new(Shared {
                process,
                settings,
                clock,
                supply: None,
                models: Arc::new(ModelTable::known()),
                observer: None,
                idle: Mutex::default(),
                sessions: AtomicU64::new(0),
            }),
        }
    }

    /// With the key and the place of the API that this says, asked for anew with each start of a process. Without it, the
    /// CLI has what [`ClaudeCodeSettings::env`] gives it, and what its home has.
    pub fn with_supply(self, supply: Arc<dyn LLMProvider<ApiSupply>>) -> Self {
        self.with(|shared| shared.supply = Some(supply))
    }

    /// Goes by these prices.
    pub fn with_models(self, models: ModelTable) -> Self {
        self.with(|shared| shared.models = Arc::new(models))
    }

    /// Shows `observer` each line that the CLI writes, as it comes: for logs, and for [`Drift`](super::Drift).
    pub fn with_observer(self, observer: impl Fn(&[u8]) + Send + Sync + 'static) -> Self {
        self.with(|shared| shared.observer = Some(Arc::new(observer)))
    }

    /// A new driver like this one but for a change. Processes are not shared.
    fn with(self, change: impl FnOnce(&mut Shared)) -> Self {
        let old = self.shared;
        let mut shared = Shared {
            process: old.process.clone(),
            settings: old.settings.clone(),
            clock: old.clock.clone(),
            supply: old.supply.clone(),
            models: old.models.clone(),
            observer: old.observer.clone(),
            idle: Mutex::default(),
            sessions: AtomicU64::new(0),
        };
        change(&mut shared);
        Self { shared: Arc::new(shared) }
    }

    /// Starts a process ahead of the first message of a conversation like this turn's: with its system prompt, its tools
    /// and its settings. Its history is not looked at.
    ///
    /// # Errors
    /// Those of [`ClaudeCode::connect`].
    pub async fn warm(&self, turn: &Turn) -> Result<()> {
        let talk = self.shared.start(turn, &[]).await?;
        self.shared.keep(talk, Seen::of(&[]));
        Ok(())
    }

    /// Starts a process for a turn like this one, for whoever speaks with the CLI directly. It is told the turn's history.
    ///
    /// # Errors
    /// `NotFound` where there is no such program; `Truncated` where it ends at once, with its own words; `TimedOut` where
    /// it does not answer; `Unsupported` for a setting of the model that the CLI has no place for; what the process and
    /// the supply report.
    pub async fn connect(&self, turn: &Turn) -> Result<Cli> {
        Ok(self.shared.start(turn, &turn.shown_history()).await?.cli)
    }

    /// The CLI's version, such as `2.1.330`, as its program tells it. Nothing of this crate depends on it.
    ///
    /// # Errors
    /// `NotFound` where there is no such program; `Corrupt` where it tells no version, with its own words; what the
    /// process reports.
    pub async fn version(&self) -> Result<String> {
        let settings = &self.shared.settings;
        let request = launch::version(settings).with_timeout(settings.request_timeout);
        let output = self.shared.process.exec(request).await?;
        let said = output.stdout_text();
        let version = said.split_whitespace().next().unwrap_or_default();
        let starts_with_digit = version.starts_with(|first: char| first.is_ascii_digit());
        match output.status.code() {
            Some(0) if starts_with_digit => Ok(version.to_owned()),
            code => {
                let missing = matches!(code, Some(126 | 127));
                let kind = if missing { ErrorKind::NotFound } else { ErrorKind::Corrupt };
                let message = format!("{}: {} {}", output.status, said.trim(), output.stderr_text().trim());
                Err(failure(kind, "find version of claude")
                    .with_path(&settings.program)
                    .with_message(message))
            }
        }
    }

    /// How many processes are kept at present.
    pub fn idle(&self) -> usize {
        self.shared.lock().len()
    }

    /// Lets the processes that are kept end by themselves: each within `grace`, or it is killed.
    ///
    /// # Errors
    /// What the process reports; the others are ended all the same.
    pub async fn close(&self, grace: Duration) -> Result<()> {
        let idle = mem::take(&mut *self.shared.lock());
        let mut outcome = Ok(());
        for (talk, _) in idle {
            if let Err(error) = talk.cli.close(grace).await {
                outcome = Err(error);
            }
        }
        outcome
    }
}

impl Driver for ClaudeCode {
    fn name(&self) -> &str {
        PROVIDER
    }

    fn start(&self, turn: Turn) -> DriverStream {
        turn::start(self.shared.clone(), turn)
    }
}

impl Shared {
    /// A process that knows `before`, the turn's history without its last message: one that is kept, or a new one.
    pub(super) async fn talk(&self, turn: &Turn, before: &[MessageBody]) -> Result<Talk> {
        let launch = self.launch(turn).await?;
        while let Some(mut talk) = self.take(turn, &launch) {
            if talk.adapt(&launch).await.is_ok() {
                talk.is_kept = true;
                return Ok(talk);
            }
            // It has died meanwhile, or no longer answers. The conversation is not lost with it.
        }
        self.start_as(launch, before).await
    }

    /// Keeps a process for its next turn.
    pub(super) fn keep(&self, talk: Talk, seen: Seen) {
        let mut idle = self.lock();
        idle.push((talk, seen));
        let excess = idle.len().saturating_sub(self.settings.keep);
        let ended: Vec<_> = idle.drain(..excess).collect();
        drop(idle);
        drop(ended);
    }

    fn take(&self, turn: &Turn, launch: &Launch) -> Option<Talk> {
        let mut idle = self.lock();
        let fits = |(talk, seen): &(Talk, Seen)| talk.launch.serves(launch) && seen.precedes(&turn.history);
        let place = idle.iter().rposition(fits)?;
        Some(idle.remove(place).0)
    }

    async fn start(&self, turn: &Turn, before: &[MessageBody]) -> Result<Talk> {
        let launch = self.launch(turn).await?;
        self.start_as(launch, before).await
    }

    async fn launch(&self, turn: &Turn) -> Result<Launch> {
        let supply = match &self.supply {
            Some(supply) => Some(supply.provide().await?),
            None => None,
        };
        let (system, tools) = (turn.system.as_deref(), turn.tools.definitions());
        Launch::new(&self.settings, supply.as_ref(), system, tools, &turn.settings)
    }

    async fn start_as(&self, launch: Launch, before: &[MessageBody]) -> Result<Talk> {
        let history = if before.is_empty() {
            None
        } else {
            let session = self.fresh_session();
            let transcript = transcript::transcript(before, &launch.tools, &session)?;
            let file = format!("{}/agentx/{session}.jsonl", self.settings.home.trim_end_matches('/'));
            transcript::write(&*self.process, &file, transcript).await?;
            Some(file)
        };
        let (process, observer) = (&*self.process, self.observer.clone());
        let clock = self.clock.clone();
        let started = Cli::start(process, clock, &self.settings, &launch, history.as_deref(), observer).await;
        if let Some(file) = history {
            // The CLI has read it. What is left of it would be of no use to anybody, and does no harm.
            let _ = transcript::remove(process, &file).await;
        }
        Ok(Talk { cli: started?, launch, is_kept: false })
    }

    /// An id that no other session of this home has.
    fn fresh_session(&self) -> String {
        let now = self.clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let count = self.sessions.fetch_add(1, Ordering::Relaxed);
        let place: *const Self = self;
        let mut hasher = DefaultHasher::new();
        (now.as_nanos(), count, place.addr()).hash(&mut hasher);
        transcript::uuid(hasher.finish(), u64::try_from(now.as_nanos()).unwrap_or(count))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Talk, Seen)>> {
        // What stands here is never half changed, so what is behind a poisoned lock is right.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Talk {
    /// Makes a process that was kept what one would be that was started so.
    async fn adapt(&mut self, launch: &Launch) -> Result<()> {
        self.cli.check()?;
        if let Some(model) = launch.model.as_deref().filter(|_| self.launch.model != launch.model) {
            self.cli.set_model(model).await?;
            self.launch.model.clone_from(&launch.model);
        }
        Ok(())
    }
}

impl Talk {
    /// What the turn that ended so has cost, in US dollars: the CLI's account begins with the process.
    pub(super) fn cost(&mut self, result: &TurnResult) -> Option<f64> {
        let total = result.total_cost?;
        Some(total - mem::replace(&mut self.cli.cost, total))
    }

    /// Interrupts the turn and ends the process. Gives what the turn has cost, where the CLI told it in time.
    pub(super) async fn wind_down(mut self, clock: &dyn Clock) -> Option<f64> {
        let ended = async {
            self.cli.interrupt().await.ok()?;
            loop {
                if let Frame::Result(result) = self.cli.next_frame().await.ok()?? {
                    return self.cost(&result);
                }
            }
        };
        match future::select(clock.sleep(WIND_DOWN), pin!(ended)).await {
            Either::Left(_) => None,
            Either::Right((cost, _)) => cost,
        }
    }
}

impl Seen {
    /// What a process knows that was told this history.
    pub(super) fn of(history: &[Message]) -> Self {
        Self { count: history.len(), ids: ids(history), told: Vec::new() }
    }

    /// It was also told this.
    pub(super) fn push(&mut self, message: &MessageBody) {
        self.told.push(hash(message));
    }

    /// Whether this is all of the history but the user's last message.
    fn precedes(&self, history: &[Message]) -> bool {
        let Some((last, before)) = history.split_last() else { return false };
        let Some((known, told)) = before.split_at_checked(self.count) else { return false };
        matches!(last.body, MessageBody::User { .. })
            && self.ids == ids(known)
            && told.iter().map(|message| hash(&message.body)).eq(self.told.iter().copied())
    }
}

fn ids(history: &[Message]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for message in history {
        message.id.as_str().hash(&mut hasher);
    }
    hasher.finish()
}

/// Of a message that can't be written, nothing is like it.
fn hash(message: &MessageBody) -> u64 {
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(message).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

impl fmt::Debug for ClaudeCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaudeCode")
            .field("settings", &self.shared.settings)
            .field("process", &self.shared.process)
            .field("supply", &self.shared.supply.as_ref().map(|supply| supply.name().to_owned()))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use agentx_core::{AssistantMessage, AssistantPart, MessageId, Timestamp};

    use super::*;

    fn message(id: &str, body: MessageBody) -> Message {
        Message::new(MessageId::new(id).unwrap(), Timestamp::from_millis(0), body)
    }

    fn said(text: &str) -> MessageBody {
        MessageBody::Assistant(AssistantMessage::new(vec![AssistantPart::text(text)]))
    }

    #[test]
    fn a_process_is_used_again_only_where_it_knows_all_that_is_stored_and_nothing_else() {
        let mut history = vec![message("1", MessageBody::user("a"))];
        let mut seen = Seen::of(&history);
        seen.push(&said("b"));
        assert!(!seen.precedes(&history), "the turn before");
        history.push(message("2", said("b")));
        assert!(!seen.precedes(&history), "nothing new");
        history.push(message("3", MessageBody::user("c")));
        assert!(seen.precedes(&history));
        let changed = |at: usize, other: Message| {
            let mut history = history.clone();
            history[at] = other;
            history
        };
        assert!(!seen.precedes(&changed(0, message("9", MessageBody::user("a")))), "another conversation");
        assert!(!seen.precedes(&changed(1, message("2", said("other words")))), "rewritten");
        let mut longer = history.clone();
        longer.insert(2, message("4", MessageBody::user("x")));
        assert!(!seen.precedes(&longer), "somebody else went on with it");
        assert!(!seen.precedes(&history[2..]), "rewound");
        assert!(Seen::of(&[]).precedes(&history[..1]), "a warm start is of no conversation yet");
        assert!(!Seen::of(&[]).precedes(&history));
    }
}
