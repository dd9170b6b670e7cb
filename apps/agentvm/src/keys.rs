//! Who may use a server: a file of key hashes, one line each.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, SystemTime},
};

use agentx_server::{
    Owner,
    auth::{ApiKeys, KeyHash},
};
use clap::Subcommand;

use crate::{Failure, data, settings::Place};

/// The file in the data directory.
const FILE: &str = "keys";

/// How often a server looks whether the file has changed.
const LOOK: Duration = Duration::from_secs(1);

/// Bytes of a key, before they are written as text.
const KEY_BYTES: usize = 32;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Makes a key for an owner, who is made with it, and shows it: this once.
    Create {
        /// The owner: letters, digits, `-`, `_` and `.`.
        owner: String,
    },
    /// Lists keys: the beginnings of their hashes, and whose they are.
    List,
    /// Revokes the keys whose hash begins so.
    Revoke {
        /// The beginning of a hash, 8 digits or more.
        hash: String,
    },
}

pub(crate) fn run(place: &Place, command: Command) -> Result<ExitCode, Failure> {
    let path = place.find()?.data;
    data::create(&path)?;
    let file = KeyFile(path.join(FILE));
    match command {
        Command::Create { owner } => {
            let owner = Owner::new(owner)?;
            let key = fresh()?;
            let _held = file.lock()?;
            let mut keys = file.read()?;
            keys.push((KeyHash::of(&key), owner));
            file.write(&keys)?;
            println!("{key}");
            if keys.len() == 1 {
                eprintln!("A server that serves without keys asks for them when it is started again.");
            }
        }
        Command::List => {
            for (hash, owner) in file.read()? {
                println!("{}  {owner}", hash.to_hex().chars().take(16).collect::<String>());
            }
        }
        Command::Revoke { hash } => {
            if hash.len() < 8 {
                return Err("at least 8 digits of a hash are needed".into());
            }
            let _held = file.lock()?;
            let mut keys = file.read()?;
            let before = keys.len();
            keys.retain(|(known, _)| !known.to_hex().starts_with(&hash));
            if keys.len() == before {
                return Err(format!("no key's hash begins with {hash}").into());
            }
            file.write(&keys)?;
            println!("revoked: {}", before - keys.len());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A key that nobody has: 256 random bits.
fn fresh() -> Result<String, Failure> {
    let mut bytes = [0; KEY_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| format!("no random bytes: {error}"))?;
    Ok(bytes.iter().fold("avm_".to_owned(), |key, byte| key + &format!("{byte:02x}")))
}

/// The keys of a server, which follow the file while it runs: a revoked key opens nothing from the next second on.
pub(crate) struct Keys {
    file: KeyFile,
    pub(crate) known: Arc<ApiKeys>,
    changed: Option<SystemTime>,
    /// Whose keys were read.
    owners: BTreeSet<String>,
    /// Whether those are the only owners that come in.
    only: bool,
}

impl Keys {
    /// Those of a data directory; none where there is no key.
    pub(crate) fn open(data: &Path) -> Result<Option<Self>, Failure> {
        let file = KeyFile(data.join(FILE));
        // First: what changes meanwhile is read again.
        let changed = file.changed();
        let keys = file.read()?;
        if keys.is_empty() {
            return Ok(None);
        }
        let owners = keys.iter().map(|(_, owner)| owner.to_string()).collect();
        let known = Arc::new(ApiKeys::new());
        known.replace(keys);
        Ok(Some(Self { file, known, changed, owners, only: false }))
    }

    /// How many owners there are.
    pub(crate) fn owners(&self) -> usize {
        self.owners.len()
    }

    /// Lets in those owners alone that there are now, whoever gets a key later.
    pub(crate) fn admit_nobody_else(&mut self) {
        self.only = true;
    }

    /// Follows the file for ever.
    pub(crate) async fn follow(mut self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let changed = self.file.changed();
            if changed == self.changed {
                continue;
            }
            match self.file.read() {
                Ok(mut keys) => {
                    let all = keys.len();
                    keys.retain(|(_, owner)| !self.only || self.owners.contains(owner.as_str()));
                    if keys.len() < all {
                        tracing::warn!("keys of other owners are refused: they need `--isolation full`");
                    }
                    tracing::info!(keys = keys.len(), "keys read anew");
                    self.known.replace(keys);
                    self.changed = changed;
                }
                // What holds is what was read last: a file that is half there opens nothing more.
                Err(error) => tracing::error!(%error, "keys can't be read"),
            }
        }
    }
}

struct KeyFile(PathBuf);

impl KeyFile {
    fn changed(&self) -> Option<SystemTime> {
        fs::metadata(&self.0).and_then(|metadata| metadata.modified()).ok()
    }

    fn read(&self) -> Result<Vec<(KeyHash, Owner)>, Failure> {
        let text = match fs::read_to_string(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(format!("{}: {error}", self.0.display()).into()),
        };
        let line = |(number, line): (usize, &str)| {
            let wrong = || format!("{}: line {} is no key", self.0.display(), number + 1);
            let (hash, owner) = line.split_once(' ').ok_or_else(wrong)?;
            let parsed = KeyHash::from_hex(hash).and_then(|hash| Ok((hash, Owner::new(owner)?)));
            parsed.map_err(|_| wrong().into())
        };
        text.lines().enumerate().map(line).collect()
    }

    /// Keeps others from changing the keys, until it is dropped.
    fn lock(&self) -> Result<fs::File, Failure> {
        let path = self.0.with_extension("lock");
        let options = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).clone();
        let file = options.open(&path).and_then(|file| file.lock().map(|()| file));
        Ok(file.map_err(|error| format!("{}: {error}", path.display()))?)
    }

    /// Replaces the file in one step.
    fn write(&self, keys: &[(KeyHash, Owner)]) -> Result<(), Failure> {
        let line = |(hash, owner): &(KeyHash, Owner)| [hash.to_hex(), format!(" {owner}\n")].concat();
        let text: String = keys.iter().map(line).collect();
        let new = self.0.with_extension("new");
        let failed = |error: io::Error| format!("{}: {error}", new.display());
        let options = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).clone();
        let mut file = options.open(&new).map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        Ok(fs::rename(&new, &self.0).map_err(failed)?)
    }
}
