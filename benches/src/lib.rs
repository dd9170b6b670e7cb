//! What AgentX costs: one row for each question, answered by ratios.
//!
//! ```text
//! cargo xtask bench [ROW …] [--no-peers]                    # with the peers, unless told not to
//! cargo run --profile bench -p agentx-benches -- [ROW …] [--rounds N] [--slot MILLIS] [--out DIRECTORY]
//! ```
//!
//! # Method
//! * All variants of a row run in one process, interleaved: in each round every variant runs once for about the same
//!   time, and each round begins with another one. So what disturbs the machine disturbs all of them.
//! * The first variant is the *limit*: the least that the work can cost, mostly the system call or the scan itself.
//! * The figure is the **median of the per-round ratios** to the limit, with its quartiles. Times are shown too, but
//!   those of different runs do not compare.
//! * The limit runs twice in each round. Its ratio to itself (the row `A/A`) shows how far the machine can be
//!   believed: outside of 0.9 to 1.1 the whole table is inconclusive, and says so.
//! * CPU time is that of the whole process, without child processes.
//!
//! A table goes to standard output, and everything that it is made of to `target/bench/ROW.json`.
//!
//! `bench server` is no row: load on a server in another process, in [`server`].
//!
//! Peers (other crates that do the same, and the SDK for Node in a process of its own) are in `benches/peers`, a workspace
//! of its own: they are in nobody else's build. Its program has all rows of this one and takes the same arguments. The
//! crates of both are built with the features that any of them asks for.

pub mod cost;
pub mod environment;
pub mod measure;
pub mod program;
pub mod replay;
pub mod report;
pub mod rows;
pub mod server;
pub mod statistics;

/// An error, for the person at the terminal.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The result of whatever a benchmark does.
pub type Result<T, E = Error> = std::result::Result<T, E>;
