use std::{path::PathBuf, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

use crate::{Result, program};

/// Files that a process has open beside its sockets.
const OTHERS: u64 = 200;

/// How much load there is.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Options {
    /// Conversations that are told at the same time, each on a socket of its own.
    pub(super) conversations: u32,
    /// How long each is told, in seconds.
    pub(super) seconds: u32,
    /// Sockets that one conversation is told to.
    pub(super) sockets: u32,
    /// How often those that tell many are compared.
    pub(super) rounds: u32,
    /// Clients that are connected and silent.
    pub(super) idle: u32,
    /// Containers with an agent at rest.
    pub(super) containers: u32,
    /// How long all of it may take.
    pub(super) within: Duration,
    #[serde(skip)]
    pub(super) directory: PathBuf,
}

impl Options {
    pub(super) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            conversations: 1_000,
            seconds: 10,
            sockets: 1_000,
            rounds: 5,
            idle: 4_000,
            containers: 10_000,
            within: Duration::from_mins(5),
            directory: program::default_directory(),
        };
        let mut arguments = arguments.into_iter();
        while let Some(name) = arguments.next() {
            let usage = "usage: server [--conversations N] [--seconds N] [--sockets N] [--rounds N] [--idle N] \
                         [--containers N] [--within SECONDS] [--out DIRECTORY]";
            let value = arguments.next().ok_or_else(|| format!("{name}?\n{usage}"))?;
            let number = || value.parse::<u32>().ok().filter(|number| (1..=100_000).contains(number));
            let number = || number().ok_or_else(|| format!("{name} is a number from 1 to 100000\n{usage}"));
            match name.as_str() {
                "--conversations" => options.conversations = number()?,
                "--seconds" => options.seconds = number()?,
                "--sockets" => options.sockets = number()?,
                "--rounds" => options.rounds = number()?,
                "--idle" => options.idle = number()?,
                "--containers" => options.containers = number()?,
                "--within" => options.within = Duration::from_secs(number()?.into()),
                "--out" => options.directory = value.into(),
                _ => return Err(format!("{name} is unknown\n{usage}").into()),
            }
        }
        Ok(options)
    }

    /// Lets this process, and those that it starts, have as many sockets as the load needs.
    pub(super) fn raise_file_limit(&self) -> Result<()> {
        let needed = OTHERS + u64::from(self.conversations.max(self.sockets).max(self.idle));
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        if current.is_none_or(|current| current >= needed) {
            return Ok(());
        }
        if maximum.is_some_and(|maximum| maximum < needed) {
            let maximum = maximum.unwrap_or_default();
            return Err(format!(
                "{needed} open files are needed, and {maximum} allowed: `ulimit -Hn {needed}`"
            )
            .into());
        }
        setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_checked() {
        let parse =
            |arguments: &[&str]| Options::parse(arguments.iter().map(|&argument| argument.to_owned()));
        let options = parse(&["--conversations", "7", "--out", "/x"]).unwrap();
        assert_eq!((options.conversations, options.idle, options.directory), (7, 4_000, PathBuf::from("/x")));
        for wrong in [&["--idle"][..], &["--idle", "0"], &["--idle", "x"], &["--fast", "1"]] {
            assert!(parse(wrong).unwrap_err().to_string().contains("usage: server"), "{wrong:?}");
        }
    }
}
