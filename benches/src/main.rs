//! The bench program; the library says how it measures.

use std::io;

use agentx_benches::{Result, cost, program, rows};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("cost") {
        return cost::run(arguments, &mut io::stdout().lock());
    }
    program::main(rows::ALL)
}
