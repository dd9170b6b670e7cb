//! A server by the protocol's official SDK behind a URL.

use std::sync::{Arc, atomic::Ordering};

use agentx_core::{ErrorKind, Retry};
use agentx_sandbox::mcp::McpServer;
use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use rmcp::transport::{
    StreamableHttpServerConfig, StreamableHttpService,
    streamable_http_server::session::local::LocalSessionManager,
};
use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    call, refused,
    sdk::{Seen, Server},
    tool, try_call,
};

const TOKEN: &str = "hunter2-hunter2";

struct Service {
    url: String,
    task: JoinHandle<()>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(seen: &Arc<Seen>, config: StreamableHttpServerConfig) -> Service {
    let factory = Arc::clone(seen);
    let service = StreamableHttpService::new(
        move || Ok(Server::new(&factory)),
        Arc::<LocalSessionManager>::default(),
        config,
    );
    let router = Router::new()
        .nest_service("/mcp", service)
        .layer(middleware::from_fn_with_state(Arc::clone(seen), guard));
    listen(router).await
}

async fn listen(router: Router) -> Service {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Service { url, task }
}

/// Lets in whoever has the token.
async fn guard(State(seen): State<Arc<Seen>>, request: Request, next: Next) -> Response {
    let given = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let given = given.unwrap_or_default();
    seen.headers.lock().unwrap().push(given.clone());
    if given == format!("Bearer {TOKEN}") {
        next.run(request).await
    } else {
        (StatusCode::UNAUTHORIZED, [("www-authenticate", "Bearer")], "").into_response()
    }
}

fn server(service: &Service) -> McpServer {
    McpServer::http("test", service.url.as_str()).with_bearer_token(TOKEN)
}

#[tokio::test]
async fn tools_answer_in_json_and_as_events_with_and_without_a_session() {
    for json in [false, true] {
        for session in [false, true] {
            let seen = Arc::new(Seen::default());
            let config = StreamableHttpServerConfig::default();
            let service =
                serve(&seen, config.with_json_response(json).with_legacy_session_mode(session)).await;
            let connection = server(&service).connect(None).await.unwrap();
            assert_eq!(call(&connection, "echo", json!({"text": "grüße"})).await, "grüße");
            let failed = try_call(&tool(&connection, "fail"), json!({})).await.unwrap();
            assert!(failed.is_error());
            if json && session {
                let told = call(&connection, "large", json!({})).await;
                assert!(told.len() < 30_000 && told.contains("characters left out"), "{}", told.len());
            }
            connection.close().await;
            let headers = seen.headers.lock().unwrap();
            assert!(headers.len() > 2 && headers.iter().all(|value| value.ends_with(TOKEN)), "{headers:?}");
        }
    }
}

#[tokio::test]
async fn calls_run_side_by_side_and_are_cancelled() {
    let seen = Arc::new(Seen::default());
    let service = serve(&seen, StreamableHttpServerConfig::default()).await;
    let connection = server(&service).connect(None).await.unwrap();
    let (one, two) = tokio::join!(call(&connection, "both", json!({})), call(&connection, "both", json!({})));
    assert_eq!((one.as_str(), two.as_str()), ("together", "together"));
    let never = tool(&connection, "never");
    tokio::select! {
        _ = try_call(&never, json!({})) => panic!("it ended"),
        () = seen.begun.notified() => {}
    }
    seen.cancelled.notified().await;
}

#[tokio::test]
async fn a_tool_that_is_taken_back_is_refused() {
    let seen = Arc::new(Seen::default());
    let service = serve(&seen, StreamableHttpServerConfig::default()).await;
    let connection = server(&service).connect(None).await.unwrap();
    call(&connection, "change", json!({})).await;
    connection.refresh().await.unwrap();
    assert!(connection.infos().iter().any(|info| info.tool == "new"));
}

#[tokio::test]
async fn the_token_is_needed_and_never_shown() {
    let seen = Arc::new(Seen::default());
    let service = serve(&seen, StreamableHttpServerConfig::default()).await;
    let wrong = McpServer::http("test", service.url.as_str()).with_bearer_token("wrong-token-value");
    let error = wrong.connect(None).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unauthenticated, Retry::Never));
    assert_eq!(seen.starts.load(Ordering::Relaxed), 0);
    for shown in [format!("{wrong:?}"), format!("{error:?}")] {
        assert!(!shown.contains("wrong-token") && !shown.contains("/mcp"), "{shown}");
    }
    let connection = server(&service).connect(None).await.unwrap();
    let said = call(&connection, "echo", json!({"text": format!("it is {TOKEN}")})).await;
    assert_eq!(said, "it is [redacted]");
}

#[tokio::test]
async fn a_server_that_is_not_there_or_speaks_otherwise_is_told() {
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error =
        McpServer::http("test", format!("http://{free}/secret-path")).connect(None).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::After(None)), "{error:?}");
    assert!(
        error.message().contains("refused") && !format!("{error:?}").contains("secret-path"),
        "{error:?}"
    );

    for (status, kind) in [
        (StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Unavailable),
        (StatusCode::TOO_MANY_REQUESTS, ErrorKind::Unavailable),
        (StatusCode::OK, ErrorKind::Corrupt),
        // Nobody is led to another host with the token.
        (StatusCode::TEMPORARY_REDIRECT, ErrorKind::Corrupt),
    ] {
        let other = listen(Router::new().fallback(move || async move {
            (status, [("location", "http://127.0.0.1:1/"), ("content-type", "text/html")], "<p>hello</p>")
        }));
        let error = server(&other.await).connect(None).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{status}: {error:?}");
    }

    for url in ["", "localhost", "file:///etc/passwd", "http://"] {
        let error = McpServer::http("test", url).connect(None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}: {error}");
    }
    let error =
        McpServer::http("test", "http://127.0.0.1/").with_env("A", "b").connect(None).await.unwrap_err();
    assert!(
        error.kind() == ErrorKind::InvalidInput && error.message().contains("no use for a variable"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_went_away_is_told_and_found_again() {
    let seen = Arc::new(Seen::default());
    let service = serve(&seen, StreamableHttpServerConfig::default()).await;
    let address = service.url.trim_start_matches("http://").trim_end_matches("/mcp").to_owned();
    let connection = server(&service).connect(None).await.unwrap();
    call(&connection, "echo", json!({"text": "x"})).await;
    // The sessions of the next server are others.
    drop(service);
    let listener = loop {
        match TcpListener::bind(&address).await {
            Ok(listener) => break listener,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let factory = Arc::clone(&seen);
    let next = StreamableHttpService::new(
        move || Ok(Server::new(&factory)),
        Arc::<LocalSessionManager>::default(),
        StreamableHttpServerConfig::default(),
    );
    let task = tokio::spawn(async move {
        axum::serve(listener, Router::new().nest_service("/mcp", next)).await.unwrap();
    });
    let echo = tool(&connection, "echo");
    let mut tries = 0;
    while let Err(error) = try_call(&echo, json!({"text": "x"})).await {
        tries += 1;
        assert!(tries < 5 && matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Lost), "{error}");
    }
    let error = refused(&connection, "wrong", json!({})).await;
    assert!(error.message().contains("a fault of the server"), "{error}");
    task.abort();
}
