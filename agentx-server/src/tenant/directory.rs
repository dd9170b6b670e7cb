use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use agentx_core::{Result, Timestamp};
use agentx_sql::{Executor, Rows, Statement};
use subtle::ConstantTimeEq;

use super::{Tenant, TenantKey};
use crate::auth::{Identity, KeyHash, Scope};

/// Tells whoever has a copy that it is one no more.
pub(super) const CHANGED: &str = "UPDATE tenancy SET changes = changes + 1";

const VERSION: &str = "SELECT changes FROM tenancy";

/// All tenants and keys, as they were at one moment.
pub(super) struct Directory {
    /// How many changes there were.
    pub(super) version: i64,
    /// By the names of their owners.
    pub(super) tenants: BTreeMap<String, Arc<Tenant>>,
    /// By the first bytes of their hashes: what is compared in constant time are a few, however many there are.
    keys: HashMap<u64, Vec<TenantKey>>,
}

impl Directory {
    pub(super) async fn read(executor: &dyn Executor) -> Result<Self> {
        let batch = [VERSION, "SELECT * FROM tenants", "SELECT * FROM api_keys"];
        let rows = executor.execute(batch.map(Statement::new).to_vec()).await?;
        let mut rows = rows.iter();
        let version = rows.next().and_then(Rows::first).map_or(Ok(0), |row| row.integer("changes"))?;
        let mut tenants = BTreeMap::new();
        for row in rows.next().into_iter().flat_map(Rows::iter) {
            let tenant = Tenant::of(row)?;
            tenants.insert(tenant.owner.to_string(), Arc::new(tenant));
        }
        let mut keys: HashMap<u64, Vec<TenantKey>> = HashMap::new();
        for row in rows.next().into_iter().flat_map(Rows::iter) {
            let key = TenantKey::of(row)?;
            keys.entry(place(&key.hash)).or_default().push(key);
        }
        Ok(Self { version, tenants, keys })
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &TenantKey> {
        self.keys.values().flatten()
    }

    /// Whose a key is; nobody's where it has expired, and where its tenant is kept out.
    pub(super) fn identity(&self, hash: &KeyHash, now: Timestamp) -> Option<Identity> {
        let near = self.keys.get(&place(hash))?;
        let key = near.iter().find(|key| bool::from(key.hash.0.ct_eq(&hash.0)))?;
        if let Scope::Owner(owner) = &key.scope
            && self.tenants.get(owner.as_str()).is_none_or(|tenant| tenant.is_suspended)
        {
            return None;
        }
        let identity = Identity { scope: key.scope.clone(), until: key.expires_at };
        identity.holds_at(now).then_some(identity)
    }
}

pub(super) async fn version(executor: &dyn Executor) -> Result<i64> {
    let rows = executor.execute(vec![Statement::new(VERSION)]).await?;
    rows.first().and_then(Rows::first).map_or(Ok(0), |row| row.integer("changes"))
}

fn place(hash: &KeyHash) -> u64 {
    hash.0.iter().take(8).fold(0, |place, byte| place << 8 | u64::from(*byte))
}
