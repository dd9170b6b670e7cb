use agentx_provider_local::SqliteExecutor;

use super::*;
use crate::auth::Scope;

async fn tenants() -> Tenants {
    Tenants::open(Arc::new(SqliteExecutor::open_in_memory().await.unwrap())).await.unwrap()
}

fn owner(name: &str) -> Owner {
    Owner::new(name).unwrap()
}

fn key_of(name: &str) -> NewKey {
    NewKey::new(KeyHash::of(name), Scope::Owner(owner(name)))
}

#[tokio::test]
async fn a_tenant_is_kept_as_it_was_made_and_changed() {
    let tenants = tenants().await;
    let quotas = TenantQuotas { containers: Some(3), ..TenantQuotas::default() };
    let new = NewTenant::new(owner("ann")).with_name("Ann").with_quotas(quotas);
    let made = tenants.create(new.clone()).await.unwrap();
    assert_eq!(tenants.find(&owner("ann")).await.unwrap(), Some(made.clone()));
    assert_eq!(tenants.create(new).await.unwrap_err().kind(), ErrorKind::AlreadyExists);

    let changes = TenantChanges::default().with_description(Some("first".to_owned()));
    let done = tenants.update(&owner("ann"), changes).await.unwrap();
    assert_eq!((done.name.as_str(), done.quotas), ("Ann", quotas));
    assert_eq!(done.description.as_deref(), Some("first"));
    assert_eq!(tenants.list(None, 10).await.unwrap(), [done]);
    let missing = tenants.update(&owner("bob"), TenantChanges::suspended(true)).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let unnamed = TenantChanges::default().with_name(Some(" ".to_owned()));
    assert_eq!(tenants.update(&owner("ann"), unnamed).await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn tenants_are_listed_page_by_page() {
    let tenants = tenants().await;
    for name in ["c", "a", "b"] {
        tenants.create(NewTenant::new(owner(name))).await.unwrap();
    }
    let names = async |after, limit| {
        let page = tenants.list(after, limit).await.unwrap();
        page.iter().map(|tenant| tenant.owner.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(None, 2).await, ["a", "b"]);
    assert_eq!(names(Some("b"), 2).await, ["c"]);
    assert!(names(Some("c"), 2).await.is_empty());
}

#[tokio::test]
async fn a_key_opens_until_it_is_revoked_or_expires_or_its_tenant_is_kept_out() {
    let tenants = tenants().await;
    let known = async |key: &str| tenants.authenticate(&Credentials::bearer(key)).await.unwrap();
    assert_eq!(tenants.add_key(key_of("ann")).await.unwrap_err().kind(), ErrorKind::NotFound);
    tenants.create(NewTenant::new(owner("ann"))).await.unwrap();
    let key = tenants.add_key(key_of("ann")).await.unwrap();
    assert_eq!(known("ann").await, Some(Identity::owner(owner("ann"))));
    assert_eq!(known("bob").await, None);

    tenants.update(&owner("ann"), TenantChanges::suspended(true)).await.unwrap();
    assert_eq!(known("ann").await, None);
    tenants.update(&owner("ann"), TenantChanges::suspended(false)).await.unwrap();
    assert!(known("ann").await.is_some());

    let hash = key.hash.to_hex();
    let revoke = async |hash: &str, of: &str| tenants.revoke_key(hash, Some(&owner(of))).await;
    assert_eq!(revoke(&hash, "bob").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(revoke(&hash[..7], "ann").await.unwrap_err().kind(), ErrorKind::InvalidInput);
    revoke(&hash[..16], "ann").await.unwrap();
    assert_eq!(known("ann").await, None);

    let past = Timestamp::from_millis(now().as_millis() - 1);
    tenants.add_key(key_of("ann").with_expiry(Some(past))).await.unwrap();
    assert_eq!(known("ann").await, None);
    tenants.add_key(NewKey::new(KeyHash::of("root"), Scope::Admin)).await.unwrap();
    assert_eq!(known("root").await, Some(Identity::admin()));
}

/// As `avm key revoke` does while a server runs.
#[tokio::test]
async fn what_another_process_changes_is_heard() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tenants.db");
    let open = async || {
        let executor = SqliteExecutor::open(&file).await.unwrap();
        Tenants::open(Arc::new(executor)).await.unwrap()
    };
    let (server, tool) = (open().await, open().await);
    tool.create(NewTenant::new(owner("ann"))).await.unwrap();
    let key = tool.add_key(key_of("ann")).await.unwrap();
    let is_known = async || server.authenticate(&Credentials::bearer("ann")).await.unwrap().is_some();
    // It asks the store itself, at most once in this time: there is no event to wait for.
    while !is_known().await {
        tokio::time::sleep(FRESH / 10).await;
    }
    tool.revoke_key(&key.hash.to_hex(), None).await.unwrap();
    while is_known().await {
        tokio::time::sleep(FRESH / 10).await;
    }
}

#[tokio::test]
async fn a_deleted_tenant_leaves_nothing() {
    let tenants = tenants().await;
    for name in ["ann", "bob"] {
        tenants.create(NewTenant::new(owner(name))).await.unwrap();
        tenants.add_key(key_of(name)).await.unwrap();
    }
    tenants.save_usage(&owner("ann"), Usage { day: 9, messages: 2, bytes: 30 }).await.unwrap();
    tenants.delete(&owner("ann")).await.unwrap();
    tenants.delete(&owner("ann")).await.unwrap();
    assert_eq!(tenants.find(&owner("ann")).await.unwrap(), None);
    assert_eq!(tenants.keys(None).await.unwrap().len(), 1);
    assert_eq!(tenants.usage(&owner("ann"), 9).await.unwrap(), Usage { day: 9, ..Usage::default() });
    assert!(tenants.authenticate(&Credentials::bearer("bob")).await.unwrap().is_some());
}

#[tokio::test]
async fn a_count_of_use_only_grows() {
    let tenants = tenants().await;
    let used = |messages, bytes| Usage { day: 9, messages, bytes };
    for (saved, expected) in
        [(used(5, 50), used(5, 50)), (used(4, 60), used(5, 60)), (used(6, 60), used(6, 60))]
    {
        tenants.save_usage(&owner("ann"), saved).await.unwrap();
        assert_eq!(tenants.usage(&owner("ann"), 9).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    let executor = Arc::new(SqliteExecutor::open_in_memory().await.unwrap());
    drop(Tenants::open(executor.clone()).await.unwrap());
    executor.execute(vec![Statement::new("UPDATE tenancy SET schema = 99")]).await.unwrap();
    assert_eq!(Tenants::open(executor).await.unwrap_err().kind(), ErrorKind::Unsupported);
}
