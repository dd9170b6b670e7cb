//! Approvals that wait for an answer.

use agentx_core::{
    ApprovalId, ApprovalRecord, Decision, Error, ErrorKind, EventData, PendingApproval, Result, SessionId,
    Timestamp,
};

use super::{Guard, column};
use crate::{Row, Rows, Statement};

macro_rules! columns {
    () => {
        "approval_id, session_id, turn_id, call, reason, created_at, decision, answered_at, closed"
    };
}

const INSERT: &str = concat!(
    "INSERT INTO approvals (",
    columns!(),
    ") SELECT ?2, ?1, ?3, ?4, ?5, ?6, ?7, ?8, ?9 FROM sessions WHERE session_id = ?1"
);
const INSERT_HELD: &str = concat!(
    "INSERT INTO approvals (",
    columns!(),
    ") SELECT ?2, ?1, ?3, ?4, ?5, ?6, ?7, ?8, ?9 \
    FROM leases WHERE session_id = ?1 AND token = ?10 AND holder = ?11 AND held = 1"
);

const CLOSE: &str = "UPDATE approvals SET closed = 1 WHERE session_id = ?1 AND closed = 0";
const CLOSE_HELD: &str = "UPDATE approvals SET closed = 1 WHERE session_id = ?1 AND closed = 0 AND EXISTS \
    (SELECT 1 FROM leases WHERE session_id = ?1 AND token = ?2 AND holder = ?3 AND held = 1)";

pub(super) const FIND: &str = concat!("SELECT ", columns!(), " FROM approvals WHERE approval_id = ?1");
pub(super) const LIST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM approvals WHERE session_id = ?1 AND closed = 0 AND id > ?2 ORDER BY id LIMIT ?3"
);

/// Of one container, or of all where it is null.
pub(super) const LIST_PENDING: &str = "SELECT a.id AS id, s.container_id AS container_id, \
    s.image_id AS image_id, a.approval_id AS approval_id, a.session_id AS session_id, a.turn_id AS turn_id, \
    a.call AS call, a.reason AS reason, a.created_at AS created_at, a.decision AS decision, \
    a.answered_at AS answered_at, a.closed AS closed \
    FROM approvals a INDEXED BY idx_approvals_pending JOIN sessions s ON s.session_id = a.session_id \
    WHERE a.closed = 0 AND a.decision IS NULL AND a.id > ?1 AND (?2 IS NULL OR s.container_id = ?2) \
    ORDER BY a.id LIMIT ?3";

/// Tells of the answer, where there was none before.
const TELL: &str = "INSERT INTO events (session_id, seq, type, turn_id, data, created_at) \
    SELECT a.session_id, coalesce((SELECT max(e.seq) FROM events e WHERE e.session_id = a.session_id), 0) + 1, \
    ?2, a.turn_id, ?3, ?4 FROM approvals a WHERE a.approval_id = ?1 AND a.decision IS NULL AND a.closed = 0";

const ANSWER: &str = "UPDATE approvals SET decision = ?2, answered_at = ?3 \
    WHERE approval_id = ?1 AND decision IS NULL AND closed = 0 RETURNING approval_id";

pub(super) fn insert(
    operation: &'static str,
    session: &SessionId,
    approval: &ApprovalRecord,
    guard: Option<&Guard<'_>>,
) -> Result<Statement> {
    let (decision, answered_at) = match &approval.answer {
        Some((decision, at)) => {
            (Some(column::from_json(operation, decision)?), Some(column::from_moment(operation, *at)?))
        }
        None => (None, None),
    };
    let statement = Statement::new(if guard.is_some() { INSERT_HELD } else { INSERT })
        .bind(session.as_str())
        .bind(approval.approval_id.as_str())
        .bind(approval.turn_id.as_str())
        .bind(column::from_json(operation, &approval.call)?)
        .bind(approval.reason.as_str())
        .bind(column::from_moment(operation, approval.created_at)?)
        .bind(decision)
        .bind(answered_at)
        .bind(i64::from(approval.closed));
    Ok(match guard {
        Some(guard) => guard.bind(statement),
        None => statement,
    })
}

pub(super) fn close(session: &SessionId, guard: Option<&Guard<'_>>) -> Statement {
    let statement = Statement::new(if guard.is_some() { CLOSE_HELD } else { CLOSE }).bind(session.as_str());
    match guard {
        Some(guard) => guard.bind(statement),
        None => statement,
    }
}

pub(super) fn answer(
    operation: &'static str,
    id: &ApprovalId,
    decision: &Decision,
    now: Timestamp,
) -> Result<Vec<Statement>> {
    if matches!(decision, Decision::Ask(_)) {
        return Err(Error::new(ErrorKind::InvalidInput, operation)
            .with_path(id)
            .with_message("it decides nothing"));
    }
    let event = EventData::ApprovalAnswered { approval_id: id.clone(), decision: decision.clone() };
    Ok(vec![
        Statement::new(TELL)
            .bind(id.as_str())
            .bind(event.name())
            .bind(column::from_json(operation, &event)?)
            .bind(column::from_moment(operation, now)?),
        Statement::new(ANSWER)
            .bind(id.as_str())
            .bind(column::from_json(operation, decision)?)
            .bind(column::from_moment(operation, now)?),
        Statement::new(FIND).bind(id.as_str()),
    ])
}

pub(super) fn answered(operation: &'static str, id: &ApprovalId, results: &[Rows]) -> Result<ApprovalRecord> {
    let error = |kind| Error::new(kind, operation).with_path(id);
    let row = |index: usize| results.get(index).and_then(Rows::first);
    let approval = record(row(2).ok_or_else(|| error(ErrorKind::NotFound))?)?;
    match row(1) {
        Some(_) => Ok(approval),
        None if approval.closed => Err(error(ErrorKind::ConditionFailed).with_message("its turn is over")),
        None => Err(error(ErrorKind::ConditionFailed).with_message("it was answered before")),
    }
}

pub(super) fn pending(row: Row<'_>) -> Result<PendingApproval> {
    let (container, image) = (column::id(row, "container_id")?, column::id(row, "image_id")?);
    Ok(PendingApproval::new(column::natural(row, "id")?, container, image, record(row)?))
}

pub(super) fn record(row: Row<'_>) -> Result<ApprovalRecord> {
    let mut record = ApprovalRecord::new(
        column::id(row, "approval_id")?,
        column::id(row, "session_id")?,
        column::id(row, "turn_id")?,
        column::json(row, "call")?,
        row.text("reason")?,
        column::moment(row, "created_at")?,
    );
    if let Some(decision) = column::optional_json(row, "decision")? {
        record.answer = Some((decision, column::moment(row, "answered_at")?));
    }
    record.closed = row.integer("closed")? != 0;
    Ok(record)
}
