//! Brings a database to the schema of this library.

use agentx_core::{Error, ErrorKind, Result};

use crate::{Executor, Rows, Statement};

/// The schema that this library reads and writes.
pub const SCHEMA_VERSION: i64 = 4;

struct Migration {
    version: i64,
    name: &'static str,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "0001_init", sql: include_str!("../migrations/0001_init.sql") },
    Migration { version: 2, name: "0002_log", sql: include_str!("../migrations/0002_log.sql") },
    Migration { version: 3, name: "0003_pending", sql: include_str!("../migrations/0003_pending.sql") },
    Migration { version: 4, name: "0004_options", sql: include_str!("../migrations/0004_options.sql") },
];

/// How often a migration is tried again whose outcome was lost, and which was not there when it was looked for.
const TRIES: u32 = 3;

/// Applies the migrations that the database has not seen, each in one batch that also records it. The record is
/// written first: of two that migrate at once, the second fails on it before it does anything else. So one whose outcome
/// was lost is looked for, and may be tried again.
pub(crate) async fn migrate(executor: &dyn Executor) -> Result<()> {
    let (mut current, mut lost) = (schema_version(executor).await?, 0);
    loop {
        let Some(next) = MIGRATIONS.iter().find(|migration| migration.version > current) else {
            return Ok(());
        };
        match executor.execute(next.batch()).await {
            Ok(_) => current = next.version,
            Err(error) => {
                let seen = match error.kind() {
                    ErrorKind::AlreadyExists | ErrorKind::Lost => version(executor).await?,
                    _ => current,
                };
                if seen <= current && error.kind() == ErrorKind::Lost && lost < TRIES {
                    lost += 1;
                    continue;
                }
                if seen <= current {
                    return Err(crate::repository::told(&error, "migrate", next.name));
                }
                current = known(seen)?;
            }
        }
    }
}

/// The version of a database's schema; 0 where it has none. Nothing in it is changed: whether a program may use a database,
/// and would migrate it, is known before it does.
///
/// # Errors
/// `Unsupported` for a schema that is newer than [`SCHEMA_VERSION`]; whatever the database reports.
pub async fn schema_version(executor: &dyn Executor) -> Result<i64> {
    known(version(executor).await?)
}

fn known(version: i64) -> Result<i64> {
    if version <= SCHEMA_VERSION {
        return Ok(version);
    }
    let problem = format!(
        "its schema has version {version}, this library knows {SCHEMA_VERSION}: a newer AgentX is needed"
    );
    Err(Error::new(ErrorKind::Unsupported, "open repositories").with_message(problem))
}

async fn version(executor: &dyn Executor) -> Result<i64> {
    let ask = |sql| async move {
        let rows = executor.execute(vec![Statement::new(sql)]).await?;
        rows.first().and_then(Rows::first).map_or(Ok(0), |row| row.integer("version"))
    };
    let any =
        "SELECT count(*) AS version FROM sqlite_master WHERE type = 'table' AND name = 'agentx_migrations'";
    let told = |error| crate::repository::told(&error, "open repositories", "agentx_migrations");
    if ask(any).await.map_err(told)? == 0 {
        return Ok(0);
    }
    ask("SELECT coalesce(max(version), 0) AS version FROM agentx_migrations").await.map_err(told)
}

impl Migration {
    fn batch(&self) -> Vec<Statement> {
        let record = [
            Statement::new(
                "CREATE TABLE IF NOT EXISTS agentx_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL)",
            ),
            Statement::new("INSERT INTO agentx_migrations (version, name) VALUES (?1, ?2)")
                .bind(self.version)
                .bind(self.name),
        ];
        record.into_iter().chain(statements(self.sql).map(Statement::new)).collect()
    }
}

/// The statements of a file: each ends where a line ends with a semicolon.
fn statements(file: &'static str) -> impl Iterator<Item = &'static str> {
    file.split_inclusive(";\n").filter(|sql| sql.trim_end().ends_with(';'))
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, sync::Mutex};

    use async_trait::async_trait;
    use futures::executor::block_on;

    use super::*;
    use crate::Value;

    /// Gives these answers, and keeps the first statement of each batch.
    #[derive(Debug)]
    struct Script(Mutex<(Answers, Vec<String>)>);

    type Answers = VecDeque<Result<i64, ErrorKind>>;

    impl Script {
        fn new(answers: impl IntoIterator<Item = Result<i64, ErrorKind>>) -> Self {
            Self(Mutex::new((answers.into_iter().collect(), Vec::new())))
        }
    }

    #[async_trait]
    impl Executor for Script {
        async fn execute(&self, batch: Vec<Statement>) -> Result<Vec<Rows>> {
            let (answers, asked) = &mut *self.0.lock().unwrap();
            asked.push(batch[0].sql.split(' ').next().unwrap().to_owned());
            let answer = answers.pop_front().expect("asked too often");
            answer
                .map(|version| {
                    vec![Rows::new(vec!["version".to_owned()], vec![vec![Value::Integer(version)]])]
                })
                .map_err(|kind| Error::new(kind, "execute"))
        }
    }

    #[test]
    fn who_comes_second_takes_what_the_first_did() {
        let script = Script::new([Ok(0), Err(ErrorKind::AlreadyExists), Ok(1), Ok(SCHEMA_VERSION)]);
        block_on(migrate(&script)).unwrap();
        assert_eq!(script.0.lock().unwrap().1, ["SELECT", "CREATE", "SELECT", "SELECT"]);
    }

    #[test]
    fn a_migration_that_fails_is_told_and_not_tried_again() {
        for kind in [ErrorKind::AlreadyExists, ErrorKind::Unavailable] {
            let script = Script::new([Ok(0), Err(kind), Ok(0)]);
            assert_eq!(block_on(migrate(&script)).unwrap_err().kind(), kind);
            assert_eq!(script.0.lock().unwrap().1.iter().filter(|sql| *sql == "CREATE").count(), 1);
        }
    }

    #[test]
    fn a_migration_whose_outcome_is_lost_is_looked_for_and_tried_again_a_few_times() {
        let lost = || Err(ErrorKind::Lost);
        let script = Script::new([Ok(0), lost(), Ok(1), Ok(SCHEMA_VERSION)]);
        block_on(migrate(&script)).unwrap();
        assert_eq!(script.0.lock().unwrap().1, ["SELECT", "CREATE", "SELECT", "SELECT"]);
        // It was not there yet, and then it came late.
        let late = Err(ErrorKind::AlreadyExists);
        let script = Script::new([Ok(0), lost(), Ok(0), late, Ok(1), Ok(SCHEMA_VERSION)]);
        block_on(migrate(&script)).unwrap();
        let script = Script::new([Ok(0), lost(), Ok(0), lost(), Ok(0), lost(), Ok(0), lost(), Ok(0)]);
        assert_eq!(block_on(migrate(&script)).unwrap_err().kind(), ErrorKind::Lost);
        assert_eq!(script.0.lock().unwrap().1.iter().filter(|sql| *sql == "CREATE").count(), 4);
    }

    #[test]
    fn a_newer_schema_is_only_read() {
        let script = Script::new([Ok(1), Ok(SCHEMA_VERSION + 1)]);
        let error = block_on(migrate(&script)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("a newer AgentX is needed"), "{error}");
        assert_eq!(script.0.lock().unwrap().1, ["SELECT", "SELECT"]);
        let asked = |version| block_on(schema_version(&Script::new([Ok(1), Ok(version)])));
        assert_eq!(asked(SCHEMA_VERSION + 1).unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(asked(1).unwrap(), 1);
    }

    #[test]
    fn the_versions_count_up_to_the_schema_of_this_library() {
        let versions: Vec<_> = MIGRATIONS.iter().map(|migration| migration.version).collect();
        assert_eq!(versions, (1..=SCHEMA_VERSION).collect::<Vec<_>>());
        for migration in MIGRATIONS {
            assert!(migration.name.starts_with(&format!("{:04}_", migration.version)), "{}", migration.name);
            assert!(migration.sql.ends_with(";\n"), "{}: its last statement would be lost", migration.name);
        }
    }

    #[test]
    fn a_file_is_cut_into_its_statements() {
        let file =
            "-- a; b\nCREATE TABLE a (\n  x TEXT DEFAULT ';.'\n);\n\n-- c\nCREATE INDEX i ON a(x);\n\n";
        let cut: Vec<_> = statements(file).collect();
        assert_eq!(cut.len(), 2);
        assert!(cut[0].ends_with(");\n") && cut[1].ends_with("CREATE INDEX i ON a(x);\n"), "{cut:?}");
    }
}
