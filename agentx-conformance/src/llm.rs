//! The suite for suppliers of models.
//!
//! The factory gives a provider of an [`ApiSupply`] whose key is [`KEY`].

use std::sync::Arc;

use agentx_resource::{ApiSupply, LLMProvider};

use crate::{
    Outcome,
    failure::{ensure, ensure_eq},
};

/// The key that the provider of each case supplies.
pub const KEY: &str = "kit-s3cret-key";

/// Makes a module of tests: one for each case of the suite for suppliers of models. See the [crate](crate) for what
/// the arguments are.
#[macro_export]
macro_rules! llm_provider_suite {
    ($(#[$attribute:meta])* $module:ident, $factory:expr $(,)?) => {
        $crate::llm_provider_suite!($(#[$attribute])* $module, $factory, $crate::Profile::new());
    };
    ($(#[$attribute:meta])* $module:ident, $factory:expr, $profile:expr $(,)?) => {
        $crate::__llm_cases!(__tests { llm $module ($factory) ($profile) [$(#[$attribute])*] });
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __llm_cases {
    ($then:ident $arguments:tt) => {
        $crate::$then! { $arguments llm_name llm_provide llm_provide_again llm_provide_by_many llm_debug }
    };
}

crate::__llm_cases!(__table { dyn LLMProvider<ApiSupply> });

type Subject = Arc<dyn LLMProvider<ApiSupply>>;

async fn llm_name(provider: Subject) -> Outcome {
    ensure(!provider.name().is_empty(), "the provider has no name")
}

async fn llm_provide(provider: Subject) -> Outcome {
    ensure(provider.provide().await?.key.expose() == KEY, "the key is another")
}

async fn llm_provide_again(provider: Subject) -> Outcome {
    let (first, second) = (provider.provide().await?, provider.provide().await?);
    ensure_eq(first, second, "the second supply")
}

async fn llm_provide_by_many(provider: Subject) -> Outcome {
    let supplies = futures::future::try_join_all((0..16).map(|_| provider.provide())).await?;
    ensure(supplies.iter().all(|supply| supply.key.expose() == KEY), "one of many got another key")
}

async fn llm_debug(provider: Subject) -> Outcome {
    let supply = provider.provide().await?;
    let shown = format!("{provider:?}{supply:?}{}", provider.name());
    ensure(!shown.contains(KEY), "the key is shown by Debug")
}
