use agentx_core::{
    Append, ErrorKind, EventData, EventPage, Fence, Lease, LeaseRequest, MessageId, NewEvent, QueuedMessage,
    SessionId, SessionRepositoryExt as _,
};
use futures::future::join_all;

use super::support::{Store, all, at, event, message, put};
use crate::{
    Failure, Outcome,
    failure::{ensure, ensure_eq, ensure_kind},
};

/// A request at `now`, for 10 ms.
fn request(holder: &str, now: u64) -> LeaseRequest {
    LeaseRequest::new(holder, at(now), at(now + 10))
}

/// A lease that is held is refused to others, who are told so; it is no one's before the first asks.
pub(super) async fn lease_taken(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let (_, other) = put(&store, "j", "c").await?;
    let session = &session.session_id;
    ensure_eq(store.leases.find_lease(session).await?, None, "the lease before the first")?;
    let lease = store.leases.acquire_lease(session, &request("a", 100)).await?;
    ensure_eq((lease.holder.as_str(), lease.until), ("a", at(110)), "the lease")?;
    ensure_eq(store.leases.find_lease(session).await?, Some(lease.clone()), "the lease that is held")?;
    for holder in ["a", "b"] {
        let refused = store.leases.acquire_lease(session, &request(holder, 109)).await;
        ensure_kind(refused, ErrorKind::Busy, "a lease that is held")?;
    }
    ensure_eq(store.leases.find_lease(session).await?, Some(lease), "the lease that is still held")?;
    store.leases.acquire_lease(&other.session_id, &request("b", 100)).await?;
    let missing = SessionId::new("missing")?;
    let refused = store.leases.acquire_lease(&missing, &request("a", 1)).await;
    ensure_kind(refused, ErrorKind::NotFound, "a lease of a session that is not there")?;
    let refused = store.leases.find_lease(&missing).await;
    ensure_kind(refused, ErrorKind::NotFound, "the lease of a session that is not there")
}

/// At its end a lease is taken over, with a greater token.
pub(super) async fn lease_ended(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let session = &session.session_id;
    let first = store.leases.acquire_lease(session, &request("a", 100)).await?;
    let second = store.leases.acquire_lease(session, &request("b", 110)).await?;
    ensure(second.token > first.token, "the token does not grow")?;
    ensure_eq(store.leases.find_lease(session).await?, Some(second), "the lease")
}

/// Who had the lease last may take it anew while it lasts, and sees by the token that nobody else had it.
pub(super) async fn lease_last(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let session = &session.session_id;
    let first = store.leases.acquire_lease(session, &request("a", 100)).await?;
    let wrong = request("b", 101).with_last(Some(first.token + 7));
    let refused = store.leases.acquire_lease(session, &wrong).await;
    ensure_kind(refused, ErrorKind::Busy, "a lease with a token that never was")?;
    let again = request("a", 101).with_last(Some(first.token));
    let second = store.leases.acquire_lease(session, &again).await?;
    ensure_eq(second.token, first.token + 1, "the token")
}

/// What a holder adds that has lost the lease is refused, all of it.
pub(super) async fn lease_fence(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let session = &session.session_id;
    let queued = QueuedMessage::new(MessageId::new("q")?, vec![], at(1));
    store.inbox.enqueue_message(session, &queued, 9).await?;
    let old = store.leases.acquire_lease(session, &request("a", 100)).await?;
    let new = store.leases.acquire_lease(session, &request("b", 110)).await?;
    let never = Lease::new(new.token, "c", at(200));
    let said = EventData::UserMessage(message("m", "x")?);
    for (fence, what) in [
        (Fence::Hold(old.clone()), "an old token"),
        (Fence::Release(old), "a release of an old token"),
        (Fence::Hold(never), "the token of another"),
    ] {
        let append = Append::new(vec![NewEvent::new(at(5), None, said.clone())])
            .with_fence(fence)
            .with_taken(vec![queued.id.clone()]);
        ensure_kind(store.sessions.append(session, &append).await, ErrorKind::ConditionFailed, what)?;
        ensure_eq(all(&store, session).await?, vec![], format!("{what}: the messages"))?;
        ensure_eq(store.sessions.last_event(session).await?, 1, format!("{what}: the last event"))?;
        ensure_eq(store.inbox.list_queued(session, 9).await?.len(), 1, format!("{what}: the queue"))?;
        ensure_eq(store.leases.find_lease(session).await?, Some(new.clone()), format!("{what}: the lease"))?;
    }
    let append = Append::new(vec![NewEvent::new(at(5), None, said)]).with_fence(Fence::Hold(new));
    store.sessions.append(session, &append).await?;
    ensure_eq(all(&store, session).await?.len(), 1, "the message of the current lease")
}

/// An append moves the end of its lease, also one of nothing.
pub(super) async fn lease_held(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let session = &session.session_id;
    let mut lease = store.leases.acquire_lease(session, &request("a", 100)).await?;
    for until in [150, 200] {
        lease.until = at(until);
        store.sessions.renew_lease(session, lease.clone()).await?;
        let refused = store.leases.acquire_lease(session, &request("b", until - 1)).await;
        ensure_kind(refused, ErrorKind::Busy, "a lease that was renewed")?;
        ensure_eq(store.leases.find_lease(session).await?, Some(lease.clone()), "the lease")?;
    }
    Ok(())
}

/// Who gave the lease back takes it with an append, unless another had it since.
pub(super) async fn lease_retaken(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let session = &session.session_id;
    let said = |number: u64| NewEvent::new(at(number), None, event(number));
    let first = store.leases.acquire_lease(session, &request("a", 100)).await?;
    ensure(store.sessions.release_lease(session, first.clone()).await?, "it is not given back")?;
    let second = Lease::new(first.token + 1, "a", at(120));
    let append = Append::new(vec![said(1)]).with_fence(Fence::Retake(second.clone()));
    store.sessions.append(session, &append).await?;
    ensure_eq(store.leases.find_lease(session).await?, Some(second.clone()), "the lease")?;
    store.sessions.release_lease(session, second.clone()).await?;

    let other = store.leases.acquire_lease(session, &request("b", 130)).await?;
    store.sessions.release_lease(session, other.clone()).await?;
    for token in [second.token + 1, other.token + 1] {
        let stale = Append::new(vec![said(2)]).with_fence(Fence::Retake(Lease::new(token, "a", at(200))));
        let refused = store.sessions.append(session, &stale).await;
        ensure_kind(refused, ErrorKind::ConditionFailed, "a lease that another had since")?;
    }
    ensure_eq(store.sessions.last_event(session).await?, 1, "the last event")
}

/// Who is the first of a new session takes its lease with an append.
pub(super) async fn lease_begun(store: Store) -> Outcome {
    let said = |number: u64| NewEvent::new(at(number), None, event(number));
    let begin = |number, holder| {
        Append::new(vec![said(number)]).with_fence(Fence::Begin(Lease::new(1, holder, at(100))))
    };
    let (_, session) = put(&store, "i", "c").await?;
    let session = &session.session_id;
    store.sessions.append(session, &begin(1, "a")).await?;
    let taken = store.leases.find_lease(session).await?;
    ensure_eq(taken, Some(Lease::new(1, "a", at(100))), "the lease")?;
    for holder in ["a", "b"] {
        let refused = store.sessions.append(session, &begin(2, holder)).await;
        ensure_kind(refused, ErrorKind::ConditionFailed, "a session that has begun")?;
    }
    ensure(
        store.sessions.release_lease(session, Lease::new(1, "a", at(120))).await?,
        "it is not given back",
    )?;
    let refused = store.sessions.append(session, &begin(2, "b")).await;
    ensure_kind(refused, ErrorKind::ConditionFailed, "a lease that was given back")?;
    ensure_eq(store.sessions.last_event(session).await?, 1, "the last event")?;

    let (_, other) = put(&store, "j", "d").await?;
    let other = &other.session_id;
    store.sessions.append(other, &Append::new(vec![said(1)])).await?;
    let refused = store.sessions.append(other, &begin(2, "a")).await;
    ensure_kind(refused, ErrorKind::ConditionFailed, "a session that has an event")?;
    ensure_eq(store.leases.find_lease(other).await?, None, "the lease of a session that has an event")?;
    let missing = store.sessions.append(&SessionId::new("missing")?, &begin(1, "a")).await;
    ensure_kind(missing, ErrorKind::NotFound, "a missing session")
}

/// A lease that was given back is no one's. It is not given back while messages are queued.
pub(super) async fn lease_released(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let session = &session.session_id;
    let lease = store.leases.acquire_lease(session, &request("a", 100)).await?;
    let queued = QueuedMessage::new(MessageId::new("q")?, vec![], at(1));
    store.inbox.enqueue_message(session, &queued, 9).await?;
    let mut later = lease.clone();
    later.until = at(150);
    ensure(!store.sessions.release_lease(session, later.clone()).await?, "a message is queued")?;
    ensure_eq(store.leases.find_lease(session).await?, Some(later), "the lease that is held on to")?;
    let append = Append::default().with_fence(Fence::Release(lease.clone())).with_taken(vec![queued.id]);
    ensure(store.sessions.append(session, &append).await?.released, "the queue is empty")?;
    ensure_eq(store.leases.find_lease(session).await?, None, "the lease that was given back")?;
    let refused = store.sessions.renew_lease(session, lease.clone()).await;
    ensure_kind(refused, ErrorKind::ConditionFailed, "a lease that was given back")?;
    let next = store.leases.acquire_lease(session, &request("b", 101)).await?;
    ensure(next.token > lease.token, "the token does not grow")
}

/// Of many that ask at once, one gets the lease.
pub(super) async fn lease_race(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let racers = (0..16).map(|racer| {
        let (store, session) = (store.clone(), session.session_id.clone());
        let request = request(&format!("h{racer}"), 100);
        tokio::spawn(async move { store.leases.acquire_lease(&session, &request).await })
    });
    let mut winners = 0;
    for result in join_all(racers).await {
        match result.map_err(|error| Failure::new(error.to_string()))? {
            Ok(_) => winners += 1,
            lost => ensure_kind(lost, ErrorKind::Busy, "a lease that another took")?,
        }
    }
    ensure_eq(winners, 1, "the winners")?;
    ensure(
        store.sessions.list_events(&session.session_id, EventPage::last(1)).await?.is_empty(),
        "a lease is no event",
    )
}
