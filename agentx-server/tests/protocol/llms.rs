//! LLM definitions: who has them, and what answers with them. Each model is a Messages API on loopback.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use agentx::{
    SystemClock, ToolLoop,
    claude::messages::{MessagesModel, MessagesSettings, ReqwestTransport},
};
use agentx_provider_local::SqliteExecutor;
use agentx_server::{
    Owner,
    auth::{KeyHash, Scope},
    llm::{LlmDriver, LlmProtocol, Llms, NewLlm},
    tenant::{NewKey, NewTenant, Tenants},
};
use agentx_sql::Executor;
use axum::{Json, Router, http::HeaderMap, http::StatusCode, response::IntoResponse, routing::post};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    api::Api,
    support::{Client, Served, keys_of_ann_and_bob, model, serve_driver},
};

/// A Messages API that knows some keys. It says which model was asked for, and keeps what it was asked with.
#[derive(Clone, Default)]
struct Far {
    keys: Arc<Mutex<Vec<String>>>,
    /// The key and the model of each call that it answered.
    asked: Arc<Mutex<Vec<(String, String)>>>,
    /// What it was asked last.
    last: Arc<Mutex<Value>>,
}

impl Far {
    fn answer(&self, headers: &HeaderMap, body: &Value) -> impl IntoResponse + use<> {
        let key = headers["x-api-key"].to_str().unwrap().to_owned();
        if !self.keys.lock().unwrap().contains(&key) {
            let error =
                json!({"type": "error", "error": {"type": "authentication_error", "message": "no such key"}});
            return (StatusCode::UNAUTHORIZED, [("content-type", "application/json")], error.to_string());
        }
        let model = body["model"].as_str().unwrap().to_owned();
        let events = [
            json!({"type": "message_start", "message": {"model": model, "usage": {"input_tokens": 1}}}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            json!({"type": "content_block_delta", "index": 0,
                "delta": {"type": "text_delta", "text": format!("I am {model}.")}}),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}),
            json!({"type": "message_stop"}),
        ];
        self.asked.lock().unwrap().push((key, model));
        *self.last.lock().unwrap() = body.clone();
        let events =
            events.map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()));
        (StatusCode::OK, [("content-type", "text/event-stream")], events.concat())
    }

    async fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let far = self.clone();
        let answer = async move |headers: HeaderMap, Json(body): Json<Value>| far.answer(&headers, &body);
        let routes = Router::new().route("/v1/messages", post(answer));
        // It ends with the test's runtime.
        drop(tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() }));
        address
    }

    fn know(&self, keys: &[&str]) {
        *self.keys.lock().unwrap() = keys.iter().map(ToString::to_string).collect();
    }

    /// Whether and how much the last call was to think.
    fn thinking(&self) -> (Value, Value) {
        let last = self.last.lock().unwrap();
        (last["thinking"].clone(), last["output_config"]["effort"].clone())
    }

    fn asked(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

async fn memory() -> Arc<dyn Executor> {
    Arc::new(SqliteExecutor::open_in_memory().await.unwrap())
}

/// A server for Ann and Bob on these definitions, whose models are reached through `transport`.
async fn serve_on(llms: Llms, transport: ReqwestTransport) -> Served {
    let driver = LlmDriver::new(ToolLoop::new(model()), llms.clone(), move |supply| {
        let settings = MessagesSettings::default().with_model("the-driver's");
        let model =
            MessagesModel::new(supply, transport.clone(), Arc::new(SystemClock)).with_settings(settings);
        Arc::new(ToolLoop::new(model))
    });
    serve_driver(driver, |server| server.authenticator(keys_of_ann_and_bob()).llms(llms)).await
}

async fn serve() -> Served {
    serve_on(Llms::open(memory().await).await.unwrap(), ReqwestTransport::new().unwrap()).await
}

impl Client {
    /// Makes a definition: its id.
    async fn llm(&mut self, name: &str, far: SocketAddr, key: &str) -> String {
        let params = json!({"name": name, "vendor": "acme", "protocol": "anthropic", "apiKey": key,
            "baseUrl": format!("http://{far}"), "model": format!("{name}-1")});
        let made = self.call("runtime.llm.create", params).await;
        made["record"]["id"].as_str().unwrap().to_owned()
    }

    /// An image whose model is this.
    async fn image_with(&mut self, model: Value) -> Value {
        self.call("runtime.image.create", json!({"model": model})).await["record"]["imageId"].clone()
    }

    /// Says something, and gives the answer, or why there is none.
    async fn chat(&mut self, params: Value) -> String {
        let mut params = params;
        params["content"] = json!("hello");
        self.call("runtime.message.send", params).await;
        loop {
            let event = self.event().await;
            match event["type"].as_str().unwrap() {
                "assistant_message" => {
                    return event["data"]["content"][0]["text"].as_str().unwrap().to_owned();
                }
                "error_occurred" => return event["data"]["message"].as_str().unwrap().to_owned(),
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn definitions_are_made_read_changed_and_deleted_and_never_tell_their_key() {
    let served = serve().await;
    let mut ann = Client::connect(&served, Some("key-of-ann")).await;
    let params = json!({"name": "fast", "vendor": "acme", "protocol": "anthropic", "apiKey": "sk-very-secret",
        "baseUrl": "https://api.example/v1", "model": "small"});
    let made = ann.call("llm.create", params).await["record"].clone();
    let id = made["id"].clone();
    assert!(id.as_str().unwrap().starts_with("llm_"), "{made}");
    assert_eq!((&made["name"], &made["isDefault"]), (&json!("fast"), &json!(false)));
    let mut answers = vec![made.clone(), ann.call("llm.get", json!({"id": id})).await["record"].clone()];
    assert_eq!(answers[0], answers[1]);
    answers.push(ann.call("llm.list", json!({})).await);
    assert_eq!(answers[2]["records"], json!([made]));

    assert_eq!(ann.call("llm.default", json!({})).await, json!({"record": null}));
    answers.push(ann.call("runtime.llm.default", json!({"id": id})).await);
    assert_eq!(ann.call("llm.default", json!({})).await["record"]["id"], id);
    // Both forms of a change; what is not said stays, and null is what was never said.
    answers.push(ann.call("llm.update", json!({"id": id, "updates": {"apiKey": "sk-other-secret"}})).await);
    let changed =
        ann.call("llm.update", json!({"id": id, "name": "slow", "model": null})).await["record"].clone();
    assert_eq!(
        (&changed["name"], &changed["model"], &changed["vendor"]),
        (&json!("slow"), &json!(null), &json!("acme"))
    );
    assert_eq!(changed["isDefault"], true);
    // As the first generation would ask for it.
    let mut first = Client::connect(&served, Some("key-of-ann")).await;
    answers.push(first.request("llm_list", json!({})).await);

    let wrong = [
        json!({}),
        json!({"name": "x", "protocol": "anthropic", "apiKey": 12345}),
        json!({"name": "x", "protocol": "anthropic", "apiKey": ["sk-very-secret"]}),
        json!({"name": "x", "protocol": "anthropic", "apiKey": "sk-very-secret\r\nx: y"}),
        json!({"name": "x", "protocol": "anthropic", "apiKey": ""}),
        json!({"name": "", "protocol": "anthropic", "apiKey": "k"}),
        json!({"name": "x".repeat(257), "protocol": "anthropic", "apiKey": "k"}),
        json!({"name": "x", "protocol": "carrier-pigeon", "apiKey": "k"}),
        json!({"name": "x", "protocol": "anthropic", "apiKey": "k", "baseUrl": "file:///etc/passwd"}),
        json!({"name": "x", "protocol": "anthropic", "apiKey": "k", "baseUrl": "https://user:pass@host"}),
        json!({"name": "x", "protocol": "anthropic", "apiKey": "k".repeat(4_097)}),
    ];
    for params in wrong {
        let answer = ann.ask("llm.create", params.clone()).await;
        assert_eq!(answer["error"]["code"], -32602, "{params}: {answer}");
        answers.push(answer);
    }
    let openai =
        ann.ask("llm.create", json!({"name": "x", "protocol": "openai", "apiKey": "sk-very-secret"})).await;
    assert_eq!(openai["error"]["data"]["kind"], "unsupported");
    assert!(
        openai["error"]["message"].as_str().unwrap().contains("no driver for the protocol openai"),
        "{openai}"
    );
    answers.push(openai);
    for answer in answers {
        let text = answer.to_string();
        assert!(!text.contains("secret") && !text.contains("12345"), "{text}");
    }

    for _ in 1..100 {
        ann.call("llm.create", json!({"name": "many", "protocol": "anthropic", "apiKey": "k"})).await;
    }
    let full = ann.ask("llm.create", json!({"name": "more", "protocol": "anthropic", "apiKey": "k"})).await;
    assert!(full["error"]["message"].as_str().unwrap().contains("100"), "{full}");
    let several = ann.ask("image.create", json!({"containerId": "none", "model": "many"})).await;
    assert_eq!(several["error"]["code"], 404, "the container first: {several}");
    let several = ann.ask("runtime.image.create", json!({"model": "many"})).await;
    assert_eq!(several["error"]["code"], -32602, "{several}");
    assert_eq!(ann.call("llm.delete", json!({"id": id})).await, json!({"id": id}));
    assert_eq!(ann.call("llm.get", json!({"id": id})).await, json!({"record": null}));
    assert_eq!(ann.call("llm.default", json!({})).await, json!({"record": null}));
}

#[tokio::test]
async fn an_image_or_a_message_is_answered_by_the_definition_that_it_names() {
    let (served, far, other) = (serve().await, Far::default(), Far::default());
    far.know(&["key-1"]);
    other.know(&["key-2"]);
    let mut ann = Client::connect(&served, Some("key-of-ann")).await;
    let fast = ann.llm("fast", far.serve().await, "key-1").await;
    let slow = ann.llm("slow", other.serve().await, "key-2").await;

    let image = ann.image_with(json!(fast)).await;
    assert_eq!(ann.chat(json!({"imageId": image})).await, "I am fast-1.");
    assert_eq!(far.asked(), [("key-1".to_owned(), "fast-1".to_owned())]);
    let one = ann.chat(json!({"imageId": image, "options": {"model": "slow"}})).await;
    assert_eq!(one, "I am slow-1.");
    assert_eq!(other.asked(), [("key-2".to_owned(), "slow-1".to_owned())]);
    assert_eq!(ann.chat(json!({"imageId": image})).await, "I am fast-1.", "it held for one message");

    // A change counts from the next message on, and an image shows what its client wrote.
    let changed =
        ann.call("runtime.image.update", json!({"imageId": image, "updates": {"model": "slow"}})).await;
    assert_eq!((&changed["record"]["model"], &changed["record"]["metadata"]), (&json!("slow"), &json!({})));
    assert_eq!(ann.chat(json!({"imageId": image})).await, "I am slow-1.");
    // What it meant then it goes on to mean.
    ann.call("llm.update", json!({"id": slow, "name": "renamed", "model": "slow-2"})).await;
    assert_eq!(ann.chat(json!({"imageId": image})).await, "I am slow-2.");
    ann.call("llm.update", json!({"id": slow, "model": null})).await;
    assert_eq!(ann.chat(json!({"imageId": image})).await, "I am the-driver's.");

    // Without a choice the server's own answers, until there is a default one, of which a model may be named, too.
    let plain = ann.image_with(json!(null)).await;
    assert_eq!(ann.chat(json!({"imageId": plain})).await, "You said: hello");
    let none = ann.ask("runtime.image.create", json!({"model": "gigantic"})).await;
    assert_eq!(none["error"]["code"], -32602, "{none}");
    let none = json!({"imageId": plain, "content": "x", "options": {"model": "gigantic"}});
    assert_eq!(ann.ask("runtime.message.send", none).await["error"]["code"], -32602);
    ann.call("llm.default", json!({"id": fast})).await;
    assert_eq!(ann.chat(json!({"imageId": plain})).await, "I am fast-1.");
    let gigantic = ann.image_with(json!("gigantic")).await;
    assert_eq!(ann.chat(json!({"imageId": gigantic})).await, "I am gigantic.");
    // Another one's is not touched by any of it.
    let mut bob = Client::connect(&served, Some("key-of-bob")).await;
    let image = bob.image_with(json!(null)).await;
    assert_eq!(bob.chat(json!({"imageId": image})).await, "You said: hello");

    ann.call("llm.delete", json!({"id": fast})).await;
    assert_eq!(ann.chat(json!({"imageId": plain})).await, "You said: hello");
    let gone = ann.chat(json!({"imageId": gigantic})).await;
    assert!(gone.contains("there is none any more"), "no model of the server's own: {gone}");
}

#[tokio::test]
async fn another_key_holds_from_the_next_call_on_and_a_deleted_definition_answers_no_more() {
    let (served, far) = (serve().await, Far::default());
    far.know(&["old"]);
    let mut ann = Client::connect(&served, Some("key-of-ann")).await;
    let llm = ann.llm("fast", far.serve().await, "old").await;
    let image = ann.image_with(json!("fast")).await;
    assert_eq!(ann.chat(json!({"imageId": image})).await, "I am fast-1.");
    far.know(&["new"]);
    let refused = ann.chat(json!({"imageId": image})).await;
    assert!(refused.contains("no such key") && !refused.contains("old"), "{refused}");
    ann.call("llm.update", json!({"id": llm, "apiKey": "new"})).await;
    assert_eq!(ann.chat(json!({"imageId": image})).await, "I am fast-1.");
    assert_eq!(far.asked().last().unwrap().0, "new");

    ann.call("llm.delete", json!({"id": llm})).await;
    let gone = ann.chat(json!({"imageId": image})).await;
    assert!(gone.contains("the LLM definition is deleted"), "{gone}");
    assert_eq!(far.asked(), []);
    // And its image goes on with another one.
    ann.call("runtime.image.update", json!({"imageId": image, "updates": {"model": null}})).await;
    assert_eq!(ann.chat(json!({"imageId": image})).await, "You said: hello");
}

/// Whoever names an address must not have the server call itself with it.
#[tokio::test]
async fn an_address_of_this_machine_is_not_called_for_clients() {
    let llms = Llms::open(memory().await).await.unwrap();
    let served = serve_on(llms, ReqwestTransport::public().unwrap()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut ann = Client::connect(&served, Some("key-of-ann")).await;
    for (number, url) in [
        format!("https://127.0.0.1:{port}"),
        format!("https://localhost:{port}"),
        format!("https://[::ffff:127.0.0.1]:{port}"),
        "https://169.254.169.254/latest/meta-data".to_owned(),
        format!("http://localhost:{port}"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("inside {number}");
        let params = json!({"name": name, "protocol": "anthropic", "apiKey": "k", "baseUrl": url});
        ann.call("llm.create", params).await;
        let image = ann.image_with(json!(name)).await;
        let refused = ann.chat(json!({"imageId": image})).await;
        assert!(refused.contains("public address") || refused.contains("https://"), "{url}: {refused}");
    }
    let called = listener.into_std().unwrap().accept();
    assert_eq!(called.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn definitions_are_kept_and_go_with_their_tenant() {
    let executor = memory().await;
    let (ann, bob) = (Owner::new("ann").unwrap(), Owner::new("bob").unwrap());
    let made = Llms::open(executor.clone()).await.unwrap();
    let new = || NewLlm::new("fast", LlmProtocol::Anthropic, "sk-very-secret");
    let llm = made.create(&ann, new()).await.unwrap();
    let kept = made.create(&bob, new()).await.unwrap();
    assert!(!format!("{llm:?} {made:?}").contains("secret"));
    // Opened again, as by the next version: nothing is lost.
    let llms = Llms::open(executor.clone()).await.unwrap();
    assert_eq!(llms.find(&ann, &llm.id).await.unwrap(), Some(llm.clone()));
    assert_eq!(llms.find(&bob, &llm.id).await.unwrap(), None);
    // What another process changed is known a moment later.
    made.set_default(&ann, &llm.id).await.unwrap();
    while !llms.find(&ann, &llm.id).await.unwrap().unwrap().is_default {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let tenants = Tenants::open(executor).await.unwrap();
    tenants.add_key(NewKey::new(KeyHash::of("root"), Scope::Admin)).await.unwrap();
    tenants.create(NewTenant::new(ann.clone())).await.unwrap();
    let served = serve_driver(ToolLoop::new(model()), |server| {
        server.authenticator(tenants.clone()).tenants(tenants).llms(llms.clone())
    })
    .await;
    let root = Api { served: &served, key: Some("root") };
    let (status, _) = root.json(Method::POST, "/v1/tenants/delete", Some(json!({"tenantId": "ann"}))).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(llms.of(&ann).await.unwrap().len(), 0);
    assert_eq!(*llms.of(&bob).await.unwrap(), [kept]);
}

#[tokio::test]
async fn a_message_with_a_model_of_its_own_waits_for_its_turn_and_has_it_then() {
    let (served, far) = (serve().await, Far::default());
    far.know(&["k"]);
    let mut ann = Client::connect(&served, Some("key-of-ann")).await;
    ann.llm("fast", far.serve().await, "k").await;
    let image = ann.image_with(json!(null)).await;
    let waiting = json!({"imageId": image, "content": "wait", "wait": false});
    ann.call("runtime.message.send", waiting).await;
    let options = json!({"model": "fast", "thinking": "low"});
    let params = json!({"imageId": image, "content": "hello", "options": options});
    let queued = ann.call("runtime.message.send", params).await;
    assert_eq!(queued["queued"], true, "{queued}");
    ann.call("runtime.instance.interrupt", json!({"imageId": image})).await;
    loop {
        let event = ann.event().await;
        // What the driver is told is the server's own.
        assert!(event["data"].get("options").is_none(), "{event}");
        let said = &event["data"]["content"][0]["text"];
        if event["type"] == "assistant_message" && said.is_string() {
            assert_eq!(said, "I am fast-1.");
            break;
        }
    }
    assert_eq!(far.thinking(), (json!({"type": "adaptive"}), json!("low")));
}

#[tokio::test]
async fn a_model_thinks_as_its_image_or_message_says() {
    let (served, far) = (serve().await, Far::default());
    far.know(&["k"]);
    let mut ann = Client::connect(&served, Some("key-of-ann")).await;
    ann.llm("fast", far.serve().await, "k").await;
    let spec = json!({"model": "fast", "thinking": "high", "roleId": "reviewer"});
    let record = ann.call("runtime.image.create", spec).await["record"].clone();
    assert_eq!((&record["thinking"], &record["roleId"]), (&json!("high"), &json!("reviewer")));
    let image = record["imageId"].clone();
    let chat = |options: Value| json!({"imageId": image, "options": options});
    ann.chat(chat(json!({}))).await;
    assert_eq!(far.thinking(), (json!({"type": "adaptive"}), json!("high")));
    ann.chat(chat(json!({"thinking": "disabled", "providerOptions": {"anthropic": {"effort": "low"}}})))
        .await;
    assert_eq!(far.thinking(), (json!({"type": "disabled"}), json!("low")), "the message's word counts more");
    let budget = json!({"anthropic": {"thinking": {"type": "enabled", "budgetTokens": 2_000}}});
    ann.chat(chat(json!({"providerOptions": budget}))).await;
    assert_eq!(far.thinking(), (json!({"type": "enabled", "budget_tokens": 2_000}), json!("high")));

    let changed = json!({"imageId": image, "updates": {"thinking": null, "providerOptions": budget}});
    let record = ann.call("runtime.image.update", changed).await["record"].clone();
    assert_eq!((&record["thinking"], &record["providerOptions"]), (&Value::Null, &budget));
    ann.chat(chat(json!({}))).await;
    assert_eq!(far.thinking(), (json!({"type": "enabled", "budget_tokens": 2_000}), Value::Null));
    ann.call("runtime.image.update", json!({"imageId": image, "updates": {"providerOptions": {}}})).await;
    ann.chat(chat(json!({}))).await;
    assert_eq!(far.thinking(), (Value::Null, Value::Null));

    for (options, told) in [
        (json!({"thinking": "enormous"}), "enormous"),
        (json!({"providerOptions": {"openai": {}}}), "openai"),
        (json!({"providerOptions": {"anthropic": {"cacheControl": {}}}}), "cacheControl"),
        (json!({"temperature": 1}), "temperature"),
    ] {
        let mut params = chat(options.clone());
        params["content"] = json!("hi");
        let refused = ann.ask("runtime.message.send", params).await["error"].clone();
        assert_eq!(refused["code"], -32602, "{options}");
        assert!(refused["message"].as_str().unwrap().contains(told), "{refused}");
        if told != "temperature" {
            let update = json!({"imageId": image, "updates": options});
            assert_eq!(ann.ask("runtime.image.update", update).await["error"]["code"], -32602, "{told}");
        }
    }
}
