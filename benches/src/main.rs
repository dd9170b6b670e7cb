//! The bench program; the library says how it measures.

use agentx_benches::{Result, program, rows};

fn main() -> Result<()> {
    program::main(rows::ALL)
}
