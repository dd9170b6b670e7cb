use std::{sync::Arc, time::Duration};

use agentx::resource::{Error, ErrorKind, Result};
use bytes::Bytes;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::entry::{Entry, gone, lock};

/// What came of a piece of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handed {
    /// The command has it.
    Over,
    /// It does not read for now.
    NotYet,
}

/// The last piece of live input: one that comes again is not written again.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    number: u64,
    /// What became of it; none before the first.
    outcome: Option<watch::Receiver<Option<Result<()>>>>,
}

/// Hands a piece over, once, and waits for a while until the command has read it.
pub(super) async fn write(entry: &Arc<Entry>, number: u64, data: Bytes, wait: Duration) -> Result<Handed> {
    let deadline = Instant::now() + wait;
    loop {
        let (mut outcome, is_this) = {
            let mut pieces = lock(&entry.pieces);
            match &pieces.outcome {
                _ if number < pieces.number => {
                    let message = format!("piece {number} comes after piece {}", pieces.number);
                    return Err(Error::new(ErrorKind::InvalidInput, "write_stdin").with_message(message));
                }
                Some(outcome) if number == pieces.number => (outcome.clone(), true),
                // The one before is still being written: its caller gave it up.
                Some(outcome) if outcome.borrow().is_none() => (outcome.clone(), false),
                _ => {
                    let outcome = begin(entry, data.clone())?;
                    *pieces = Pieces { number, outcome: Some(outcome.clone()) };
                    (outcome, true)
                }
            }
        };
        match timeout_at(deadline, outcome.wait_for(Option::is_some)).await {
            Err(_) => return Ok(Handed::NotYet),
            Ok(Err(_)) => return Err(gone("write_stdin", &entry.id)),
            Ok(Ok(known)) if is_this => match known.as_ref() {
                Some(Ok(())) => return Ok(Handed::Over),
                Some(Err(error)) => return Err(error.clone()),
                None => {}
            },
            Ok(Ok(_)) => {}
        }
    }
}

/// Writes in a task of its own, so that a connection which breaks does not cut a piece.
fn begin(entry: &Arc<Entry>, data: Bytes) -> Result<watch::Receiver<Option<Result<()>>>> {
    let child = entry.child("write_stdin")?;
    let (told, outcome) = watch::channel(None);
    let entry = Arc::clone(entry);
    tokio::spawn(async move {
        let written = tokio::select! {
            biased;
            () = entry.ended() => Err(gone("write_stdin", &entry.id)),
            written = child.write_stdin(data) => written,
        };
        drop(child);
        told.send_replace(Some(written));
    });
    Ok(outcome)
}
