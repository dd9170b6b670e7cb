//! What an agent is called outlives the server: whoever remembers an id goes on with it.

use agentx::{Repositories, ToolLoop};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    api::Api,
    support::{Client, Served, keys_of_ann_and_bob, model, serve_stored},
};

/// A server that begins anew over what is stored.
async fn begin(stored: &Repositories) -> Served {
    let keys = keys_of_ann_and_bob();
    serve_stored(stored.clone(), ToolLoop::new(model()), |server| server.authenticator(keys)).await
}

/// The agents of the events of a message's turn.
async fn heard(client: &mut Client) -> Vec<Value> {
    let events = client.events_until("turn_response").await;
    events.iter().map(|event| event["context"]["instanceId"].clone()).collect()
}

#[tokio::test]
async fn an_agent_has_its_id_until_it_is_ended_whoever_serves_it() {
    let stored = Repositories::memory();
    let served = begin(&stored).await;
    let mut ann = Client::connect(&served, Some("key-of-ann")).await;
    let image = json!({"imageId": ann.image("work").await["imageId"]});
    let run = ann.call("image.run", image.clone()).await;
    let agent = json!({"agentId": run["agentId"]});
    ann.call("message.send", json!({"agentId": run["agentId"], "content": "hi"})).await;
    assert!(heard(&mut ann).await.iter().all(|agent| *agent == run["agentId"]));

    // Nobody has run it there before: it is asked for, told of, and spoken to.
    let served = begin(&stored).await;
    let mut ann = Client::connect(&served, Some("key-of-ann")).await;
    let mut bob = Client::connect(&served, Some("key-of-bob")).await;
    let none = json!({"agentId": "agent_none"});
    for method in ["agent.get", "agent.destroy", "agent.interrupt", "approval.list"] {
        let (theirs, missing) = (bob.ask(method, agent.clone()).await, bob.ask(method, none.clone()).await);
        let plain = |answer: Value, id: &Value| {
            let mut answer = answer;
            answer["id"] = Value::Null;
            answer.to_string().replace(id.as_str().unwrap(), "ID")
        };
        assert_eq!(plain(theirs, &agent["agentId"]), plain(missing, &none["agentId"]), "{method}");
    }
    let sent = ann.call("message.send", json!({"agentId": run["agentId"], "content": "again"})).await;
    assert_eq!((&sent["agentId"], &sent["imageId"]), (&run["agentId"], &image["imageId"]));
    assert!(heard(&mut ann).await.iter().all(|agent| *agent == run["agentId"]));
    let served = begin(&stored).await;
    let mut ann = Client::connect(&served, Some("key-of-ann")).await;
    let got = ann.call("agent.get", agent.clone()).await;
    assert_eq!((&got["exists"], &got["agent"]["imageId"]), (&json!(true), &image["imageId"]));
    assert_eq!(ann.call("image.run", image.clone()).await["agentId"], run["agentId"]);

    // One that was ended does not come back, wherever it was ended; the next one has another id.
    let served = begin(&stored).await;
    let mut ann = Client::connect(&served, Some("key-of-ann")).await;
    assert_eq!(ann.call("agent.destroy", agent.clone()).await["success"], true);
    assert_eq!(ann.call("agent.destroy", agent.clone()).await["success"], false);
    let served = begin(&stored).await;
    let mut ann = Client::connect(&served, Some("key-of-ann")).await;
    assert_eq!(ann.call("agent.get", agent.clone()).await["exists"], false);
    let gone = ann.ask("message.send", json!({"agentId": run["agentId"], "content": "x"})).await;
    assert_eq!(gone["error"]["code"], 404, "{gone}");
    let next = ann.call("image.run", image.clone()).await;
    assert_ne!(next["agentId"], run["agentId"]);
    // All of a container, also those that nobody has run since the server began.
    let served = begin(&stored).await;
    let mut ann = Client::connect(&served, Some("key-of-ann")).await;
    ann.call("agent.destroyAll", json!({"containerId": "work"})).await;
    let next = json!({"agentId": next["agentId"]});
    assert_eq!(ann.call("agent.get", next.clone()).await["exists"], false);
    let next = ann.call("image.run", image.clone()).await;
    ann.call("image.stop", image.clone()).await;
    assert_ne!(ann.call("image.run", image).await["agentId"], next["agentId"]);
}

#[tokio::test]
async fn a_client_calls_its_agent_as_it_likes() {
    let stored = Repositories::memory();
    let served = begin(&stored).await;
    let mut ann = Client::connect(&served, Some("key-of-ann")).await;
    let (one, other) = (ann.image("work").await, ann.image("work").await);
    let run = json!({"imageId": one["imageId"], "agentId": "helper"});
    assert_eq!(ann.call("image.run", run.clone()).await["agentId"], "helper");
    let renamed = json!({"imageId": one["imageId"], "instanceId": "another"});
    let kept = ann.call("runtime.image.run", renamed).await;
    assert_eq!((&kept["instanceId"], &kept["reused"]), (&json!("helper"), &json!(true)));
    for (id, code) in [("helper", -32000), ("a/b", -32602), ("", -32602)] {
        let refused = ann.ask("image.run", json!({"imageId": other["imageId"], "agentId": id})).await;
        assert_eq!(refused["error"]["code"], code, "{id}: {refused}");
    }
    // Nor one that another image's agent has when it runs, or will have.
    let made = other["imageId"].as_str().unwrap().replace("img_", "agent_");
    for id in [made.clone(), format!("{made}.1")] {
        let third = ann.image("work").await;
        let refused = ann.ask("image.run", json!({"imageId": third["imageId"], "agentId": id})).await;
        assert_eq!(refused["error"]["code"], -32000, "{id}: {refused}");
    }
    // An id is its owner's alone.
    let mut bob = Client::connect(&served, Some("key-of-bob")).await;
    let theirs = bob.image("work").await;
    let taken = bob.call("image.run", json!({"imageId": theirs["imageId"], "agentId": "helper"})).await;
    assert_eq!((&taken["agentId"], &taken["imageId"]), (&json!("helper"), &theirs["imageId"]));

    let served = begin(&stored).await;
    for (key, image) in [("key-of-ann", &one), ("key-of-bob", &theirs)] {
        let mut client = Client::connect(&served, Some(key)).await;
        let sent = client.call("message.send", json!({"agentId": "helper", "content": "hi"})).await;
        assert_eq!((&sent["agentId"], &sent["imageId"]), (&json!("helper"), &image["imageId"]), "{key}");
        assert!(heard(&mut client).await.iter().all(|agent| agent == "helper"));
    }
    // Its client's word is no part of the record.
    let mut ann = Client::connect(&served, Some("key-of-ann")).await;
    let record = ann.call("image.get", json!({"imageId": one["imageId"]})).await["record"].clone();
    assert_eq!((&record["agentId"], &record["metadata"]), (&json!("helper"), &json!({})));
    ann.call("agent.destroy", json!({"agentId": "helper"})).await;
    let api = Api { served: &served, key: Some("key-of-ann") };
    let (status, _) = api.json(Method::GET, "/api/agents/helper", None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let path = format!("/api/images/{}/agents", other["imageId"].as_str().unwrap());
    let (status, run) = api.json(Method::POST, &path, Some(json!({"agentId": "helper"}))).await;
    assert_eq!((status, &run["imageId"]), (StatusCode::CREATED, &other["imageId"]));
}
