//! What makes no sense: each has one answer, and the connection goes on.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

use crate::support::{Client, serve, serve_ann_and_bob_with, serve_with};

#[tokio::test]
async fn every_frame_that_wants_an_answer_has_exactly_one() {
    let served = serve().await;
    let mut client = Client::connect(&served, None).await;
    let rpc = |code: i64, id: Value| (code, id);
    let frames = [
        ("no json".to_owned(), rpc(-32700, Value::Null)),
        ("\u{0}".to_owned(), rpc(-32700, Value::Null)),
        ("[".repeat(50_000), rpc(-32700, Value::Null)),
        ("7".to_owned(), rpc(-32600, Value::Null)),
        ("[]".to_owned(), rpc(-32600, Value::Null)),
        (json!({"jsonrpc": "2.0", "id": 99}).to_string(), rpc(-32600, json!(99))),
        (json!({"jsonrpc": "2.0", "id": 1, "method": 5}).to_string(), rpc(-32600, json!(1))),
        (
            json!({"jsonrpc": "2.0", "id": 2, "method": "image.get", "params": null}).to_string(),
            rpc(-32602, json!(2)),
        ),
        (
            json!({"jsonrpc": "2.0", "id": 3, "method": "image.get", "params": []}).to_string(),
            rpc(-32602, json!(3)),
        ),
        (json!({"jsonrpc": "2.0", "id": "x", "method": "nope"}).to_string(), rpc(-32601, json!("x"))),
    ];
    for (frame, (code, id)) in frames {
        client.say(frame.clone()).await;
        let answer = client.raw().await.unwrap();
        assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(code), &id), "{frame:.60}");
    }
    // Nothing else was said: the next answer is that to the next request.
    client.say(json!({"jsonrpc": "2.0", "id": 4, "method": "container.list"}).to_string()).await;
    assert_eq!(client.raw().await.unwrap()["id"], 4);
}

#[tokio::test]
async fn each_request_of_a_batch_is_answered_by_itself() {
    let served = serve().await;
    let mut client = Client::connect(&served, None).await;
    let request = |id: u64| json!({"jsonrpc": "2.0", "id": id, "method": "container.list"});
    let notification = json!({"jsonrpc": "2.0", "method": "container.list"});
    let batch = json!([request(1), 7, notification, request(2), {"jsonrpc": "2.0", "id": 3}]);
    client.say(batch.to_string()).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(client.raw().await.unwrap()["id"].to_string());
    }
    ids.sort();
    assert_eq!(ids, ["1", "2", "3", "null"]);
}

#[tokio::test]
async fn a_client_cannot_tell_others_events_of_its_own() {
    let served = serve().await;
    let (mut forger, mut victim) =
        (Client::connect(&served, None).await, Client::connect(&served, None).await);
    victim.call("container.list", json!({})).await;
    let event = json!({"type": "text_delta", "data": {"text": "forged"}, "source": "agent"});
    forger.say(event.to_string()).await;
    assert_eq!(forger.raw().await.unwrap()["type"], "system_error");
    victim.call("container.list", json!({})).await;
    assert!(victim.seen.is_empty(), "{:?}", victim.seen);
}

#[tokio::test]
async fn a_frame_beyond_the_bound_ends_its_connection_alone() {
    let served = serve_with(|server| server.largest_request(1024)).await;
    let (mut large, mut other) = (Client::connect(&served, None).await, Client::connect(&served, None).await);
    large.say("x".repeat(4096)).await;
    assert_eq!(large.raw().await, None);
    other.call("container.list", json!({})).await;
}

/// Each of these takes from its own connection alone.
#[tokio::test]
async fn frames_in_pieces_are_put_together_and_have_the_same_bound() {
    let piece = |text: &'static [u8], is_first: bool, is_last: bool| {
        let kind = if is_first { Data::Text } else { Data::Continue };
        Message::Frame(Frame::message(text, OpCode::Data(kind), is_last))
    };
    let served = serve_with(|server| server.largest_request(4096)).await;
    let mut whole = Client::connect(&served, None).await;
    let request = br#"{"jsonrpc":"2.0","id":7,"method":"container.list"}"#;
    let pieces = request.chunks(5).count();
    for (number, text) in request.chunks(5).enumerate() {
        whole.send(piece(text, number == 0, number + 1 == pieces)).await.unwrap();
    }
    assert_eq!(whole.raw().await.unwrap()["id"], 7);

    let mut endless = Client::connect(&served, None).await;
    let mut sent = endless.send(piece(&[b' '; 512], true, false)).await;
    for _ in 0..64 {
        // The connection may be gone already.
        if sent.is_err() {
            break;
        }
        sent = endless.send(piece(&[b' '; 512], false, false)).await;
    }
    assert_eq!(endless.raw().await, None);
    let mut no_text = Client::connect(&served, None).await;
    no_text.send(piece(&[0xff, 0xfe, 0xc3, 0x28], true, true)).await.unwrap();
    assert_eq!(no_text.raw().await, None);
    whole.call("container.list", json!({})).await;
}

/// They are heard no further than who they are, and make room when that does not come.
#[tokio::test]
async fn whoever_never_says_who_it_is_keeps_nobody_out() {
    let served = serve_ann_and_bob_with(|server| server.largest_connections(64)).await;
    let mut silent = Vec::new();
    while let Ok(client) = Client::try_connect(&served, None).await {
        silent.push(client);
    }
    assert_eq!(silent.len(), 16, "a quarter");
    let mut ann = Client::connect(&served, Some("key-of-ann")).await;
    ann.call("container.list", json!({})).await;
    drop(silent.pop());
    while Client::try_connect(&served, None).await.is_err() {
        tokio::task::yield_now().await;
    }
}

/// A client that reads nothing takes what its connection holds, and slows nobody.
#[tokio::test]
async fn whoever_does_not_read_slows_nobody() {
    let served = serve().await;
    let (mut deaf, mut other) = (Client::connect(&served, None).await, Client::connect(&served, None).await);
    let mut images = Vec::new();
    for _ in 0..64 {
        images.push(deaf.image("c").await["imageId"].clone());
    }
    let image = images[0].clone();
    // What it says is told to it again, until nothing more fits into the connection. Each is said in a conversation of its
    // own: a long one would be read whole for each answer.
    let talking = tokio::spawn(async move {
        for image in images {
            let long = json!({"imageId": image, "content": "x".repeat(1 << 18)});
            let send = json!({"jsonrpc": "2.0", "id": image, "method": "message.send", "params": long});
            deaf.say(send.to_string()).await;
        }
        std::future::pending::<()>().await;
    });
    // As a client of the first generation it hears nothing of that: it waits for its own answers alone.
    loop {
        let listed = other.request("image_messages", json!({"imageId": image, "limit": 1})).await;
        if !listed["messages"].as_array().unwrap().is_empty() {
            break;
        }
    }
    for number in 0..20 {
        other.request("container_create", json!({"containerId": format!("c{number}")})).await;
    }
    talking.abort();
}

#[tokio::test]
async fn more_requests_than_are_worked_on_at_once_are_all_answered() {
    let served = serve().await;
    let mut client = Client::connect(&served, None).await;
    for id in 0..500 {
        client.say(json!({"jsonrpc": "2.0", "id": id, "method": "container.list"}).to_string()).await;
    }
    let mut answered = std::collections::BTreeSet::new();
    for _ in 0..500 {
        answered.insert(client.raw().await.unwrap()["id"].as_u64().unwrap());
    }
    assert_eq!(answered.len(), 500);
}

/// What was said is listed in parts that a client's frame holds, however long it is.
#[tokio::test]
async fn long_messages_are_listed_in_parts() {
    let served = serve().await;
    let mut client = Client::connect(&served, None).await;
    let image = client.image("c").await["imageId"].clone();
    let content = "x".repeat(3 << 20);
    for _ in 0..3 {
        client.call("message.send", json!({"imageId": image, "content": content})).await;
    }
    let (mut parts, mut said, mut after) = (0, 0, json!(null));
    loop {
        let page = client.call("image.messages", json!({"imageId": image, "after": after})).await;
        assert!(page.to_string().len() < 8 << 20, "a part is too long");
        let messages = page["messages"].as_array().unwrap();
        said += messages.iter().filter(|message| message["content"] == content.as_str()).count();
        parts += 1;
        after = page["next"].clone();
        if after.is_null() {
            break;
        }
    }
    assert_eq!(said, 3);
    assert!(parts > 1, "all came at once");
}
