use std::num::NonZeroU32;

use agentx_core::{Error, ErrorKind, Result, Timestamp};
use agentx_sql::{Row, Statement, Value};
use serde::{Deserialize, Serialize};

use super::{Tenants, missing, now};
use crate::Owner;

/// The longest name or description, in bytes.
const LONGEST: usize = 1_024;

/// Somebody who has containers on a server, as the server was told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tenant {
    /// The owner that it is.
    pub owner: Owner,
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Whether it is kept out. What it has stays.
    pub is_suspended: bool,
    /// Its own bounds.
    pub quotas: TenantQuotas,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

/// Bounds of one tenant, in place of the server's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TenantQuotas {
    /// Requests in a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<NonZeroU32>,
    /// Turns at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turns: Option<usize>,
    /// Containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub containers: Option<usize>,
    /// Images of one container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<usize>,
    /// Messages in a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_per_day: Option<u64>,
    /// Bytes in messages and files in a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_day: Option<u64>,
    /// Sockets and streams at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<usize>,
}

/// A tenant to be made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewTenant {
    /// The owner that it is.
    pub owner: Owner,
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Its own bounds.
    pub quotas: TenantQuotas,
}

impl NewTenant {
    /// One whose name is its owner's.
    pub fn new(owner: Owner) -> Self {
        let name = owner.to_string();
        Self { owner, name, description: None, quotas: TenantQuotas::default() }
    }

    /// What people call it.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// What it is for.
    pub fn with_description(mut self, description: Option<String>) -> Self {
        self.description = description;
        self
    }

    /// Its own bounds.
    pub fn with_quotas(mut self, quotas: TenantQuotas) -> Self {
        self.quotas = quotas;
        self
    }
}

/// What changes of a tenant; everything else stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TenantChanges {
    /// What people call it.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether it is kept out.
    pub is_suspended: Option<bool>,
    /// Its own bounds, all of them.
    pub quotas: Option<TenantQuotas>,
}

impl TenantChanges {
    /// Keeps it out, or lets it in again.
    pub fn suspended(is_suspended: bool) -> Self {
        Self { is_suspended: Some(is_suspended), ..Self::default() }
    }

    /// What people call it.
    pub fn with_name(mut self, name: Option<String>) -> Self {
        self.name = name;
        self
    }

    /// What it is for.
    pub fn with_description(mut self, description: Option<String>) -> Self {
        self.description = description;
        self
    }

    /// Its own bounds, in place of those that it had.
    pub fn with_quotas(mut self, quotas: Option<TenantQuotas>) -> Self {
        self.quotas = quotas;
        self
    }
}

impl Tenants {
    /// Makes a tenant.
    ///
    /// # Errors
    /// `AlreadyExists` where there is one of this owner; `InvalidInput` for a name or description above 1,024 bytes;
    /// whatever the store reports.
    pub async fn create(&self, new: NewTenant) -> Result<Tenant> {
        let operation = "create tenant";
        check(operation, Some(&new.name), new.description.as_deref())?;
        let now = now();
        let statement = Statement::new(
            "INSERT INTO tenants (tenant_id, name, description, is_suspended, quotas, created_at, updated_at) \
             VALUES (?1, ?2, ?3, 0, ?4, ?5, ?5)",
        )
        .bind(new.owner.as_str())
        .bind(new.name.as_str())
        .bind(new.description.clone())
        .bind(written(operation, &new.quotas)?)
        .bind(moment(now));
        self.change(operation, new.owner.as_str(), vec![statement]).await?;
        let NewTenant { owner, name, description, quotas } = new;
        Ok(Tenant { owner, name, description, is_suspended: false, quotas, created_at: now, updated_at: now })
    }

    /// The tenant that this owner is.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub async fn find(&self, owner: &Owner) -> Result<Option<Tenant>> {
        Ok(self.directory().await?.tenants.get(owner.as_str()).map(|tenant| (**tenant).clone()))
    }

    /// At most `limit` tenants in the order of their owners' names, those behind `after`.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub async fn list(&self, after: Option<&str>, limit: usize) -> Result<Vec<Tenant>> {
        use std::ops::Bound::{Excluded, Unbounded};
        let directory = self.directory().await?;
        let from = after.map_or(Unbounded, Excluded);
        let tenants = directory.tenants.range::<str, _>((from, Unbounded));
        Ok(tenants.take(limit).map(|(_, tenant)| (**tenant).clone()).collect())
    }

    /// Changes a tenant, and gives it as it is then. One that is suspended is kept out of this server from now on, and of
    /// others on the same store within [`FRESH`](super::FRESH); its connections end within the server's recheck interval.
    ///
    /// # Errors
    /// `NotFound` for a missing one; `InvalidInput` as in [`Self::create`]; whatever the store reports.
    pub async fn update(&self, owner: &Owner, changes: TenantChanges) -> Result<Tenant> {
        let operation = "update tenant";
        check(operation, changes.name.as_deref(), changes.description.as_deref())?;
        let quotas = changes.quotas.map(|quotas| written(operation, &quotas)).transpose()?;
        let statement = Statement::new(
            "UPDATE tenants SET name = coalesce(?2, name), description = coalesce(?3, description), \
             is_suspended = coalesce(?4, is_suspended), quotas = coalesce(?5, quotas), updated_at = ?6 \
             WHERE tenant_id = ?1 RETURNING *",
        )
        .bind(owner.as_str())
        .bind(changes.name)
        .bind(changes.description)
        .bind(changes.is_suspended.map(i64::from))
        .bind(quotas)
        .bind(moment(now()));
        let rows = self.change(operation, owner.as_str(), vec![statement]).await?;
        rows.first().map(Tenant::of).transpose()?.ok_or_else(|| missing(operation, owner))
    }

    /// Removes a tenant with its keys and the counts of its use. Removing what is not there does nothing. What it has on
    /// a server stays: the server removes that first.
    ///
    /// # Errors
    /// Whatever the store reports; nothing is removed then.
    pub async fn delete(&self, owner: &Owner) -> Result<()> {
        // Children first: not every database cascades.
        let batch = ["api_keys", "tenant_usage", "tenants"].map(|table| {
            Statement::new(format!("DELETE FROM {table} WHERE tenant_id = ?1")).bind(owner.as_str())
        });
        self.change("delete tenant", owner.as_str(), batch.to_vec()).await.map(drop)
    }
}

impl Tenant {
    pub(super) fn of(row: Row<'_>) -> Result<Self> {
        Ok(Self {
            owner: Owner::new(row.text("tenant_id")?)?,
            name: row.text("name")?.to_owned(),
            description: row.optional_text("description")?.map(str::to_owned),
            is_suspended: row.integer("is_suspended")? != 0,
            quotas: serde_json::from_str(row.text("quotas")?).map_err(|error| {
                Error::new(ErrorKind::Corrupt, "read tenant").with_path("quotas").with_source(error)
            })?,
            created_at: read_moment(row, "created_at")?,
            updated_at: read_moment(row, "updated_at")?,
        })
    }
}

fn check(operation: &'static str, name: Option<&str>, description: Option<&str>) -> Result<()> {
    let wrong = |problem: String| Err(Error::new(ErrorKind::InvalidInput, operation).with_message(problem));
    if name.is_some_and(|name| name.trim().is_empty()) {
        return wrong("a tenant has a name".to_owned());
    }
    if [name, description].into_iter().flatten().any(|text| text.len() > LONGEST) {
        return wrong(format!("a name and a description have at most {LONGEST} bytes"));
    }
    Ok(())
}

fn written(operation: &'static str, quotas: &TenantQuotas) -> Result<String> {
    serde_json::to_string(quotas)
        .map_err(|error| Error::new(ErrorKind::InvalidInput, operation).with_source(error))
}

pub(crate) fn moment(moment: Timestamp) -> Value {
    Value::Integer(
        i64::try_from(moment.as_millis())
            .map_or(agentx_sql::MAX_INTEGER, |millis| millis.min(agentx_sql::MAX_INTEGER)),
    )
}

pub(crate) fn read_moment(row: Row<'_>, column: &str) -> Result<Timestamp> {
    Ok(Timestamp::from_millis(u64::try_from(row.integer(column)?).unwrap_or_default()))
}
