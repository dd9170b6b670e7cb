use std::collections::VecDeque;

use agentx::resource::{Error, ErrorKind, Result};
use agentx_provider_cloudflare::container_wire::{Event, Numbered};

/// The events of a command that its caller may not have yet, numbered from 1.
#[derive(Debug)]
pub(super) struct Log {
    events: VecDeque<Numbered>,
    bytes: usize,
    limit: usize,
    /// The number of the last event that there was.
    last: u64,
    ended: bool,
}

impl Log {
    pub(super) fn new(limit: usize) -> Self {
        Self { events: VecDeque::new(), bytes: 0, limit, last: 0, ended: false }
    }

    pub(super) fn push(&mut self, event: Event) {
        self.last += 1;
        self.bytes += event.weight();
        self.ended |= event == Event::End;
        self.events.push_back(Numbered { number: self.last, event });
    }

    /// Whether the command must wait.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= self.limit
    }

    /// Whether nothing follows.
    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Forgets what the caller has: all up to event `number`.
    pub(super) fn forget(&mut self, number: u64) -> Result<()> {
        let first = self.last + 1 - self.events.len() as u64;
        if number > self.last {
            let message = format!("event {number} is asked for, and the last one is {}", self.last);
            return Err(Error::new(ErrorKind::InvalidInput, "next_event").with_message(message));
        }
        if number + 1 < first {
            return Err(Error::new(ErrorKind::Lost, "next_event")
                .with_message(format!("event {} is not kept any more", number + 1)));
        }
        while let Some(event) = self.events.front().filter(|event| event.number <= number) {
            self.bytes -= event.event.weight();
            self.events.pop_front();
        }
        Ok(())
    }

    /// The event after `number`, if it has happened.
    pub(super) fn after(&self, number: u64) -> Option<&Numbered> {
        let first = self.events.front()?.number;
        self.events.get(usize::try_from((number + 1).checked_sub(first)?).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn output(text: &'static str) -> Event {
        Event::Stdout { data: Bytes::from_static(text.as_bytes()) }
    }

    #[test]
    fn what_was_taken_is_forgotten_and_nothing_else() {
        let mut log = Log::new(2 * output("ab").weight());
        for text in ["ab", "cd"] {
            assert!(!log.is_full());
            log.push(output(text));
        }
        assert!(log.is_full());
        assert_eq!(log.after(0).unwrap().event, output("ab"));
        assert_eq!(log.after(1).unwrap().event, output("cd"));
        assert_eq!(log.after(2), None);

        log.forget(0).unwrap();
        assert!(log.is_full());
        log.forget(1).unwrap();
        assert!(!log.is_full());
        assert_eq!(log.after(1).unwrap().event, output("cd"));
        assert_eq!(log.forget(0).unwrap_err().kind(), ErrorKind::Lost);
        assert_eq!(log.forget(3).unwrap_err().kind(), ErrorKind::InvalidInput);

        log.push(Event::End);
        assert!(log.is_ended());
        log.forget(3).unwrap();
        assert_eq!((log.after(3), log.bytes), (None, 0));
    }
}
