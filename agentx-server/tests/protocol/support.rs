//! A server on loopback, and clients that speak to it as the clients of each generation do.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc, time::Duration};

use agentx::{
    Decision, MessageBody, Permission, PermissionRequest, Reply, Repositories, Runtime, ScriptedModel, Tool,
    ToolLoop, ToolOutput, async_trait, core::Driver, tokio_host, tool_fn,
};
use agentx_server::{
    Owner, Server, ServerBuilder,
    auth::{ApiKeys, KeyHash},
};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest},
};

/// How long a test waits for what must come.
pub(crate) const WAIT: Duration = Duration::from_secs(20);

/// Asks before the tool `pay` runs.
#[derive(Debug)]
pub(crate) struct AskBeforePaying;

#[async_trait]
impl Permission for AskBeforePaying {
    async fn decide(&self, request: PermissionRequest) -> agentx::Result<Decision> {
        Ok(match request.call.name.as_str() {
            "pay" => Decision::Ask("It costs money.".to_owned()),
            _ => Decision::Allow,
        })
    }
}

/// The model: it calls the tool that a message names, says what came of it, and echoes everything else. `wait` ends with
/// an interrupt alone.
pub(crate) fn model() -> ScriptedModel {
    ScriptedModel::new("scripted", |request| {
        let last = request.messages.last();
        let said = last.map(MessageBody::text).unwrap_or_default();
        Ok(match (last.map(MessageBody::role), said.as_str()) {
            (Some("tool"), _) => Reply::text("done"),
            (_, name @ ("add" | "pay" | "wait")) => {
                Reply::default().call("call", name, json!({"a": 1, "b": 2}))
            }
            (_, said) => Reply::text(format!("You said: {said}")),
        })
    })
}

/// A server, and where it listens.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A server for whoever asks.
pub(crate) async fn serve() -> Served {
    serve_with(|server| server).await
}

/// A server for `ann` and `bob`, whose keys are `key-of-ann` and `key-of-bob`.
pub(crate) async fn serve_ann_and_bob() -> Served {
    serve_ann_and_bob_with(|server| server).await
}

pub(crate) async fn serve_ann_and_bob_with(settings: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Served {
    serve_with(|server| settings(server.authenticator(keys_of_ann_and_bob()))).await
}

pub(crate) fn keys_of_ann_and_bob() -> ApiKeys {
    let keys = ApiKeys::new();
    let key = |name: &str| (KeyHash::of(&format!("key-of-{name}")), Owner::new(name).unwrap());
    keys.replace(vec![key("ann"), key("bob")]);
    keys
}

/// What the model calls.
pub(crate) fn tools() -> Vec<Arc<dyn Tool>> {
    let schema = json!({"type": "object"});
    let add = tool_fn("add", "Adds.", schema.clone(), |input: Value| async move {
        Ok((input["a"].as_i64().unwrap_or(0) + input["b"].as_i64().unwrap_or(0)).to_string())
    });
    let pay = tool_fn("pay", "Pays.", schema.clone(), |_: Value| async move { Ok("paid".to_owned()) });
    let wait =
        tool_fn("wait", "Waits.", schema, |_: Value| std::future::pending::<agentx::Result<ToolOutput>>());
    vec![Arc::new(add), Arc::new(pay), Arc::new(wait)]
}

pub(crate) async fn serve_with(settings: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Served {
    serve_driver(ToolLoop::new(model()), settings).await
}

/// A server whose turns this driver runs.
pub(crate) async fn serve_driver(
    driver: impl Driver,
    settings: impl FnOnce(ServerBuilder) -> ServerBuilder,
) -> Served {
    serve_stored(Repositories::memory(), driver, settings).await
}

/// A server over what is stored here.
pub(crate) async fn serve_stored(
    repositories: Repositories,
    driver: impl Driver,
    settings: impl FnOnce(ServerBuilder) -> ServerBuilder,
) -> Served {
    let runtime = Runtime::builder(driver, tokio_host().unwrap())
        .repositories(repositories.clone())
        .permission(Arc::new(AskBeforePaying));
    let runtime = tools().into_iter().fold(runtime, agentx::core::RuntimeBuilder::tool).build().unwrap();
    let server = settings(Server::builder(Arc::new(runtime), repositories)).build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = server.router().into_make_service_with_connect_info::<SocketAddr>();
    let serving = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    Served { address, serving }
}

/// A client on a socket. Frames that it was sent and did not look for yet wait in `seen`.
pub(crate) struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub(crate) seen: VecDeque<Value>,
    next: u64,
}

impl Client {
    pub(crate) async fn connect(served: &Served, key: Option<&str>) -> Self {
        Self::try_connect(served, key).await.unwrap()
    }

    pub(crate) async fn try_connect(
        served: &Served,
        key: Option<&str>,
    ) -> Result<Self, tokio_tungstenite::tungstenite::Error> {
        let mut request = format!("ws://{}/ws", served.address).into_client_request().unwrap();
        if let Some(key) = key {
            request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        }
        let (socket, _) = connect_async(request).await?;
        Ok(Self { socket, seen: VecDeque::new(), next: 0 })
    }

    /// Sends a message as it is.
    pub(crate) async fn send(
        &mut self,
        message: Message,
    ) -> Result<(), tokio_tungstenite::tungstenite::Error> {
        self.socket.send(message).await
    }

    pub(crate) async fn say(&mut self, text: impl Into<String>) {
        self.socket.send(Message::text(text.into())).await.unwrap();
    }

    /// The next frame as it came.
    pub(crate) async fn raw(&mut self) -> Option<Value> {
        loop {
            let message = tokio::time::timeout(WAIT, self.socket.next()).await.expect("a frame in time");
            match message {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// The first frame, of those that came and those to come, that is looked for.
    pub(crate) async fn find(&mut self, is: impl Fn(&Value) -> bool) -> Value {
        if let Some(place) = self.seen.iter().position(&is) {
            return self.seen.remove(place).unwrap();
        }
        loop {
            let frame = self.raw().await.expect("the connection lives");
            if is(&frame) {
                return frame;
            }
            self.seen.push_back(frame);
        }
    }

    /// Asks by JSON-RPC, and gives the whole answer.
    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let id = self.next;
        self.say(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()).await;
        self.find(|frame| frame["id"] == id).await
    }

    /// Asks by JSON-RPC, and gives the result.
    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Value {
        let answer = self.ask(method, params).await;
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// Asks by an event, as the first generation does, and gives the data of the answer, which it confirms.
    pub(crate) async fn request(&mut self, name: &str, mut data: Value) -> Value {
        self.next += 1;
        let id = format!("req_{}", self.next);
        data["requestId"] = json!(id);
        let request = json!({"type": format!("{name}_request"), "timestamp": 1, "data": data,
            "source": "command", "category": "request", "intent": "request"});
        self.say(request.to_string()).await;
        loop {
            let event = self.confirmed().await;
            if event["data"]["requestId"] == id {
                assert_eq!(event["type"], format!("{name}_response"));
                assert_eq!((&event["category"], &event["intent"]), (&json!("response"), &json!("result")));
                return event["data"].clone();
            }
            self.seen.push_back(event);
        }
    }

    /// The next event in the wrapper of the first generation, confirmed.
    pub(crate) async fn confirmed(&mut self) -> Value {
        let frame = self.raw().await.expect("the connection lives");
        let id = frame["__msgId"].as_str().unwrap_or_else(|| panic!("not wrapped: {frame}")).to_owned();
        self.say(json!({"__ack": id}).to_string()).await;
        serde_json::from_str(frame["__payload"].as_str().unwrap()).unwrap()
    }

    /// The next event of JSON-RPC, of those that came and those to come.
    pub(crate) async fn event(&mut self) -> Value {
        let frame = self.find(|frame| frame["method"] == "stream.event").await;
        frame["params"]["event"].clone()
    }

    /// The events up to and with the first of this type.
    pub(crate) async fn events_until(&mut self, last: &str) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            events.push(self.event().await);
            if events.last().is_some_and(|event| event["type"] == last) {
                return events;
            }
        }
    }

    /// A container and an image in it: the image's record.
    pub(crate) async fn image(&mut self, container: &str) -> Value {
        self.call("container.create", json!({"containerId": container})).await;
        let created = self.call("image.create", json!({"containerId": container, "name": "Chat"})).await;
        created["record"].clone()
    }
}

/// The types of events, those that are told again and again once.
pub(crate) fn types(events: &[Value]) -> Vec<&str> {
    let mut types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    types.dedup();
    types
}
