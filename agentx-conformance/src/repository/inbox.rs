use std::sync::Arc;

use agentx_core::{
    Append, ApprovalId, ApprovalPage, ApprovalRecord, ContainerId, ContentPart, Decision, ErrorKind,
    EventData, EventPage, MessageId, PendingApproval, QueuedMessage, SessionId, ToolCall, TurnId,
};
use futures::future::join_all;
use serde_json::json;

use super::support::{Store, at, put};
use crate::{
    Failure, Outcome,
    failure::{ensure_eq, ensure_kind},
};

fn queued(id: &str) -> Result<QueuedMessage, Failure> {
    Ok(QueuedMessage::new(MessageId::new(id)?, vec![ContentPart::text(id)], at(7)))
}

/// Messages wait in the order in which they came, with what was sent with them, each told by an event, until an append
/// takes them.
pub(super) async fn queue_order(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let (_, other) = put(&store, "j", "c").await?;
    let session = &session.session_id;
    let mut messages = Vec::new();
    for (ahead, id) in ["m", "a", "z"].into_iter().enumerate() {
        let options = (id == "a").then(|| Arc::new(json!({"model": "small"})));
        let message = queued(id)?.with_options(options);
        let told = store.inbox.enqueue_message(session, &message, 3).await?;
        ensure_eq((told.ahead, told.event), (ahead, ahead as u64 + 1), "what is told of a queued message")?;
        messages.push(message);
    }
    store.inbox.enqueue_message(&other.session_id, &queued("a")?, 1).await?;
    ensure_eq(store.inbox.list_queued(session, 9).await?, messages.clone(), "the queue")?;
    let [first, second, third] = &messages[..] else { return Err(Failure::new("three were queued")) };
    ensure_eq(store.inbox.list_queued(session, 1).await?, vec![first.clone()], "the first")?;
    let events = store.sessions.list_events(session, EventPage::after(0, 9)).await?;
    let told: Vec<_> = events.into_iter().map(|stored| stored.event.data).collect();
    let expected = messages.iter().map(|message| message.id.clone());
    let expected: Vec<_> = expected.map(|message_id| EventData::ConversationQueued { message_id }).collect();
    ensure_eq(told, expected, "the events")?;
    let taken = Append::default().with_taken(vec![first.id.clone(), second.id.clone()]);
    store.sessions.append(session, &taken).await?;
    ensure_eq(store.inbox.list_queued(session, 9).await?, vec![third.clone()], "what is left")?;
    ensure_eq(store.inbox.list_queued(&other.session_id, 9).await?.len(), 1, "the other's queue")
}

/// A full queue takes no more, and nothing is told; a message that is taken makes room.
pub(super) async fn queue_full(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let session = &session.session_id;
    store.inbox.enqueue_message(session, &queued("a")?, 1).await?;
    for limit in [0, 1] {
        let refused = store.inbox.enqueue_message(session, &queued("b")?, limit).await;
        ensure_kind(refused, ErrorKind::LimitExceeded, "a queue that is full")?;
    }
    ensure_eq(store.sessions.last_event(session).await?, 1, "the last event")?;
    let taken = Append::default().with_taken(vec![MessageId::new("a")?]);
    store.sessions.append(session, &taken).await?;
    store.inbox.enqueue_message(session, &queued("b")?, 1).await?;
    let missing = SessionId::new("missing")?;
    let refused = store.inbox.enqueue_message(&missing, &queued("a")?, 9).await;
    ensure_kind(refused, ErrorKind::NotFound, "the queue of a session that is not there")?;
    let refused = store.inbox.list_queued(&missing, 9).await;
    ensure_kind(refused, ErrorKind::NotFound, "the queue of a session that is not there")
}

/// A message waits once.
pub(super) async fn queue_taken(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let session = &session.session_id;
    store.inbox.enqueue_message(session, &queued("a")?, 9).await?;
    let refused = store.inbox.enqueue_message(session, &queued("a")?, 9).await;
    ensure_kind(refused, ErrorKind::AlreadyExists, "a message that waits already")?;
    ensure_eq(store.inbox.list_queued(session, 9).await?.len(), 1, "the queue")?;
    ensure_eq(store.sessions.last_event(session).await?, 1, "the last event")
}

/// Of many that come at once, as many are taken as there is room for.
pub(super) async fn queue_race(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let racers = (0..16).map(|racer| {
        let (store, session) = (store.clone(), session.session_id.clone());
        tokio::spawn(async move {
            let message = queued(&format!("m{racer}"))?;
            Ok::<_, Failure>(store.inbox.enqueue_message(&session, &message, 5).await)
        })
    });
    let mut taken = 0;
    for result in join_all(racers).await {
        match result.map_err(|error| Failure::new(error.to_string()))?? {
            Ok(_) => taken += 1,
            refused => ensure_kind(refused, ErrorKind::LimitExceeded, "a queue that is full")?,
        }
    }
    ensure_eq(taken, 5, "those that were taken")?;
    ensure_eq(store.inbox.list_queued(&session.session_id, 99).await?.len(), 5, "the queue")
}

fn approval(id: &str, session: &SessionId) -> Result<ApprovalRecord, Failure> {
    let call = ToolCall::new("call", "t", json!({"n": 9_007_199_254_740_993_u64, "x": [0.1, null]}));
    let (id, turn) = (ApprovalId::new(id)?, TurnId::new("t1")?);
    Ok(ApprovalRecord::new(id, session.clone(), turn, call, "because\u{0}", at(3)))
}

/// Stores approvals that wait.
async fn ask<const N: usize>(
    store: &Store,
    session: &SessionId,
    ids: [&str; N],
) -> Result<[ApprovalRecord; N], Failure> {
    let mut append = Append::default();
    for id in ids {
        append.approvals.push(approval(id, session)?);
    }
    store.sessions.append(session, &append).await?;
    append.approvals.try_into().map_err(|_| Failure::new("an approval is lost"))
}

/// An approval comes back as it was, in the order in which it was asked for; its id is given once.
pub(super) async fn approval_stored(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let (_, other) = put(&store, "j", "c").await?;
    let [b, a] = ask(&store, &session.session_id, ["b", "a"]).await?;
    ask(&store, &other.session_id, ["c"]).await?;
    ensure_eq(store.inbox.list_approvals(&session.session_id).await?, vec![b, a.clone()], "the approvals")?;
    ensure_eq(store.inbox.find_approval(&a.approval_id).await?, Some(a), "one")?;
    ensure_eq(store.inbox.find_approval(&ApprovalId::new("x")?).await?, None, "one that is not there")?;
    let mut taken = Append::default();
    taken.approvals.push(approval("a", &other.session_id)?);
    let refused = store.sessions.append(&other.session_id, &taken).await;
    ensure_kind(refused, ErrorKind::AlreadyExists, "an approval's id that is taken")?;
    let missing = store.inbox.list_approvals(&SessionId::new("missing")?).await;
    ensure_kind(missing, ErrorKind::NotFound, "approvals of a session that is not there")
}

/// The first answer counts, and is told by an event.
pub(super) async fn approval_answered(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let session = &session.session_id;
    let [mut a, b] = ask(&store, session, ["a", "b"]).await?;
    let (id, decision) = (&a.approval_id.clone(), Decision::AllowWith(json!({"n": 1})));
    let undecided = store.inbox.answer_approval(id, &Decision::Ask("?".to_owned()), at(8)).await;
    ensure_kind(undecided, ErrorKind::InvalidInput, "an answer that decides nothing")?;
    let answered = store.inbox.answer_approval(id, &decision, at(8)).await?;
    a.answer = Some((decision.clone(), at(8)));
    ensure_eq(answered, a.clone(), "the approval that was answered")?;
    let again = store.inbox.answer_approval(id, &Decision::Allow, at(9)).await;
    ensure_kind(again, ErrorKind::ConditionFailed, "a second answer")?;
    ensure_eq(store.inbox.list_approvals(session).await?, vec![a.clone(), b], "the approvals")?;
    let events = store.sessions.list_events(session, EventPage::after(0, 9)).await?;
    let told = EventData::ApprovalAnswered { approval_id: id.clone(), decision };
    let turn = Some(a.turn_id);
    let found: Vec<_> = events.into_iter().map(|stored| stored.event).collect();
    ensure_eq(found, vec![agentx_core::NewEvent::new(at(8), turn, told)], "the events")?;
    let missing = store.inbox.answer_approval(&ApprovalId::new("x")?, &Decision::Allow, at(9)).await;
    ensure_kind(missing, ErrorKind::NotFound, "an approval that is not there")
}

/// An approval whose turn is over takes no answer, and is not listed any more.
pub(super) async fn approval_closed(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let (_, other) = put(&store, "j", "c").await?;
    let [a, b] = ask(&store, &session.session_id, ["a", "b"]).await?;
    ask(&store, &other.session_id, ["c"]).await?;
    store.inbox.answer_approval(&a.approval_id, &Decision::Allow, at(8)).await?;
    let mut over = Append::default();
    over.closes_approvals = true;
    store.sessions.append(&session.session_id, &over).await?;
    ensure_eq(store.inbox.list_approvals(&session.session_id).await?, vec![], "the approvals")?;
    let late = store.inbox.answer_approval(&b.approval_id, &Decision::Allow, at(9)).await;
    ensure_kind(late, ErrorKind::ConditionFailed, "an answer that comes too late")?;
    let found = store.inbox.find_approval(&b.approval_id).await?;
    ensure_eq(found.map(|found| (found.closed, found.answer)), Some((true, None)), "the approval")?;
    ensure_eq(store.inbox.list_approvals(&other.session_id).await?.len(), 1, "the other's approvals")
}

/// Of many answers at once, one counts.
pub(super) async fn approval_race(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let [asked] = ask(&store, &session.session_id, ["a"]).await?;
    let racers = (0..16).map(|racer| {
        let (store, id) = (store.clone(), asked.approval_id.clone());
        let decision = Decision::Deny(racer.to_string());
        tokio::spawn(async move { store.inbox.answer_approval(&id, &decision, at(8)).await })
    });
    let mut winners = Vec::new();
    for result in join_all(racers).await {
        match result.map_err(|error| Failure::new(error.to_string()))? {
            Ok(answered) => winners.push(answered),
            lost => ensure_kind(lost, ErrorKind::ConditionFailed, "an approval that another answered")?,
        }
    }
    ensure_eq(winners.len(), 1, "the answers that count")?;
    ensure_eq(store.inbox.find_approval(&asked.approval_id).await?, winners.pop(), "the approval")?;
    ensure_eq(store.sessions.last_event(&session.session_id).await?, 1, "the last event")
}

/// What waits for an answer is listed over all sessions, in the order in which it was asked for, page by page.
pub(super) async fn approval_pending(store: Store) -> Outcome {
    let pending = async |page: ApprovalPage| store.inbox.list_pending_approvals(&page).await;
    ensure_eq(pending(ApprovalPage::first(9)).await?, vec![], "what waits in an empty store")?;
    let (_, first) = put(&store, "i", "c").await?;
    let (_, second) = put(&store, "j", "c").await?;
    let (_, other) = put(&store, "k", "d").await?;
    let mut asked = Vec::new();
    for (session, id) in [(&second, "z"), (&first, "y"), (&other, "x"), (&second, "w"), (&first, "v")] {
        let [approval] = ask(&store, &session.session_id, [id]).await?;
        asked.push((session.container_id.clone(), session.image_id.clone(), approval));
    }
    let all = pending(ApprovalPage::first(9)).await?;
    let places: Vec<_> = all.iter().map(|found| found.seq).collect();
    if !places.is_sorted_by(|a, b| a < b) || places.first() == Some(&0) {
        return Err(Failure::new(format!("the places {places:?} do not grow from 1 on")));
    }
    let whose = |found: PendingApproval| (found.container_id, found.image_id, found.approval);
    ensure_eq(all.into_iter().map(whose).collect::<Vec<_>>(), asked.clone(), "what waits")?;
    let of = pending(ApprovalPage::first(9).with_container(other.container_id.clone())).await?;
    ensure_eq(
        of.into_iter().map(whose).collect::<Vec<_>>(),
        vec![asked.remove(2)],
        "what waits in a container",
    )?;
    let missing = ApprovalPage::first(9).with_container(ContainerId::new("missing")?);
    ensure_eq(pending(missing).await?, vec![], "what waits in a container that is not there")?;

    // Answered, closed and removed: none of these waits any more.
    store.inbox.answer_approval(&ApprovalId::new("z")?, &Decision::Allow, at(8)).await?;
    let mut over = Append::default();
    over.closes_approvals = true;
    store.sessions.append(&first.session_id, &over).await?;
    let mut found = Vec::new();
    let mut page = ApprovalPage::first(1);
    while let Some(next) = pending(page.clone()).await?.pop() {
        page.after = next.seq;
        found.push(next.approval.approval_id.to_string());
    }
    ensure_eq(found, vec!["x".to_owned(), "w".to_owned()], "what waits, page by page")?;
    store.images.delete_image(&other.image_id).await?;
    ensure_eq(pending(ApprovalPage::first(9)).await?.len(), 1, "what waits when an image is removed")
}

/// One of everything that a session has besides messages.
pub(super) async fn fill(store: &Store, session: &SessionId) -> Outcome {
    store.inbox.enqueue_message(session, &queued("q")?, 9).await?;
    ask(store, session, ["a"]).await?;
    let request = agentx_core::LeaseRequest::new("h", at(1), at(2));
    store.leases.acquire_lease(session, &request).await?;
    Ok(())
}
