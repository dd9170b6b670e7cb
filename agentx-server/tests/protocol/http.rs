//! REST and server-sent events.

use std::num::NonZeroU32;

use agentx_server::Quotas;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    api::{Api, client},
    support::{serve, serve_ann_and_bob, serve_ann_and_bob_with},
};

/// The events of a stream, each as its id, its name and its data.
fn events(text: &str) -> Vec<(String, String, Value)> {
    let field = |event: &str, name: &str| {
        event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
    };
    let events = text.split("\n\n").filter(|event| event.contains("data:"));
    events
        .map(|event| {
            let data = serde_json::from_str(&field(event, "data:")).unwrap();
            (field(event, "id:"), field(event, "event:"), data)
        })
        .collect()
}

#[tokio::test]
async fn health_says_ok_and_the_version() {
    let served = serve().await;
    let api = Api { served: &served, key: None };
    let expected = json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")});
    assert_eq!(api.json(Method::GET, "/health", None).await, (StatusCode::OK, expected));
    let (status, ready) = api.json(Method::GET, "/ready", None).await;
    assert_eq!((status, &ready["status"]), (StatusCode::OK, &json!("ready")));
}

#[tokio::test]
async fn a_conversation_over_rest() {
    let served = serve().await;
    let api = Api { served: &served, key: None };
    let (image, agent) = api.agent("c1").await;
    let (_, container) = api.json(Method::GET, "/api/containers/c1", None).await;
    assert_eq!(container["containerId"], "c1");
    let (_, images) = api.json(Method::GET, "/api/containers/c1/images", None).await;
    assert_eq!(images["records"][0]["imageId"], image.as_str());
    let (_, record) =
        api.json(Method::PATCH, &format!("/api/images/{image}"), Some(json!({"name": "Talk"}))).await;
    assert_eq!(record["name"], "Talk");

    let messages = format!("/api/agents/{agent}/messages");
    let answer = api.send(Method::POST, &messages, Some(json!({"content": "Hello"}))).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let told = events(&answer.text().await.unwrap());
    assert_eq!(told.first().map(|event| event.1.as_str()), Some("user_message"));
    assert_eq!(told.last().map(|event| event.1.as_str()), Some("turn_response"));
    let text: String = told.iter().filter_map(|event| event.2["data"]["text"].as_str()).collect();
    assert_eq!(text, "You said: Hello");
    let (_, stored) = api.json(Method::GET, &format!("/api/images/{image}/messages?limit=1"), None).await;
    assert_eq!(stored["messages"].as_array().map(Vec::len), Some(1));
    let rest = format!("/api/images/{image}/messages?after={}", stored["next"]);
    let (_, stored) = api.json(Method::GET, &rest, None).await;
    assert_eq!(stored["messages"][0]["role"], "assistant");

    let (_, destroyed) = api.json(Method::DELETE, &format!("/api/agents/{agent}"), None).await;
    assert_eq!(destroyed["success"], true);
    let (status, _) = api.json(Method::DELETE, &format!("/api/images/{image}"), None).await;
    assert_eq!(status, StatusCode::OK);
    let (status, error) = api.json(Method::GET, &format!("/api/images/{image}"), None).await;
    assert_eq!((status, &error["error"]["code"]), (StatusCode::NOT_FOUND, &json!("not_found")));
    let (status, _) = api.json(Method::DELETE, "/api/containers/c1", None).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(api.json(Method::GET, "/api/containers/c1", None).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_lost_stream_goes_on_behind_the_last_event() {
    let served = serve().await;
    let api = Api { served: &served, key: None };
    let (_, agent) = api.agent("c1").await;
    let messages = format!("/api/agents/{agent}/messages");
    let answer = api.send(Method::POST, &messages, Some(json!({"content": "add"}))).await;
    let told = events(&answer.text().await.unwrap());
    let stored: Vec<_> = told.iter().filter(|event| !event.0.contains('.')).collect();
    let last = stored[1].0.clone();
    let url = format!("http://{}/api/agents/{agent}/events", served.address);
    let mut listening = client().get(&url).header("last-event-id", &last).send().await.unwrap();
    let mut text = String::new();
    while !text.contains("event: turn_response\n") || !text.ends_with("\n\n") {
        text += std::str::from_utf8(&listening.chunk().await.unwrap().unwrap()).unwrap();
    }
    let heard: Vec<_> =
        events(&text).into_iter().map(|event| event.0).filter(|id| !id.contains('.')).collect();
    let missed: Vec<_> = stored[2..].iter().map(|event| event.0.clone()).collect();
    assert_eq!(heard, missed);
    let wrong = client().get(&url).header("last-event-id", "yesterday").send().await.unwrap();
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn every_route_answers_for_anothers_id_as_for_none() {
    let served = serve_ann_and_bob().await;
    let ann = Api { served: &served, key: Some("key-of-ann") };
    let bob = Api { served: &served, key: Some("key-of-bob") };
    let (image, agent) = ann.agent("work").await;
    let get = Method::GET;
    let routes = [
        (&get, "/api/containers/ID", "work"),
        (&Method::DELETE, "/api/containers/ID", "work"),
        (&get, "/api/containers/ID/images", "work"),
        (&Method::POST, "/api/containers/ID/images", "work"),
        (&get, "/api/images/ID", &image),
        (&Method::PATCH, "/api/images/ID", &image),
        (&Method::DELETE, "/api/images/ID", &image),
        (&get, "/api/images/ID/messages", &image),
        (&Method::POST, "/api/images/ID/agents", &image),
        (&get, "/api/agents/ID", &agent),
        (&Method::DELETE, "/api/agents/ID", &agent),
        (&Method::POST, "/api/agents/ID/messages", &agent),
        (&get, "/api/agents/ID/events", &agent),
        (&Method::POST, "/api/agents/ID/interrupt", &agent),
        (&get, "/api/agents/ID/approvals", &agent),
        (&Method::POST, "/api/agents/ID/approvals/appr_1", &agent),
    ];
    // None is left out.
    let (_, document) = bob.json(Method::GET, "/openapi.json", None).await;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path = path.replace("{id}", "ID").replace("{approval}", "appr_1");
        for method in methods.as_object().unwrap().keys().filter(|_| path.contains("ID")) {
            let is_asked = |asked: &(&Method, &str, &str)| {
                asked.0.as_str().eq_ignore_ascii_case(method) && asked.1 == path
            };
            assert!(routes.iter().any(is_asked), "{method} {path} is not asked for");
        }
    }
    for (method, route, theirs) in routes {
        let none = "0".repeat(theirs.len());
        let body = || match (method, route) {
            (_, route) if route.ends_with("/messages") => Some(json!({"content": "x"})),
            (_, route) if route.contains("/approvals/") => Some(json!({"decision": "allow"})),
            (&Method::PATCH, _) => Some(json!({"name": "mine"})),
            _ => None,
        };
        let body = || body().filter(|_| *method != get);
        // Cursors, too: one that is good, and one that is none.
        for cursor in ["0", "none"].into_iter().filter(|_| route.ends_with("/events")) {
            let asked = |id: &str| {
                let url = format!("http://{}{}", served.address, route.replace("ID", id));
                client().get(url).bearer_auth("key-of-bob").header("last-event-id", cursor).send()
            };
            let (found, missing) = (asked(theirs).await.unwrap(), asked(&none).await.unwrap());
            assert_eq!((found.status(), missing.status()), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND));
        }
        let (status, found) = bob.json(method.clone(), &route.replace("ID", theirs), body()).await;
        let (expected, missing) = bob.json(method.clone(), &route.replace("ID", &none), body()).await;
        assert_eq!((status, expected), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND), "{method} {route}");
        assert_eq!(found.to_string().replace(theirs, "ID"), missing.to_string().replace(&none, "ID"));
    }
    assert_eq!(ann.json(get, &format!("/api/images/{image}"), None).await.1["name"], "Chat");
}

#[tokio::test]
async fn nobody_asks_without_a_key() {
    let served = serve_ann_and_bob().await;
    for key in [None, Some("guess")] {
        let api = Api { served: &served, key };
        let response = api.send(Method::GET, "/api/containers", None).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        assert_eq!(api.json(Method::GET, "/health", None).await.0, StatusCode::OK);
    }
}

#[tokio::test]
async fn bad_bodies_are_told() {
    let served = serve().await;
    let api = Api { served: &served, key: None };
    let (status, error) =
        api.json(Method::POST, "/api/containers", Some(json!({"containerId": "a b"}))).await;
    assert_eq!((status, &error["error"]["code"]), (StatusCode::BAD_REQUEST, &json!("invalid_params")));
    assert_eq!(api.json(Method::POST, "/api/containers", Some(json!([1]))).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(api.json(Method::GET, "/api/nope", None).await.0, StatusCode::NOT_FOUND);
    let url = format!("http://{}/api/containers", served.address);
    let broken = client().post(&url).header("content-type", "application/json").body("{");
    assert_eq!(broken.send().await.unwrap().status(), StatusCode::BAD_REQUEST);
    // A body that is not said to be JSON is not left out.
    let form = client().post(&url).body(r#"{"containerId": "c"}"#).send().await.unwrap();
    assert_eq!(form.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let many = Some(json!({"containerId": "c", "more": vec![0; 100_000]}));
    assert_eq!(api.json(Method::POST, "/api/containers", many).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let (status, error) = api.json(Method::PUT, "/api/containers", None).await;
    assert_eq!(
        (status, &error["error"]["code"]),
        (StatusCode::METHOD_NOT_ALLOWED, &json!("method_not_allowed"))
    );
    let (status, error) = api.json(Method::GET, "/api/images/x/messages?limit=many", None).await;
    assert_eq!((status, &error["error"]["code"]), (StatusCode::BAD_REQUEST, &json!("invalid_params")));
}

#[tokio::test]
async fn an_owner_has_bounds_of_its_own() {
    let quotas = Quotas::default().with_requests_per_minute(NonZeroU32::new(5).unwrap()).with_containers(1);
    let served = serve_ann_and_bob_with(|server| server.quotas(quotas)).await;
    let ann = Api { served: &served, key: Some("key-of-ann") };
    let create = |name: &str| Some(json!({"containerId": name}));
    assert_eq!(ann.json(Method::POST, "/api/containers", create("one")).await.0, StatusCode::CREATED);
    // One that is there is no more of them.
    assert_eq!(ann.json(Method::POST, "/api/containers", create("one")).await.0, StatusCode::CREATED);
    let (status, error) = ann.json(Method::POST, "/api/containers", create("two")).await;
    assert_eq!((status, &error["error"]["code"]), (StatusCode::TOO_MANY_REQUESTS, &json!("too_many")));
    for _ in 0..2 {
        assert_eq!(ann.json(Method::GET, "/api/containers", None).await.0, StatusCode::OK);
    }
    let refused = ann.send(Method::GET, "/api/containers", None).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    let bob = Api { served: &served, key: Some("key-of-bob") };
    assert_eq!(bob.json(Method::GET, "/api/containers", None).await.0, StatusCode::OK);
    let metrics = Api { served: &served, key: None }.send(Method::GET, "/metrics", None).await;
    let metrics = metrics.text().await.unwrap();
    let counted = r#"agentx_requests_total{method="container.create",outcome="ok"} 2"#;
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
    assert!(!metrics.contains("ann") && !metrics.contains("\"one"), "{metrics}");
    // Whoever comes through a proxy is not of this machine, nor whoever calls the server by another name.
    for path in ["/metrics", "/ready"] {
        for (name, value) in [("x-forwarded-for", "10.0.0.9"), ("host", "evil.example")] {
            for (key, expected) in
                [("guess", StatusCode::UNAUTHORIZED), ("key-of-bob", StatusCode::FORBIDDEN)]
            {
                let url = format!("http://{}{path}", served.address);
                let asked = client().get(url).header(name, value).bearer_auth(key).send();
                assert_eq!(asked.await.unwrap().status(), expected, "{path} {name}");
            }
        }
    }
}

/// A page of somebody else's, and a name of somebody else's that points here.
#[tokio::test]
async fn a_strange_page_and_a_strange_name_are_refused() {
    let served = serve().await;
    let url = format!("http://{}/health", served.address);
    let get = |header: &'static str, value: String| client().get(&url).header(header, value).send();
    assert_eq!(
        get("origin", "http://evil.example".to_owned()).await.unwrap().status(),
        StatusCode::FORBIDDEN
    );
    let own = format!("http://{}", served.address);
    assert_eq!(get("origin", own).await.unwrap().status(), StatusCode::OK);
    assert_eq!(get("host", "evil.example".to_owned()).await.unwrap().status(), StatusCode::FORBIDDEN);
}
