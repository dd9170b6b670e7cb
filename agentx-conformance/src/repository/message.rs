use agentx_core::{
    AssistantMessage, AssistantPart, ContentPart, ErrorKind, ImageId, Message, MessageBody, MessageId,
    MessagePage, SessionId, SessionRepositoryExt as _, StopReason, ToolCall, ToolOutput, ToolResult, Usage,
};
use futures::future::join_all;
use serde_json::json;

use super::support::{Store, all, at, message, no_image, no_session, put};
use crate::{
    Failure, Outcome,
    failure::{ensure, ensure_eq, ensure_kind},
};

/// Without a session there are no messages: not even none of them.
pub(super) async fn session_missing(store: Store) -> Outcome {
    no_session(&store, &SessionId::new("s")?).await
}

/// Appending nothing changes nothing, and tells the last place.
pub(super) async fn message_none(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    store.sessions.append_messages(&session.session_id, &[]).await?;
    ensure_eq(all(&store, &session.session_id).await?, vec![], "the messages")?;
    let place = store.sessions.append_messages(&session.session_id, &[message("m", "hi")?]).await?;
    let same = store.sessions.append_messages(&session.session_id, &[]).await?;
    ensure_eq(same, place, "the last place")
}

/// Every kind of message comes back as it was.
pub(super) async fn message_kinds(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let mut assistant = AssistantMessage::new(vec![
        AssistantPart::Thinking { reasoning: "hm".to_owned(), signature: Some("sig==".to_owned()) },
        AssistantPart::text("I look."),
        AssistantPart::ToolCall(ToolCall::new("call_1", "bash", json!({"command": "ls", "n": [1.5, null]}))),
        AssistantPart::ToolCall(ToolCall::from_json("call_2", "bash", "{\"broken")),
        AssistantPart::Opaque { provider: "anthropic".to_owned(), json: "{ \"a\":1.0 }".to_owned() },
        AssistantPart::Other(json!({"type": "hologram", "beam": [1, 2]})),
    ]);
    assistant.model = Some("model-1".to_owned());
    assistant.usage = Some(Usage::new(u64::MAX, 2));
    assistant.stop_reason = Some(StopReason::Other("new_reason".to_owned()));
    let outputs = vec![
        ToolOutput::text("a\n"),
        ToolOutput::Json(json!({"rows": []})),
        ToolOutput::error("no"),
        ToolOutput::ErrorJson(json!(null)),
        ToolOutput::ExecutionDenied("never".to_owned()),
        ToolOutput::Content(vec![
            ContentPart::Image { data: "AAAA".to_owned(), media_type: "image/png".to_owned() },
            ContentPart::File {
                data: String::new(),
                media_type: "application/pdf".to_owned(),
                filename: Some("a.pdf".to_owned()),
            },
            ContentPart::Other(json!({"type": "smell"})),
        ]),
    ];
    let mut bodies = vec![MessageBody::user("hi"), MessageBody::Assistant(assistant)];
    bodies.extend(
        outputs.into_iter().map(|output| MessageBody::Tool(ToolResult::new("call_1", "bash", output))),
    );
    bodies.push(MessageBody::Error { content: "overloaded".to_owned(), code: Some("busy".to_owned()) });
    bodies.push(MessageBody::Error { content: String::new(), code: None });
    let mut messages = Vec::new();
    for (index, body) in bodies.into_iter().enumerate() {
        messages.push(Message::new(MessageId::new(format!("m{index}"))?, at(index as u64), body));
    }
    let place = store.sessions.append_messages(&session.session_id, &messages).await?;
    let page = store.sessions.list_messages(&session.session_id, MessagePage::first(1000)).await?;
    ensure_eq(page.last().map(|stored| stored.seq), Some(place), "the place of the last")?;
    ensure_eq(all(&store, &session.session_id).await?, messages, "the messages")
}

/// Numbers and text survive to the last bit.
pub(super) async fn message_fidelity(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let input = json!({
        "integers": [u64::MAX, i64::MIN, 9_007_199_254_740_993_u64],
        "floats": [0.1 + 0.2, f64::MIN_POSITIVE, f64::MAX, 1.0, 64.843_158_999_999_99, 5e-324, 1.234_567_890_123_456_7e22],
        "text": "\0\u{1}\u{7f}\u{2028}\u{feff}\u{10ffff} \"\\/ ü e\u{301}",
        "": {},
    });
    let call = AssistantPart::ToolCall(ToolCall::new("call", "t", input));
    let body = MessageBody::Assistant(AssistantMessage::new(vec![call]));
    let exact = Message::new(MessageId::new("m1")?, at(1), body);
    let messages = vec![exact, message("m2", "")?, message("m3", &"ü\n".repeat(200_000))?];
    store.sessions.append_messages(&session.session_id, &messages).await?;
    ensure_eq(all(&store, &session.session_id).await?, messages, "the messages")
}

/// The first moment and the last that a float holds exactly come back; the order of messages is not that of time.
pub(super) async fn message_moments(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let mut messages = vec![message("late", "x")?, message("early", "x")?, message("between", "x")?];
    for (message, time) in messages.iter_mut().zip([(1 << 53) - 1, 0, 1_790_000_000_000]) {
        message.timestamp = at(time);
    }
    store.sessions.append_messages(&session.session_id, &messages).await?;
    ensure_eq(all(&store, &session.session_id).await?, messages, "the messages")
}

/// A message's id is given once in a session. A batch with one that is taken adds nothing.
pub(super) async fn message_taken(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let first = message("m1", "first")?;
    store.sessions.append_messages(&session.session_id, std::slice::from_ref(&first)).await?;
    let batches = [vec![message("m1", "again")?], vec![message("m2", "new")?, message("m1", "again")?]];
    for batch in batches {
        let appended = store.sessions.append_messages(&session.session_id, &batch).await;
        ensure_kind(appended, ErrorKind::AlreadyExists, "a message's id that is taken")?;
        ensure_eq(all(&store, &session.session_id).await?, vec![first.clone()], "the messages")?;
    }
    store.sessions.append_messages(&session.session_id, &[message("m2", "new")?]).await?;
    Ok(())
}

/// The same holds for an id that one batch gives twice.
pub(super) async fn message_taken_in_batch(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let batch = [message("m1", "a")?, message("m2", "b")?, message("m1", "c")?];
    let appended = store.sessions.append_messages(&session.session_id, &batch).await;
    ensure_kind(appended, ErrorKind::AlreadyExists, "a message's id that is given twice")?;
    ensure_eq(all(&store, &session.session_id).await?, vec![], "the messages")
}

/// Two sessions may each have a message of one id.
pub(super) async fn message_in_two_sessions(store: Store) -> Outcome {
    for id in ["i1", "i2"] {
        let (_, session) = put(&store, id, "c").await?;
        let said = message("m", id)?;
        store.sessions.append_messages(&session.session_id, std::slice::from_ref(&said)).await?;
        ensure_eq(all(&store, &session.session_id).await?, vec![said], "the messages")?;
    }
    Ok(())
}

/// Pages of any size, one behind the other, give every message once; behind the last there is none.
pub(super) async fn message_pages(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let (_, other) = put(&store, "j", "c").await?;
    let mut messages = Vec::new();
    for number in 0..25 {
        messages.push(message(format!("m{number}"), "x")?);
    }
    for batch in messages.chunks(4) {
        store.sessions.append_messages(&session.session_id, batch).await?;
        store.sessions.append_messages(&other.session_id, batch).await?;
    }
    for limit in [1, 7, 25, 26, usize::MAX] {
        let (mut found, mut page) = (Vec::new(), MessagePage::first(limit));
        loop {
            let stored = store.sessions.list_messages(&session.session_id, page).await?;
            ensure(stored.len() <= limit, format!("a page of {limit} has {} messages", stored.len()))?;
            let Some(last) = stored.last() else { break };
            page = MessagePage::after(last.seq, limit);
            found.extend(stored.into_iter().map(|stored| stored.message));
            ensure(found.len() <= messages.len(), format!("pages of {limit} give a message twice"))?;
        }
        ensure_eq(&found, &messages, format!("pages of {limit}"))?;
    }
    for page in [MessagePage::first(0), MessagePage::after(u64::MAX, 1), MessagePage::after(u64::MAX, 0)] {
        let stored = store.sessions.list_messages(&session.session_id, page).await?;
        ensure_eq(stored, vec![], format!("{page:?}"))?;
    }
    Ok(())
}

/// Places grow from append to append, and each answer is the place of its last message.
pub(super) async fn message_places(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let mut before = None;
    for number in 0..10 {
        let batch = [message(format!("a{number}"), "x")?, message(format!("b{number}"), "x")?];
        let place = store.sessions.append_messages(&session.session_id, &batch).await?;
        ensure(before < Some(place), "places do not grow")?;
        let page = before.map_or(MessagePage::first(10), |before| MessagePage::after(before, 10));
        let stored = store.sessions.list_messages(&session.session_id, page).await?;
        ensure_eq(stored.len(), 2, "the messages behind the last place")?;
        ensure_eq(stored.last().map(|stored| stored.seq), Some(place), "the place of the last")?;
        before = Some(place);
    }
    Ok(())
}

/// Appends from many sides at once are all there, each batch in its order and in one piece.
pub(super) async fn message_race(store: Store) -> Outcome {
    let (_, session) = put(&store, "i", "c").await?;
    let racers = (0..16).map(|racer| {
        let (store, session) = (store.clone(), session.session_id.clone());
        tokio::spawn(async move {
            for round in 0..5 {
                let id = |part: &str| format!("m-{racer}-{round}-{part}");
                let batch = [message(id("a"), "x")?, message(id("b"), "x")?];
                store.sessions.append_messages(&session, &batch).await?;
            }
            Ok::<_, Failure>(())
        })
    });
    for result in join_all(racers).await {
        result.map_err(|error| Failure::new(error.to_string()))??;
    }
    let found: Vec<String> =
        all(&store, &session.session_id).await?.into_iter().map(|message| message.id.to_string()).collect();
    ensure_eq(found.len(), 160, "the messages")?;
    for pair in found.chunks(2) {
        let [first, second] = pair else { return Err(Failure::new("half a batch")) };
        let piece = first.strip_suffix("-a").is_some_and(|batch| *second == format!("{batch}-b"));
        ensure(piece, format!("a batch is torn: {first} stands before {second}"))?;
    }
    Ok(())
}

/// An append that races the removal of its session is done before it or refused, and leaves nothing behind.
pub(super) async fn message_append_while_deleted(store: Store) -> Outcome {
    for round in 0..10 {
        let gone = put(&store, &format!("i{round}"), "c").await?;
        let (also, session) = (store.clone(), gone.1.session_id.clone());
        let said = message("m", "x")?;
        let appender = tokio::spawn(async move { also.sessions.append_messages(&session, &[said]).await });
        store.images.delete_image(&gone.0.image_id).await?;
        // Whether it came first is left open; what is left is not.
        match appender.await.map_err(|error| Failure::new(error.to_string()))? {
            Ok(_) => {}
            refused => ensure_kind(refused, ErrorKind::NotFound, "an append to a session that is removed")?,
        }
        no_image(&store, &gone).await?;
        put(&store, &format!("i{round}"), "c").await?;
        ensure_eq(all(&store, &gone.1.session_id).await?, vec![], "the messages of the new session")?;
    }
    Ok(())
}

/// Ids that differ in the case of a letter are different ids.
pub(super) async fn ids_case(store: Store) -> Outcome {
    for id in ["a", "A"] {
        let (_, session) = put(&store, id, id).await?;
        store.sessions.append_messages(&session.session_id, &[message("m", id)?, message("M", id)?]).await?;
    }
    ensure_eq(store.containers.list_containers().await?.len(), 2, "the containers")?;
    store.images.delete_image(&ImageId::new("a")?).await?;
    let left = all(&store, &SessionId::new("of-A")?).await?;
    ensure_eq(left, vec![message("m", "A")?, message("M", "A")?], "the messages of the other")
}
