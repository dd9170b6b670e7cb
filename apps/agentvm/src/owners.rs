//! Who may use a server: the tenants in its store, and their keys.

use std::{
    collections::BTreeSet,
    io::{BufRead, IsTerminal, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use agentx::{Repositories, Result};
use agentx_provider_local::SqliteExecutor;
use agentx_server::{
    Owner,
    auth::{Authenticator, Credentials, Identity, Scope},
    llm::Llms,
    tenant::{NewTenant, Tenant, Tenants},
};
use agentx_sql::{SCHEMA_VERSION, SqlRepositories, schema_version};
use async_trait::async_trait;
use clap::Args;
use tokio::time;

use crate::{
    Failure,
    data::{self, Lock},
    settings::Place,
};

/// How many tenants are read at once.
const PAGE: usize = 256;

/// How long another command may take to bring a store to the schema of this program, and how often it is looked.
const MIGRATION: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(20);

/// A store, as a command or a server opens it.
pub(crate) struct Owners {
    pub(crate) executor: Arc<SqliteExecutor>,
    pub(crate) tenants: Tenants,
    pub(crate) llms: Llms,
    data: PathBuf,
}

impl Owners {
    /// Those of a data directory, which is made where there is none.
    pub(crate) async fn find(place: &Place) -> Result<Self, Failure> {
        let path = place.find()?.data;
        data::create(&path)?;
        Self::open(&path).await
    }

    /// A store of a newer program's is refused.
    pub(crate) async fn open(data: &Path) -> Result<Self, Failure> {
        let store = data.join(data::STORE);
        let executor = Arc::new(SqliteExecutor::open(&store).await?);
        schema_version(&*executor).await.map_err(|error| format!("{}: {error}", store.display()))?;
        let tenants = Tenants::open(executor.clone()).await?;
        let llms = Llms::open(executor.clone()).await?;
        Ok(Self { executor, tenants, llms, data: data.to_owned() })
    }

    /// The conversations, brought to the schema of this program; not while a server of an older one uses them.
    async fn repositories(&self) -> Result<Repositories, Failure> {
        let end = Instant::now() + MIGRATION;
        let _lock = loop {
            // Nobody has made it yet, or it stays as it is.
            if let 0 | SCHEMA_VERSION = schema_version(&*self.executor).await? {
                break None;
            }
            if let Some(lock) = Lock::try_take(&self.data)? {
                break Some(lock);
            }
            // Another command may be at it, which is over soon; a server stays.
            if Instant::now() >= end {
                let taken = Lock::is_taken(&self.data);
                return Err(format!("{taken}, an older program: upgrade it first").into());
            }
            time::sleep(LOOK).await;
        };
        Ok(Repositories::new(SqlRepositories::open(self.executor.clone()).await?))
    }

    /// Where the workspaces of all owners are.
    pub(crate) fn workspaces(&self) -> PathBuf {
        self.data.join(data::WORKSPACES)
    }

    /// All tenants.
    pub(crate) async fn all(&self) -> Result<Vec<Tenant>> {
        let mut all: Vec<Tenant> = Vec::new();
        loop {
            let after = all.last().map(|tenant| tenant.owner.to_string());
            let page = self.tenants.list(after.as_deref(), PAGE).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    /// The tenant of this id, or the one that is called so.
    pub(crate) async fn named(&self, name: &str) -> Result<Option<Tenant>, Failure> {
        if let Ok(owner) = Owner::new(name)
            && let Some(tenant) = self.tenants.find(&owner).await?
        {
            return Ok(Some(tenant));
        }
        let mut called: Vec<Tenant> =
            self.all().await?.into_iter().filter(|tenant| tenant.name == name).collect();
        let found = called.pop();
        if called.is_empty() { Ok(found) } else { Err(format!("several tenants are called {name}").into()) }
    }

    /// The tenant of this id or name, which must be there.
    pub(crate) async fn known(&self, name: &str) -> Result<Tenant, Failure> {
        self.named(name).await?.ok_or_else(|| format!("there is no tenant {name}").into())
    }

    /// The names of an owner's containers.
    pub(crate) async fn containers(&self, owner: &Owner) -> Result<Vec<String>, Failure> {
        let all = self.repositories().await?.containers.list_containers().await?;
        let own = all.iter().filter_map(|container| owner.name_of(&container.container_id));
        Ok(own.map(str::to_owned).collect())
    }

    /// Makes a tenant. The first one may get what was said while the server had none.
    pub(crate) async fn create(&self, name: &str, adoption: &Adoption) -> Result<Tenant, Failure> {
        let mut owner = Owner::new(name)?;
        if owner != Owner::local() && self.all().await?.is_empty() {
            let left = self.containers(&Owner::local()).await?;
            if !left.is_empty() && adoption.is_wanted(name, &left)? {
                owner = Owner::local();
            }
        }
        Ok(self.tenants.create(NewTenant::new(owner).with_name(name)).await?)
    }
}

/// What becomes of the conversations of a server without tenants when the first tenant is made.
#[derive(Args)]
pub(crate) struct Adoption {
    /// The first tenant gets the conversations that the server had without tenants; its id is `local` then.
    #[arg(long, conflicts_with = "no_adopt")]
    adopt: bool,
    /// Nobody gets them, until there is a tenant of the id `local`.
    #[arg(long)]
    no_adopt: bool,
}

impl Adoption {
    /// Asks whoever is at the terminal, unless it was said already.
    fn is_wanted(&self, name: &str, containers: &[String]) -> Result<bool, Failure> {
        if self.adopt || self.no_adopt {
            return Ok(self.adopt);
        }
        let what = format!(
            "This server has conversations of its time without tenants, in {}",
            containers.join(", ")
        );
        if !std::io::stdin().is_terminal() {
            return Err(format!("{what}: say whether {name} gets them, with --adopt or --no-adopt").into());
        }
        eprint!("{what}. Does {name} get them? [y/n] ");
        std::io::stderr().flush()?;
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line)?;
        match line.trim().to_lowercase().as_str() {
            "y" | "yes" => Ok(true),
            "n" | "no" => Ok(false),
            _ => Err("it was not said; nothing is changed".into()),
        }
    }
}

/// Lets in administrators and these owners alone, whoever is known beside them: their shells would be among the files of
/// the others.
#[derive(Debug)]
pub(crate) struct OnlyThese {
    pub(crate) known: Arc<dyn Authenticator>,
    pub(crate) owners: BTreeSet<String>,
}

#[async_trait]
impl Authenticator for OnlyThese {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<Identity>> {
        let known = self.known.authenticate(credentials).await?;
        let is_admitted = known.as_ref().is_none_or(|identity| match &identity.scope {
            Scope::Owner(owner) => self.owners.contains(owner.as_str()),
            Scope::Admin => true,
        });
        if !is_admitted {
            tracing::warn!("another owner is refused: several need `--isolation full`");
        }
        Ok(known.filter(|_| is_admitted))
    }
}
