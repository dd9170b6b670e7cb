//! The bench program; the library says how it measures.

use std::io;

use agentx_benches::{Result, cost, program, rows, server};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("cost") => cost::run(arguments, &mut io::stdout().lock()),
        Some("server") => server::run(arguments, &mut io::stdout().lock()),
        _ => program::main(rows::ALL),
    }
}
