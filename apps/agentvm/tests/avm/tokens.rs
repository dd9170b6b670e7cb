//! The tokens of an issuer whose keys are in a file: whom they let in, over each way in.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::{
    Error, Message, WebSocket,
    client::{IntoClientRequest, client},
    handshake::HandshakeError,
};

use crate::support::{Served, avm, complained};

/// A private key of Ed25519 of this seed, as PKCS #8 has it.
fn key(seed: u8) -> EncodingKey {
    let mut der = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    der.extend([seed; 32]);
    EncodingKey::from_ed_der(&der)
}

/// A token for the owner `sub`, as the issuer makes them, but for these claims.
fn token(seed: u8, claims: &Value) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut all = json!({"iss": "https://issuer", "aud": "agents", "sub": "ann", "exp": now + 600});
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some("one".to_owned());
    encode(&header, &all, &key(seed)).unwrap()
}

/// The status and the text of an answer over HTTP.
fn ask(served: &Served, method: &str, path: &str, token: &str, body: &Value) -> (u16, String) {
    let mut stream = TcpStream::connect(&served.address).unwrap();
    let (host, body) = (&served.address, body.to_string());
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

/// A socket whose handshake has this header; the status where it is refused.
fn socket(served: &Served, token: Option<&str>) -> Result<WebSocket<TcpStream>, u16> {
    let stream = TcpStream::connect(&served.address).unwrap();
    let mut request = format!("ws://{}/ws", served.address).into_client_request().unwrap();
    if let Some(token) = token {
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    match client(request, stream) {
        Ok((socket, _)) => Ok(socket),
        Err(HandshakeError::Failure(Error::Http(answer))) => Err(answer.status().as_u16()),
        Err(other) => panic!("{other}"),
    }
}

/// The answer to a request, or none where the server hangs up.
fn call(socket: &mut WebSocket<TcpStream>, method: &str, params: &Value) -> Option<Value> {
    let frame = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
    socket.send(Message::text(frame.to_string())).ok()?;
    loop {
        match socket.read().ok()? {
            Message::Text(text) => {
                let frame: Value = serde_json::from_str(&text).unwrap();
                if frame["id"] == 7 {
                    return Some(frame);
                }
            }
            Message::Close(_) => return None,
            _ => {}
        }
    }
}

#[test]
fn a_token_opens_the_socket_rest_and_events_and_a_wrong_one_none_of_them() {
    let data = TempDir::new().unwrap();
    let made = avm(data.path()).args(["tenant", "create", "ann"]).output().unwrap();
    assert!(made.status.success(), "{}", complained(&made));
    let mut public = Jwk::from_encoding_key(&key(1), Algorithm::EdDSA).unwrap();
    public.common.key_id = Some("one".to_owned());
    let keys = data.path().join("keys.json");
    std::fs::write(&keys, json!({"keys": [public]}).to_string()).unwrap();
    let flags =
        ["--isolation", "none", "--jwt-issuer", "https://issuer", "--jwt-audience", "agents", "--jwks"];
    let served = Served::start(data.path(), &[&flags[..], &[keys.to_str().unwrap()]].concat());

    let good = token(1, &json!({}));
    let wrong = [
        token(2, &json!({})),
        token(1, &json!({"aud": "others"})),
        token(1, &json!({"iss": "https://others"})),
        token(1, &json!({"exp": 1})),
        // Nobody whom this server was told of.
        token(1, &json!({"sub": "bob"})),
        format!("{good}x"),
        "avm_guess".to_owned(),
    ];

    // The handshake's header.
    let mut by_header = socket(&served, Some(&good)).unwrap();
    let made = call(&mut by_header, "container.create", &json!({"containerId": "c"})).unwrap();
    assert_eq!(made["result"]["containerId"], "c", "{made}");
    for token in &wrong {
        assert!(matches!(socket(&served, Some(token)), Err(401 | 403)), "{token}");
    }
    // The first frame, which is what a page can send.
    let auth = |token: &str| json!({"type": "auth", "headers": {"authorization": format!("Bearer {token}")}});
    let mut by_frame = socket(&served, None).unwrap();
    by_frame.send(Message::text(auth(&good).to_string())).unwrap();
    let listed = call(&mut by_frame, "container.list", &json!({})).unwrap();
    assert_eq!(listed["result"]["containerIds"], json!(["c"]), "{listed}");
    for token in &wrong {
        let mut refused = socket(&served, None).unwrap();
        refused.send(Message::text(auth(token).to_string())).unwrap();
        let answer = call(&mut refused, "container.list", &json!({}));
        assert!(answer.as_ref().is_none_or(|answer| answer["error"].is_object()), "{token}: {answer:?}");
    }

    // REST, and events.
    let body = |text: &str| text.split_once("\r\n\r\n").unwrap().1.to_owned();
    let json_of = |text: &str| -> Value { serde_json::from_str(&body(text)).unwrap() };
    let (status, image) = ask(&served, "POST", "/api/containers/c/images", &good, &json!({"name": "Chat"}));
    assert_eq!(status, 201, "{image}");
    let run = format!("/api/images/{}/agents", json_of(&image)["imageId"].as_str().unwrap());
    let (_, agent) = ask(&served, "POST", &run, &good, &json!({}));
    let messages = format!("/api/agents/{}/messages", json_of(&agent)["agentId"].as_str().unwrap());
    let (status, told) = ask(&served, "POST", &messages, &good, &json!({"content": "hi"}));
    assert!(status == 200 && told.contains("text/event-stream") && told.contains("You said: hi"), "{told}");
    let events = messages.replace("/messages", "/events");
    for token in &wrong {
        for (method, path) in [("GET", "/api/containers"), ("POST", &*messages), ("GET", &*events)] {
            let (status, answer) = ask(&served, method, path, token, &json!({"content": "hi"}));
            assert!(status == 401 || status == 403, "{method} {path} {token}: {answer}");
        }
    }
}
