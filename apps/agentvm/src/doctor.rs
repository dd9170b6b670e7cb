//! `avm doctor`.

use std::process::ExitCode;

use agentx::local::Isolation;
use agentx_provider_local::SqliteExecutor;
use clap::Args;

use crate::{DataDir, Failure, keys::Keys, model};

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    data: DataDir,
}

/// Tries each thing, and tells what came of it. Fails where a server could not work.
pub(crate) async fn run(options: &Options) -> Result<ExitCode, Failure> {
    let data = options.data.create()?;
    println!("data        {}", data.display());
    let mut works = true;
    let mut tell = |what: &str, found: Result<String, String>| {
        works &= found.is_ok();
        let (mark, text) = match &found {
            Ok(text) => ("ok", text),
            Err(text) => ("FAILED", text),
        };
        println!("{what:<12}{mark:<8}{text}");
    };
    let store = SqliteExecutor::open(data.join("agentvm.db")).await;
    tell("store", store.map(|_| "SQLite opens".to_owned()).map_err(|error| error.to_string()));
    let keys = Keys::open(&data).map(|keys| keys.map_or(0, |keys| keys.owners()));
    let keys = keys.map(|owners| match owners {
        0 => "none: the server is open to this machine's users, and to them alone".to_owned(),
        owners => format!("of {owners} owners"),
    });
    tell("keys", keys.map_err(|error| error.to_string()));
    let model = model::key()
        .map_or_else(|| model::NO_KEY.to_owned(), |variable| format!("Claude, with the key in {variable}"));
    tell("model", Ok(model));
    let report = Isolation::full().probe().await;
    tell("isolation", report.map(|report| report.to_string()).map_err(|error| error.to_string()));
    Ok(if works { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
