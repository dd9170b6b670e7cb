//! `avm key`: what opens a server.

use std::{
    io::{Write, stdout},
    process::ExitCode,
};

use agentx::core::Timestamp;
use agentx_server::{
    auth::{KeyHash, Scope, generate_key},
    tenant::{NewKey, Tenant},
};
use clap::{ArgGroup, Subcommand};

use crate::{
    Failure,
    owners::{Adoption, Owners},
    settings::Place,
};

/// Milliseconds of a day.
const DAY: u64 = 24 * 60 * 60 * 1_000;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Makes a key for a tenant, who is made where there is none, and shows it: this once.
    #[command(group(ArgGroup::new("whose").required(true).args(["tenant", "admin"])))]
    Create {
        /// The tenant: letters, digits, `-`, `_` and `.`.
        tenant: Option<String>,
        /// A key that manages tenants at `/v1/tenants` and opens nothing of theirs.
        #[arg(long)]
        admin: bool,
        /// What to call the key.
        #[arg(long)]
        name: Option<String>,
        /// The key ends after so many days.
        #[arg(long, value_name = "DAYS")]
        expires: Option<u32>,
        #[command(flatten)]
        adoption: Adoption,
    },
    /// Lists keys: the beginnings of their hashes, and whose they are.
    List,
    /// Revokes the key whose hash begins so. What it opened is closed within seconds.
    Revoke {
        /// The beginning of a hash, 8 digits or more.
        hash: String,
    },
}

pub(crate) async fn run(place: &Place, command: Command) -> Result<ExitCode, Failure> {
    let owners = Owners::find(place).await?;
    match command {
        Command::Create { tenant, name, expires, adoption, .. } => {
            let is_first = owners.tenants.keys(None).await?.is_empty();
            let scope = match tenant {
                Some(tenant) => Scope::Owner(tenant_of(&owners, &tenant, &adoption).await?.owner),
                None => Scope::Admin,
            };
            let key = generate_key()?;
            let until = expires.map(|days| Timestamp::from_millis(now() + u64::from(days) * DAY));
            let new = NewKey::new(KeyHash::of(&key), scope).with_name(name).with_expiry(until);
            owners.tenants.add_key(new).await?;
            writeln!(stdout(), "{key}")?;
            if is_first {
                eprintln!("A server that serves without keys asks for them when it is started again.");
            }
        }
        Command::List => {
            for key in owners.tenants.keys(None).await? {
                let hash: String = key.hash.to_hex().chars().take(16).collect();
                let whose = match &key.scope {
                    Scope::Owner(owner) => owner.to_string(),
                    Scope::Admin => "(administrator)".to_owned(),
                };
                let until = match key.expires_at {
                    Some(until) => format!("until {until}"),
                    None => String::new(),
                };
                writeln!(
                    stdout(),
                    "{}",
                    format!("{hash}  {whose}  {} {until}", key.name.unwrap_or_default()).trim_end()
                )?;
            }
        }
        Command::Revoke { hash } => {
            owners.tenants.revoke_key(&hash, None).await?;
            writeln!(stdout(), "revoked")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn tenant_of(owners: &Owners, name: &str, adoption: &Adoption) -> Result<Tenant, Failure> {
    if let Some(tenant) = owners.named(name).await? {
        return Ok(tenant);
    }
    match owners.create(name, adoption).await {
        Ok(tenant) => Ok(tenant),
        // Somebody else made it meanwhile.
        Err(failure) => owners.named(name).await?.ok_or(failure),
    }
}

/// The present moment, in milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
