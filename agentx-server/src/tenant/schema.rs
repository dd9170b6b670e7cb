use agentx_core::{Error, ErrorKind, Result};
use agentx_sql::{Executor, Rows, Statement};

/// The version of these tables.
const VERSION: i64 = 1;

/// Moments are milliseconds since 1970; quotas is JSON text. A key without a tenant is an administrator's. The row of
/// `tenancy` counts the changes of all of it: whoever has a copy sees by it whether that is still true.
const CREATE: [&str; 6] = [
    "CREATE TABLE IF NOT EXISTS tenants (tenant_id TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL, description TEXT, \
     is_suspended INTEGER NOT NULL, quotas TEXT NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS api_keys (key_hash TEXT PRIMARY KEY NOT NULL, tenant_id TEXT, name TEXT, \
     created_at INTEGER NOT NULL, expires_at INTEGER, FOREIGN KEY (tenant_id) REFERENCES tenants(tenant_id))",
    "CREATE INDEX IF NOT EXISTS idx_api_keys_tenant ON api_keys(tenant_id)",
    "CREATE TABLE IF NOT EXISTS tenant_usage (tenant_id TEXT NOT NULL, day INTEGER NOT NULL, \
     messages INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (tenant_id, day)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS tenancy (id INTEGER PRIMARY KEY CHECK (id = 1), schema INTEGER NOT NULL, \
     changes INTEGER NOT NULL)",
    "INSERT OR IGNORE INTO tenancy (id, schema, changes) VALUES (1, 1, 0)",
];

/// Makes the tables where there are none.
pub(super) async fn create(executor: &dyn Executor) -> Result<()> {
    let mut batch: Vec<Statement> = CREATE.map(Statement::new).to_vec();
    batch.push(Statement::new("SELECT schema FROM tenancy"));
    let rows = executor.execute(batch).await?;
    let version = rows.last().and_then(Rows::first).map_or(Ok(0), |row| row.integer("schema"))?;
    if version <= VERSION {
        return Ok(());
    }
    let problem =
        format!("its tenants have schema {version}, this library knows {VERSION}: a newer AgentX is needed");
    Err(Error::new(ErrorKind::Unsupported, "open tenants").with_message(problem))
}
