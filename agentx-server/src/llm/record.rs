use std::str::FromStr;

use agentx_core::{Error, ErrorKind, Result, Timestamp};
use agentx_resource::{ApiSupply, Secret};
use agentx_sql::{Row, Statement};

use super::Llms;
use crate::{
    Owner,
    tenant::{moment, now, read_moment},
};

/// The most that one owner has.
const MOST: i64 = 100;

/// The longest name, vendor or model, in bytes.
pub(super) const LONGEST: usize = 256;

/// The longest key or address, in bytes.
const LONGEST_VALUE: usize = 4_096;

/// A model that an owner brings: where it is, how it is spoken to, and the key to it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Llm {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub owner: Owner,
    /// What people call it.
    pub name: String,
    /// Who offers the model, for people.
    pub vendor: String,
    /// How it is spoken to.
    pub protocol: LlmProtocol,
    /// The key that is sent with each call.
    pub key: Secret,
    /// Where it is; the vendor's own place where absent.
    pub base_url: Option<String>,
    /// The model's name there; that of the driver where absent.
    pub model: Option<String>,
    /// Whether it answers for images that name none.
    pub is_default: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

/// How a model is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LlmProtocol {
    /// The Messages API of Anthropic, which others offer too.
    Anthropic,
}

/// A definition to be made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewLlm {
    /// What people call it.
    pub name: String,
    /// Who offers the model, for people.
    pub vendor: String,
    /// How it is spoken to.
    pub protocol: LlmProtocol,
    /// The key.
    pub key: Secret,
    /// Where it is.
    pub base_url: Option<String>,
    /// The model's name there.
    pub model: Option<String>,
}

/// What changes of a definition; everything else stays.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LlmChanges {
    /// What people call it.
    pub name: Option<String>,
    /// Who offers the model.
    pub vendor: Option<String>,
    /// How it is spoken to.
    pub protocol: Option<LlmProtocol>,
    /// Another key. It holds from the next call on, also within a turn.
    pub key: Option<Secret>,
    /// Where it is; empty for the vendor's own place.
    pub base_url: Option<String>,
    /// The model's name there; empty for that of the driver.
    pub model: Option<String>,
}

impl LlmProtocol {
    /// Its name on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
        }
    }
}

impl FromStr for LlmProtocol {
    type Err = Error;

    /// # Errors
    /// `Unsupported` for `openai`, for which there is no driver; `InvalidInput` for what is no protocol.
    fn from_str(name: &str) -> Result<Self> {
        let failed = |kind, problem| Err(Error::new(kind, "parse protocol").with_message(problem));
        match name {
            "anthropic" => Ok(Self::Anthropic),
            "openai" => failed(ErrorKind::Unsupported, "there is no driver for the protocol openai here"),
            _ => failed(ErrorKind::InvalidInput, "the protocol is anthropic"),
        }
    }
}

impl NewLlm {
    /// One at the vendor's own place.
    pub fn new(name: impl Into<String>, protocol: LlmProtocol, key: impl Into<Secret>) -> Self {
        let vendor = protocol.as_str().to_owned();
        Self { name: name.into(), vendor, protocol, key: key.into(), base_url: None, model: None }
    }

    /// Who offers it.
    pub fn with_vendor(mut self, vendor: impl Into<String>) -> Self {
        self.vendor = vendor.into();
        self
    }

    /// Where it is.
    pub fn with_base_url(mut self, base_url: Option<String>) -> Self {
        self.base_url = base_url;
        self
    }

    /// The model's name there.
    pub fn with_model(mut self, model: Option<String>) -> Self {
        self.model = model;
        self
    }
}

impl Llms {
    /// Makes a definition.
    ///
    /// # Errors
    /// `InvalidInput` for what is too long or no URL; `LimitExceeded` above 100 of one owner; whatever the store reports.
    pub async fn create(&self, owner: &Owner, new: NewLlm) -> Result<Llm> {
        let operation = "create LLM definition";
        let (base_url, model) = (new.base_url.as_deref(), new.model.as_deref());
        check(operation, [Some(&*new.name), Some(&*new.vendor), model], Some(&new.key), base_url)?;
        let statement = Statement::new(
            "INSERT INTO llms (llm_id, owner, name, vendor, protocol, api_key, base_url, model, is_default, \
             created_at, updated_at) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, ?9, ?9 \
             WHERE (SELECT count(*) FROM llms WHERE owner = ?2) < ?10 RETURNING *",
        )
        .bind(fresh_id()?)
        .bind(owner.as_str())
        .bind(new.name.as_str())
        .bind(new.vendor)
        .bind(new.protocol.as_str())
        .bind(new.key.expose())
        .bind(new.base_url)
        .bind(new.model)
        .bind(moment(now()))
        .bind(MOST);
        let made = self.change(operation, &new.name, vec![statement]).await?;
        made.first().map_or_else(
            || {
                Err(Error::new(ErrorKind::LimitExceeded, operation)
                    .with_message(format!("there are {MOST} already")))
            },
            Llm::of,
        )
    }

    /// The definition of this id, where it is the owner's.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub async fn find(&self, owner: &Owner, id: &str) -> Result<Option<Llm>> {
        Ok(self.of(owner).await?.iter().find(|llm| llm.id == id).cloned())
    }

    /// Changes a definition, and gives it as it is then.
    ///
    /// # Errors
    /// `NotFound` for a missing one, and for another owner's; `InvalidInput` as in [`Self::create`]; whatever the store
    /// reports.
    pub async fn update(&self, owner: &Owner, id: &str, changes: LlmChanges) -> Result<Llm> {
        let operation = "update LLM definition";
        let said = |text: &'_ Option<String>| text.clone().filter(|text| !text.is_empty());
        let (base_url, model) = (said(&changes.base_url), said(&changes.model));
        let texts = [changes.name.as_deref(), changes.vendor.as_deref(), model.as_deref()];
        check(operation, texts, changes.key.as_ref(), base_url.as_deref())?;
        let statement = Statement::new(
            "UPDATE llms SET name = coalesce(?3, name), vendor = coalesce(?4, vendor), \
             protocol = coalesce(?5, protocol), api_key = coalesce(?6, api_key), \
             base_url = nullif(coalesce(?7, base_url), ''), model = nullif(coalesce(?8, model), ''), \
             updated_at = ?9 WHERE owner = ?1 AND llm_id = ?2 RETURNING *",
        )
        .bind(owner.as_str())
        .bind(id)
        .bind(changes.name)
        .bind(changes.vendor)
        .bind(changes.protocol.map(LlmProtocol::as_str))
        .bind(changes.key.as_ref().map(Secret::expose))
        .bind(changes.base_url)
        .bind(changes.model)
        .bind(moment(now()));
        let rows = self.change(operation, id, vec![statement]).await?;
        rows.first().map_or_else(|| Err(missing(operation, id)), Llm::of)
    }

    /// Has this definition answer for the images that name none.
    ///
    /// # Errors
    /// `NotFound` for a missing one, and for another owner's; whatever the store reports. Nothing is changed then.
    pub async fn set_default(&self, owner: &Owner, id: &str) -> Result<Llm> {
        let operation = "set default LLM definition";
        let batch = [
            "UPDATE llms SET is_default = 0 WHERE owner = ?1 AND is_default = 1 \
             AND EXISTS (SELECT 1 FROM llms WHERE owner = ?1 AND llm_id = ?2)",
            "UPDATE llms SET is_default = 1 WHERE owner = ?1 AND llm_id = ?2 RETURNING *",
        ];
        let batch = batch.map(|sql| Statement::new(sql).bind(owner.as_str()).bind(id)).to_vec();
        let rows = self.change(operation, id, batch).await?;
        rows.first().map_or_else(|| Err(missing(operation, id)), Llm::of)
    }

    /// Removes a definition with its key. Removing what is not there does nothing. Images that name it have no model until
    /// they name another one: nothing answers in its place.
    ///
    /// # Errors
    /// Whatever the store reports; nothing is removed then.
    pub async fn delete(&self, owner: &Owner, id: &str) -> Result<()> {
        let statement =
            Statement::new("DELETE FROM llms WHERE owner = ?1 AND llm_id = ?2").bind(owner.as_str()).bind(id);
        self.change("delete LLM definition", id, vec![statement]).await.map(drop)
    }

    /// Removes all definitions of an owner.
    ///
    /// # Errors
    /// Whatever the store reports; nothing is removed then.
    pub async fn delete_all(&self, owner: &Owner) -> Result<()> {
        let statement = Statement::new("DELETE FROM llms WHERE owner = ?1").bind(owner.as_str());
        self.change("delete LLM definitions", owner.as_str(), vec![statement]).await.map(drop)
    }
}

impl Llm {
    pub(super) fn of(row: Row<'_>) -> Result<Self> {
        Ok(Self {
            id: row.text("llm_id")?.to_owned(),
            owner: Owner::new(row.text("owner")?)?,
            name: row.text("name")?.to_owned(),
            vendor: row.text("vendor")?.to_owned(),
            protocol: row.text("protocol")?.parse()?,
            key: row.text("api_key")?.into(),
            base_url: row.optional_text("base_url")?.map(str::to_owned),
            model: row.optional_text("model")?.map(str::to_owned),
            is_default: row.integer("is_default")? != 0,
            created_at: read_moment(row, "created_at")?,
            updated_at: read_moment(row, "updated_at")?,
        })
    }

    /// What a driver needs to reach it.
    pub(super) fn supply(&self) -> ApiSupply {
        let supply = ApiSupply::new(self.key.clone());
        match &self.base_url {
            Some(base_url) => supply.with_base_url(base_url),
            None => supply,
        }
    }
}

/// Whether this can be stored. Where an address leads is looked at when it is connected to.
fn check(
    operation: &'static str,
    texts: [Option<&str>; 3],
    key: Option<&Secret>,
    base_url: Option<&str>,
) -> Result<()> {
    let wrong = |problem: String| Err(Error::new(ErrorKind::InvalidInput, operation).with_message(problem));
    let texts = texts.into_iter().flatten();
    if texts.clone().any(|text| text.trim().is_empty() || text.len() > LONGEST) {
        return wrong(format!("a name, a vendor and a model have 1 to {LONGEST} bytes"));
    }
    if texts.chain(base_url).any(|text| text.chars().any(char::is_control)) {
        return wrong("it has characters that no name has".to_owned());
    }
    // What can stand in a header.
    let is_key = |key: &str| {
        (1..=LONGEST_VALUE).contains(&key.len()) && key.bytes().all(|byte| (b'!'..=b'~').contains(&byte))
    };
    if key.is_some_and(|key| !is_key(key.expose())) {
        return wrong(format!("a key has 1 to {LONGEST_VALUE} visible ASCII characters"));
    }
    let Some(base_url) = base_url else { return Ok(()) };
    let rest = base_url.strip_prefix("https://").or_else(|| base_url.strip_prefix("http://"));
    let is_plain = |rest: &str| !rest.is_empty() && !rest.contains(['@', '?', '#', '\\', ' ']);
    if base_url.len() > LONGEST_VALUE || !rest.is_some_and(is_plain) {
        return wrong("baseUrl is https:// or http://, a host, and perhaps a port and a path".to_owned());
    }
    Ok(())
}

fn fresh_id() -> Result<String> {
    let mut random = [0; 12];
    getrandom::fill(&mut random)
        .map_err(|error| Error::new(ErrorKind::Internal, "make id").with_source(error))?;
    Ok(random.iter().fold("llm_".to_owned(), |id, byte| format!("{id}{byte:02x}")))
}

fn missing(operation: &'static str, id: &str) -> Error {
    Error::new(ErrorKind::NotFound, operation).with_path(id.chars().take(64).collect::<String>())
}
