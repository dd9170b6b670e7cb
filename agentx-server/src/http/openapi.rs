//! What is served over HTTP, as programs read it: an `OpenAPI` 3.1 document.

use std::{collections::BTreeSet, sync::LazyLock};

use axum::http::Method;
use serde_json::{Map, Value, json};

use crate::failure::Code;

/// The document of a server of this version.
pub(super) fn document(version: &str) -> Value {
    let mut paths = Map::new();
    for Operation { method, path, about, request, answers } in operations() {
        let mut operation = json!({"summary": about, "tags": [tag(path)], "responses": responses(answers)});
        if let Value::Object(members) = &mut operation {
            let parameters = parameters(method, path);
            if !parameters.is_empty() {
                members.insert("parameters".to_owned(), json!(parameters));
            }
            if let Some(schema) = request {
                let content = json!({"application/json": {"schema": schema}});
                members.insert("requestBody".to_owned(), json!({"content": content}));
            }
            if tag(path) == "server" {
                members.insert("security".to_owned(), json!([{}]));
            }
        }
        let of_path = paths.entry(path).or_insert_with(|| json!({}));
        if let Value::Object(of_path) = of_path {
            of_path.insert(method.to_owned(), operation);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "AgentX",
            "version": version,
            "description": "Agents over HTTP. The AgentX WebSocket protocol is at /ws. An id of somebody else's is \
                answered as one that does not exist.",
        },
        "security": [{"bearer": []}, {"apiKey": []}],
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API key or a JSON Web Token."},
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    })
}

/// The members that the body of a request may have; none where the document does not say. Whoever embeds the server may
/// serve all of it below a path of its own.
pub(super) fn members(method: &Method, path: &str) -> Option<&'static BTreeSet<String>> {
    static BODIES: LazyLock<Vec<(String, &str, BTreeSet<String>)>> = LazyLock::new(|| {
        let schemas = schemas();
        let members = |schema: &Value| {
            let name = schema.get("$ref").and_then(Value::as_str).and_then(|name| name.rsplit('/').next());
            let schema = name.and_then(|name| schemas.get(name)).unwrap_or(schema);
            let members = schema.get("properties").and_then(Value::as_object);
            members.into_iter().flat_map(Map::keys).cloned().collect()
        };
        let bodies =
            operations().into_iter().filter_map(|asked| Some((asked.method, asked.path, asked.request?)));
        bodies.map(|(method, path, schema)| (method.to_uppercase(), path, members(&schema))).collect()
    });
    let mut bodies = BODIES.iter();
    let found = bodies.find(|(asked, served, _)| asked == method.as_str() && path.ends_with(served));
    found.map(|(.., members)| members)
}

/// One thing that can be asked for.
struct Operation {
    method: &'static str,
    path: &'static str,
    about: &'static str,
    /// The schema of a body.
    request: Option<Value>,
    /// What comes back when it is done.
    answers: Vec<Answer>,
}

/// An answer: its status, its type and its schema.
type Answer = (u16, &'static str, Value);

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

fn asks(method: &'static str, path: &'static str, about: &'static str) -> Operation {
    Operation { method, path, about, request: None, answers: Vec::new() }
}

impl Operation {
    fn body(mut self, schema: Value) -> Self {
        self.request = Some(schema);
        self
    }

    fn answer(mut self, status: u16, schema: Value) -> Self {
        self.answers.push((status, JSON, schema));
        self
    }

    fn told(mut self, kind: &'static str, about: &'static str) -> Self {
        self.answers.push((200, kind, json!({"type": "string", "description": about})));
        self
    }
}

fn operations() -> Vec<Operation> {
    let mut all = vec![
        asks("get", "/health", "Whether the process serves")
            .answer(200, object(&json!({"status": {"const": "ok"}, "version": text()}))),
        asks(
            "get",
            "/ready",
            "Whether it can do its work: for this machine and for administrators, where keys are asked for",
        )
        .answer(200, object(&json!({"status": {"const": "ready"}, "agents": count()}))),
        asks("get", "/metrics", "What is counted, for Prometheus; for whom /ready is")
            .told("application/openmetrics-text", "The OpenMetrics text format."),
        asks("get", "/openapi.json", "This document").answer(200, json!({"type": "object"})),
        asks("get", "/ws", "The AgentX WebSocket protocol"),
    ];
    all.extend(of_containers());
    all.extend(of_agents());
    all.extend(of_tenants());
    all
}

fn of_containers() -> Vec<Operation> {
    let deleted = |id: &str| object(&json!({id: text()}));
    vec![
        asks("post", "/api/containers", "Makes a container, or gives the one of this name")
            .body(object(&json!({"containerId": text()})))
            .answer(201, object(&json!({"containerId": text()}))),
        asks("get", "/api/containers", "Lists containers")
            .answer(200, object(&json!({"containerIds": list(&text())}))),
        asks("get", "/api/containers/{id}", "One container")
            .answer(200, object(&json!({"containerId": text(), "exists": {"const": true}}))),
        asks("delete", "/api/containers/{id}", "Deletes a container with all that is in it")
            .answer(200, deleted("containerId")),
        asks("post", "/api/containers/{id}/images", "Makes an image: a conversation")
            .body(named("ImageChanges"))
            .answer(201, named("Image")),
        asks("get", "/api/containers/{id}/images", "Lists the images of a container")
            .answer(200, object(&json!({"records": list(&named("Image"))}))),
        asks("get", "/api/images/{id}", "One image").answer(200, named("Image")),
        asks("patch", "/api/images/{id}", "Changes an image")
            .body(named("ImageChanges"))
            .answer(200, named("Image")),
        asks("delete", "/api/images/{id}", "Deletes an image with its messages")
            .answer(200, deleted("imageId")),
        asks("get", "/api/images/{id}/messages", "The messages of an image, a page at a time")
            .answer(200, named("Messages")),
        asks("post", "/api/images/{id}/agents", "Runs the agent of an image, or gives the one that runs")
            .body(partly(&json!({"agentId": text()}), &[]))
            .answer(200, named("Run"))
            .answer(201, named("Run")),
    ]
}

fn of_agents() -> Vec<Operation> {
    let events = "Events: `id` is a cursor, `event` the type, `data` the event as JSON. A stream that is lost goes on at \
                  /events behind its last id, given as Last-Event-ID.";
    vec![
        asks("get", "/api/agents/{id}", "One agent, which is taken up again where nobody runs it")
            .answer(200, named("Agent")),
        asks("delete", "/api/agents/{id}", "Ends an agent, and its id with it; its image stays")
            .answer(200, object(&json!({"agentId": text(), "success": {"type": "boolean"}}))),
        asks(
            "post",
            "/api/agents/{id}/messages",
            "Sends a message; answers with the events up to its turn's end",
        )
        .body(partly(&json!({"content": named("Content"), "options": named("MessageOptions")}), &["content"]))
        .told(EVENTS, events),
        asks("get", "/api/agents/{id}/events", "All events of an agent, from now on or behind Last-Event-ID")
            .told(EVENTS, events),
        asks("post", "/api/agents/{id}/interrupt", "Ends the turn that runs")
            .answer(200, object(&json!({"agentId": text(), "imageId": text()}))),
        asks("get", "/api/agents/{id}/approvals", "Tool calls that wait for somebody's answer")
            .answer(200, object(&json!({"approvals": list(&named("Approval"))}))),
        asks("post", "/api/agents/{id}/approvals/{approval}", "Answers one of them")
            .body(partly(
                &json!({
                    "decision": {"enum": ["allow", "allow_with", "deny"]},
                    "value": {"description": "With allow_with the input to run with; with deny why not."},
                }),
                &["decision"],
            ))
            .answer(200, object(&json!({"approvalId": text(), "success": {"const": true}}))),
    ]
}

fn of_tenants() -> Vec<Operation> {
    let by_id = || object(&json!({"tenantId": text()}));
    let tenant =
        json!({"tenantId": text(), "name": text(), "description": text(), "quotas": named("Quotas")});
    let ask = |path, about, body: Value| asks("post", path, about).body(body);
    vec![
        ask("/v1/tenants/create", "Makes a tenant", partly(&tenant, &["name"])).answer(201, named("Tenant")),
        ask("/v1/tenants/get", "One tenant", by_id()).answer(200, named("Tenant")),
        asks("get", "/v1/tenants/list", "Tenants, a page at a time").answer(200, list(&named("Tenant"))),
        ask("/v1/tenants/update", "Changes a tenant", partly(&tenant, &["tenantId"]))
            .answer(200, named("Tenant")),
        ask("/v1/tenants/suspend", "Keeps a tenant out; what it has stays", by_id())
            .answer(200, named("Tenant")),
        ask("/v1/tenants/resume", "Lets it in again", by_id()).answer(200, named("Tenant")),
        ask("/v1/tenants/delete", "Deletes a tenant with all that it has", by_id())
            .answer(200, object(&json!({"deleted": {"const": true}}))),
        ask("/v1/tenants/usage", "What a tenant has, and what it sent today (UTC)", by_id())
            .answer(200, named("Usage")),
        ask(
            "/v1/tenants/keys/create",
            "Makes a key, and shows it: this once",
            partly(&json!({"tenantId": text(), "name": text(), "expiresAt": count()}), &["tenantId"]),
        )
        .answer(201, named("NewKey")),
        ask("/v1/tenants/keys/list", "The keys of a tenant, without the keys", by_id())
            .answer(200, object(&json!({"keys": list(&named("Key"))}))),
        ask(
            "/v1/tenants/keys/revoke",
            "Revokes a key; what it opened ends",
            object(&json!({"tenantId": text(), "keyId": text()})),
        )
        .answer(200, object(&json!({"revoked": {"const": true}}))),
    ]
}

fn schemas() -> Value {
    let maybe = |schema: &str| json!({"type": [schema, "null"]});
    let changes = json!({
        "name": text(), "description": text(), "systemPrompt": text(), "mcpServers": {},
        "customData": {"type": "object"}, "model": maybe("string"),
        "thinking": {"enum": ["disabled", "low", "medium", "high", "", null]}, "providerOptions": provider_options(),
        "roleId": maybe("string"),
    });
    let options = json!({"model": text(), "thinking": thinking(), "providerOptions": provider_options()});
    let image = json!({
        "imageId": text(), "containerId": text(), "sessionId": text(), "parentImageId": text(), "name": text(),
        "description": text(), "systemPrompt": text(), "mcpServers": {}, "metadata": {"type": "object"},
        "customData": {"type": "object"}, "createdAt": count(), "updatedAt": count(), "online": {"type": "boolean"},
        "agentId": text(), "model": text(), "thinking": thinking(), "providerOptions": {"type": "object"},
        "roleId": text(),
    });
    let agent = json!({
        "agentId": text(), "imageId": text(), "containerId": text(), "sessionId": text(),
        "lifecycle": {"const": "running"},
        "state": {"type": "string", "description": "What it does, such as idle, thinking, or awaiting_approval."},
    });
    let run = json!({
        "agentId": text(), "imageId": text(), "containerId": text(), "sessionId": text(), "reused": {"type": "boolean"},
    });
    let approval = json!({
        "approvalId": text(), "turnId": text(), "toolId": text(), "toolName": text(), "input": {}, "reason": text(),
        "createdAt": count(),
    });
    let quotas = json!({
        "requestsPerMinute": count(), "turns": count(), "containers": count(), "images": count(),
        "messagesPerDay": count(), "bytesPerDay": count(), "connections": count(),
    });
    let tenant = json!({
        "tenantId": text(), "name": text(), "description": text(), "suspended": {"type": "boolean"},
        "quotas": named("Quotas"), "createdAt": count(), "updatedAt": count(),
    });
    let key = json!({"keyId": text(), "name": maybe("string"), "createdAt": count(), "expiresAt": maybe("integer")});
    let mut new_key = key.clone();
    if let Value::Object(members) = &mut new_key {
        members.insert("key".to_owned(), text());
    }
    let usage = json!({
        "tenantId": text(), "containers": count(), "images": count(), "agents": count(), "messagesToday": count(),
        "bytesToday": count(),
    });
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
    let error = object(&json!({"code": {"enum": codes}, "message": text()}));
    let next =
        json!({"type": "integer", "description": "There may be more behind this: ask again with `after`."});
    let messages = json!({"imageId": text(), "messages": list(&named("Message")), "next": next});
    json!({
        "ImageChanges": partly(&changes, &[]),
        "MessageOptions": partly(&options, &[]),
        "Image": partly(&image, &["imageId", "containerId", "sessionId", "name", "createdAt", "updatedAt"]),
        "Agent": object(&agent),
        "Run": object(&run),
        "Approval": object(&approval),
        "Content": {"description": "Text, or parts: text, image and file.", "type": ["string", "array"]},
        "Message": {
            "type": "object",
            "description": "One message; its members besides these depend on its role.",
            "properties": {"id": text(), "role": text(), "timestamp": count()},
            "required": ["id", "role", "timestamp"],
        },
        "Messages": partly(&messages, &["imageId", "messages"]),
        "Quotas": partly(&quotas, &[]),
        "Tenant": partly(&tenant, &["tenantId", "name", "suspended", "quotas", "createdAt", "updatedAt"]),
        "Usage": object(&usage),
        "Key": object(&key),
        "NewKey": object(&new_key),
        "Error": object(&json!({"error": error})),
    })
}

/// An object of these members and no others, all of them.
fn object(members: &Value) -> Value {
    let all: Vec<&str> = members.as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect();
    partly(members, &all)
}

/// An object of these members and no others, at least of some.
fn partly(members: &Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": members, "required": required, "additionalProperties": false})
}

fn list(items: &Value) -> Value {
    json!({"type": "array", "items": items})
}

/// How much a model thinks.
fn thinking() -> Value {
    json!({"enum": ["disabled", "low", "medium", "high"]})
}

/// What is of one provider alone.
fn provider_options() -> Value {
    let thinking = json!({"type": {"enum": ["disabled", "adaptive", "enabled"]}, "budgetTokens": count()});
    let anthropic = json!({
        "thinking": partly(&thinking, &["type"]), "effort": {"enum": ["low", "medium", "high", "xhigh", "max"]},
        "disableParallelToolUse": {"type": "boolean"},
    });
    partly(&json!({"anthropic": partly(&anthropic, &[])}), &[])
}

fn text() -> Value {
    json!({"type": "string"})
}

fn count() -> Value {
    json!({"type": "integer", "minimum": 0})
}

fn named(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn tag(path: &str) -> &'static str {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        [_, "api", "containers", ..] => "containers",
        [_, "api", "images", ..] => "images",
        [_, "api", ..] => "agents",
        [_, "v1", ..] => "tenants",
        _ => "server",
    }
}

fn parameters(method: &str, path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut all: Vec<Value> =
        names.map(|name| json!({"name": name, "in": "path", "required": true, "schema": text()})).collect();
    let query =
        |name, schema, about| json!({"name": name, "in": "query", "schema": schema, "description": about});
    match (method, path) {
        ("get", "/api/images/{id}/messages") => {
            all.push(query("after", count(), "Only those behind this place: `next` of the page before."));
            all.push(query("limit", count(), "At most so many; 1,000."));
        }
        ("get", "/v1/tenants/list") => {
            all.push(query("after", text(), "Only those behind this tenant."));
            all.push(query("limit", count(), "At most so many; 1,000."));
        }
        ("get", "/api/agents/{id}/events") => {
            all.push(json!({"name": "Last-Event-ID", "in": "header", "schema": text()}));
        }
        _ => {}
    }
    all
}

fn responses(answers: Vec<Answer>) -> Value {
    let mut all = Map::new();
    for (status, kind, schema) in answers {
        let content = json!({kind: {"schema": schema}});
        all.insert(status.to_string(), json!({"description": "Done.", "content": content}));
    }
    if all.is_empty() {
        all.insert("101".to_owned(), json!({"description": "From here on it is a WebSocket."}));
    }
    let error = json!({"application/json": {"schema": named("Error")}});
    let about = "Not done. 429 tells when to try again in Retry-After; RateLimit tells what is left.";
    all.insert("default".to_owned(), json!({"description": about, "content": error}));
    Value::Object(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_route_is_in_the_document_and_each_path_of_the_document_is_a_route() {
        let document = document("0");
        let told: BTreeSet<(String, String)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, methods)| {
                methods.as_object().unwrap().keys().map(|method| (method.clone(), path.clone()))
            })
            .collect();
        let served: BTreeSet<(String, String)> =
            super::super::listed().into_iter().map(|(method, path)| (method.to_owned(), path)).collect();
        assert_eq!(told, served);
    }

    #[test]
    fn each_schema_that_is_named_is_there() {
        let document = document("0");
        let text = document.to_string();
        let named: BTreeSet<&str> =
            text.split("#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        let there: BTreeSet<&str> =
            document["components"]["schemas"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(named, there);
    }
}
