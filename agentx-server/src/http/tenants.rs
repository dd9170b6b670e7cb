//! The tenants of a server, for whoever manages them.

use std::sync::Arc;

use agentx_core::{ErrorKind, Timestamp};
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{body::Body, table::Table};
use crate::{
    Owner,
    auth::{KeyHash, Scope, generate_key, random_hex},
    failure::{Code, Failure},
    server::Shared,
    tenant::{NewKey, NewTenant, Tenant, TenantChanges, TenantKey, TenantQuotas},
};

/// How many tenants one answer has at most.
const PAGE: usize = 1_000;

/// How much of a key's hash names it, in hexadecimal digits.
const KEY_ID: usize = 16;

type Served = State<Arc<Shared>>;
type Answered<T = Json<Value>> = Result<T, Failure>;

pub(super) fn table() -> Table {
    Table::below("/v1")
        .post("/tenants/create", create)
        .post("/tenants/get", find)
        .get("/tenants/list", list)
        .post("/tenants/update", update)
        .post("/tenants/suspend", suspend)
        .post("/tenants/resume", resume)
        .post("/tenants/delete", delete)
        .post("/tenants/usage", usage)
        .post("/tenants/keys/create", create_key)
        .post("/tenants/keys/list", list_keys)
        .post("/tenants/keys/revoke", revoke_key)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Create {
    /// Made up where there is none.
    #[serde(default)]
    tenant_id: Option<String>,
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    quotas: TenantQuotas,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ByTenant {
    tenant_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Update {
    tenant_id: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    quotas: Option<TenantQuotas>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateKey {
    tenant_id: String,
    #[serde(default)]
    name: Option<String>,
    /// In milliseconds since 1970.
    #[serde(default)]
    expires_at: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RevokeKey {
    tenant_id: String,
    key_id: String,
}

#[derive(Deserialize)]
struct Page {
    after: Option<String>,
    limit: Option<usize>,
}

fn parse<T: DeserializeOwned>(Body(body): Body) -> Answered<T> {
    serde_json::from_value(Value::Object(body)).map_err(|error| Failure::params(error.to_string()))
}

/// The owner of this name. A name that can't be one is nobody's.
fn owner(id: &str) -> Answered<Owner> {
    Owner::new(id).map_err(|_| missing(id))
}

fn missing(id: &str) -> Failure {
    Failure::not_found("Tenant", id.chars().take(64).collect::<String>())
}

/// What is not there is the tenant, or one of its keys.
fn told<T>(done: Result<T, Failure>, missing: impl FnOnce() -> Failure) -> Answered<T> {
    done.map_err(|failure| if failure.code == Code::NotFound { missing() } else { failure })
}

fn described(tenant: &Tenant) -> Value {
    let mut described = json!({
        "tenantId": tenant.owner.as_str(),
        "name": tenant.name,
        "suspended": tenant.is_suspended,
        "quotas": tenant.quotas,
        "createdAt": tenant.created_at,
        "updatedAt": tenant.updated_at,
    });
    if let (Some(description), Value::Object(members)) = (&tenant.description, &mut described) {
        members.insert("description".to_owned(), json!(description));
    }
    described
}

fn described_key(key: &TenantKey) -> Value {
    json!({
        "keyId": key.hash.to_hex().chars().take(KEY_ID).collect::<String>(),
        "name": key.name,
        "createdAt": key.created_at,
        "expiresAt": key.expires_at,
    })
}

async fn create(State(shared): Served, body: Body) -> Answered<(StatusCode, Json<Value>)> {
    let params: Create = parse(body)?;
    let owner = match params.tenant_id {
        Some(id) => Owner::new(id)?,
        None => Owner::new(format!("tenant_{}", random_hex::<12>()?))?,
    };
    let new = NewTenant::new(owner.clone())
        .with_name(params.name)
        .with_description(params.description)
        .with_quotas(params.quotas);
    let created = shared.service.tenants()?.create(new).await.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::new(Code::Busy, format!("there is a tenant {owner}")),
        _ => error.into(),
    })?;
    Ok((StatusCode::CREATED, Json(described(&created))))
}

async fn find(State(shared): Served, body: Body) -> Answered {
    let ByTenant { tenant_id } = parse(body)?;
    let found = shared.service.tenants()?.find(&owner(&tenant_id)?).await?;
    found.map(|tenant| Json(described(&tenant))).ok_or_else(|| missing(&tenant_id))
}

async fn list(State(shared): Served, page: Result<Query<Page>, QueryRejection>) -> Answered {
    let Query(page) = page.map_err(|rejection| Failure::params(rejection.body_text()))?;
    let limit = page.limit.unwrap_or(PAGE).clamp(1, PAGE);
    let tenants = shared.service.tenants()?.list(page.after.as_deref(), limit).await?;
    Ok(Json(tenants.iter().map(described).collect()))
}

async fn update(State(shared): Served, body: Body) -> Answered {
    let Update { tenant_id, name, description, quotas } = parse(body)?;
    let changes = TenantChanges::default().with_name(name).with_description(description).with_quotas(quotas);
    change(&shared, &tenant_id, changes).await
}

async fn suspend(State(shared): Served, body: Body) -> Answered {
    let ByTenant { tenant_id } = parse(body)?;
    change(&shared, &tenant_id, TenantChanges::suspended(true)).await
}

async fn resume(State(shared): Served, body: Body) -> Answered {
    let ByTenant { tenant_id } = parse(body)?;
    change(&shared, &tenant_id, TenantChanges::suspended(false)).await
}

async fn change(shared: &Arc<Shared>, tenant_id: &str, changes: TenantChanges) -> Answered {
    let owner = owner(tenant_id)?;
    let asked = shared.clone();
    let done = shared.whole(async move { asked.service.update_tenant(&owner, changes).await }).await;
    told(done, || missing(tenant_id)).map(|tenant| Json(described(&tenant)))
}

async fn delete(State(shared): Served, body: Body) -> Answered {
    let ByTenant { tenant_id } = parse(body)?;
    let owner = owner(&tenant_id)?;
    let asked = shared.clone();
    let deleted = shared.whole(async move { asked.service.delete_tenant(&owner).await }).await;
    told(deleted, || missing(&tenant_id))?;
    Ok(Json(json!({"deleted": true})))
}

async fn usage(State(shared): Served, body: Body) -> Answered {
    let ByTenant { tenant_id } = parse(body)?;
    Ok(Json(shared.service.tenant_usage(&owner(&tenant_id)?).await?))
}

/// The one answer that has a key.
async fn create_key(State(shared): Served, body: Body) -> Answered<(StatusCode, Json<Value>)> {
    let params: CreateKey = parse(body)?;
    let key = generate_key()?;
    let new = NewKey::new(KeyHash::of(&key), Scope::Owner(owner(&params.tenant_id)?))
        .with_name(params.name)
        .with_expiry(params.expires_at.map(Timestamp::from_millis));
    let added = shared.service.tenants()?.add_key(new).await.map_err(Failure::from);
    let added = told(added, || missing(&params.tenant_id))?;
    let mut described = described_key(&added);
    if let Value::Object(members) = &mut described {
        members.insert("key".to_owned(), json!(key));
    }
    Ok((StatusCode::CREATED, Json(described)))
}

async fn list_keys(State(shared): Served, body: Body) -> Answered {
    let ByTenant { tenant_id } = parse(body)?;
    let (tenants, owner) = (shared.service.tenants()?, owner(&tenant_id)?);
    if tenants.find(&owner).await?.is_none() {
        return Err(missing(&tenant_id));
    }
    let keys = tenants.keys(Some(&owner)).await?;
    Ok(Json(json!({"keys": keys.iter().map(described_key).collect::<Vec<_>>()})))
}

async fn revoke_key(State(shared): Served, body: Body) -> Answered {
    let RevokeKey { tenant_id, key_id } = parse(body)?;
    let missing = || Failure::not_found("Key", key_id.chars().take(64).collect::<String>());
    let owner = Owner::new(&tenant_id).map_err(|_| missing())?;
    let revoked = shared.service.tenants()?.revoke_key(&key_id, Some(&owner)).await.map_err(Failure::from);
    told(revoked, missing)?;
    Ok(Json(json!({"revoked": true})))
}
