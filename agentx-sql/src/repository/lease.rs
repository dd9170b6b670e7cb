use agentx_core::{
    Append, Error, ErrorKind, Fence, Lease, LeaseRepository, LeaseRequest, Result, Retry, SessionId,
};
use async_trait::async_trait;

use super::{SqlRepositories, column, session::missing, told};
use crate::{Row, Rows, Statement};

const ACQUIRE: &str = "INSERT INTO leases (session_id, token, holder, held, until) \
    SELECT ?1, 1, ?2, 1, ?3 FROM sessions WHERE session_id = ?1 \
    ON CONFLICT (session_id) DO UPDATE \
    SET token = leases.token + 1, holder = excluded.holder, held = 1, until = excluded.until \
    WHERE leases.held = 0 OR leases.until <= ?4 OR leases.token = ?5 RETURNING token, holder, until";

/// A row without a token where nobody holds the lease; none where the session is missing.
const FIND: &str = "SELECT l.token AS token, l.holder AS holder, l.until AS until \
    FROM sessions s LEFT JOIN leases l ON l.session_id = s.session_id AND l.held = 1 WHERE s.session_id = ?1";

/// They stay held, which tells that something may be open.
const END: &str = "UPDATE leases SET until = 0 WHERE held = 1";

const HOLD: &str = "UPDATE leases SET until = ?4 \
    WHERE session_id = ?1 AND token = ?2 AND holder = ?3 AND held = 1 RETURNING held";

const RETAKE: &str = "UPDATE leases SET token = ?2, held = 1, until = ?4 \
    WHERE session_id = ?1 AND token = ?2 - 1 AND holder = ?3 RETURNING held";

/// Fails where there is a lease already, and with it the whole batch.
const BEGIN: &str = "INSERT INTO leases (session_id, token, holder, held, until) \
    SELECT session_id, ?2, ?3, 1, ?4 FROM sessions \
    WHERE session_id = ?1 AND (EXISTS (SELECT 1 FROM leases WHERE session_id = ?1) \
    OR NOT EXISTS (SELECT 1 FROM events WHERE session_id = ?1)) RETURNING held";

/// Whoever had it last.
const ANY: &str = "SELECT token FROM leases WHERE session_id = ?1";

const RELEASE: &str = "UPDATE leases \
    SET held = EXISTS (SELECT 1 FROM queue WHERE session_id = ?1), until = ?4 \
    WHERE session_id = ?1 AND token = ?2 AND holder = ?3 AND held = 1 RETURNING held";

/// What each statement of an append under a lease asks for.
pub(super) struct Guard<'a>(pub(super) &'a Lease);

impl Guard<'_> {
    /// Adds the token and the holder, as the last two parameters.
    pub(super) fn bind(&self, statement: Statement) -> Statement {
        statement.bind(column::clamped(self.0.token)).bind(self.0.holder.as_str())
    }
}

impl SqlRepositories {
    /// Ends all leases, so that nobody has to wait for the end of those that a dead process left. For a host that knows
    /// that no other process uses the database: who holds one all the same is refused from the next append on that another
    /// made its own.
    ///
    /// # Errors
    /// Whatever the database reports.
    pub async fn end_leases(&self) -> Result<()> {
        self.run("end leases", "leases", vec![Statement::new(END)]).await.map(drop)
    }
}

#[async_trait]
impl LeaseRepository for SqlRepositories {
    async fn acquire_lease(&self, session: &SessionId, request: &LeaseRequest) -> Result<Lease> {
        let operation = "acquire lease";
        let batch = vec![
            Statement::new(ACQUIRE)
                .bind(session.as_str())
                .bind(request.holder.as_str())
                .bind(column::from_moment(operation, request.until)?)
                .bind(column::from_moment(operation, request.now)?)
                .bind(request.last.map(column::clamped)),
            Statement::new(FIND).bind(session.as_str()),
        ];
        let results = self.executor.execute(batch).await;
        let results = results.map_err(|error| told(&error, operation, session.as_str()))?;
        if let Some(row) = results.first().and_then(Rows::first) {
            return record(row);
        }
        let held = results.get(1).and_then(Rows::first).ok_or_else(|| missing(operation, session))?;
        let held = record(held)?;
        Err(Error::new(ErrorKind::Busy, operation)
            .with_path(session)
            .with_message(format!("{} has it until {}", held.holder, held.until))
            .with_retry(Retry::After(Some(held.until.since(request.now)))))
    }

    async fn find_lease(&self, session: &SessionId) -> Result<Option<Lease>> {
        let operation = "find lease";
        let statement = Statement::new(FIND).bind(session.as_str());
        let rows = self.run(operation, session.as_str(), vec![statement]).await?;
        let row = rows.first().ok_or_else(|| missing(operation, session))?;
        match row.optional_text("holder")? {
            Some(_) => record(row).map(Some),
            None => Ok(None),
        }
    }
}

impl SqlRepositories {
    /// Whether an append failed since its session is not new.
    pub(super) async fn has_begun(
        &self,
        session: &SessionId,
        append: &Append,
        error: &Error,
    ) -> Result<bool> {
        if error.kind() != ErrorKind::AlreadyExists || !matches!(append.fence, Fence::Begin(_)) {
            return Ok(false);
        }
        let statement = Statement::new(ANY).bind(session.as_str());
        Ok(self.run("find lease", session.as_str(), vec![statement]).await?.first().is_some())
    }
}

fn record(row: Row<'_>) -> Result<Lease> {
    Ok(Lease::new(column::natural(row, "token")?, row.text("holder")?, column::moment(row, "until")?))
}

/// What an append does to the lease before anything else.
pub(super) fn before(
    operation: &'static str,
    session: &SessionId,
    fence: &Fence,
) -> Result<Option<Statement>> {
    match fence {
        Fence::Hold(lease) => statement(HOLD, operation, session, lease).map(Some),
        Fence::Retake(lease) => statement(RETAKE, operation, session, lease).map(Some),
        Fence::Begin(lease) => statement(BEGIN, operation, session, lease).map(Some),
        _ => Ok(None),
    }
}

/// What an append does to the lease when all else is done.
pub(super) fn behind(
    operation: &'static str,
    session: &SessionId,
    fence: &Fence,
) -> Result<Option<Statement>> {
    match fence {
        Fence::Release(lease) => statement(RELEASE, operation, session, lease).map(Some),
        _ => Ok(None),
    }
}

fn statement(
    sql: &'static str,
    operation: &'static str,
    session: &SessionId,
    lease: &Lease,
) -> Result<Statement> {
    let statement = Guard(lease).bind(Statement::new(sql).bind(session.as_str()));
    Ok(statement.bind(column::from_moment(operation, lease.until)?))
}

/// Whether the lease was given back; an error where the fence did not hold, so that nothing was added.
pub(super) fn settled(session: &SessionId, fence: &Fence, results: &[Rows]) -> Result<bool> {
    let answer = match fence {
        Fence::Hold(_) | Fence::Retake(_) | Fence::Begin(_) => results.first(),
        Fence::Release(_) => results.iter().rev().nth(1),
        _ => return Ok(false),
    };
    let row = answer.and_then(Rows::first).ok_or_else(|| stale(session))?;
    Ok(row.integer("held")? == 0)
}

pub(super) fn stale(session: &SessionId) -> Error {
    Error::new(ErrorKind::ConditionFailed, "append")
        .with_path(session)
        .with_message("the lease is not current")
}
