use agentx_core::{Error, ErrorKind, Result};
use agentx_sql::{Executor, Rows, Statement};

/// The version of this table.
const VERSION: i64 = 1;

/// Moments are milliseconds since 1970.
const CREATE: [&str; 4] = [
    "CREATE TABLE IF NOT EXISTS llms (llm_id TEXT PRIMARY KEY NOT NULL, owner TEXT NOT NULL, name TEXT NOT NULL, \
     vendor TEXT NOT NULL, protocol TEXT NOT NULL, api_key TEXT NOT NULL, base_url TEXT, model TEXT, \
     is_default INTEGER NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL)",
    "CREATE INDEX IF NOT EXISTS idx_llms_owner ON llms(owner)",
    "CREATE TABLE IF NOT EXISTS llms_schema (id INTEGER PRIMARY KEY CHECK (id = 1), schema INTEGER NOT NULL)",
    "INSERT OR IGNORE INTO llms_schema (id, schema) VALUES (1, 1)",
];

/// Makes the table where there is none.
pub(super) async fn create(executor: &dyn Executor) -> Result<()> {
    let mut batch: Vec<Statement> = CREATE.map(Statement::new).to_vec();
    batch.push(Statement::new("SELECT schema FROM llms_schema"));
    let rows = executor.execute(batch).await?;
    let version = rows.last().and_then(Rows::first).map_or(Ok(0), |row| row.integer("schema"))?;
    if version <= VERSION {
        return Ok(());
    }
    let problem = format!(
        "its LLM definitions have schema {version}, this library knows {VERSION}: a newer AgentX is needed"
    );
    Err(Error::new(ErrorKind::Unsupported, "open LLM definitions").with_message(problem))
}
