//! The clients of `@cloudflare/sandbox` against our server: `workers/sandbox.mjs` runs them in workerd.

use agentx_container::{Server, Settings};
use agentx_tests_cloudflare::Place;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::engine::{Engine, TOKEN};

/// What the Worker's script was told.
async fn told(query: &str) -> Value {
    let place = Place::take();
    let host = place.url().strip_prefix("http://").unwrap().to_owned();
    let mut stream = TcpStream::connect(&host).await.unwrap();
    let request = format!("GET /sandbox?{query} HTTP/1.0\r\nhost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.lines().next().unwrap().contains(" 200 "), "{answer}");
    serde_json::from_str(body).unwrap()
}

/// These fields of `value`.
fn fields(value: &Value, names: &[&str]) -> Value {
    Value::Object(names.iter().map(|name| ((*name).to_owned(), value[*name].clone())).collect())
}

/// The types and the data of events, times left out.
fn events(value: &Value) -> Vec<Value> {
    let events = value.as_array().unwrap().iter();
    events
        .map(|event| {
            let mut event = event.clone();
            let fields = event.as_object_mut().unwrap();
            assert!(fields.remove("timestamp").is_some(), "{value}");
            event
        })
        .collect()
}

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn the_client_over_http_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let root = std::fs::canonicalize(dir.path()).unwrap().to_str().unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::new(Settings::new(&root).with_token(TOKEN)).unwrap();
    tokio::spawn(async move { server.serve(listener, std::future::pending()).await.unwrap() });

    let told = told(&format!("base=http://{address}&root={root}")).await;
    assert_eq!(told["ping"], "pong");
    assert_eq!(told["version"], "0.12.10");
    assert!(told["commands"].as_array().unwrap().contains(&json!("sh")), "{}", told["commands"]);

    assert_eq!(told["session"]["id"], "s");
    assert_eq!(told["again"]["code"], "SESSION_ALREADY_EXISTS");
    assert_eq!(told["again"]["name"], "SessionAlreadyExistsError");
    assert_eq!(
        fields(&told["exec"], &["success", "exitCode", "stdout", "stderr"]),
        json!({"success": false, "exitCode": 1, "stdout": "hello\n", "stderr": "no\n"})
    );
    assert_eq!(told["stays"]["stdout"], format!("{root}/d\n1\n"));
    assert_eq!(told["override"]["stdout"], format!("{root}\nbye\n"));
    assert_eq!(told["after"]["stdout"], format!("{root}/d\nhello\n"));
    assert_eq!(
        fields(&told["timeout"], &["exitCode", "stdout"]),
        json!({"exitCode": 124, "stdout": "begun\n"})
    );
    assert_eq!(told["ended"]["name"], "SessionTerminatedError");
    assert_eq!(told["alone"]["exitCode"], 7);
    let stream = events(&told["stream"]);
    assert_eq!(stream.first().unwrap()["type"], "start");
    assert!(stream.contains(&json!({"type": "stdout", "data": "é€"})), "{stream:?}");
    assert!(stream.contains(&json!({"type": "stderr", "data": "no\n"})), "{stream:?}");
    assert_eq!(stream.last().unwrap(), &json!({"type": "complete", "exitCode": 3}));
    assert_eq!(told["deleted"]["success"], true);

    assert_eq!(
        fields(&told["read"], &["content", "encoding", "isBinary", "size"]),
        json!({"content": "one é\n", "encoding": "utf-8", "isBinary": false, "size": 7})
    );
    assert_eq!(
        fields(&told["readBinary"], &["content", "encoding", "isBinary"]),
        json!({"content": "AP8B", "encoding": "base64", "isBinary": true})
    );
    assert_eq!(told["streamed"]["content"], "one é\n");
    assert_eq!(told["streamedBinary"]["bytes"], json!([0, 255, 1]));
    let listed: Vec<_> = told["list"]["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| fields(file, &["relativePath", "type", "size"]))
        .collect();
    assert_eq!(
        listed,
        [
            json!({"relativePath": "b", "type": "directory", "size": 0}),
            json!({"relativePath": "b/text.txt", "type": "file", "size": 7}),
            json!({"relativePath": "data.bin", "type": "file", "size": 3}),
        ]
    );
    assert_eq!((&told["exists"][0]["exists"], &told["exists"][1]["exists"]), (&json!(false), &json!(true)));
    assert_eq!(told["removed"]["success"], true);
    assert_eq!(told["missing"]["name"], "FileNotFoundError");
    assert_eq!(told["outside"]["name"], "PermissionDeniedError");

    assert_eq!(told["started"]["processId"], "mine");
    let log = events(&told["log"]);
    assert!(log.contains(&json!({"type": "stdout", "data": "up\n", "processId": "mine"})), "{log:?}");
    assert_eq!(fields(log.last().unwrap(), &["type", "exitCode"]), json!({"type": "exit", "exitCode": 4}));
    assert_eq!(fields(&told["logs"], &["stdout", "stderr"]), json!({"stdout": "up\n", "stderr": "err\n"}));
    assert_eq!(
        fields(&told["process"]["process"], &["id", "status", "exitCode"]),
        json!({"id": "mine", "status": "failed", "exitCode": 4})
    );
    assert_eq!(events(&told["killedLog"]).last().unwrap()["type"], "exit");
    assert_eq!(told["processes"]["processes"].as_array().unwrap().len(), 2);
    assert_eq!(told["killAll"]["cleanedCount"], 1);
    assert_eq!(told["noProcess"]["name"], "ProcessNotFoundError");
}

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn the_whole_sdk_works_on_a_container_of_ours() {
    let engine = Engine::start().await;
    let root = engine.root().to_str().unwrap().to_owned();
    let told = told(&format!("name={}&root={root}", engine.name())).await;
    assert_eq!(fields(&told["exec"], &["success", "stdout"]), json!({"success": true, "stdout": "hello\n"}));
    assert_eq!((&told["read"], &told["cat"]), (&json!("from the SDK"), &json!("from the SDK")));
    assert!(events(&told["events"]).contains(&json!({"type": "stdout", "data": "streamed\n"})), "{told}");
    assert_eq!(told["line"], "ready");
    assert_eq!(told["status"], "running");
    assert_eq!(engine.started(), 1);
    assert!(!engine.runs(), "the class has ended it");
}
