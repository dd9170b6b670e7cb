//! The rows of `agentx-benches` that have peers, with these beside AgentX: the same arguments, tables and files.
//!
//! ```text
//! cargo run --profile bench --manifest-path benches/peers/Cargo.toml -- [ROW …]
//! ```

mod confined_read;
mod sse_framing;
mod sse_to_text;
#[cfg(feature = "genai")]
mod turn;

use agentx_benches::{
    Result,
    program::{self, NamedRow},
};

const ROWS: &[NamedRow] = &[
    ("confined_read", confined_read::of_1_kib),
    ("confined_read_64k", confined_read::of_64_kib),
    ("sse_framing", || Ok(sse_framing::row())),
    ("sse_to_text", || Ok(sse_to_text::row())),
    #[cfg(feature = "genai")]
    ("turn", turn::row),
];

fn main() -> Result<()> {
    program::main(ROWS)
}

#[cfg(test)]
mod tests {
    use agentx_benches::{measure::Settings, report::Report};

    use super::*;

    #[test]
    fn every_row_runs() -> Result<()> {
        for (name, row) in ROWS {
            assert_eq!(Report::of(row()?, Settings::smoke())?.row, *name);
        }
        Ok(())
    }
}
