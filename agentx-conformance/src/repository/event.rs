use agentx_core::{
    AgentId, Append, ApprovalId, Decision, ErrorKind, EventData, EventPage, Message, MessageBody, MessageId,
    NewEvent, OutcomeKind, SessionId, StopReason, StoredEvent, ToolOutput, ToolResult, TurnId, Usage,
};
use futures::future::join_all;
use serde_json::{Value, json};

use super::support::{Store, all, at, event, message, put};
use crate::{
    Failure, Outcome,
    failure::{ensure, ensure_eq, ensure_kind},
};

async fn events(store: &Store, session: &SessionId) -> Result<Vec<StoredEvent>, Failure> {
    Ok(store.sessions.list_events(session, EventPage::after(0, 100_000)).await?)
}

/// The events of a session are numbered from 1 on without a gap, whatever other sessions do.
pub(super) async fn event_numbers(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let (_, other) = put(&store, "j", "c").await?;
    ensure_eq(store.sessions.last_event(&session.session_id).await?, 0, "the last before the first")?;
    let missing = SessionId::new("missing")?;
    ensure_kind(store.sessions.last_event(&missing).await, ErrorKind::NotFound, "a missing session")?;
    let page = store.sessions.list_events(&missing, EventPage::last(1)).await;
    ensure_kind(page, ErrorKind::NotFound, "events of a missing session")?;
    let mut expected = Vec::new();
    for round in 0..5_u64 {
        // Of two moments the later comes first: numbers do not follow the time.
        let batch: Vec<_> =
            (0..round).map(|number| NewEvent::new(at(99 - number), None, event(number))).collect();
        let appended = store.sessions.append(&session.session_id, &Append::new(batch.clone())).await?;
        store.sessions.append(&other.session_id, &Append::new(batch.clone())).await?;
        for event in batch {
            expected.push(StoredEvent::new(expected.len() as u64 + 1, event));
        }
        ensure_eq(appended.last_event, expected.len() as u64, "the last that an append tells")?;
        let last = store.sessions.last_event(&session.session_id).await?;
        ensure_eq(last, expected.len() as u64, "the last")?;
    }
    ensure_eq(events(&store, &session.session_id).await?, expected.clone(), "the events")?;
    ensure_eq(events(&store, &other.session_id).await?, expected, "the events of the other session")
}

/// Every kind of event comes back as it was, with its turn and its moment.
pub(super) async fn event_kinds(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let (turn_id, message_id) = (TurnId::new("t")?, MessageId::new("m1")?);
    let said = message("m1", "go")?;
    let answer = |id: &str, output: ToolOutput| -> Result<Message, Failure> {
        let body = MessageBody::Tool(ToolResult::new("call", "t", output));
        Ok(Message::new(MessageId::new(id)?, at(5), body))
    };
    let (good, bad) =
        (answer("m2", ToolOutput::Json(json!({"a": [1.5]})))?, answer("m3", ToolOutput::error("no"))?);
    let completed = |result: ToolOutput| EventData::ToolCompleted {
        tool_id: "call".to_owned(),
        tool_name: "t".to_owned(),
        result,
    };
    let failed = |error: &str| EventData::ToolFailed {
        tool_id: "call".to_owned(),
        tool_name: "t".to_owned(),
        error: error.to_owned(),
    };
    let request = |text: &str, options: Option<Value>| -> Result<EventData, Failure> {
        let MessageBody::User { content } = message("x", text)?.body else {
            return Err(Failure::new("not a user's"));
        };
        let (turn_id, message_id) = (turn_id.clone(), message_id.clone());
        Ok(EventData::TurnRequest { turn_id, message_id, content, timestamp: at(4), options })
    };
    let kinds = vec![
        EventData::UserMessage(said),
        request("go", None)?,
        // As the one before, but not what the message says.
        request("stop", None)?,
        request("go", Some(json!({"model": "small"})))?,
        EventData::ConversationStart { message_id: message_id.clone() },
        EventData::ToolExecuting {
            tool_id: "call".to_owned(),
            tool_name: "t".to_owned(),
            input: json!({"n": 9_007_199_254_740_993_u64}),
        },
        completed(ToolOutput::Json(json!({"a": [1.5]}))),
        EventData::ToolResultMessage(good),
        completed(ToolOutput::text("something else")),
        failed("no"),
        EventData::ToolResultMessage(bad),
        failed("something else"),
        EventData::ApprovalAnswered {
            approval_id: ApprovalId::new("a")?,
            decision: Decision::AllowWith(json!({})),
        },
        EventData::AgentStopped { agent_id: AgentId::new("a")?, reason: String::new() },
        EventData::TurnResponse {
            turn_id: turn_id.clone(),
            message_id,
            duration: u64::MAX,
            usage: Usage::new(u64::MAX, 1),
            spent: None,
            model: None,
            stop_reason: Some(StopReason::Other("new".to_owned())),
            outcome: OutcomeKind::Other("evaporated".to_owned()),
            timestamp: at(9),
        },
        EventData::Other(json!({"type": "hologram", "data": {"beam": [1, null, "\u{0}"]}})),
    ];
    let turns = [Some(turn_id.clone()), None].into_iter().cycle();
    let kinds: Vec<_> = (0..)
        .zip(kinds.into_iter().zip(turns))
        .map(|(time, (data, turn))| {
            let turn =
                if matches!(data, EventData::TurnRequest { .. }) { Some(turn_id.clone()) } else { turn };
            NewEvent::new(at(time), turn, data)
        })
        .collect();
    store.sessions.append(&session.session_id, &Append::new(kinds.clone())).await?;
    let stored: Vec<_> =
        events(&store, &session.session_id).await?.into_iter().map(|stored| stored.event).collect();
    ensure_eq(stored.len(), kinds.len(), "the events")?;
    for (stored, kind) in stored.into_iter().zip(kinds) {
        ensure_eq(stored, kind, "an event")?;
    }
    ensure_eq(all(&store, &session.session_id).await?.len(), 3, "the messages")
}

/// Messages and their events are added together or not at all.
pub(super) async fn event_message(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let session = &session.session_id;
    let said = |id: &str| -> Result<NewEvent, Failure> {
        Ok(NewEvent::new(at(1), None, EventData::UserMessage(message(id, "x")?)))
    };
    store.sessions.append(session, &Append::new(vec![said("m1")?])).await?;
    let batch = vec![NewEvent::new(at(2), None, event(1)), said("m2")?, said("m1")?];
    let refused = store.sessions.append(session, &Append::new(batch)).await;
    ensure_kind(refused, ErrorKind::AlreadyExists, "a message's id that is taken")?;
    ensure_eq(store.sessions.last_event(session).await?, 1, "the last event")?;
    ensure_eq(all(&store, session).await?.len(), 1, "the messages")
}

/// Pages of any size, one behind the other, give every event once; from the end, the last ones, in their order.
pub(super) async fn event_pages(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let session = &session.session_id;
    let batch = (0..25).map(|number| NewEvent::new(at(number), None, event(number))).collect();
    store.sessions.append(session, &Append::new(batch)).await?;
    for limit in [1, 7, 25, 26, usize::MAX] {
        let (mut found, mut after) = (Vec::new(), 0);
        loop {
            let page = store.sessions.list_events(session, EventPage::after(after, limit)).await?;
            ensure(page.len() <= limit, format!("a page of {limit} has {} events", page.len()))?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            found.extend(page.iter().map(|stored| stored.seq));
            ensure(found.len() <= 25, format!("pages of {limit} give an event twice"))?;
        }
        ensure_eq(found, (1..=25).collect::<Vec<u64>>(), format!("pages of {limit}"))?;
        let last = store.sessions.list_events(session, EventPage::last(limit)).await?;
        let expected: Vec<u64> = (1..=25).rev().take(limit).collect::<Vec<_>>().into_iter().rev().collect();
        let last: Vec<u64> = last.iter().map(|stored| stored.seq).collect();
        ensure_eq(last, expected, format!("the last {limit}"))?;
    }
    for page in [EventPage::after(0, 0), EventPage::last(0), EventPage::after(u64::MAX, 1)] {
        ensure_eq(store.sessions.list_events(session, page).await?, vec![], format!("{page:?}"))?;
    }
    Ok(())
}

/// Of many that append at once, each batch is in one piece, and no number is given twice.
pub(super) async fn event_race(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let racers = (0..16_u64).map(|racer| {
        let (store, session) = (store.clone(), session.session_id.clone());
        tokio::spawn(async move {
            for round in 0..5 {
                let batch = [0, 1].map(|part| NewEvent::new(at(racer * 5 + round), None, event(part)));
                store.sessions.append(&session, &Append::new(batch.to_vec())).await?;
            }
            Ok::<_, Failure>(())
        })
    });
    for result in join_all(racers).await {
        result.map_err(|error| Failure::new(error.to_string()))??;
    }
    let found = events(&store, &session.session_id).await?;
    let numbers: Vec<u64> = found.iter().map(|stored| stored.seq).collect();
    ensure_eq(numbers, (1..=160).collect::<Vec<u64>>(), "the numbers")?;
    for pair in found.chunks(2) {
        let [first, second] = pair else { return Err(Failure::new("half a batch")) };
        ensure_eq(first.event.timestamp, second.event.timestamp, "the batch of two events side by side")?;
    }
    Ok(())
}
