//! `avm tenant`: those who share a server and know nothing of each other.

use std::{
    io::{Write, stdout},
    process::ExitCode,
};

use agentx::core::Timestamp;
use agentx_server::tenant::{TenantChanges, Usage};
use clap::Subcommand;

use crate::{
    Failure, disk,
    keys::now,
    owners::{Adoption, Owners},
    settings::Place,
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Makes a tenant.
    Create {
        /// Its id and name: letters, digits, `-`, `_` and `.`.
        tenant: String,
        #[command(flatten)]
        adoption: Adoption,
    },
    /// Lists the tenants.
    List,
    /// Shows a tenant: its keys, containers, bounds, what its workspaces take, and today's use.
    Show {
        /// Its id or name.
        tenant: String,
    },
    /// Keeps a tenant out, until it is resumed. What it has stays.
    Suspend {
        /// Its id or name.
        tenant: String,
    },
    /// Lets a suspended tenant in again.
    Resume {
        /// Its id or name.
        tenant: String,
    },
    /// Removes a tenant that has no containers, and its keys.
    Remove {
        /// Its id or name.
        tenant: String,
    },
}

pub(crate) async fn run(place: &Place, command: Command) -> Result<ExitCode, Failure> {
    let owners = Owners::find(place).await?;
    match command {
        Command::Create { tenant, adoption } => {
            let made = owners.create(&tenant, &adoption).await?;
            writeln!(stdout(), "{}", made.owner)?;
        }
        Command::List => {
            for tenant in owners.all().await? {
                let state = if tenant.is_suspended { "  suspended" } else { "" };
                writeln!(stdout(), "{}  {}{state}", tenant.owner, tenant.name)?;
            }
        }
        Command::Show { tenant } => show(&owners, &tenant).await?,
        Command::Suspend { tenant } => suspend(&owners, &tenant, true).await?,
        Command::Resume { tenant } => suspend(&owners, &tenant, false).await?,
        Command::Remove { tenant } => {
            let owner = owners.known(&tenant).await?.owner;
            let containers = owners.containers(&owner).await?;
            if !containers.is_empty() {
                let how = "remove them first, with `avm container remove`";
                return Err(format!("{owner} has containers ({}): {how}", containers.join(", ")).into());
            }
            owners.llms.delete_all(&owner).await?;
            owners.tenants.delete(&owner).await?;
            writeln!(stdout(), "removed: {owner}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn suspend(owners: &Owners, name: &str, is_suspended: bool) -> Result<(), Failure> {
    let owner = owners.known(name).await?.owner;
    owners.tenants.update(&owner, TenantChanges::suspended(is_suspended)).await?;
    writeln!(stdout(), "{}: {owner}", if is_suspended { "suspended" } else { "resumed" })?;
    Ok(())
}

async fn show(owners: &Owners, name: &str) -> Result<(), Failure> {
    let tenant = owners.known(name).await?;
    let today = Usage::of_day(Timestamp::from_millis(now())).day;
    let usage = owners.tenants.usage(&tenant.owner, today).await?;
    writeln!(stdout(), "id          {}", tenant.owner)?;
    writeln!(stdout(), "name        {}", tenant.name)?;
    writeln!(stdout(), "state       {}", if tenant.is_suspended { "suspended" } else { "active" })?;
    writeln!(stdout(), "keys        {}", owners.tenants.keys(Some(&tenant.owner)).await?.len())?;
    writeln!(stdout(), "containers  {}", owners.containers(&tenant.owner).await?.join(", "))?;
    writeln!(stdout(), "bounds      {}", serde_json::to_string(&tenant.quotas)?)?;
    let disk = disk::used(owners.workspaces(), &tenant.owner).await?;
    writeln!(stdout(), "disk        {disk}")?;
    writeln!(stdout(), "today       {} messages, {} bytes", usage.messages, usage.bytes)?;
    Ok(())
}
