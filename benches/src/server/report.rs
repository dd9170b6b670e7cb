//! What was measured, as a table for people and as JSON for programs.
#![expect(clippy::cast_precision_loss, reason = "nobody reads so many digits")]

use std::{fmt, fs, path::Path, time::Duration};

use serde::Serialize;

use super::options::Options;
use crate::{Result, environment::Environment};

/// How many errors are shown.
const SHOWN: usize = 3;

#[derive(Debug, Serialize)]
pub(super) struct Report {
    environment: Environment,
    options: Options,
    pub(super) streams: Vec<Streamed>,
    pub(super) fan_outs: Vec<FanOut>,
    pub(super) idle: Option<Idle>,
    pub(super) containers: Option<Containers>,
    pub(super) left_out: Vec<String>,
}

/// Conversations that were told.
#[derive(Debug, Serialize)]
pub(super) struct Streamed {
    server: &'static str,
    conversations: u32,
    /// How long all of it took: longer than what was asked for, where the server could not hold the pace.
    took: Duration,
    latency: Latencies,
    cpu_ns_per_piece: u64,
    errors: usize,
    first_errors: Vec<String>,
}

/// What many waits were, in microseconds.
#[derive(Debug, Default, Serialize)]
pub(super) struct Latencies {
    count: usize,
    p50_us: f64,
    p95_us: f64,
    p99_us: f64,
    max_us: f64,
}

/// One conversation told to many, once.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) deliveries: u64,
    pub(super) cpu: Duration,
    pub(super) bytes: u64,
}

/// Who tells a conversation to many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Teller {
    Ours,
    /// A loop that writes frames, one socket after another.
    Loop,
    /// Another process like it.
    LoopAgain,
    /// A task for each socket, which only writes what it is handed.
    Tasks,
    Peer,
}

/// What all rounds say: processor time of a delivery.
#[derive(Debug, Serialize)]
pub(super) struct FanOut {
    name: &'static str,
    deliveries: u64,
    ours_us: Spread,
    limit_us: Spread,
    /// Ours, divided by the loop of its round.
    ratio: Spread,
    /// The other loop, divided by the loop: how far that is from 1 is noise.
    noise: Spread,
    /// The tasks, divided by the loop.
    tasks_ratio: Spread,
    /// The peer, divided by the loop.
    peer_ratio: Option<Spread>,
}

/// The median of some rounds, the least and the most.
#[derive(Debug, Serialize)]
pub(super) struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Idle {
    pub(super) count: u32,
    pub(super) bytes_each: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Containers {
    pub(super) count: u32,
    pub(super) bytes_each: u64,
    pub(super) start: Latencies,
}

impl Report {
    pub(super) fn new(options: Options) -> Self {
        Self {
            environment: Environment::now(),
            options,
            streams: Vec::new(),
            fan_outs: Vec::new(),
            idle: None,
            containers: None,
            left_out: Vec::new(),
        }
    }

    pub(super) fn save(&self, directory: &Path) -> Result<()> {
        fs::create_dir_all(directory)?;
        fs::write(directory.join("server.json"), serde_json::to_string_pretty(self)?)?;
        Ok(())
    }

    /// Whether all that was said was heard, each piece once.
    pub(super) fn check(&self) -> Result<()> {
        match self.streams.iter().map(|told| told.errors).sum::<usize>() {
            0 => Ok(()),
            errors => Err(format!("{errors} conversations were not told as they should be").into()),
        }
    }
}

impl Streamed {
    pub(super) fn new(
        server: &'static str,
        conversations: u32,
        took: Duration,
        cpu: Duration,
        mut first_errors: Vec<String>,
        latency: Latencies,
    ) -> Self {
        let errors = first_errors.len();
        first_errors.truncate(SHOWN);
        let cpu_ns_per_piece = per(cpu, latency.count as u64);
        Self { server, conversations, took, latency, cpu_ns_per_piece, errors, first_errors }
    }
}

impl Told {
    /// Processor time of a delivery, in microseconds.
    fn each(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.deliveries.max(1) as f64
    }

    /// Bytes of a frame, on average.
    pub(super) fn bytes_each(&self) -> u64 {
        self.bytes / self.deliveries.max(1)
    }
}

impl FanOut {
    /// Of rounds, in each of which everybody told it once.
    pub(super) fn of(name: &'static str, rounds: &[Vec<(Teller, Told)>]) -> Self {
        let told = |round: &'_ [(Teller, Told)], who| {
            round.iter().find(|(teller, _)| *teller == who).map(|(_, told)| (told.deliveries, told.each()))
        };
        let each = |who| rounds.iter().filter_map(|round| told(round, who)).map(|(_, each)| each).collect();
        let ratios = |who| -> Vec<f64> {
            let ratio = |round| Some(told(round, who)?.1 / told(round, Teller::Loop)?.1);
            rounds.iter().filter_map(|round| ratio(round)).collect()
        };
        let peer = ratios(Teller::Peer);
        Self {
            name,
            deliveries: rounds
                .iter()
                .filter_map(|round| told(round, Teller::Ours))
                .map(|(count, _)| count)
                .sum(),
            ours_us: Spread::of(each(Teller::Ours)),
            limit_us: Spread::of(each(Teller::Loop)),
            ratio: Spread::of(ratios(Teller::Ours)),
            noise: Spread::of(ratios(Teller::LoopAgain)),
            tasks_ratio: Spread::of(ratios(Teller::Tasks)),
            peer_ratio: (!peer.is_empty()).then(|| Spread::of(peer)),
        }
    }
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or_default();
        Self { median: at(values.len() / 2), min: at(0), max: at(values.len().saturating_sub(1)) }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ({:.2} to {:.2})", self.median, self.min, self.max)
    }
}

impl Latencies {
    pub(super) fn of(mut nanos: Vec<u64>) -> Self {
        nanos.sort_unstable();
        let at = |percent: usize| {
            let index = (nanos.len() * percent / 100).min(nanos.len().saturating_sub(1));
            nanos.get(index).map_or(0.0, |nanos| *nanos as f64 / 1e3)
        };
        Self { count: nanos.len(), p50_us: at(50), p95_us: at(95), p99_us: at(99), max_us: at(100) }
    }
}

fn per(time: Duration, count: u64) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX) / count.max(1)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Environment { kernel, processor, cores, load, optimised, .. } = &self.environment;
        writeln!(f, "server: {cores} × {processor}, Linux {kernel}, load {load}")?;
        if !optimised {
            writeln!(f, "NOT OPTIMISED: the figures say nothing")?;
        }
        writeln!(
            f,
            "\nconversations at the same time, {} pieces a second: from piece made to piece read (goal: P95 of 10 ms)",
            super::PACE
        )?;
        for Streamed { server, conversations, took, latency, cpu_ns_per_piece, errors, first_errors } in
            &self.streams
        {
            let (cpu, took) = (*cpu_ns_per_piece as f64 / 1e3, took.as_secs_f64());
            writeln!(
                f,
                "  {server:10} {conversations:6}  {latency}  {cpu:5.1} µs CPU each  in {took:.1} s  {errors} errors"
            )?;
            for error in first_errors {
                writeln!(f, "             {error}")?;
            }
        }
        writeln!(
            f,
            "\none conversation to many sockets: processor time of a delivery, to that of a loop that writes it (goal: 1.1)"
        )?;
        for FanOut { name, deliveries, ours_us, limit_us, ratio, noise, tasks_ratio, peer_ratio } in
            &self.fan_outs
        {
            writeln!(f, "  {name:10} {deliveries:6}  {ours_us} µs, the loop {limit_us} µs")?;
            writeln!(f, "             ratio {ratio}; another loop {noise}")?;
            writeln!(f, "             a task for each socket that only writes: ratio {tasks_ratio}")?;
            if let Some(peer) = peer_ratio {
                writeln!(f, "             ws (Node): ratio {peer}")?;
            }
        }
        writeln!(f, "\nat rest: memory of the server for each more (goal: 20,000 bytes for a client)")?;
        if let Some(Idle { count, bytes_each }) = &self.idle {
            writeln!(f, "  clients    {count:6}  {bytes_each} bytes")?;
        }
        if let Some(Containers { count, bytes_each, start }) = &self.containers {
            writeln!(f, "  containers {count:6}  {bytes_each} bytes, an agent starts in {start}")?;
        }
        self.left_out.iter().try_for_each(|why| writeln!(f, "\nLEFT OUT: {why}"))
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p95, p99, max] = [self.p50_us, self.p95_us, self.p99_us, self.max_us].map(|us| us / 1e3);
        write!(f, "P50 {p50:.2} P95 {p95:.2} P99 {p99:.2} max {max:.1} ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_waits() {
        let waits = Latencies::of((1..=100).rev().map(|n| n * 1_000).collect());
        assert_eq!((waits.p50_us, waits.p95_us, waits.max_us), (51.0, 96.0, 100.0));
        assert_eq!(Latencies::of(Vec::new()).count, 0);
    }
}
