//! The process that is measured: our server, with a store on the disk and a model that speaks at a steady pace.

use std::{
    io::{self, Read, Write},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use agentx::{MessageBody, Model, Repositories, Runtime, ToolLoop, local::SqliteExecutor, tokio_host};
use agentx_core::{BlockChange, BlockKind, ModelEvent, ModelRequest, ModelStream, StopReason};
use agentx_server::{Quotas, Server};
use agentx_sql::SqlRepositories;
use futures::{StreamExt, stream};
use tokio::{net::TcpListener, time};

use super::client::now;
use crate::Result;

/// The argument that makes a bench program such a server.
pub(crate) const SERVE: &str = "serve-agents";

/// Says as many pieces of text as the user asks for, so many in a second: `250 50`; all at once where that is 0. Each piece is
/// its number and the moment at which it was made.
#[derive(Debug)]
struct Paced;

impl Model for Paced {
    fn name(&self) -> &'static str {
        "paced"
    }

    fn call(&self, request: ModelRequest) -> ModelStream {
        let asked = request.messages.last().map(MessageBody::text).unwrap_or_default();
        let mut numbers = asked.split(' ').map(|number| number.parse::<u32>().unwrap_or_default());
        let (pieces, pace) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
        let block = |change| ModelEvent::Block { index: 0, change };
        let before =
            [ModelEvent::Start { model: "paced".to_owned() }, block(BlockChange::Start(BlockKind::Text))];
        let after = [block(BlockChange::Stop), ModelEvent::Stop(StopReason::EndTurn)];
        let piece = move |number: u32| block(BlockChange::Text(format!("{number} {} ", now())));
        let said = match Duration::from_secs(1).checked_div(pace) {
            None => stream::iter(0..pieces).map(piece).boxed(),
            Some(step) => {
                let ticks = time::interval(step);
                let said = stream::unfold((ticks, 0), move |(mut ticks, number)| async move {
                    ticks.tick().await;
                    Some((piece(number), (ticks, number + 1)))
                });
                said.take(pieces as usize).boxed()
            }
        };
        stream::iter(before).chain(said).chain(stream::iter(after)).map(Ok).boxed()
    }
}

/// Serves until its input ends.
///
/// # Errors
/// What the host says.
pub(crate) fn serve() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let file = directory.path().join("agents.db");
    let listener = runtime.block_on(async {
        let store = SqlRepositories::open(Arc::new(SqliteExecutor::open(&file).await?)).await?;
        let repositories = Repositories::new(store);
        let agents = Runtime::builder(ToolLoop::new(Paced), tokio_host()?).repositories(repositories.clone());
        let many = 1_000_000;
        let quotas = Quotas::default()
            .with_requests_per_minute(NonZeroU32::MAX)
            .with_turns(many)
            .with_containers(many)
            .with_images(many)
            .with_connections(many);
        let server = Server::builder(Arc::new(agents.build()?), repositories)
            .quotas(quotas)
            .largest_connections(many)
            .build();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        writeln!(io::stdout(), "{}", listener.local_addr()?)?;
        Ok::<_, crate::Error>(tokio::spawn(axum::serve(listener, server.router()).into_future()))
    })?;
    // The end of the input is the end of whoever started this.
    io::stdin().read_to_end(&mut Vec::new())?;
    listener.abort();
    runtime.shutdown_background();
    Ok(())
}
