use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use agentx_core::{Error, ErrorKind, Result, Tool, ToolOutput};
use rmcp::model::{CallToolRequest, CallToolRequestParams, CallToolResult, ClientRequest, ServerResult};
use serde_json::Value;
use tokio::{sync::Mutex, time};

use super::{
    LeftOut, McpServer, McpToolInfo, answer,
    failure::{Failure, cut},
    listing::{Listing, Offer},
    live::{Live, Place},
    tool::McpTool,
};
use crate::NodeRuntime;

/// A connection to an MCP server, and the tools that it offers.
///
/// A clone is the same connection, and so is each of its tools: when the last of them is dropped, the server is ended,
/// within [`McpLimits::close`](super::McpLimits::close) and a few seconds. [`close`](Self::close) waits for that.
///
/// ```no_run
/// use agentx_core::Result;
/// use agentx_sandbox::{NodeRuntime, Sandbox, mcp::McpServer};
///
/// # async fn example(runtime: NodeRuntime) -> Result<()> {
/// let server = McpServer::stdio("files", "npx", ["-y", "@modelcontextprotocol/server-filesystem", "."]);
/// let connection = server.connect(Some(&runtime)).await?;
/// for tool in connection.infos() {
///     println!("{}: {}", tool.name, if tool.read_only { "said to change nothing" } else { "may change things" });
/// }
/// let sandbox = Sandbox::new(runtime).with_mcp(connection);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct McpConnection(Arc<Shared>);

struct Shared {
    server: McpServer,
    place: Place,
    live: Mutex<State>,
    listing: RwLock<Arc<Listing>>,
}

enum State {
    Live(Arc<Live>),
    /// To be started by the next call.
    Ended,
    /// By the user, for good.
    Closed,
}

impl McpConnection {
    pub(super) async fn start(server: McpServer, runtime: Option<NodeRuntime>) -> Result<Self> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(Error::new(ErrorKind::Unavailable, "connect")
                .with_path(&server.name)
                .with_message("the protocol needs a tokio runtime"));
        }
        let place = Place::new(runtime, server.secrets());
        let shared = Shared { server, place, live: Mutex::new(State::Ended), listing: RwLock::default() };
        let (live, listing) = shared.run().await?;
        listing.check(&shared.server)?;
        shared.set_listing(listing);
        *shared.live.lock().await = State::Live(Arc::new(live));
        Ok(Self(Arc::new(shared)))
    }

    /// The server's name.
    pub fn name(&self) -> &str {
        &self.0.server.name
    }

    /// The tools of the latest list. They stay as they are; what the server changes is offered to whoever asks again.
    pub fn tools(&self) -> Vec<Arc<dyn Tool>> {
        let offers = self.0.listing().offers.clone();
        offers.into_iter().map(|offer| Arc::new(McpTool::new(offer, self.clone())) as Arc<dyn Tool>).collect()
    }

    /// What the server says of the tools of the latest list.
    pub fn infos(&self) -> Vec<McpToolInfo> {
        self.0.listing().offers.iter().map(|offer| offer.info.clone()).collect()
    }

    /// The tools of the latest list that are not offered, since no model could use them.
    pub fn left_out(&self) -> Vec<LeftOut> {
        self.0.listing().left_out.clone()
    }

    /// What the server says of how to use it, at most 2,000 characters: untrusted text, which is not told to a model by
    /// itself. None while the server does not run.
    pub async fn instructions(&self) -> Option<String> {
        match &*self.0.live.lock().await {
            State::Live(live) => live.instructions().map(|text| cut(&self.0.place.redact(text))),
            State::Ended | State::Closed => None,
        }
    }

    /// Asks for the server's tools anew; starts the server where it has ended. [`tools`](Self::tools) then gives the
    /// tools of the new list. This happens by itself before the call that follows the server's word that its tools
    /// have changed.
    ///
    /// # Errors
    /// Those of [`McpServer::connect`], but for names that the server does not have; `Unavailable` after
    /// [`close`](Self::close).
    pub async fn refresh(&self) -> Result<()> {
        let live = self.0.live().await?;
        self.0.relist(&live).await
    }

    /// Ends the connection, and with it the server and all that it started, where it is a child. Calls under way
    /// fail; later ones are refused.
    pub async fn close(&self) {
        let state = std::mem::replace(&mut *self.0.live.lock().await, State::Closed);
        if let State::Live(live) = state {
            live.close(self.0.server.limits.close).await;
        }
    }

    /// Calls a tool that was offered.
    pub(super) async fn call(&self, offer: &Offer, input: Value, call_id: &str) -> Result<ToolOutput> {
        let tool = &offer.info.tool;
        let Value::Object(arguments) = input else {
            return Err(self.0.error(tool, Failure::new(ErrorKind::InvalidInput, "the input is no object")));
        };
        let live = self.0.live().await?;
        if live.take_changed() {
            self.0.relist(&live).await?;
        }
        if !self.0.listing().known.contains(tool) {
            let message = "the server has taken this tool back; nothing was done";
            return Err(self.0.error(tool, Failure::new(ErrorKind::NotFound, message)));
        }
        let params = CallToolRequestParams::new(tool.clone()).with_arguments(arguments);
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        let answer = live.ask(request, self.0.server.limits).await;
        match answer.and_then(result) {
            Ok(result) => Ok(answer::output(result, &self.0.place, call_id).await),
            Err(failure) => Err(self.0.error(tool, failure)),
        }
    }
}

/// The result of a call, where the answer is one.
fn result(answer: ServerResult) -> Result<CallToolResult, Failure> {
    match answer {
        ServerResult::CallToolResult(result) => Ok(result),
        ServerResult::EmptyResult(_) => Ok(CallToolResult::success(Vec::new())),
        ServerResult::InputRequiredResult(_) => Err(Failure::new(
            ErrorKind::Unsupported,
            "the server wants to ask the user, which is not possible here",
        )),
        ServerResult::CreateTaskResult(_) => Err(Failure::new(
            ErrorKind::Unsupported,
            "the server answers with a task, which can't be followed here",
        )),
        _ => {
            let failure =
                Failure::new(ErrorKind::Corrupt, "the server did not answer as the protocol has it");
            Err(failure.lost())
        }
    }
}

impl Shared {
    /// The server, which is started where it does not run.
    async fn live(&self) -> Result<Arc<Live>> {
        let mut state = self.live.lock().await;
        match &*state {
            State::Live(live) if !live.has_ended() => return Ok(Arc::clone(live)),
            State::Live(_) | State::Ended => {}
            State::Closed => {
                let failure = Failure {
                    retry: agentx_core::Retry::Never,
                    ..Failure::new(ErrorKind::Unavailable, "the connection was closed")
                };
                return Err(self.error("connect", failure));
            }
        }
        *state = State::Ended;
        let (live, listing) = self.run().await?;
        self.set_listing(listing);
        let live = Arc::new(live);
        *state = State::Live(Arc::clone(&live));
        Ok(live)
    }

    async fn run(&self) -> Result<(Live, Listing)> {
        let (live, tools) = Live::start(&self.server, &self.place)
            .await
            .map_err(|failure| self.failed("connect", &self.server.name, failure))?;
        Ok((live, self.listed(tools)))
    }

    /// What is offered of these tools. A server may put what it was given into what it says of them.
    fn listed(&self, tools: Vec<rmcp::model::Tool>) -> Listing {
        let mut listing = Listing::new(&self.server, tools);
        for Offer { definition, info } in &mut listing.offers {
            definition.description = self.place.redact(std::mem::take(&mut definition.description));
            info.title = info.title.take().map(|title| self.place.redact(title));
        }
        listing
    }

    async fn relist(&self, live: &Live) -> Result<()> {
        let limit = self.server.limits.idle;
        let listed = match time::timeout(limit, live.list()).await {
            Ok(listed) => listed,
            Err(_) => Err(Failure::new(ErrorKind::TimedOut, format!("no list of tools within {limit:?}"))),
        };
        match listed {
            Ok(tools) => {
                self.set_listing(self.listed(tools));
                Ok(())
            }
            Err(failure) => {
                live.set_changed();
                Err(self.failed("list tools", &self.server.name, failure))
            }
        }
    }

    fn listing(&self) -> Arc<Listing> {
        Arc::clone(&self.listing.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set_listing(&self, listing: Listing) {
        *self.listing.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(listing);
    }

    fn error(&self, tool: &str, failure: Failure) -> Error {
        self.failed("call", &format!("{}/{tool}", self.server.name), failure)
    }

    fn failed(&self, operation: &'static str, subject: &str, failure: Failure) -> Error {
        Error::new(failure.kind, operation)
            .with_path(subject)
            .with_provider("mcp")
            .with_message(self.place.redact(failure.message))
            .with_retry(failure.retry)
    }
}

impl fmt::Debug for McpConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpConnection").field("server", &self.0.server).finish_non_exhaustive()
    }
}
