//! What agents on Cloudflare cost a month: a model, with all that it assumes on the command line.
//!
//! Prices and what a turn uses come from `agentx_provider_cloudflare::cost`, where they are dated and measured. All else is
//! an assumption about a product, and an input: nobody has measured yours. Left out are the model's own tokens, which cost
//! more than all of this, logs, and whatever a front end needs beyond one Worker.

use std::{fmt, io::Write};

use agentx_provider_cloudflare::cost::{Billed, Consumption, NanoDollars, Prices, TurnShape};

use crate::Result;

/// An input: its name on the command line, its default, and what it is.
type Input = (&'static str, u64, &'static str);

const INPUTS: [Input; 20] = [
    ("users", 1000, "users"),
    ("turns", 100, "turns of each user a month"),
    ("calls", 6, "tool calls of a turn"),
    ("reads", 4, "files that a turn reads"),
    ("creates", 1, "files that a turn makes"),
    ("overwrites", 0, "files that a turn replaces"),
    ("edits", 2, "files that a turn edits"),
    ("lists", 1, "directories that a turn lists"),
    ("history-kb", 20, "KB that a turn adds to the session"),
    ("months", 6, "months for which sessions are kept"),
    ("settings", 4, "settings that a turn reads from KV, together, once"),
    ("files", 300, "files of each user"),
    ("files-mb", 20, "MB of all files of each user"),
    ("commands", 30, "percent of turns with commands, in a container"),
    ("awake", 60, "seconds for which a container is awake for such a turn"),
    ("busy", 25, "percent of that time in which one vCPU is busy"),
    ("memory-mib", 1024, "MiB of a container (basic: 1024)"),
    ("disk-gb", 4, "GB of a container (basic: 4)"),
    ("requests", 2, "requests of a turn to the Worker"),
    ("worker-ms", 5, "CPU milliseconds of such a request"),
];

/// What is assumed.
#[derive(Clone, Debug)]
pub struct Assumptions([u64; INPUTS.len()]);

impl Default for Assumptions {
    fn default() -> Self {
        Self(INPUTS.map(|(_, default, _)| default))
    }
}

/// The costs of a month.
#[derive(Debug)]
pub struct Month {
    assumptions: Assumptions,
    used: Consumption,
    prices: Prices,
}

/// Prints the costs of a month under the assumptions of `arguments`: `--users 50`, each with its default.
///
/// # Errors
/// An argument that is not understood, with the usage.
pub fn run(arguments: impl IntoIterator<Item = String>, output: &mut dyn Write) -> Result<()> {
    let arguments: Vec<String> = arguments.into_iter().collect();
    if arguments.iter().any(|argument| argument == "--help") {
        writeln!(output, "{}", usage())?;
        return Ok(());
    }
    let month = Month::new(Assumptions::parse(arguments)?, Prices::published());
    write!(output, "{month}")?;
    Ok(())
}

impl Assumptions {
    /// The assumptions of a command line.
    ///
    /// # Errors
    /// An argument that is not understood, with the usage.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut assumptions = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let name = argument.strip_prefix("--").unwrap_or_default();
            let place = INPUTS.iter().position(|(known, ..)| *known == name);
            let value = arguments.next().and_then(|value| value.parse().ok());
            match (place.and_then(|place| assumptions.0.get_mut(place)), value) {
                (Some(place), Some(value)) => *place = value,
                (Some(_), None) => return Err(format!("{argument} needs a whole number\n{}", usage()).into()),
                (None, _) => return Err(format!("no input is named {argument}\n{}", usage()).into()),
            }
        }
        Ok(assumptions)
    }

    fn of(&self, name: &str) -> u64 {
        let place = INPUTS.iter().position(|(known, ..)| *known == name);
        place.and_then(|place| self.0.get(place)).copied().unwrap_or(0)
    }

    /// What one turn without a command uses.
    fn turn(&self) -> Consumption {
        let shape = TurnShape {
            calls: self.of("calls"),
            reads: self.of("reads"),
            creates: self.of("creates"),
            overwrites: self.of("overwrites"),
            edits: self.of("edits"),
            lists: self.of("lists"),
        };
        let requests = self.of("requests");
        let settings = self.of("settings");
        shape
            .consumption()
            .with(Billed::KvRead, settings)
            .with(Billed::KvList, u64::from(settings > 0))
            .with(Billed::WorkerRequest, requests)
            .with(Billed::WorkerCpu, requests.saturating_mul(self.of("worker-ms")))
    }

    /// What a turn with commands uses besides: the tree is handed over to the container and back.
    fn container(&self) -> Consumption {
        const PAGE: u64 = 1000;
        const OBJECT_MB: u64 = 128;
        let (awake, files) = (self.of("awake"), self.of("files"));
        let changed = self.of("creates") + self.of("overwrites") + self.of("edits");
        Consumption::default()
            .with(Billed::R2ClassA, files.div_ceil(PAGE).saturating_mul(2).saturating_add(changed))
            .with(Billed::R2ClassB, files)
            .with(Billed::ObjectRequest, self.of("calls").saturating_add(1))
            .with(Billed::ObjectDuration, awake.saturating_mul(OBJECT_MB))
            .with(Billed::ContainerCpu, awake.saturating_mul(10).saturating_mul(self.of("busy")))
            .with(Billed::ContainerMemory, awake.saturating_mul(self.of("memory-mib")))
            .with(Billed::ContainerDisk, awake.saturating_mul(1000).saturating_mul(self.of("disk-gb")))
    }
}

impl Month {
    /// The costs under these assumptions, at these prices.
    pub fn new(assumptions: Assumptions, prices: Prices) -> Self {
        let users = assumptions.of("users");
        let turns = users.saturating_mul(assumptions.of("turns"));
        let commands = turns.saturating_mul(assumptions.of("commands").min(100)) / 100;
        let history =
            turns.saturating_mul(assumptions.of("history-kb")).saturating_mul(assumptions.of("months"))
                / 1000;
        let mut used = assumptions.turn().times(turns);
        used += &assumptions.container().times(commands);
        used.add(Billed::D1Storage, history);
        used.add(Billed::R2Storage, users.saturating_mul(assumptions.of("files-mb")));
        Self { assumptions, used, prices }
    }

    /// What the month comes to, the plan included.
    pub fn total(&self) -> NanoDollars {
        [self.prices.base(), self.prices.month(&self.used).total()].into_iter().sum()
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Agents on Cloudflare, a month, at the prices of {}", self.prices.as_of())?;
        writeln!(f, "\nassumed")?;
        for (name, _, about) in INPUTS {
            writeln!(f, "  {:>8}  {about} (--{name})", self.assumptions.of(name))?;
        }
        writeln!(f, "\n{:<26} {:>18} {:>18} {:<11} {:>14}", "", "used", "charged", "", "US dollars")?;
        writeln!(
            f,
            "{:<26} {:>18} {:>18} {:<11} {:>14}",
            "Workers Paid",
            "",
            "",
            "",
            dollars(self.prices.base())
        )?;
        for line in self.prices.month(&self.used).lines {
            let (title, unit) = (line.item.title(), line.item.unit());
            let amount = dollars(line.amount);
            writeln!(f, "{title:<26} {:>18} {:>18} {unit:<11} {amount:>14}", line.quantity, line.charged)?;
        }
        let total = self.total();
        writeln!(f, "{:<26} {:>18} {:>18} {:<11} {:>14}", "total", "", "", "", dollars(total))?;
        let users = u128::from(self.assumptions.of("users").max(1));
        writeln!(f, "{:<76} {:>14}", "for each user", dollars(NanoDollars::new(total.nanos() / users)))?;
        writeln!(f, "\none more turn, with all that the plan includes used up")?;
        let (turn, container) = (self.assumptions.turn(), self.assumptions.container());
        let price = |used: &Consumption| self.prices.bill(used).total();
        writeln!(f, "  {} without commands", price(&turn))?;
        let mut with = turn;
        with += &container;
        writeln!(f, "  {} with commands", price(&with))
    }
}

/// In dollars and cents.
fn dollars(amount: NanoDollars) -> String {
    let cents = amount.cents();
    format!("{}.{:02}", cents / 100, cents % 100)
}

fn usage() -> String {
    let inputs = INPUTS.map(|(name, default, about)| format!("  --{name:<12} {default:>6}  {about}"));
    format!("usage: cost [--INPUT NUMBER] …\n{}", inputs.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn month(arguments: &[&str]) -> Month {
        let arguments = arguments.iter().map(|&argument| argument.to_owned());
        Month::new(Assumptions::parse(arguments).unwrap(), Prices::published())
    }

    #[test]
    fn a_month_follows_from_its_assumptions() {
        let none = month(&["--users", "0"]);
        assert_eq!(none.total(), Prices::published().base());
        let (one, ten) = (month(&["--users", "100000"]), month(&["--users", "1000000"]));
        assert!(ten.total() > one.total());
        // 10^8 turns; 1 read, and nothing else but what each turn and call takes.
        let lean =
            ["creates", "overwrites", "edits", "lists", "history-kb", "settings", "files-mb", "commands"];
        let mut arguments = vec!["--users", "1000000", "--requests", "0", "--calls", "1", "--reads", "1"];
        let flags: Vec<String> = lean.iter().map(|name| format!("--{name}")).collect();
        for flag in &flags {
            arguments.extend([flag.as_str(), "0"]);
        }
        let lean = month(&arguments);
        let turns = 100_000_000;
        let turn = TurnShape { calls: 1, reads: 1, ..TurnShape::default() }.consumption();
        let rows = |item| u128::from(turn.of(item)) * turns;
        assert!(rows(Billed::D1RowRead) < 25_000_000_000, "the plan includes what is read");
        let written = rows(Billed::D1RowWritten) - 50_000_000;
        let objects = turns - 10_000_000;
        assert_eq!(lean.total().nanos(), 5_000_000_000 + written * 1000 + objects * 360);
    }

    #[test]
    fn the_table_names_what_it_assumes_and_when_prices_were_read() {
        let table = month(&["--users", "7"]).to_string();
        for part in [
            "       7  users (--users)",
            Prices::READ_ON,
            "D1 rows written",
            "Containers CPU",
            "for each user",
        ] {
            assert!(table.contains(part), "{part}: {table}");
        }
    }

    #[test]
    fn an_unknown_input_is_told_with_those_that_there_are() {
        for wrong in [&["--user", "1"][..], &["--users"], &["--users", "1.5"], &["users", "1"]] {
            let arguments = wrong.iter().map(|&argument| argument.to_owned());
            let problem = Assumptions::parse(arguments).unwrap_err().to_string();
            assert!(problem.contains("--history-kb"), "{problem}");
        }
    }
}
