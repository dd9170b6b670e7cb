//! `bench server`: what a server of many conversations takes, under load from this process.
//!
//! The servers are processes of their own, on the loopback: ours, with a SQLite store and a scripted model that says 50 pieces
//! of text a second; a minimal one in Node, with `ws`, that says as much and stores nothing; and a loop that writes frames
//! which are encoded already, the least that telling many the same can cost.
//!
//! Each piece of text is the moment at which it was made, by the clock that all processes of this machine share. A latency
//! is the time from there to this process having read it: it includes what this process and the kernel add, alike for all
//! servers. Processor time is the server's alone.

mod agents;
mod client;
mod frames;
mod idle;
mod options;
mod peer;
mod process;
mod report;
mod stream;

use std::io::Write;

pub(crate) use self::{
    agents::SERVE as AGENTS, agents::serve as serve_agents, frames::SERVE as FRAMES,
    frames::serve as serve_frames,
};
use self::{options::Options, process::Server, report::Report};
use crate::Result;

/// The variable that says where the `node_modules` of the peer are. Without it the peer is left out, and the table says so.
pub const PEER: &str = "AGENTX_BENCH_WS";

/// Pieces of text that a conversation is told in a second.
const PACE: u32 = 50;

/// Runs everything that `arguments` ask for. The table goes to `output`, and all of it to `server.json`.
///
/// # Errors
/// An argument that is not understood, with the usage; what the host refuses; a phase that does not end in its time.
pub fn run(arguments: impl IntoIterator<Item = String>, output: &mut dyn Write) -> Result<()> {
    let options = Options::parse(arguments)?;
    options.raise_file_limit()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let measured = async { tokio::time::timeout(options.within, measure(&options)).await };
    let report = runtime
        .block_on(measured)
        .map_err(|_| format!("it did not end within {:?}: take a smaller load", options.within))??;
    // Sockets that are still open go with their tasks.
    runtime.shutdown_background();
    report.save(&options.directory)?;
    writeln!(output, "{report}")?;
    Ok(())
}

async fn measure(options: &Options) -> Result<Report> {
    let mut report = Report::new(options.clone());
    let pieces = options.seconds * PACE;
    {
        let server = Server::agents()?;
        report.streams.push(stream::conversations("AgentX", &server, options.conversations, pieces).await?);
    }
    match Server::peer() {
        Ok(server) => {
            let told = stream::peer("ws (Node)", &server, options.conversations, pieces).await?;
            report.streams.push(told);
        }
        Err(why) => report.left_out.push(format!("the peer in Node: {why}")),
    }
    for (name, pace) in [("paced", PACE), ("burst", 0)] {
        let pieces = if pace == 0 { stream::BURST } else { PACE };
        let ours = stream::fan_out(&Server::agents()?, options.sockets, pieces, pace).await?;
        let limit = stream::written(&Server::frames(ours.frame)?, options.sockets, pieces, pace).await?;
        report.fan_outs.push(report::FanOut::new(name, ours, limit));
    }
    report.idle = Some(idle::clients(&Server::agents()?, options.idle).await?);
    report.containers = Some(idle::containers(&Server::agents()?, options.containers).await?);
    Ok(report)
}
