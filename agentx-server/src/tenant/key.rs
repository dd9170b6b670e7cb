use agentx_core::{Error, ErrorKind, Result, Timestamp};
use agentx_sql::{Row, Statement, Value};

use super::{
    Tenants, missing, now,
    record::{moment, read_moment},
};
use crate::{
    Owner,
    auth::{KeyHash, Scope},
};

/// The least of a hash that names a key, in hexadecimal digits.
const NAMES_ONE: usize = 8;

/// A key, without the key: its hash and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TenantKey {
    /// The hash.
    pub hash: KeyHash,
    /// What it opens.
    pub scope: Scope,
    /// What people call it.
    pub name: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// A key to be made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewKey {
    /// The hash.
    pub hash: KeyHash,
    /// What it opens.
    pub scope: Scope,
    /// What people call it.
    pub name: Option<String>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

impl NewKey {
    /// One that opens this until it is revoked.
    pub fn new(hash: KeyHash, scope: Scope) -> Self {
        Self { hash, scope, name: None, expires_at: None }
    }

    /// What people call it.
    pub fn with_name(mut self, name: Option<String>) -> Self {
        self.name = name;
        self
    }

    /// When it ends.
    pub fn with_expiry(mut self, expires_at: Option<Timestamp>) -> Self {
        self.expires_at = expires_at;
        self
    }
}

impl Tenants {
    /// Adds a key.
    ///
    /// # Errors
    /// `NotFound` for a missing tenant; `AlreadyExists` for a key that is known; whatever the store reports.
    pub async fn add_key(&self, new: NewKey) -> Result<TenantKey> {
        let operation = "add key";
        let owner = match &new.scope {
            Scope::Owner(owner) => Some(owner.clone()),
            Scope::Admin => None,
        };
        if let Some(owner) = &owner
            && self.find(owner).await?.is_none()
        {
            return Err(missing(operation, owner));
        }
        let created_at = now();
        let statement = Statement::new(
            "INSERT INTO api_keys (key_hash, tenant_id, name, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .bind(new.hash.to_hex())
        .bind(owner.as_ref().map(Owner::as_str))
        .bind(new.name.clone())
        .bind(moment(created_at))
        .bind(new.expires_at.map_or(Value::Null, moment));
        self.change(operation, owner.as_ref().map_or("admin", Owner::as_str), vec![statement]).await?;
        let NewKey { hash, scope, name, expires_at } = new;
        Ok(TenantKey { hash, scope, name, created_at, expires_at })
    }

    /// All keys, or those of one tenant, in the order in which they were made.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub async fn keys(&self, owner: Option<&Owner>) -> Result<Vec<TenantKey>> {
        let directory = self.directory().await?;
        let is_asked = |key: &&TenantKey| match (&key.scope, owner) {
            (_, None) => true,
            (Scope::Owner(of), Some(owner)) => of == owner,
            (Scope::Admin, Some(_)) => false,
        };
        let mut keys: Vec<_> = directory.keys().filter(is_asked).cloned().collect();
        keys.sort_by_key(|key| (key.created_at, key.hash));
        Ok(keys)
    }

    /// Revokes the key whose hash begins with these hexadecimal digits, of this tenant where one is given. It opens
    /// nothing on this server from now on, and on others on the same store within [`FRESH`](super::FRESH).
    ///
    /// # Errors
    /// `NotFound` where no key's does; `InvalidInput` for fewer than 8 digits, and where it names several; whatever the
    /// store reports.
    pub async fn revoke_key(&self, hash: &str, owner: Option<&Owner>) -> Result<TenantKey> {
        let operation = "revoke key";
        let wrong =
            |problem: &'static str| Err(Error::new(ErrorKind::InvalidInput, operation).with_message(problem));
        if hash.len() < NAMES_ONE {
            return wrong("at least 8 digits of a key's hash are needed");
        }
        let mut keys = self.keys(owner).await?;
        keys.retain(|key| key.hash.to_hex().starts_with(hash));
        let Some(key) = keys.pop() else {
            return Err(Error::new(ErrorKind::NotFound, operation)
                .with_path(hash.chars().take(64).collect::<String>()));
        };
        if !keys.is_empty() {
            return wrong("it names several keys: more digits are needed");
        }
        let statement = Statement::new("DELETE FROM api_keys WHERE key_hash = ?1").bind(key.hash.to_hex());
        self.change(operation, &key.hash.to_hex(), vec![statement]).await?;
        Ok(key)
    }
}

impl TenantKey {
    pub(super) fn of(row: Row<'_>) -> Result<Self> {
        let owner = row.optional_text("tenant_id")?.map(Owner::new).transpose()?;
        let expires = match row.get("expires_at")? {
            Value::Null => None,
            _ => Some(read_moment(row, "expires_at")?),
        };
        Ok(Self {
            hash: KeyHash::from_hex(row.text("key_hash")?)?,
            scope: owner.map_or(Scope::Admin, Scope::Owner),
            name: row.optional_text("name")?.map(str::to_owned),
            created_at: read_moment(row, "created_at")?,
            expires_at: expires,
        })
    }
}
