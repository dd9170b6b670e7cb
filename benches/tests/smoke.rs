//! Every row runs: one look at each variant, and nothing said about how long it takes.
#![cfg(test)]

use agentx_benches::{measure::Settings, report::Report, rows};

#[test]
fn every_row_runs() {
    for (name, row) in rows::ALL {
        let report = Report::of(row().unwrap(), Settings::smoke()).unwrap();
        assert_eq!(report.row, *name);
        // A bare object store is the limit of R2, and its peer.
        let least = if name.starts_with("r2_") { 3 } else { 4 };
        assert!(report.variants.len() >= least, "{name}: a limit, the limit again, AgentX, a peer");
        assert!(report.variants.iter().all(|line| line.wall_ns_by_round.len() == 2), "{name}");
    }
}
