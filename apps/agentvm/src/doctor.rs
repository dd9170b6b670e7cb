//! `avm doctor`.

use std::{
    io::{Write, stdout},
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use agentx::{
    MessageBody, SystemClock,
    claude::messages::{MessagesModel, ReqwestTransport},
    core::ModelRequest,
    local::{ApiKey, Isolation, TreeLimits},
};
use clap::{ArgMatches, Args};

use crate::{
    Failure, data,
    data::Lock,
    limits, model,
    owners::Owners,
    serve,
    settings::{DriverKind, Held, Place, Settings},
    told,
};

/// How long the model's API may take to answer.
const MODEL: Duration = Duration::from_secs(20);

/// Less free space than this is too little, in bytes: the store could not grow.
const LEAST_FREE: u64 = 256 << 20;

/// Fewer open files than this are too few for a server: each client is one.
const LEAST_FILES: u64 = 1_024;

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    settings: Settings,
}

/// What was found out about one thing: what holds, or what does not.
type Finding = Result<String, Failure>;

/// Tries each thing that a server with these settings needs, and tells what came of it. Fails where it could not work.
pub(crate) async fn run(options: Options, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let found = options.place.find()?;
    let data = found.data;
    data::create(&data)?;
    let said = options.settings.told(&found.file, matches);
    let settings = options.settings.or(found.file)?;
    let config = found.config.map_or_else(|| "no file".to_owned(), |config| config.display().to_string());
    let mut works = true;
    let mut tell = |what: &str, found: Finding| -> Result<(), Failure> {
        works &= found.is_ok();
        let (mark, text) = match found {
            Ok(text) => ("ok", text),
            Err(failure) => ("FAILED", told(&*failure)),
        };
        Ok(writeln!(stdout(), "{what:<12}{mark:<8}{}", text.replace('\n', "\n                    "))?)
    };
    tell("data", Ok(format!("{}, {}", data.display(), in_use(&data)?)))?;
    tell("settings", Ok([vec![config], said].concat().join("\n")))?;
    let owners = owners(&data).await;
    let (has_keys, told) = match owners {
        Ok((has_keys, told)) => (has_keys, Ok(told)),
        Err(failure) => (false, Err(failure)),
    };
    tell("store", told)?;
    tell("model", asked(&settings).await)?;
    let needs = settings.isolation.unwrap_or(if has_keys { Held::Full } else { Held::None }) == Held::Full;
    let bounds = serve::bounds(&settings, needs && has_keys, &data).await;
    let tree = bounds.as_ref().map_or_else(|_| TreeLimits::default(), |bounds| bounds.tree);
    tell("isolation", isolation(needs, tree).await.map(|report| report.trim_end().to_owned()))?;
    tell("commands", bounds.map(|bounds| bounds.told()))?;
    tell("disk", disk(&data))?;
    tell("limits", files())?;
    Ok(if works { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether a server is there already.
fn in_use(data: &Path) -> Result<&'static str, Failure> {
    Ok(if Lock::try_take(data)?.is_some() { "not in use" } else { "in use by a server" })
}

/// Whether there are keys, and what to say of those who have them.
async fn owners(data: &Path) -> Result<(bool, String), Failure> {
    let owners = Owners::open(data).await?;
    let (tenants, keys) = (owners.all().await?.len(), owners.tenants.keys(None).await?.len());
    Ok(match keys {
        0 => (
            false,
            "SQLite opens; no key: the server is open to this machine's users, and to them alone".to_owned(),
        ),
        keys => (true, format!("SQLite opens; {tenants} tenants and {keys} keys")),
    })
}

/// Counts the tokens of a word, which costs nothing, and needs the network, the key and the model.
async fn asked(settings: &Settings) -> Finding {
    if settings.driver() == DriverKind::Full {
        model::claude(settings)?;
    }
    let Some(variable) = model::key() else {
        return match settings.driver() {
            DriverKind::Light => Ok(model::NO_KEY.to_owned()),
            DriverKind::Full => Err("--driver full needs LLM_API_KEY or ANTHROPIC_API_KEY".into()),
        };
    };
    let key = ApiKey::from_env(variable).with_base_url_from_env(model::base_url());
    let claude = MessagesModel::new(Arc::new(key), ReqwestTransport::new()?, Arc::new(SystemClock));
    let mut request = ModelRequest::new(vec![MessageBody::user("hello")]);
    request.settings.model.clone_from(&settings.model);
    match tokio::time::timeout(MODEL, claude.count_tokens(&request)).await {
        Ok(Ok(_)) => Ok(format!("Claude answers, with the key in {variable}")),
        Ok(Err(error)) => Err(format!("the key in {variable}: {error}").into()),
        Err(_) => Err(format!("the model's API did not answer within {} seconds", MODEL.as_secs()).into()),
    }
}

/// Tries out what holds commands, and the limits of all of an owner's together.
async fn isolation(needs: bool, tree: TreeLimits) -> Finding {
    let report = Isolation::full().with_tree_limits(tree).probe().await?;
    if report.holds() || !needs { Ok(report.to_string()) } else { Err(report.to_string().into()) }
}

fn disk(data: &Path) -> Finding {
    let found = rustix::fs::statvfs(data)?;
    let (free, all) = (found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize);
    let told = format!("{} MiB of {} MiB free, and {} files", free >> 20, all >> 20, found.f_favail);
    // Some file systems count no files.
    if free < LEAST_FREE || (found.f_favail == 0 && found.f_files > 0) { Err(told.into()) } else { Ok(told) }
}

fn files() -> Finding {
    let (now, most) = limits::files();
    let shown = |limit: Option<u64>| limit.map_or_else(|| "any number".to_owned(), |limit| limit.to_string());
    let told = format!("{} open files, {} where a server asks for more", shown(now), shown(most));
    if most.is_some_and(|most| most < LEAST_FILES) { Err(told.into()) } else { Ok(told) }
}
