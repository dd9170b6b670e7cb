//! The rows of `agentx-benches`, with the peers of those that have some beside AgentX: the same arguments, tables and files.
//! `cargo xtask bench` runs it.

mod confined_read;
#[cfg(feature = "agents")]
mod node;
mod sse_framing;
mod sse_to_text;
#[cfg(feature = "agents")]
mod turn;

use agentx_benches::{
    Result,
    program::{self, NamedRow},
    rows,
};

/// The rows that have peers.
const WITH_PEERS: &[NamedRow] = &[
    ("confined_read", confined_read::of_1_kib),
    ("confined_read_64k", confined_read::of_64_kib),
    ("sse_framing", || Ok(sse_framing::row())),
    ("sse_to_text", sse_to_text::row),
    #[cfg(feature = "agents")]
    ("turn", turn::row),
];

fn main() -> Result<()> {
    let with_peers = |row: &NamedRow| WITH_PEERS.iter().find(|(name, _)| *name == row.0).copied();
    let rows: Vec<_> = rows::ALL.iter().map(|row| with_peers(row).unwrap_or(*row)).collect();
    program::main(&rows)
}

#[cfg(test)]
mod tests {
    use agentx_benches::{measure::Settings, report::Report};

    use super::*;

    #[test]
    fn every_row_runs() -> Result<()> {
        for (name, row) in WITH_PEERS {
            assert_eq!(Report::of(row()?, Settings::smoke())?.row, *name);
        }
        Ok(())
    }
}
