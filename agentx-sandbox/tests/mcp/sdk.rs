//! A server by the protocol's official SDK, as a program of a process in memory.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
use std::time::Duration;

use agentx_resource::memory::ProgramContext;
use rmcp::{
    ErrorData, RoleServer, ServerHandler, ServiceExt,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
        ListToolsResult, PaginatedRequestParams, ProgressNotificationParam, ServerCapabilities, ServerConfig,
        Tool, ToolAnnotations,
    },
    service::RequestContext,
};
use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{Barrier, Notify},
};

/// What the server has seen, over all its runs.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) starts: AtomicUsize,
    /// Told when a call was cancelled by the client.
    pub(crate) cancelled: Notify,
    /// Told when a call that never ends has begun.
    pub(crate) begun: Notify,
    /// Told when a run was dropped.
    pub(crate) dropped: Notify,
    /// The tool `echo` is there no more.
    without_echo: AtomicBool,
    /// The value of the header `authorization` of each HTTP request.
    pub(crate) headers: Mutex<Vec<String>>,
}

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) seen: Arc<Seen>,
    two: Arc<Barrier>,
    key: String,
}

impl Server {
    pub(crate) fn new(seen: &Arc<Seen>) -> Self {
        seen.starts.fetch_add(1, Ordering::Relaxed);
        Self { seen: Arc::clone(seen), two: Arc::new(Barrier::new(2)), key: String::new() }
    }
}

/// Runs the server over the input and output of a program, after `banner`.
pub(crate) async fn run(context: ProgramContext, seen: Arc<Seen>, banner: &str) -> i32 {
    struct Dropped(Arc<Seen>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.dropped.notify_one();
        }
    }
    let _dropped = Dropped(Arc::clone(&seen));
    let ProgramContext { mut stdin, stdout, stderr, env, .. } = context;
    stderr.write(format!("the key is {}\n", env.get("KEY").map_or("none", String::as_str))).await;
    stdout.write(banner.to_owned()).await;
    let (near, far) = tokio::io::duplex(64 << 10);
    let (mut output, mut input) = tokio::io::split(near);
    let serve = async {
        let server = Server { key: env.get("KEY").cloned().unwrap_or_default(), ..Server::new(&seen) };
        let Ok(running) = server.serve(far).await else { return };
        drop(running.waiting().await);
    };
    let feed = async {
        while let Some(piece) = stdin.read().await {
            if input.write_all(&piece).await.is_err() {
                return;
            }
        }
        drop(input.shutdown().await);
    };
    let tell = async {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(read @ 1..) = output.read(&mut buffer).await {
            stdout.write(buffer[..read].to_vec()).await;
        }
    };
    tokio::join!(serve, feed, tell);
    0
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().enable_tool_list_changed().build())
            .with_server_info(Implementation::new("sdk", "1"))
            .with_instructions("Be kind.")
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let text = object(
            &json!({"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}),
        );
        let nothing = object(&json!({"type": "object"}));
        let mut tools: Vec<_> =
            ["large", "fail", "wrong", "image", "structured", "never", "working", "both", "change", "die"]
                .into_iter()
                .map(|name| Tool::new(name, "", nothing.clone()))
                .collect();
        let hints = ToolAnnotations::new().read_only(true).destructive(false);
        // A careless server tells everybody.
        for tool in tools.iter_mut().filter(|tool| tool.name == "wrong") {
            tool.description = Some(format!("with {}", self.key).into());
        }
        if self.seen.without_echo.load(Ordering::Relaxed) {
            tools.push(Tool::new("new", "A new tool", nothing));
        } else {
            tools.push(Tool::new("echo", "Says what it is told", text).with_annotations(hints));
        }
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let text = |text: String| CallToolResult::success(vec![ContentBlock::text(text)]);
        let result = match &*request.name {
            "echo" => {
                let arguments = request.arguments.unwrap_or_default();
                let Some(Value::String(said)) = arguments.get("text") else {
                    return Err(ErrorData::invalid_params("text is missing", None));
                };
                text(said.clone())
            }
            "large" => text("0123456789ab".repeat(1 << 20)),
            "fail" => CallToolResult::error(vec![ContentBlock::text("it did not work")]),
            "wrong" => return Err(ErrorData::internal_error("a fault of the server", None)),
            "image" => CallToolResult::success(vec![
                ContentBlock::text("look:"),
                ContentBlock::image(
                    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
                    "image/png",
                ),
            ]),
            "structured" => CallToolResult::structured(json!({"answer": 42})),
            "never" => {
                self.seen.begun.notify_one();
                context.ct.cancelled().await;
                self.seen.cancelled.notify_one();
                return Err(ErrorData::internal_error("cancelled", None));
            }
            // Ten minutes and a half of work, of which it tells each minute.
            "working" => {
                for minute in 1..=20_u32 {
                    tokio::time::sleep(Duration::from_secs(30)).await;
                    if let Some(token) = context.meta.get_progress_token() {
                        let progress = ProgressNotificationParam::new(token, f64::from(minute));
                        drop(context.peer.notify_progress(progress).await);
                    }
                }
                text("done".to_owned())
            }
            "both" => {
                self.two.wait().await;
                text("together".to_owned())
            }
            "change" => {
                self.seen.without_echo.store(true, Ordering::Relaxed);
                drop(context.peer.notify_tool_list_changed().await);
                text("changed".to_owned())
            }
            other => return Err(ErrorData::invalid_params(format!("no tool {other}"), None)),
        };
        Ok(result.into())
    }
}
