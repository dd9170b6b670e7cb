use std::{
    fs,
    io::{self, BufRead},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{AGENTS, FRAMES, peer};
use crate::Result;

/// A server in a process of its own, which ends with this.
pub(super) struct Server {
    child: Child,
    pub(super) address: SocketAddr,
}

impl Server {
    /// Ours.
    pub(super) fn agents() -> Result<Self> {
        Self::start(Command::new(std::env::current_exe()?).arg(AGENTS))
    }

    /// One that writes frames of this length, in bytes.
    pub(super) fn frames(length: u64) -> Result<Self> {
        Self::start(Command::new(std::env::current_exe()?).args([FRAMES, &length.to_string()]))
    }

    /// The peer.
    pub(super) fn peer() -> Result<Self> {
        Self::start(&mut peer::command()?)
    }

    /// A server tells its address in its first line, and ends with its input.
    fn start(command: &mut Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let read = match &mut child.stdout {
            Some(stdout) => io::BufReader::new(stdout).read_line(&mut line),
            None => Ok(0),
        };
        let mut server = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        read?;
        server.address = line.trim().parse().map_err(|_| format!("a server did not start: {line:?}"))?;
        Ok(server)
    }

    /// The memory that it has in use, in bytes.
    pub(super) fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        Ok(kib.ok_or("/proc tells no memory")? << 10)
    }

    /// The processor time that its threads have used.
    pub(super) fn processor_time(&self) -> Result<Duration> {
        let mut nanos = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread may end meanwhile.
            let Ok(line) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
            nanos += line.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or_default();
        }
        Ok(Duration::from_nanos(nanos))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended already is as good as one that is ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
