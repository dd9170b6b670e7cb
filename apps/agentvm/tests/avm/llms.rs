//! Models that clients bring. The one here is a Messages API on loopback, which `--llm-addresses any` allows.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Served, Socket};

const KEY: &str = "sk-of-nobody-else";

/// Says which model was asked for.
struct Far {
    address: SocketAddr,
    /// The key and the model of each call.
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl Far {
    /// Answers until the test's process ends.
    fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::default());
        let calls = Arc::clone(&asked);
        drop(std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &calls);
            }
        }));
        Self { address, asked }
    }

    fn asked(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn answer(mut stream: TcpStream, calls: &Mutex<Vec<(String, String)>>) {
    let mut request = BufReader::new(stream.try_clone().unwrap());
    let (mut key, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        request.read_line(&mut line).unwrap();
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("x-api-key") => value.clone_into(&mut key),
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().unwrap();
            }
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    request.read_exact(&mut body).unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
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
    calls.lock().unwrap().push((key, model));
    let events = events.map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()));
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    stream.write_all((head.to_owned() + &events.concat()).as_bytes()).unwrap();
}

/// Says hello, and gives the answer, or why there is none.
fn chat(client: &mut Socket, image: &Value) -> String {
    client.call("message.send", &json!({"imageId": image, "content": "hello"})).unwrap();
    loop {
        let event = client.event().unwrap();
        assert!(!event.to_string().contains(KEY), "{event}");
        match event["type"].as_str().unwrap() {
            "assistant_message" => return event["data"]["content"][0]["text"].as_str().unwrap().to_owned(),
            "error_occurred" => return event["data"]["message"].as_str().unwrap().to_owned(),
            _ => {}
        }
    }
}

#[test]
fn a_model_that_a_client_brings_answers_from_the_next_turn_on_until_it_is_deleted() {
    let (far, data) = (Far::listen(), TempDir::new().unwrap());
    let mut served = Served::start(data.path(), &["--llm-addresses", "any"]);
    let mut client = Socket::connect(&served.address).unwrap();
    let image = client.call("runtime.image.create", &json!({})).unwrap()["record"]["imageId"].clone();
    assert_eq!(chat(&mut client, &image), "You said: hello", "the server's own");

    let definition = json!({"name": "far", "vendor": "acme", "protocol": "anthropic", "apiKey": KEY,
        "baseUrl": format!("http://{}", far.address), "model": "far-1"});
    let made = client.call("runtime.llm.create", &definition).unwrap();
    let by_id = json!({"id": made["record"]["id"]});
    assert_eq!(chat(&mut client, &image), "You said: hello", "nobody has chosen it yet");
    let chosen = client.call("runtime.llm.default", &by_id).unwrap();
    assert_eq!(chat(&mut client, &image), "I am far-1.");
    assert_eq!(far.asked(), [(KEY.to_owned(), "far-1".to_owned())]);
    let update = json!({"id": by_id["id"], "model": "far-2"});
    let changed = client.call("runtime.llm.update", &update).unwrap();
    assert_eq!(chat(&mut client, &image), "I am far-2.");
    let (got, listed) =
        (client.call("llm.get", &by_id).unwrap(), client.call("llm.list", &json!({})).unwrap());
    assert_eq!(got["record"]["model"], "far-2");
    for told in [made, chosen, changed, got, listed] {
        assert!(told.to_string().contains("acme") && !told.to_string().contains(KEY), "{told}");
    }
    drop(client);
    assert!(!served.end().contains(KEY));

    // It is kept; and where clients may name public addresses alone, nobody calls this one for them.
    far.asked();
    let mut served = Served::start(data.path(), &["--llm-addresses", "public"]);
    let mut client = Socket::connect(&served.address).unwrap();
    let refused = chat(&mut client, &image);
    assert!(refused.contains("https://") || refused.contains("public address"), "{refused}");
    assert_eq!(far.asked(), []);

    // Without it the server's own answers again.
    client.call("llm.delete", &by_id).unwrap();
    assert_eq!(chat(&mut client, &image), "You said: hello");
    assert_eq!(client.call("llm.list", &json!({})).unwrap()["records"], json!([]));
    drop(client);
    assert!(!served.end().contains(KEY));
}
