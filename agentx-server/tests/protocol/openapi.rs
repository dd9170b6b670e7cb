//! The document at `/openapi.json` says what is so: each operation is asked for, and its answer has the form that the
//! document tells.

use std::{collections::BTreeSet, sync::Arc};

use agentx_provider_local::SqliteExecutor;
use agentx_server::tenant::Tenants;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    api::Api,
    support::{Served, serve_with},
};

/// What of an answer is not as its schema says; the part of JSON Schema that the document uses.
fn wrong(document: &Value, schema: &Value, value: &Value, place: &str) -> Option<String> {
    if let Some(name) = schema["$ref"].as_str() {
        return wrong(document, document.pointer(&name[1..]).expect("a schema"), value, place);
    }
    for key in schema.as_object().unwrap().keys() {
        let known = [
            "type",
            "const",
            "enum",
            "minimum",
            "properties",
            "required",
            "additionalProperties",
            "items",
            "description",
        ];
        assert!(known.contains(&key.as_str()), "{key} is not checked here");
    }
    let is = |kind: &Value| match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other} is not checked here"),
    };
    let kinds = match &schema["type"] {
        Value::Null => Vec::new(),
        Value::Array(kinds) => kinds.clone(),
        kind => vec![kind.clone()],
    };
    let fits = (kinds.is_empty() || kinds.iter().any(is))
        && schema.get("const").is_none_or(|one| one == value)
        && schema.get("enum").is_none_or(|some| some.as_array().unwrap().contains(value))
        && schema.get("minimum").is_none_or(|least| value.as_i64() >= least.as_i64());
    if !fits {
        return Some(format!("{place} is {value}, where there must be {schema}"));
    }
    let required = schema["required"].as_array().into_iter().flatten();
    if let Some(missing) = required.map(|name| name.as_str().unwrap()).find(|name| value.get(name).is_none())
    {
        return Some(format!("{place} has no {missing}: {value}"));
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        match schema["properties"].get(name) {
            Some(of_member) => {
                if let Some(wrong) = wrong(document, of_member, member, &format!("{place}.{name}")) {
                    return Some(wrong);
                }
            }
            None if schema["additionalProperties"] == false => {
                return Some(format!("{place} has {name}: {value}"));
            }
            None => {}
        }
    }
    let mut items = value.as_array().into_iter().flatten().enumerate();
    let of_items = schema.get("items")?;
    items.find_map(|(at, item)| wrong(document, of_items, item, &format!("{place}[{at}]")))
}

/// A server, its document, and what of that was asked for.
struct Walk {
    served: Served,
    document: Value,
    walked: BTreeSet<(String, String)>,
}

impl Walk {
    /// Asks for one operation, and gives the answer.
    async fn ask(&mut self, method: &str, path: &str, ids: &[&str], body: Option<Value>) -> Value {
        let mut filled = String::new();
        let mut ids = ids.iter();
        for part in path.split('/').skip(1) {
            filled += "/";
            filled += if part.starts_with('{') { ids.next().unwrap() } else { part };
        }
        let api = Api { served: &self.served, key: None };
        let asked = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let response = api.send(asked, &filled, body).await;
        let (status, kind) =
            (response.status(), response.headers()["content-type"].to_str().unwrap().to_owned());
        let responses = &self.document["paths"][path][method]["responses"];
        let told =
            responses.get(status.as_str()).unwrap_or_else(|| panic!("{method} {path}: {status} is not told"));
        let content = told["content"].as_object().unwrap();
        let schema = content.iter().find(|(told, _)| kind.starts_with(told.as_str()));
        let (_, schema) = schema.unwrap_or_else(|| panic!("{method} {path}: {kind} is not told"));
        self.walked.insert((method.to_owned(), path.to_owned()));
        if path.ends_with("/events") {
            return Value::Null;
        }
        let text = response.text().await.unwrap();
        let answer = if kind.starts_with("application/json") {
            serde_json::from_str(&text).unwrap()
        } else {
            json!(text)
        };
        assert_eq!(wrong(&self.document, &schema["schema"], &answer, path), None, "{method} {path}");
        answer
    }

    fn id(answer: &Value, name: &str) -> String {
        answer[name].as_str().unwrap_or_else(|| panic!("{answer} has no {name}")).to_owned()
    }
}

#[tokio::test]
async fn every_operation_answers_as_the_document_says() {
    let executor = SqliteExecutor::open_in_memory().await.unwrap();
    let tenants = Tenants::open(Arc::new(executor)).await.unwrap();
    let served = serve_with(|server| server.tenants(tenants)).await;
    let (status, document) =
        Api { served: &served, key: None }.json(Method::GET, "/openapi.json", None).await;
    assert_eq!((status, &document["openapi"]), (StatusCode::OK, &json!("3.1.0")));
    let mut walk = Walk { served, document, walked: BTreeSet::new() };

    for path in ["/health", "/ready", "/metrics", "/openapi.json"] {
        walk.ask("get", path, &[], None).await;
    }
    walk.ask("post", "/api/containers", &[], Some(json!({"containerId": "c"}))).await;
    walk.ask("get", "/api/containers", &[], None).await;
    walk.ask("get", "/api/containers/{id}", &["c"], None).await;
    let spec = json!({"name": "Chat", "description": "d", "systemPrompt": "s", "customData": {"a": 1},
        "mcpServers": {"files": {"command": "x"}}});
    let image = walk.ask("post", "/api/containers/{id}/images", &["c"], Some(spec)).await;
    let image = Walk::id(&image, "imageId");
    let run = walk.ask("post", "/api/images/{id}/agents", &[&image], None).await;
    walk.ask("post", "/api/images/{id}/agents", &[&image], None).await;
    let agent = Walk::id(&run, "agentId");
    walk.ask("get", "/api/containers/{id}/images", &["c"], None).await;
    walk.ask("get", "/api/images/{id}", &[&image], None).await;
    walk.ask("patch", "/api/images/{id}", &[&image], Some(json!({"name": "Talk"}))).await;
    walk.ask("get", "/api/agents/{id}", &[&agent], None).await;
    walk.ask("post", "/api/agents/{id}/messages", &[&agent], Some(json!({"content": "add"}))).await;
    walk.ask("get", "/api/agents/{id}/events", &[&agent], None).await;
    walk.ask("get", "/api/images/{id}/messages", &[&image], None).await;
    // It stops at a question.
    let api = Api { served: &walk.served, key: None };
    let pay = api
        .send(Method::POST, &format!("/api/agents/{agent}/messages"), Some(json!({"content": "pay"})))
        .await;
    let approval = loop {
        let waiting = walk.ask("get", "/api/agents/{id}/approvals", &[&agent], None).await;
        match waiting["approvals"].get(0) {
            Some(approval) => break Walk::id(approval, "approvalId"),
            None => tokio::task::yield_now().await,
        }
    };
    let answer = Some(json!({"decision": "deny"}));
    walk.ask("post", "/api/agents/{id}/approvals/{approval}", &[&agent, &approval], answer).await;
    drop(pay.text().await);
    walk.ask("post", "/api/agents/{id}/interrupt", &[&agent], None).await;
    walk.ask("delete", "/api/agents/{id}", &[&agent], None).await;
    walk.ask("delete", "/api/images/{id}", &[&image], None).await;
    walk.ask("delete", "/api/containers/{id}", &["c"], None).await;

    let tenant = json!({"tenantId": "ann", "name": "Ann", "description": "d", "quotas": {"turns": 3}});
    walk.ask("post", "/v1/tenants/create", &[], Some(tenant.clone())).await;
    walk.ask("get", "/v1/tenants/list", &[], None).await;
    walk.ask("post", "/v1/tenants/update", &[], Some(tenant)).await;
    let by_id = || Some(json!({"tenantId": "ann"}));
    for what in ["get", "suspend", "resume", "usage"] {
        walk.ask("post", &format!("/v1/tenants/{what}"), &[], by_id()).await;
    }
    let key = walk.ask("post", "/v1/tenants/keys/create", &[], by_id()).await;
    walk.ask("post", "/v1/tenants/keys/list", &[], by_id()).await;
    let revoked = Some(json!({"tenantId": "ann", "keyId": key["keyId"]}));
    walk.ask("post", "/v1/tenants/keys/revoke", &[], revoked).await;
    walk.ask("post", "/v1/tenants/delete", &[], by_id()).await;

    surplus(&walk).await;
    let told = walk.document["paths"].as_object().unwrap().iter().flat_map(|(path, methods)| {
        methods.as_object().unwrap().keys().map(|method| (method.clone(), path.clone()))
    });
    // The socket has a protocol of its own.
    let left: Vec<_> = told.filter(|asked| asked.1 != "/ws" && !walk.walked.contains(asked)).collect();
    assert!(left.is_empty(), "not asked for: {left:?}");
}

/// A body may have no member that the document does not tell of.
async fn surplus(walk: &Walk) {
    let api = Api { served: &walk.served, key: None };
    for (path, methods) in walk.document["paths"].as_object().unwrap() {
        for (method, asked) in methods.as_object().unwrap() {
            if asked["requestBody"].is_null() {
                continue;
            }
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let path = path.replace("{id}", "x").replace("{approval}", "x");
            let (status, error) = api.json(method.clone(), &path, Some(json!({"surplus": 1}))).await;
            assert_eq!(
                (status, &error["error"]["code"]),
                (StatusCode::BAD_REQUEST, &json!("invalid_params"))
            );
            let told = error["error"]["message"].as_str().unwrap();
            assert!(told.contains("surplus"), "{method} {path}: {told}");
        }
    }
}

#[test]
fn an_answer_that_is_not_as_told_is_found() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer", "minimum": 0}}, "required": ["a"],
        "additionalProperties": false});
    let is_wrong = |value: Value| wrong(&Value::Null, &schema, &value, "it").is_some();
    assert!(!is_wrong(json!({"a": 1})));
    for value in [json!({}), json!({"a": "1"}), json!({"a": -1}), json!({"a": 1, "b": 2}), json!([1])] {
        assert!(is_wrong(value.clone()), "{value}");
    }
    let listed = json!({"type": "array", "items": {"enum": ["x"]}});
    assert!(wrong(&Value::Null, &listed, &json!(["x", "y"]), "it").is_some());
}

#[tokio::test]
async fn what_is_not_there_is_told_in_json() {
    let served = serve_with(|server| server).await;
    let api = Api { served: &served, key: None };
    for path in ["/nothing", "/api", "/api/nothing", "/v1/nothing", "/v1/tenants/nothing", "/ws/x"] {
        let (status, error) = api.json(Method::GET, path, None).await;
        assert_eq!((status, &error["error"]["code"]), (StatusCode::NOT_FOUND, &json!("not_found")), "{path}");
    }
    let (status, error) = api.json(Method::GET, "/ws", None).await;
    assert_eq!((status, &error["error"]["code"]), (StatusCode::BAD_REQUEST, &json!("invalid_request")));
    let (status, error) = api.json(Method::DELETE, "/health", None).await;
    assert_eq!(
        (status, &error["error"]["code"]),
        (StatusCode::METHOD_NOT_ALLOWED, &json!("method_not_allowed"))
    );
}
