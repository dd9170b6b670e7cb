use std::{fmt, sync::Arc};

use agentx_core::{Driver, DriverEvent, DriverStream, Error, ErrorKind, ModelTable, Outcome, Result, Turn};
use agentx_resource::{ApiSupply, LLMProvider};
use async_trait::async_trait;
use futures::{FutureExt, StreamExt, stream};

use super::{Choice, LlmProtocol, Llms, choice::Answering, options::AnswerOptions};
use crate::Owner;

/// The key of an image's metadata, and of what is sent with a message, that has a [`Choice`].
pub(crate) const CHOICE: &str = "llm";

/// Makes a driver of where a model is and of the key to it.
type Make = dyn Fn(Arc<dyn LLMProvider<ApiSupply>>) -> Arc<dyn Driver> + Send + Sync;

/// Has each turn answered by the LLM definition that its message or its image names, or that is its owner's default one;
/// by another driver where there is none. How much the model is to think is set as they say, too.
///
/// A definition is read anew for each call of the model, so that another key holds from the next call on.
#[derive(Clone)]
pub struct LlmDriver {
    own: Arc<dyn Driver>,
    llms: Llms,
    anthropic: Arc<Make>,
    /// How much a model thinks is said to each in its own way.
    models: Arc<ModelTable>,
}

impl LlmDriver {
    /// `own` answers where no definition does. `anthropic` makes drivers for the Messages API: their transport must not
    /// lead where owners may not go, since owners name the address.
    pub fn new(
        own: impl Driver,
        llms: Llms,
        anthropic: impl Fn(Arc<dyn LLMProvider<ApiSupply>>) -> Arc<dyn Driver> + Send + Sync + 'static,
    ) -> Self {
        let models = Arc::new(ModelTable::known());
        Self { own: Arc::new(own), llms, anthropic: Arc::new(anthropic), models }
    }

    /// The driver of a turn, which gets the model that it is to ask.
    async fn choose(&self, turn: &mut Turn) -> Result<Arc<dyn Driver>> {
        let Some(image) = turn.image.clone() else { return Ok(self.own.clone()) };
        let Some(owner) = Owner::of(&image.container_id) else { return Ok(self.own.clone()) };
        let said = turn.options.as_deref().and_then(|options| options.get(CHOICE));
        let choice = said.or_else(|| image.spec.metadata.get(CHOICE)).map(|said| {
            serde_json::from_value::<Choice>(said.clone()).map_err(|error| {
                Error::new(ErrorKind::Corrupt, "read choice of model")
                    .with_path(&image.image_id)
                    .with_source(error)
            })
        });
        let driver = match self.llms.answering(&owner, choice.transpose()?).await? {
            Answering::Own(model) => {
                turn.settings.model = model.or_else(|| turn.settings.model.take());
                self.own.clone()
            }
            Answering::Llm { id, protocol, model } => {
                // What the server would ask its own for means nothing there.
                turn.settings.model = model;
                let supply = Arc::new(Supply { llms: self.llms.clone(), owner, id });
                match protocol {
                    LlmProtocol::Anthropic => (self.anthropic)(supply),
                }
            }
        };
        let known = turn.settings.model.as_deref().and_then(|model| self.models.get(model));
        // What is said of the message counts more.
        let of_image = AnswerOptions::of(|key| image.spec.metadata.get(key))?;
        let of_message = AnswerOptions::of(|key| turn.options.as_deref()?.get(key))?;
        of_image.apply(&mut turn.settings, known);
        of_message.apply(&mut turn.settings, known);
        Ok(driver)
    }
}

impl Driver for LlmDriver {
    fn name(&self) -> &str {
        self.own.name()
    }

    fn start(&self, mut turn: Turn) -> DriverStream {
        let this = self.clone();
        let chosen = async move {
            match this.choose(&mut turn).await {
                Ok(driver) => driver.start(turn),
                Err(error) => stream::iter([DriverEvent::from(Outcome::Failed(error))]).boxed(),
            }
        };
        chosen.flatten_stream().boxed()
    }
}

impl fmt::Debug for LlmDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LlmDriver").field("own", &self.own).field("llms", &self.llms).finish_non_exhaustive()
    }
}

/// A definition as it is when it is asked for.
#[derive(Debug)]
struct Supply {
    llms: Llms,
    owner: Owner,
    id: String,
}

#[async_trait]
impl LLMProvider<ApiSupply> for Supply {
    fn name(&self) -> &str {
        &self.id
    }

    async fn provide(&self) -> Result<ApiSupply> {
        let found = self.llms.find(&self.owner, &self.id).await?;
        found.map(|llm| llm.supply()).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "find LLM definition")
                .with_path(&self.id)
                .with_message("it was deleted: choose another one")
        })
    }
}
