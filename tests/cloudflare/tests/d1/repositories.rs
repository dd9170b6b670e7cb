//! The repositories in D1: the suite that SQLite passes, and migrations that meet.

use std::sync::Arc;

use agentx_conformance::{Case, Fresh, Outcome, Profile, repository};
use agentx_core::{ContainerId, ContainerRecord, Repositories, Result, Timestamp};
use agentx_sql::{SCHEMA_VERSION, SqlRepositories};
use futures::future::join_all;

use super::{WAYS, Way, api, database, run};
use agentx_provider_cloudflare::D1Executor;
use agentx_tests_cloudflare::Place;

async fn fresh(way: Way) -> Result<Fresh<Repositories>> {
    let repositories = SqlRepositories::open(Arc::new(database(way))).await?;
    Ok(Fresh::repositories(Repositories::new(repositories)))
}

#[test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
fn all_that_sqlite_passes_by_the_local_api() -> Outcome {
    Case::run_all(repository::CASES, || fresh(Way::Explorer), &Profile::new())
}

#[test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
fn all_that_sqlite_passes_by_the_account_api_as_played_here() -> Outcome {
    Case::run_all(repository::CASES, || fresh(Way::Account), &Profile::new())
}

/// Each with a client of its own, as from so many processes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn of_sixteen_that_open_a_new_database_at_once_one_migrates_it() {
    for way in WAYS {
        let place = Place::take();
        let one = || D1Executor::new(api(way, &place), place.database()).unwrap();
        let open = |number: usize| {
            let database = one();
            tokio::spawn(async move {
                let repositories = SqlRepositories::open(Arc::new(database)).await.unwrap();
                let id = ContainerId::new(format!("c{number}")).unwrap();
                let container = ContainerRecord::new(id, Timestamp::from_millis(1));
                Repositories::new(repositories).containers.save_container(&container).await.unwrap();
            })
        };
        for opened in join_all((0..16).map(open)).await {
            opened.unwrap();
        }
        let database = one();
        let migrations =
            run(&database, "SELECT version FROM agentx_migrations ORDER BY version").await.unwrap();
        let versions: Vec<i64> = migrations.iter().map(|row| row.integer("version").unwrap()).collect();
        assert_eq!(versions, (1..=SCHEMA_VERSION).collect::<Vec<_>>(), "{way:?}");
        let containers = run(&database, "SELECT count(*) AS n FROM containers").await.unwrap();
        assert_eq!(containers.first().unwrap().integer("n").unwrap(), 16, "{way:?}");
    }
}
