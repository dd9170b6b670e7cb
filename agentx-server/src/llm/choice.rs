use agentx_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::{Llm, LlmProtocol, Llms};
use crate::Owner;

/// What an image or a message says of the model that is to answer: as its client wrote it, and the definition that this
/// meant then, which it goes on to mean.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Choice {
    pub(crate) model: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
}

/// What answers a turn.
pub(super) enum Answering {
    /// The server's own, with this model if one is named.
    Own(Option<String>),
    /// A definition, with this model.
    Llm { id: String, protocol: LlmProtocol, model: Option<String> },
}

impl Llms {
    /// What a client means by `model`: the id or the name of one of its definitions, or else a model of its default one.
    ///
    /// # Errors
    /// `InvalidInput` for what several are called, and for what none is where there is no default one and the server's own
    /// models are not for clients to choose; whatever the store reports.
    pub(crate) async fn choose(&self, owner: &Owner, model: &str) -> Result<Choice> {
        let wrong = |problem: &str| {
            let model: String = model.chars().take(64).collect();
            let problem = problem.to_owned();
            Err(Error::new(ErrorKind::InvalidInput, "choose model").with_path(model).with_message(problem))
        };
        if model.trim().is_empty() || model.len() > super::record::LONGEST {
            return wrong("that is no name of a model");
        }
        let records = self.of(owner).await?;
        let id = match records.iter().find(|llm| llm.id == model) {
            Some(llm) => Some(llm.id.clone()),
            None => {
                let mut called = records.iter().filter(|llm| llm.name == model);
                match (called.next(), called.next()) {
                    (Some(_), Some(_)) => {
                        return wrong("several LLM definitions are called so: name one by its id");
                    }
                    (one, _) => one.map(|llm| llm.id.clone()),
                }
            }
        };
        if id.is_none() && !self.any_model && !records.iter().any(|llm| llm.is_default) {
            return wrong(
                "no LLM definition is called so, and none is the default: see llm.create and llm.default",
            );
        }
        Ok(Choice { model: model.to_owned(), id })
    }

    /// What answers where this was chosen, as things are now.
    pub(super) async fn answering(&self, owner: &Owner, choice: Option<Choice>) -> Result<Answering> {
        let records = self.of(owner).await?;
        let of = |llm: &Llm, model: Option<String>| Answering::Llm {
            id: llm.id.clone(),
            protocol: llm.protocol,
            model: model.or_else(|| llm.model.clone()),
        };
        let failed = |kind, path: &str, problem: &'static str| {
            Err(Error::new(kind, "choose model").with_path(path).with_message(problem))
        };
        match choice {
            Some(Choice { id: Some(id), .. }) => match records.iter().find(|llm| llm.id == id) {
                Some(llm) => Ok(of(llm, None)),
                None => failed(ErrorKind::NotFound, &id, "the LLM definition is deleted: choose another one"),
            },
            choice => {
                let model = choice.map(|choice| choice.model);
                match (records.iter().find(|llm| llm.is_default), model) {
                    (Some(llm), model) => Ok(of(llm, model)),
                    (None, Some(model)) if !self.any_model => {
                        let problem = "it was chosen of a default LLM definition, and there is none any more";
                        failed(ErrorKind::NotFound, &model, problem)
                    }
                    (None, model) => Ok(Answering::Own(model)),
                }
            }
        }
    }
}
