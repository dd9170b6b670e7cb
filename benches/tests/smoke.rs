//! Every row runs: one look at each variant, and nothing said about how long it takes.
#![cfg(test)]

use std::process::Command;

use agentx_benches::{measure::Settings, program, report::Report, rows};

#[test]
fn every_row_runs() {
    program::stand_in(env!("CARGO_BIN_EXE_agentx-benches"));
    for (name, row) in rows::ALL {
        let report = Report::of(row().unwrap(), Settings::smoke()).unwrap();
        assert_eq!(report.row, *name);
        // A bare object store is the limit of R2, and its peer.
        let least = if name.starts_with("r2_") { 3 } else { 4 };
        assert!(report.variants.len() >= least, "{name}: a limit, the limit again, AgentX, a peer");
        assert!(report.variants.iter().all(|line| line.wall_ns_by_round.len() == 2), "{name}");
    }
}

/// A small load, without the peer: all that was asked for was heard, and without an error.
#[test]
fn the_server_bears_a_load() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let load = ["server", "--conversations", "5", "--seconds", "1", "--sockets", "5", "--idle", "5"];
    let mut bench = Command::new(env!("CARGO_BIN_EXE_agentx-benches"));
    bench
        .args(load)
        .args(["--rounds", "2", "--containers", "5", "--out"])
        .arg(directory.path())
        .env_remove("AGENTX_BENCH_WS");
    let output = bench.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("LEFT OUT: the peer in Node"), "{said}");
    let saved = std::fs::read_to_string(directory.path().join("server.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&saved).unwrap();
    assert_eq!(
        (&report["streams"][0]["errors"], &report["streams"][0]["latency"]["count"]),
        (&0.into(), &250.into())
    );
    assert_eq!((&report["idle"]["count"], &report["containers"]["count"]), (&5.into(), &5.into()));
    let fan_outs = report["fan_outs"].as_array().unwrap();
    assert_eq!(fan_outs.len(), 2);
    // Of 50 pieces that are told at a pace, the middle is measured: 40, to 5 sockets, twice.
    assert_eq!(fan_outs[0]["deliveries"], 400);
    assert!(fan_outs.iter().all(|told| told["tasks_ratio"]["min"].as_f64() > Some(0.0)), "{fan_outs:?}");
}
