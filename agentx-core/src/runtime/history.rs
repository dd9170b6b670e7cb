//! A session's messages: read in pages, and as a model is shown them.

use crate::{
    Error, ErrorKind, Message, MessageBody, MessageId, MessagePage, Result, SessionId, SessionRepository,
    SessionRepositoryExt as _, StoredMessage, ToolCall, message::place_of_result,
};

const PAGE: usize = 1000;

/// All messages of a session, oldest first, the results of an answer in the order of its calls.
pub(super) async fn read(sessions: &dyn SessionRepository, session: &SessionId) -> Result<Vec<Message>> {
    let mut messages = Vec::new();
    read_range(sessions, session, Range { after: 0, before: None }, |message| {
        let place = match &message.body {
            MessageBody::Tool(result) => {
                place_of_result(&messages, |message: &Message| &message.body, result)
            }
            _ => messages.len(),
        };
        messages.insert(place, message);
    })
    .await?;
    Ok(messages)
}

/// Places of messages.
#[derive(Clone, Copy)]
struct Range {
    after: u64,
    before: Option<u64>,
}

async fn read_range(
    sessions: &dyn SessionRepository,
    session: &SessionId,
    range: Range,
    mut take: impl FnMut(Message),
) -> Result<()> {
    let mut page = MessagePage::after(range.after, PAGE);
    loop {
        let stored = sessions.list_messages(session, page).await?;
        let full = stored.len() >= PAGE;
        for stored in stored {
            if range.before.is_some_and(|before| stored.seq >= before) {
                return Ok(());
            }
            page.after = Some(stored.seq);
            take(stored.message);
        }
        if !full {
            return Ok(());
        }
    }
}

/// The messages that a model is shown: from the latest summary on, without what was rewound. What is read grows with
/// them, and not with the session.
pub(super) async fn load(sessions: &dyn SessionRepository, session: &SessionId) -> Result<Vec<Message>> {
    let place = async |id: &MessageId| match sessions.find_message(session, id).await? {
        Some(stored) => Ok(stored.seq),
        None => Err(Error::new(ErrorKind::Corrupt, "load history")
            .with_path(id)
            .with_message("a summary or a rewind refers to it, and it is not there")),
    };
    // From the end to the beginning: a rewind goes on with what was there before the message that it names.
    let (mut ranges, mut shown, mut before) = (Vec::new(), Vec::new(), None);
    loop {
        let Some(mark) = sessions.find_mark(session, before).await? else {
            ranges.push(Range { after: 0, before });
            break;
        };
        match &mark.message.body {
            MessageBody::Summary { through, .. } => {
                ranges.push(Range { after: place(through).await?, before });
                shown.push(mark.message);
                break;
            }
            MessageBody::Rewind { before: gone, .. } => {
                ranges.push(Range { after: mark.seq, before });
                before = Some(place(gone).await?);
            }
            _ => {
                return Err(Error::new(ErrorKind::Corrupt, "load history")
                    .with_path(&mark.message.id)
                    .with_message("it is neither a summary nor a rewind"));
            }
        }
    }
    for range in ranges.into_iter().rev() {
        read_range(sessions, session, range, |message| match &message.body {
            // The summary with which all began, or one that a later one stands for.
            MessageBody::Summary { .. } => {}
            _ => add(&mut shown, message),
        })
        .await?;
    }
    Ok(shown)
}

/// What it does to go back to before the message at `place`: the last message that is kept, and how many are not.
pub(super) async fn cut(
    sessions: &dyn SessionRepository,
    session: &SessionId,
    place: u64,
) -> Result<(Option<MessageId>, u64)> {
    let rewound = sessions.rewound(session).await?;
    let is_part = |stored: &StoredMessage| stored.message.body.is_said() && rewound.keeps(stored);
    let (mut removed, mut page) = (0, MessagePage::after(place.saturating_sub(1), PAGE));
    loop {
        let stored = sessions.list_messages(session, page).await?;
        removed += stored.iter().filter(|stored| is_part(stored)).count() as u64;
        match stored.last() {
            Some(last) if stored.len() >= PAGE => page.after = Some(last.seq),
            _ => break,
        }
    }
    // Mostly it stands right before, behind the last mark; nothing is read that is older than it needs to be.
    let mut end = place;
    loop {
        let begin = sessions.find_mark(session, Some(end)).await?.map_or(0, |mark| mark.seq);
        let kept = last_within(sessions, session, (begin, end), is_part).await?;
        if kept.is_some() || begin == 0 {
            return Ok((kept, removed));
        }
        end = begin;
    }
}

/// The last message behind a place and before another that is looked for.
async fn last_within(
    sessions: &dyn SessionRepository,
    session: &SessionId,
    (after, before): (u64, u64),
    is_part: impl Fn(&StoredMessage) -> bool,
) -> Result<Option<MessageId>> {
    let (mut last, mut page) = (None, MessagePage::after(after, PAGE));
    loop {
        let stored = sessions.list_messages(session, page).await?;
        let full = stored.len() >= PAGE;
        for stored in stored {
            if stored.seq >= before {
                return Ok(last);
            }
            page.after = Some(stored.seq);
            if is_part(&stored) {
                last = Some(stored.message.id);
            }
        }
        if !full {
            return Ok(last);
        }
    }
}

/// Adds a message to what a model is shown.
pub(super) fn add(shown: &mut Vec<Message>, message: Message) {
    let place = |shown: &[Message], id: &MessageId| shown.iter().position(|message| message.id == *id);
    match &message.body {
        MessageBody::Summary { through, .. } => {
            let behind = place(shown, through).map_or(0, |place| place + 1);
            shown.splice(..behind, [message]);
        }
        MessageBody::Rewind { before, .. } => {
            if let Some(place) = place(shown, before) {
                shown.truncate(place);
            }
        }
        // What was offloaded is shown in short: whoever shows it cuts it.
        MessageBody::Offload { .. } => shown.push(message),
        body if body.is_shown() => shown.push(message),
        _ => {}
    }
}

/// The ids of what a model sees.
pub(super) fn shown_ids(messages: &[Message]) -> Vec<MessageId> {
    messages.iter().filter(|message| message.body.is_shown()).map(|message| message.id.clone()).collect()
}

/// The last assistant message and its calls that have no result, if there are any.
pub(super) fn open_calls(messages: &[Message]) -> Option<(&MessageId, Vec<&ToolCall>)> {
    let last = messages.iter().rposition(|message| matches!(message.body, MessageBody::Assistant(_)))?;
    let (head, rest) = messages.get(last..)?.split_first()?;
    let MessageBody::Assistant(assistant) = &head.body else { return None };
    let answered = |call: &ToolCall| {
        rest.iter().any(
            |message| matches!(&message.body, MessageBody::Tool(result) if result.tool_call_id == call.id),
        )
    };
    let open: Vec<_> = assistant.tool_calls().filter(|call| !answered(call)).collect();
    (!open.is_empty()).then_some((&head.id, open))
}
