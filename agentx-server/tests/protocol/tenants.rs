//! Tenants: who comes in, who manages them, and what ends when one no longer may.

use std::{sync::Arc, time::Duration};

use agentx_provider_local::SqliteExecutor;
use agentx_server::{
    Owner,
    auth::{KeyHash, Scope},
    tenant::{NewKey, NewTenant, Tenants},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    api::{Api, client},
    support::{Client, Served, serve_with},
};

/// A server whose administrator's key is `root`.
async fn serve_tenants() -> Served {
    let executor = SqliteExecutor::open_in_memory().await.unwrap();
    let tenants = Tenants::open(Arc::new(executor)).await.unwrap();
    tenants.add_key(NewKey::new(KeyHash::of("root"), Scope::Admin)).await.unwrap();
    serve_with(move |server| {
        server.authenticator(tenants.clone()).tenants(tenants).recheck_interval(Duration::from_millis(20))
    })
    .await
}

/// Asks as the administrator.
async fn manage(served: &Served, what: &str, body: Value) -> (StatusCode, Value) {
    let root = Api { served, key: Some("root") };
    root.json(Method::POST, &format!("/v1/tenants/{what}"), Some(body)).await
}

/// A tenant, and a key of it.
async fn tenant(served: &Served, id: &str) -> String {
    let (status, made) = manage(served, "create", json!({"tenantId": id, "name": id})).await;
    assert_eq!((status, &made["tenantId"]), (StatusCode::CREATED, &json!(id)));
    let (status, key) = manage(served, "keys/create", json!({"tenantId": id})).await;
    assert_eq!(status, StatusCode::CREATED);
    key["key"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn tenants_are_made_listed_changed_and_deleted() {
    let served = serve_tenants().await;
    let (_, unnamed) = manage(&served, "create", json!({"name": "Ours"})).await;
    let made_up = unnamed["tenantId"].as_str().unwrap().to_owned();
    assert!(made_up.starts_with("tenant_"), "{made_up}");
    let ann = tenant(&served, "ann").await;
    let again = manage(&served, "create", json!({"tenantId": "ann", "name": "x"})).await;
    assert_eq!(again.0, StatusCode::CONFLICT);
    for wrong in [json!({}), json!({"name": ""}), json!({"name": "x", "tenantId": "a/b"})] {
        assert_eq!(manage(&served, "create", wrong).await.0, StatusCode::BAD_REQUEST);
    }

    let quotas = json!({"containers": 1});
    let changes = json!({"tenantId": "ann", "description": "first", "quotas": quotas});
    let (_, described) = manage(&served, "update", changes).await;
    assert_eq!((&described["name"], &described["description"]), (&json!("ann"), &json!("first")));
    assert_eq!(manage(&served, "get", json!({"tenantId": "ann"})).await.1, described);
    let root = Api { served: &served, key: Some("root") };
    let (_, all) = root.json(Method::GET, "/v1/tenants/list", None).await;
    assert_eq!(all.as_array().map(Vec::len), Some(2));
    let (_, rest) = root.json(Method::GET, "/v1/tenants/list?after=ann&limit=1", None).await;
    assert_eq!(rest[0]["tenantId"], made_up.as_str());

    let api = Api { served: &served, key: Some(&ann) };
    api.agent("work").await;
    let (_, usage) = manage(&served, "usage", json!({"tenantId": "ann"})).await;
    assert_eq!((&usage["containers"], &usage["images"], &usage["agents"]), (&json!(1), &json!(1), &json!(1)));
    let (_, keys) = manage(&served, "keys/list", json!({"tenantId": "ann"})).await;
    assert!(!keys.to_string().contains(&ann), "{keys}");

    assert_eq!(manage(&served, "delete", json!({"tenantId": "ann"})).await.1, json!({"deleted": true}));
    assert_eq!(api.send(Method::GET, "/api/containers", None).await.status(), StatusCode::UNAUTHORIZED);
    // Whoever has the name next has nothing of the one before.
    let next = tenant(&served, "ann").await;
    let next = Api { served: &served, key: Some(&next) };
    assert_eq!(next.json(Method::GET, "/api/containers", None).await.1, json!({"containerIds": []}));
    for what in ["get", "update", "suspend", "resume", "delete", "usage", "keys/create", "keys/list"] {
        let (status, error) = manage(&served, what, json!({"tenantId": "nobody"})).await;
        assert_eq!(
            (status, &error["error"]["message"]),
            (StatusCode::NOT_FOUND, &json!("Tenant not found: nobody")),
            "{what}"
        );
    }
}

/// An administrator manages tenants and sees nothing of theirs; a tenant manages nobody.
#[tokio::test]
async fn each_key_opens_its_own_part_alone() {
    let served = serve_tenants().await;
    let ann = tenant(&served, "ann").await;
    let root = Api { served: &served, key: Some("root") };
    for path in ["/api/containers", "/api/images/x", "/api/agents/x/events"] {
        assert_eq!(root.send(Method::GET, path, None).await.status(), StatusCode::FORBIDDEN, "{path}");
    }
    assert!(Client::try_connect(&served, Some("root")).await.is_err());
    for (key, status) in [
        (Some(ann.as_str()), StatusCode::FORBIDDEN),
        (Some("guess"), StatusCode::UNAUTHORIZED),
        (None, StatusCode::UNAUTHORIZED),
    ] {
        let api = Api { served: &served, key };
        assert_eq!(api.json(Method::GET, "/v1/tenants/list", None).await.0, status);
        for what in [
            "create",
            "get",
            "update",
            "suspend",
            "resume",
            "delete",
            "usage",
            "keys/create",
            "keys/list",
            "keys/revoke",
        ] {
            let path = format!("/v1/tenants/{what}");
            let body = Some(json!({"tenantId": "ann", "name": "x", "keyId": "0123456789abcdef"}));
            assert_eq!(api.json(Method::POST, &path, body).await.0, status, "{what}");
        }
    }
}

#[tokio::test]
async fn what_a_key_opened_ends_with_it() {
    let served = serve_tenants().await;
    let (ann, bob) = (tenant(&served, "ann").await, tenant(&served, "bob").await);
    for ending in ["keys/revoke", "suspend", "delete"] {
        let (_, key) = manage(&served, "keys/create", json!({"tenantId": "ann"})).await;
        let shown = key["key"].as_str().unwrap();
        let mut socket = Client::connect(&served, Some(shown)).await;
        let agent = Api { served: &served, key: Some(shown) }.agent("work").await.1;
        let url = format!("http://{}/api/agents/{agent}/events", served.address);
        let stream =
            client().get(url).header("authorization", format!("Bearer {shown}")).send().await.unwrap();
        assert_eq!(stream.status(), StatusCode::OK);
        let mut others = Client::connect(&served, Some(&bob)).await;

        let body = match ending {
            "keys/revoke" => json!({"tenantId": "ann", "keyId": key["keyId"]}),
            _ => json!({"tenantId": "ann"}),
        };
        assert_eq!(manage(&served, ending, body).await.0, StatusCode::OK, "{ending}");
        let over = async {
            while socket.raw().await.is_some() {}
            stream.text().await.unwrap()
        };
        tokio::time::timeout(Duration::from_mins(1), over).await.expect("both end");
        assert!(Client::try_connect(&served, Some(shown)).await.is_err());
        others.call("container.list", json!({})).await;
        manage(&served, "resume", json!({"tenantId": "ann"})).await;
    }
    drop(ann);
}

/// To the moment, and not with the next look.
#[tokio::test]
async fn an_expiry_ends_what_was_opened() {
    let executor = SqliteExecutor::open_in_memory().await.unwrap();
    let tenants = Tenants::open(Arc::new(executor)).await.unwrap();
    let ann = Owner::new("ann").unwrap();
    tenants.create(NewTenant::new(ann.clone())).await.unwrap();
    let served = serve_with(|server| {
        let server = server.authenticator(tenants.clone()).tenants(tenants.clone());
        server.recheck_interval(Duration::from_hours(1))
    })
    .await;
    // Long enough to come in on a busy machine.
    let end = agentx::tokio_host().unwrap().now().after(Duration::from_secs(3));
    let key = NewKey::new(KeyHash::of("short"), Scope::Owner(ann)).with_expiry(Some(end));
    tenants.add_key(key).await.unwrap();
    let mut socket = Client::connect(&served, Some("short")).await;
    let agent = Api { served: &served, key: Some("short") }.agent("work").await.1;
    let url = format!("http://{}/api/agents/{agent}/events", served.address);
    let stream = client().get(url).bearer_auth("short").send().await.unwrap();
    assert_eq!(stream.status(), StatusCode::OK);
    while socket.raw().await.is_some() {}
    stream.text().await.unwrap();
    assert!(agentx::tokio_host().unwrap().now() >= end);
    assert!(Client::try_connect(&served, Some("short")).await.is_err());
}
