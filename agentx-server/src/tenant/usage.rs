use agentx_core::Result;
use agentx_sql::{Statement, Value};

use super::Tenants;
use crate::Owner;

/// Milliseconds of a day.
const DAY: u64 = 24 * 60 * 60 * 1_000;

/// How many days are kept.
const KEPT: u64 = 400;

/// What an owner sent on one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// The day: how many there were since 1970, in UTC.
    pub day: u64,
    /// Messages.
    pub messages: u64,
    /// Bytes, in messages and files.
    pub bytes: u64,
}

impl Usage {
    /// Nothing yet on the day of this moment.
    pub fn of_day(moment: agentx_core::Timestamp) -> Self {
        Self { day: moment.as_millis() / DAY, ..Self::default() }
    }
}

impl Tenants {
    /// What an owner sent on a day.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub async fn usage(&self, owner: &Owner, day: u64) -> Result<Usage> {
        let statement =
            Statement::new("SELECT messages, bytes FROM tenant_usage WHERE tenant_id = ?1 AND day = ?2")
                .bind(owner.as_str())
                .bind(number(day));
        let rows = self.run("read usage", owner.as_str(), vec![statement]).await?;
        let Some(row) = rows.first() else { return Ok(Usage { day, ..Usage::default() }) };
        let count = |column| row.integer(column).map(|count| u64::try_from(count).unwrap_or_default());
        Ok(Usage { day, messages: count("messages")?, bytes: count("bytes")? })
    }

    /// Stores what an owner sent on a day; less than what is stored changes nothing.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub async fn save_usage(&self, owner: &Owner, usage: Usage) -> Result<()> {
        let save = Statement::new(
            "INSERT INTO tenant_usage (tenant_id, day, messages, bytes) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (tenant_id, day) DO UPDATE \
             SET messages = max(messages, excluded.messages), bytes = max(bytes, excluded.bytes)",
        )
        .bind(owner.as_str())
        .bind(number(usage.day))
        .bind(number(usage.messages))
        .bind(number(usage.bytes));
        let forget = Statement::new("DELETE FROM tenant_usage WHERE tenant_id = ?1 AND day < ?2")
            .bind(owner.as_str())
            .bind(number(usage.day.saturating_sub(KEPT)));
        self.run("save usage", owner.as_str(), vec![save, forget]).await.map(drop)
    }
}

fn number(count: u64) -> Value {
    Value::Integer(
        i64::try_from(count).map_or(agentx_sql::MAX_INTEGER, |count| count.min(agentx_sql::MAX_INTEGER)),
    )
}
