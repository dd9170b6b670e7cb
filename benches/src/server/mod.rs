//! `bench server`: what a server of many conversations takes, under load from this process.
//!
//! The servers are processes of their own, on the loopback: ours, with a SQLite store and a scripted model that says 50 pieces
//! of text a second; a minimal one in Node, with `ws`, that says as much and stores nothing; and a loop that writes frames
//! which are encoded already, the least that telling many the same can cost. Those that are compared in telling many take
//! turns, for some rounds; the loop is compared with itself too, which shows how much of a difference is noise, and with
//! tasks that do nothing but write such frames, one for each socket, which shows how much of it is the scheduler's.
//!
//! Pieces are numbered: one that is lost, or comes twice, or in another order, fails the run.
//!
//! Each piece of text is the moment at which it was made, by the clock that all processes of this machine share. A latency
//! is the time from there to this process having read it: it includes what this process and the kernel add, alike for all
//! servers. Processor time is the server's alone.

mod agents;
mod client;
mod fan_out;
mod frames;
mod idle;
mod options;
mod peer;
mod process;
mod report;
mod stream;

use std::io::{self, Write};

pub(crate) use self::{
    agents::SERVE as AGENTS, agents::serve as serve_agents, frames::SERVE as FRAMES,
    frames::serve as serve_frames,
};
use self::{
    fan_out::Audience,
    frames::{LISTEN, LISTEN_APART},
    options::Options,
    process::Server,
    report::{FanOut, Report, Teller},
};
use crate::Result;

/// The variable that says where the `node_modules` of the peer are. Without it the peer is left out, and the table says so.
pub const PEER: &str = "AGENTX_BENCH_WS";

/// Pieces of text that a conversation is told in a second.
const PACE: u32 = 50;

/// How many pieces there are where all come at once.
const BURST: u32 = 64;

/// Runs everything that `arguments` ask for. The table goes to `output`, and all of it to `server.json`.
///
/// # Errors
/// An argument that is not understood, with the usage; what the host refuses; a load that does not end in its time; a piece
/// that was lost, or came twice.
pub fn run(arguments: impl IntoIterator<Item = String>, output: &mut dyn Write) -> Result<()> {
    let options = Options::parse(arguments)?;
    options.raise_file_limit()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let measured = async { tokio::time::timeout(options.within, Box::pin(measure(&options))).await };
    let report = runtime
        .block_on(measured)
        .map_err(|_| format!("it did not end within {:?}: take a smaller load", options.within))??;
    // Sockets that are still open go with their tasks.
    runtime.shutdown_background();
    report.save(&options.directory)?;
    writeln!(output, "{report}")?;
    report.check()
}

async fn measure(options: &Options) -> Result<Report> {
    let mut report = Report::new(options.clone());
    let pieces = options.seconds * PACE;
    begin("conversations at the same time")?;
    {
        let server = Server::agents()?;
        report.streams.push(stream::conversations("AgentX", &server, options.conversations, pieces).await?);
    }
    begin("as many of the peer")?;
    match Server::peer() {
        Ok(server) => {
            let told = stream::peer("ws (Node)", &server, options.conversations, pieces).await?;
            report.streams.push(told);
        }
        Err(why) => report.left_out.push(format!("the peer in Node: {why}")),
    }
    Box::pin(fan_outs(options, &mut report)).await?;
    begin("clients at rest")?;
    report.idle = Some(idle::clients(&Server::agents()?, options.idle).await?);
    begin("containers at rest")?;
    let made = idle::containers(&Server::agents()?, options.containers).await?;
    if made.count < options.containers {
        let missing = options.containers - made.count;
        report.left_out.push(format!("{missing} containers: there was no time to make them"));
    }
    report.containers = Some(made);
    Ok(report)
}

/// Says what is measured now, to whoever waits.
fn begin(what: &str) -> Result<()> {
    Ok(writeln!(io::stderr(), "measuring: {what}")?)
}

/// One conversation told to many, by ours, the loop and the peer by turns.
async fn fan_outs(options: &Options, report: &mut Report) -> Result<()> {
    let mut ours = Audience::of_agent(Server::agents()?, options.sockets).await?;
    let frame = ours.tell(PACE, PACE).await?.bytes_each();
    let mut all = vec![(Teller::Ours, ours)];
    for (teller, listen) in
        [(Teller::Loop, LISTEN), (Teller::Tasks, LISTEN_APART), (Teller::LoopAgain, LISTEN)]
    {
        all.push((teller, Audience::of_writer(Server::frames(frame)?, options.sockets, listen).await?));
    }
    // Where there is none, it was said above why.
    if let Ok(peer) = Server::peer() {
        all.push((Teller::Peer, Audience::of_writer(peer, options.sockets, LISTEN).await?));
    }
    for (name, pieces, pace) in [("paced", PACE, PACE), ("burst", BURST, 0)] {
        begin(&format!("one conversation to many sockets, {name}"))?;
        let mut rounds = Vec::new();
        for _ in 0..options.rounds {
            let mut round = Vec::new();
            for (teller, audience) in &mut all {
                round.push((*teller, audience.tell(pieces, pace).await?));
            }
            rounds.push(round);
            // Each is the first in its turn: what the one before leaves to the caches favours nobody.
            all.rotate_left(1);
        }
        report.fan_outs.push(FanOut::of(name, &rounds));
    }
    Ok(())
}
