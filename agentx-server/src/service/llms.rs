use agentx_resource::Secret;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::{Answer, Outcome, Service, emptied, shown};
use crate::{
    Owner,
    failure::{Code, Failure},
    llm::{Choice, Level, Llm, LlmChanges, Llms, NewLlm, ProviderOptions, THINKING},
};

#[derive(Deserialize)]
pub(super) struct ById {
    id: String,
}

#[derive(Deserialize)]
pub(super) struct ByIdOrNone {
    #[serde(default)]
    id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateLlm {
    name: String,
    #[serde(default)]
    vendor: Option<String>,
    protocol: String,
    #[serde(deserialize_with = "key")]
    api_key: Secret,
    #[serde(default)]
    base_url: Option<String>,
    #[serde(default)]
    model: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct UpdateLlm {
    id: String,
    /// Clients write what changes in here, or beside the id.
    #[serde(default)]
    updates: Option<Changes>,
    #[serde(flatten)]
    changes: Changes,
}

/// What a client says of a definition. What it does not say stays as it is.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Changes {
    name: Option<String>,
    vendor: Option<String>,
    protocol: Option<String>,
    #[serde(deserialize_with = "some_key")]
    api_key: Option<Secret>,
    #[serde(deserialize_with = "emptied")]
    base_url: Option<String>,
    #[serde(deserialize_with = "emptied")]
    model: Option<String>,
}

impl Service {
    pub(super) async fn create_llm(&self, owner: &Owner, params: CreateLlm) -> Outcome {
        let protocol = params.protocol.parse()?;
        let mut new = NewLlm::new(params.name, protocol, params.api_key)
            .with_base_url(params.base_url)
            .with_model(params.model);
        if let Some(vendor) = params.vendor {
            new = new.with_vendor(vendor);
        }
        let llm = self.llms()?.create(owner, new).await?;
        Ok(Answer::of(json!({"record": described(&llm)})))
    }

    pub(super) async fn get_llm(&self, owner: &Owner, params: ById) -> Outcome {
        let found = self.llms()?.find(owner, &params.id).await?;
        Ok(Answer::of(json!({"record": found.as_ref().map(described)})))
    }

    pub(super) async fn list_llms(&self, owner: &Owner) -> Outcome {
        let records: Vec<Value> = self.llms()?.of(owner).await?.iter().map(described).collect();
        Ok(Answer::of(json!({"records": records})))
    }

    pub(super) async fn update_llm(&self, owner: &Owner, params: UpdateLlm) -> Outcome {
        let UpdateLlm { id, updates, changes } = params;
        let said = updates.unwrap_or(changes);
        let changes = LlmChanges {
            name: said.name,
            vendor: said.vendor,
            protocol: said.protocol.map(|protocol| protocol.parse()).transpose()?,
            key: said.api_key,
            base_url: said.base_url,
            model: said.model,
        };
        // One that another has must not look different from one that nobody has.
        let Some(known) = self.llms()?.find(owner, &id).await? else { return Err(missing(&id)) };
        let llm = self.llms()?.update(owner, &known.id, changes).await?;
        Ok(Answer::of(json!({"record": described(&llm)})))
    }

    pub(super) async fn delete_llm(&self, owner: &Owner, params: ById) -> Outcome {
        self.llms()?.delete(owner, &params.id).await?;
        Ok(Answer::of(json!({"id": params.id})))
    }

    /// The default one, or another one from now on.
    pub(super) async fn default_llm(&self, owner: &Owner, params: ByIdOrNone) -> Outcome {
        let llms = self.llms()?;
        let found = match params.id {
            None => llms.of(owner).await?.iter().find(|llm| llm.is_default).map(described),
            Some(id) => {
                let Some(known) = llms.find(owner, &id).await? else { return Err(missing(&id)) };
                Some(described(&llms.set_default(owner, &known.id).await?))
            }
        };
        Ok(Answer::of(json!({"record": found})))
    }

    /// What a client means by the model that it names.
    pub(super) async fn choice(&self, owner: &Owner, model: &str) -> Outcome<Choice> {
        Ok(self.llms()?.choose(owner, model).await?)
    }

    /// Whether there is a setting for what a client says of how its model answers.
    pub(super) fn check_option(&self, key: &str, value: &Value) -> Outcome<()> {
        self.llms()?;
        let checked = match key {
            THINKING => Level::deserialize(value).map(drop),
            _ => ProviderOptions::deserialize(value).map(drop),
        };
        checked.map_err(|error| Failure::params(format!("{key}: {error}")))
    }

    pub(super) fn llms(&self) -> Outcome<&Llms> {
        let none =
            || Failure::new(Code::Unsupported, "this server has one model, and keeps no LLM definitions");
        self.llms.as_ref().ok_or_else(none)
    }
}

/// A definition as its owner sees it. The key is not among it.
fn described(llm: &Llm) -> Value {
    json!({
        "id": llm.id,
        "name": llm.name,
        "vendor": llm.vendor,
        "protocol": llm.protocol.as_str(),
        "baseUrl": llm.base_url,
        "model": llm.model,
        "isDefault": llm.is_default,
        "createdAt": llm.created_at,
        "updatedAt": llm.updated_at,
    })
}

fn missing(id: &str) -> Failure {
    Failure::not_found("LLM definition", shown(id))
}

/// A key. What it is instead is not repeated.
fn key<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
    match Value::deserialize(from)? {
        Value::String(key) => Ok(Secret::new(key)),
        _ => Err(serde::de::Error::custom("apiKey is no text")),
    }
}

fn some_key<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret>, D::Error> {
    key(from).map(Some)
}
