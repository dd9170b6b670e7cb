//! Bounds of an owner: the last place of anything is one's, however many ask for it at once.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use agentx_provider_local::SqliteExecutor;
use agentx_server::{
    Owner, Quotas,
    auth::{KeyHash, Scope},
    tenant::{NewKey, NewTenant, TenantChanges, TenantQuotas, Tenants},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    api::{Api, client},
    support::{Client, serve_ann_and_bob_with, serve_with},
};

fn rpc(id: usize, method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

/// How many of these requests, asked at once, are done, and how many are refused as too many.
async fn at_once(
    client: &mut Client,
    requests: impl IntoIterator<Item = (&'static str, Value)>,
) -> (usize, usize) {
    let frames: Vec<Value> =
        requests.into_iter().enumerate().map(|(id, (method, params))| rpc(id, method, &params)).collect();
    client.say(json!(frames).to_string()).await;
    let (mut done, mut refused) = (0, 0);
    for id in 0..frames.len() {
        let answer = client.find(|frame| frame["id"] == id).await;
        match answer["error"]["code"].as_i64() {
            None => done += 1,
            Some(429) => refused += 1,
            Some(_) => panic!("{answer}"),
        }
    }
    (done, refused)
}

#[tokio::test]
async fn the_last_container_and_the_last_image_are_ones() {
    let quotas = Quotas::default().with_containers(3).with_images(2);
    let served = serve_with(|server| server.quotas(quotas)).await;
    let mut client = Client::connect(&served, None).await;
    let containers = (0..8).map(|n| ("container.create", json!({"containerId": format!("c{n}")})));
    assert_eq!(at_once(&mut client, containers).await, (3, 5));
    let made = client.call("container.list", json!({})).await["containerIds"].clone();
    assert_eq!(made.as_array().map(Vec::len), Some(3));
    // Of one name, there is one.
    let again = (0..4).map(|_| ("container.create", json!({"containerId": made[0]})));
    assert_eq!(at_once(&mut client, again).await, (4, 0));
    let images = (0..6).map(|_| ("image.create", json!({"containerId": made[0]})));
    assert_eq!(at_once(&mut client, images).await, (2, 4));
    // What was deleted leaves its place.
    let listed = client.call("image.list", json!({"containerId": made[0]})).await;
    client.call("image.delete", json!({"imageId": listed["records"][0]["imageId"]})).await;
    client.call("image.create", json!({"containerId": made[0]})).await;
    client.call("container.delete", json!({"containerId": made[1]})).await;
    client.call("container.create", json!({"containerId": "new"})).await;
    assert_eq!(client.ask("container.create", json!({"containerId": "newer"})).await["error"]["code"], 429);
}

#[tokio::test]
async fn the_last_turn_and_the_last_message_of_a_day_are_ones() {
    let quotas = Quotas::default().with_turns(2).with_messages_per_day(4);
    let served = serve_with(|server| server.quotas(quotas).turn_wait(Duration::ZERO)).await;
    let mut client = Client::connect(&served, None).await;
    let mut images = Vec::new();
    for _ in 0..6 {
        images.push(client.image("c").await["imageId"].clone());
    }
    let wait = |image: &Value| ("message.send", json!({"imageId": image, "content": "wait"}));
    assert_eq!(at_once(&mut client, images.iter().map(wait)).await, (2, 4));
    // A message to an agent that is at work is no turn more.
    let working = client.call("agent.list", json!({})).await;
    let mut queued = 0;
    for agent in working["agents"].as_array().unwrap() {
        let sent = client.ask("message.send", json!({"agentId": agent["agentId"], "content": "more"})).await;
        queued += usize::from(sent["result"]["queued"] == true);
    }
    assert_eq!(queued, 2);
    let over = client.ask("message.send", json!({"imageId": images[0], "content": "one too many"})).await;
    assert_eq!(over["error"]["code"], 429, "{over}");
}

#[tokio::test]
async fn bytes_are_counted_in_messages() {
    let served = serve_with(|server| server.quotas(Quotas::default().with_bytes_per_day(10))).await;
    let api = Api { served: &served, key: None };
    let (_, agent) = api.agent("c").await;
    let messages = format!("/api/agents/{agent}/messages");
    let (status, _) = api.json(Method::POST, &messages, Some(json!({"content": "12345678901"}))).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    let told = api.send(Method::POST, &messages, Some(json!({"content": "1234567890"}))).await;
    assert_eq!(told.status(), StatusCode::OK);
    drop(told.text().await);
    let refused = api.send(Method::POST, &messages, Some(json!({"content": "1"}))).await;
    let after: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=86_400).contains(&after), "{after}");
}

#[tokio::test]
async fn what_is_left_of_the_requests_is_told() {
    let quotas = Quotas::default().with_requests_per_minute(NonZeroU32::new(3).unwrap());
    let served = serve_ann_and_bob_with(|server| server.quotas(quotas)).await;
    let ann = Api { served: &served, key: Some("key-of-ann") };
    for left in [2, 1, 0, 0] {
        let response = ann.send(Method::GET, "/api/containers", None).await;
        assert_eq!(response.headers()["ratelimit-policy"], r#""requests";q=3;w=60"#);
        let told = response.headers()["ratelimit"].to_str().unwrap();
        assert!(told.starts_with(&format!(r#""requests";r={left};t="#)), "{told}");
    }
    // A stream is a request, too.
    let stream = ann.send(Method::GET, "/api/agents/x/events", None).await;
    assert_eq!(stream.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn connections_of_an_owner_and_in_all_are_bounded() {
    let quotas = Quotas::default().with_connections(2);
    let served = serve_ann_and_bob_with(|server| server.quotas(quotas).largest_connections(4)).await;
    let ann = Api { served: &served, key: Some("key-of-ann") };
    let agent = ann.agent("c").await.1;
    let _socket = Client::connect(&served, Some("key-of-ann")).await;
    let url = format!("http://{}/api/agents/{agent}/events", served.address);
    let listen = || client().get(&url).header("authorization", "Bearer key-of-ann").send();
    let stream = listen().await.unwrap();
    assert_eq!(stream.status(), StatusCode::OK);
    assert_eq!(listen().await.unwrap().status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(Client::try_connect(&served, Some("key-of-ann")).await.is_err());
    // Somebody who does not say who it is takes no place of those who do.
    let nobody = Client::connect(&served, None).await;
    assert!(Client::try_connect(&served, None).await.is_err());
    let mut bob = Client::connect(&served, Some("key-of-bob")).await;
    bob.call("container.list", json!({})).await;
    assert!(Client::try_connect(&served, Some("key-of-bob")).await.is_err(), "four are open");
    // By its first frame, an owner without a place gets none either.
    drop(bob);
    let mut late = nobody;
    late.say(json!({"jsonrpc": "2.0", "method": "auth", "params": {"headers": {"authorization": "Bearer key-of-ann"}}}).to_string()).await;
    assert_eq!(late.raw().await.unwrap()["error"]["code"], 429);
    assert_eq!(late.raw().await, None);
    // A stream that ends leaves its place.
    drop(stream);
    while listen().await.unwrap().status() != StatusCode::OK {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_tenant_has_bounds_of_its_own_and_what_it_sent_outlives_the_server() {
    let executor = Arc::new(SqliteExecutor::open_in_memory().await.unwrap());
    let tenants = Tenants::open(executor.clone()).await.unwrap();
    let owner = Owner::new("ann").unwrap();
    let mut quotas = TenantQuotas::default();
    quotas.containers = Some(1);
    quotas.messages_per_day = Some(2);
    tenants.create(NewTenant::new(owner.clone()).with_quotas(quotas)).await.unwrap();
    tenants.add_key(NewKey::new(KeyHash::of("ann"), Scope::Owner(owner.clone()))).await.unwrap();
    let settings = |tenants: Tenants| {
        move |server: agentx_server::ServerBuilder| {
            server.authenticator(tenants.clone()).tenants(tenants).turn_wait(Duration::ZERO)
        }
    };
    let served = serve_with(settings(tenants.clone())).await;
    let mut ann = Client::connect(&served, Some("ann")).await;
    let image = ann.image("c").await["imageId"].clone();
    assert_eq!(ann.ask("container.create", json!({"containerId": "d"})).await["error"]["code"], 429);
    quotas.containers = Some(2);
    tenants.update(&owner, TenantChanges::default().with_quotas(Some(quotas))).await.unwrap();
    ann.call("container.create", json!({"containerId": "d"})).await;
    let send = json!({"imageId": image, "content": "hi"});
    ann.call("message.send", send.clone()).await;
    ann.call("message.send", send.clone()).await;
    assert_eq!(ann.ask("message.send", send).await["error"]["code"], 429);
    // It is stored behind, within seconds: there is no event to wait for.
    let day = agentx_server::tenant::Usage::of_day(agentx::tokio_host().unwrap().now()).day;
    while tenants.usage(&owner, day).await.unwrap().messages < 2 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop((ann, served));

    let served = serve_with(settings(Tenants::open(executor).await.unwrap())).await;
    let mut ann = Client::connect(&served, Some("ann")).await;
    let image = ann.image("c").await["imageId"].clone();
    let refused = ann.ask("message.send", json!({"imageId": image, "content": "hi"})).await;
    assert_eq!(refused["error"]["code"], 429);
}

/// What is left of an agent that nobody uses is its rows.
#[tokio::test]
async fn an_agent_that_nobody_uses_is_let_go_and_comes_back_where_it_was() {
    let served = serve_with(|server| server.idle_agents(Duration::from_millis(50))).await;
    let api = Api { served: &served, key: None };
    let (image, unused) = api.agent("c").await;
    let sent = api
        .send(Method::POST, &format!("/api/agents/{unused}/messages"), Some(json!({"content": "hi"})))
        .await;
    drop(sent.text().await);
    let (_, heard) = api.agent("c").await;
    let events = format!("http://{}/api/agents/{heard}/events", served.address);
    let listening = client().get(events).send().await.unwrap();
    let (waits, working) = api.agent("c").await;
    let mut socket = Client::connect(&served, None).await;
    socket.say(rpc(1, "message.send", &json!({"imageId": waits, "content": "wait"})).to_string()).await;
    socket.find(|frame| frame["params"]["event"]["type"] == "tool_executing").await;
    drop(socket);

    // It is looked for them when something is asked.
    while api.json(Method::GET, &format!("/api/images/{image}"), None).await.1["online"] == true {
        tokio::task::yield_now().await;
    }
    for agent in [&heard, &working] {
        assert_eq!(api.json(Method::GET, &format!("/api/agents/{agent}"), None).await.0, StatusCode::OK);
    }
    drop(listening);
    let (status, run) = api.json(Method::POST, &format!("/api/images/{image}/agents"), None).await;
    assert_eq!(
        (status, &run["reused"], &run["agentId"]),
        (StatusCode::CREATED, &json!(false), &json!(unused))
    );
    let (_, stored) = api.json(Method::GET, &format!("/api/images/{image}/messages"), None).await;
    assert_eq!(stored["messages"].as_array().map(Vec::len), Some(2));

    // Whoever has its id goes on with it, until the agent is ended.
    let at_old = format!("/api/agents/{unused}");
    let again =
        api.send(Method::POST, &format!("{at_old}/messages"), Some(json!({"content": "again"}))).await;
    assert_eq!(again.status(), StatusCode::OK);
    assert!(again.text().await.unwrap().contains("You said: again"));
    let mut socket = Client::connect(&served, None).await;
    let sent = json!({"instanceId": unused, "content": "and again"});
    let sent = socket.call("runtime.message.send", sent).await;
    assert_eq!((&sent["imageId"], &sent["instanceId"]), (&json!(image), &json!(unused)));
    assert_eq!(socket.call("instance.destroy", json!({"instanceId": unused})).await["success"], true);
    assert_eq!(socket.call("instance.destroy", json!({"instanceId": unused})).await["success"], false);
    let ended = api.send(Method::POST, &format!("{at_old}/messages"), Some(json!({"content": "gone"}))).await;
    assert_eq!(ended.status(), StatusCode::NOT_FOUND);
}
