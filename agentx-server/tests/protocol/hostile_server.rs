//! Servers that do not do what they should: the client ends with an error that says what it was, and within its bounds.

use std::{net::SocketAddr, time::Duration};

use agentx::{
    ErrorKind, Retry,
    client::{RemoteBuilder, RemoteRuntime},
};
use futures::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_tungstenite::{WebSocketStream, accept_async, tungstenite::Message};

use crate::support::WAIT;

/// How long the client waits for what does not come.
const SOON: Duration = Duration::from_millis(300);

struct Hostile {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Does this with each connection.
async fn hostile<F, Serving>(serve: F) -> Hostile
where
    F: Fn(TcpStream) -> Serving + Send + 'static,
    Serving: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket));
        }
    });
    Hostile { address, serving }
}

/// Says this to every frame.
async fn answering(answer: impl Fn(&str) -> Message + Send + Clone + 'static) -> Hostile {
    hostile(move |socket| {
        let answer = answer.clone();
        async move {
            let Ok(mut socket) = accept_async(socket).await else { return };
            while let Some(Ok(Message::Text(text))) = socket.next().await {
                if socket.send(answer(&text)).await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

fn builder(hostile: &Hostile) -> RemoteBuilder {
    RemoteRuntime::builder(format!("ws://{}/ws", hostile.address))
        .request_timeout(SOON)
        .reconnect_within(SOON)
}

/// How the first request fails.
async fn asked(builder: RemoteBuilder) -> ErrorKind {
    let asked = async { builder.connect().await?.containers().await };
    timeout(WAIT, asked).await.expect("within bounds").unwrap_err().kind()
}

#[tokio::test]
async fn frames_that_are_no_json_end_the_client() {
    for garbage in ["", "{", "\u{0}\u{1}", "[1,", &"[".repeat(10_000)] {
        let garbage = garbage.to_owned();
        let server = answering(move |_| Message::text(garbage.clone())).await;
        assert_eq!(asked(builder(&server)).await, ErrorKind::Corrupt);
    }
}

#[tokio::test]
async fn frames_that_say_nothing_are_passed_over_and_counted() {
    let frames = [
        "null",
        "7",
        "[]",
        "{}",
        r#"{"id":"x"}"#,
        r#"{"id":999,"result":{}}"#,
        r#"{"method":"new.thing"}"#,
        r#"{"method":"stream.event","params":{"event":{}}}"#,
        r#"{"method":"stream.event","params":[]}"#,
        r#"{"method":"stream.event","params":{"event":{"type":"x","cursor":"-1","timestamp":1,"context":{}}}}"#,
    ];
    for frame in frames {
        let server = answering(move |_| Message::text(frame)).await;
        let runtime = builder(&server).connect().await.unwrap();
        assert_eq!(runtime.containers().await.unwrap_err().kind(), ErrorKind::TimedOut, "{frame}");
        assert!(runtime.skipped() > 0, "{frame}");
    }
}

#[tokio::test]
async fn answers_that_are_something_else_are_errors() {
    for result in ["null", "7", r#"{"containerIds":7}"#, r#"{"containerIds":["a b"]}"#] {
        let server = answering(move |asked| {
            let asked: serde_json::Value = serde_json::from_str(asked).unwrap();
            Message::text(format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, asked["id"]))
        })
        .await;
        assert_eq!(asked(builder(&server)).await, ErrorKind::Corrupt, "{result}");
    }
}

#[tokio::test]
async fn frames_that_are_too_long_end_the_client() {
    let server = answering(|_| Message::text("x".repeat(100_000))).await;
    assert_eq!(asked(builder(&server).largest_frame(50_000)).await, ErrorKind::LimitExceeded);
    // Announced, and never sent: no memory is taken for it.
    let server = hostile(|socket| async move {
        let Ok(socket) = accept_async(socket).await else { return };
        let mut socket = WebSocketStream::into_inner(socket);
        let header = [&[0x81, 127][..], &(1_u64 << 40).to_be_bytes()].concat();
        drop(socket.write_all(&header).await);
        drop(socket.read_to_end(&mut Vec::new()).await);
    })
    .await;
    assert_eq!(asked(builder(&server)).await, ErrorKind::LimitExceeded);
}

#[tokio::test]
async fn bytes_that_are_no_frame_end_the_client() {
    let server = hostile(|socket| async move {
        let Ok(socket) = accept_async(socket).await else { return };
        let mut socket = WebSocketStream::into_inner(socket);
        drop(socket.write_all(&[0xff; 64]).await);
        drop(socket.read_to_end(&mut Vec::new()).await);
    })
    .await;
    assert_eq!(asked(builder(&server)).await, ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    // It takes everything.
    let server = hostile(|socket| async move {
        let Ok(mut socket) = accept_async(socket).await else { return };
        while let Some(Ok(_)) = socket.next().await {}
    })
    .await;
    assert_eq!(asked(builder(&server)).await, ErrorKind::TimedOut);
    // It is silent from the beginning.
    let server = hostile(|mut socket| async move { drop(socket.read_to_end(&mut Vec::new()).await) }).await;
    assert_eq!(asked(builder(&server).connect_timeout(SOON)).await, ErrorKind::TimedOut);
}

/// It lets everybody in, and hangs up: that is no service, however often it is tried.
#[tokio::test]
async fn a_server_that_always_hangs_up_is_given_up() {
    let server = hostile(|socket| async move { drop(accept_async(socket).await) }).await;
    let runtime = builder(&server).request_timeout(WAIT).connect().await.unwrap();
    let error = timeout(WAIT, runtime.containers()).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Exhausted));
}

#[tokio::test]
async fn what_is_no_server_of_ours_is_told_apart() {
    let saying = |answer: &'static str| {
        hostile(move |mut socket| async move {
            let mut request = [0; 4096];
            drop(socket.read(&mut request).await);
            drop(socket.write_all(answer.as_bytes()).await);
        })
    };
    for (answer, kind) in [
        ("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n", ErrorKind::Unauthenticated),
        ("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", ErrorKind::PermissionDenied),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", ErrorKind::Unsupported),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", ErrorKind::Unsupported),
        ("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", ErrorKind::Unavailable),
        ("SSH-2.0-OpenSSH_9.9\r\n\r\n", ErrorKind::Unsupported),
        ("", ErrorKind::Unavailable),
    ] {
        let server = saying(answer).await;
        assert_eq!(asked(builder(&server)).await, kind, "{answer}");
    }
    for url in ["", "x", "http://127.0.0.1:1/ws", "ws://", "ws://127.0.0.1:1:2/ws"] {
        let error = RemoteRuntime::builder(url).connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}");
    }
}
