use std::{collections::VecDeque, time::Duration};

use agentx_resource::{Error, ErrorKind, ExecEvent, ExitStatus, OutputStream, Result};
use reqwest::Response;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{
    http::{Request, fail},
    process::{FIRST_WAIT, Place, lost},
    sse::Decoder,
    wire::{Event, Numbered},
};

/// The longest time between two tries to find a command again.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The events of a command, over one connection after another. All that a call has begun is kept here, so that one which
/// is dropped loses nothing.
pub(super) struct Events {
    place: Place,
    source: Source,
    queue: VecDeque<ExecEvent>,
    /// The number of the last event that was queued.
    last: u64,
    exit_told: bool,
    /// The first failure since the last sign of life.
    broken: Option<Broken>,
}

enum Source {
    Open(Box<Open>),
    /// To be opened again behind the last event.
    Closed,
    /// It broke for good: told next, and then that the outcome is lost.
    Failed(Error),
    Over,
}

struct Open {
    response: Response,
    decoder: Decoder,
    /// Until when there must be a sign of life.
    deadline: Instant,
}

struct Broken {
    since: Instant,
    next_try: Instant,
    wait: Duration,
}

/// What an answer's next bytes said of it.
#[derive(PartialEq, Eq)]
enum Said {
    /// There is more to come here.
    Goes,
    /// More is to be had by asking again.
    More,
    /// Nothing follows.
    End,
}

impl Events {
    pub(super) fn new(place: Place, response: Response) -> Self {
        let source = Source::Open(Box::new(Open::new(response, &place)));
        Self { place, source, queue: VecDeque::new(), last: 0, exit_told: false, broken: None }
    }

    pub(super) async fn next(&mut self) -> Result<Option<ExecEvent>> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                self.exit_told |= matches!(event, ExecEvent::Exited(_));
                return Ok(Some(event));
            }
            match &mut self.source {
                Source::Open(open) => match timeout_at(open.deadline, open.response.chunk()).await {
                    Ok(Ok(Some(bytes))) => {
                        open.deadline = Instant::now() + self.place.http.options.silence;
                        self.broken = None;
                        let mut said = Said::Goes;
                        let (queue, last) = (&mut self.queue, &mut self.last);
                        let taken = open.decoder.push(&bytes, |data| {
                            said = take(data, queue, last)?;
                            Ok(())
                        });
                        match (taken, said) {
                            (Err(error), _) => self.source = Source::Failed(error),
                            (Ok(()), Said::Goes) => {}
                            (Ok(()), Said::More) => self.source = Source::Closed,
                            (Ok(()), Said::End) => self.source = Source::Over,
                        }
                    }
                    // Without a word on how it goes on the answer was cut off.
                    Ok(Ok(None) | Err(_)) | Err(_) => {
                        self.source = Source::Closed;
                        self.breaks(
                            fail(ErrorKind::Unavailable, "next_event").with_message("the events broke off"),
                        );
                    }
                },
                Source::Closed => self.open().await,
                Source::Failed(error) => {
                    let error = error.clone();
                    if !self.exit_told {
                        self.queue.push_back(ExecEvent::Exited(ExitStatus::Lost));
                    }
                    self.source = Source::Over;
                    return Err(error);
                }
                Source::Over => return Ok(None),
            }
        }
    }

    /// Takes the command up again behind the last event.
    async fn open(&mut self) {
        if let Some(broken) = &self.broken {
            // Kept over a dropped call.
            sleep_until(broken.next_try).await;
        }
        let request =
            Request::get("next_event", self.place.path("/events")).with("after", self.last.to_string());
        match self.place.http.send(request).await {
            Ok(response) => self.source = Source::Open(Box::new(Open::new(response, &self.place))),
            Err(failed) if failed.is_answer => {
                let error = match failed.error.kind() {
                    // Whoever is refused learns why; the command is lost to him all the same.
                    ErrorKind::Unauthenticated | ErrorKind::PermissionDenied => failed.error,
                    _ => lost("next_event", failed.error),
                };
                self.source = Source::Failed(error);
            }
            Err(failed) => self.breaks(failed.error),
        }
    }

    /// Notes a failure. The first one in a row is followed by a try at once, and too many are the end.
    fn breaks(&mut self, error: Error) {
        let now = Instant::now();
        match &mut self.broken {
            None => self.broken = Some(Broken { since: now, next_try: now, wait: FIRST_WAIT }),
            Some(broken) if broken.since.elapsed() >= self.place.http.options.reattach => {
                self.source = Source::Failed(lost("next_event", error));
            }
            Some(broken) => {
                broken.next_try = now + broken.wait;
                broken.wait = (broken.wait * 2).min(LONGEST_WAIT);
            }
        }
    }
}

impl Open {
    fn new(response: Response, place: &Place) -> Self {
        let deadline = Instant::now() + place.http.options.silence;
        Self { response, decoder: Decoder::default(), deadline }
    }
}

/// Takes one event of the stream: what is new is queued, what is known is skipped, and a gap is an error.
fn take(data: &[u8], queue: &mut VecDeque<ExecEvent>, last: &mut u64) -> Result<Said> {
    let corrupt = || fail(ErrorKind::Corrupt, "next_event");
    let Numbered { number, event } = serde_json::from_slice(data).map_err(|source| {
        corrupt().with_message("an event that is not what it must be").with_source(source)
    })?;
    if event == Event::More {
        return Ok(Said::More);
    }
    if number <= *last {
        return Ok(Said::Goes);
    }
    if number != *last + 1 {
        return Err(corrupt().with_message(format!("event {number} follows event {last}")));
    }
    *last = number;
    queue.push_back(match event {
        Event::Stdout { data } => ExecEvent::Stdout(data),
        Event::Stderr { data } => ExecEvent::Stderr(data),
        Event::Truncated { stderr, dropped } => ExecEvent::Truncated {
            stream: if stderr { OutputStream::Stderr } else { OutputStream::Stdout },
            dropped,
        },
        Event::Exited(status) => ExecEvent::Exited(status.into()),
        Event::Failed(fault) => return Err(Error::from(*fault)),
        Event::End => return Ok(Said::End),
        Event::More | Event::Unknown => return Ok(Said::Goes),
    });
    Ok(Said::Goes)
}
