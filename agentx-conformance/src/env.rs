//! The suite for environments.
//!
//! The factory gives an environment that has the [`SETTINGS`], and may have others.

use std::sync::Arc;

use agentx_resource::{Env, ErrorKind};

use crate::{
    Outcome,
    failure::{ensure, ensure_eq, ensure_kind},
};

/// What the environment of each case has to have. `AGENTX_KIT_MISSING` must not be set.
pub const SETTINGS: [(&str, &str); 3] = [
    ("AGENTX_KIT_PLAIN", "a value, with = and\nanother line: ünï"),
    ("AGENTX_KIT_EMPTY", ""),
    ("AGENTX_KIT_SECRET", "kit-s3cret-value"),
];

/// Makes a module of tests: one for each case of the suite for environments. See the [crate](crate) for what the
/// arguments are.
#[macro_export]
macro_rules! env_suite {
    ($(#[$attribute:meta])* $module:ident, $factory:expr $(,)?) => {
        $crate::env_suite!($(#[$attribute])* $module, $factory, $crate::Profile::new());
    };
    ($(#[$attribute:meta])* $module:ident, $factory:expr, $profile:expr $(,)?) => {
        $crate::__env_cases!(__tests { env $module ($factory) ($profile) [$(#[$attribute])*] });
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __env_cases {
    ($then:ident $arguments:tt) => {
        $crate::$then! { $arguments
            env_set env_empty env_missing env_bad_key env_all env_all_agrees env_debug
        }
    };
}

crate::__env_cases!(__table { dyn Env });

type Subject = Arc<dyn Env>;

async fn env_set(env: Subject) -> Outcome {
    for (key, value) in SETTINGS {
        ensure_eq(env.get(key).await?.as_deref(), Some(value), key)?;
    }
    Ok(())
}

async fn env_empty(env: Subject) -> Outcome {
    ensure_eq(env.get("AGENTX_KIT_EMPTY").await?.as_deref(), Some(""), "a setting that is empty")
}

async fn env_missing(env: Subject) -> Outcome {
    ensure_eq(env.get("AGENTX_KIT_MISSING").await?, None, "a setting that is not set")
}

async fn env_bad_key(env: Subject) -> Outcome {
    for key in ["", "=", "A=B", "A\0B"] {
        ensure_kind(env.get(key).await, ErrorKind::InvalidInput, format!("{key:?}"))?;
    }
    Ok(())
}

async fn env_all(env: Subject) -> Outcome {
    let all = env.get_all().await?;
    for (key, value) in SETTINGS {
        ensure_eq(all.get(key).map(String::as_str), Some(value), key)?;
    }
    ensure(!all.contains_key("AGENTX_KIT_MISSING"), "what is not set is among all")
}

async fn env_all_agrees(env: Subject) -> Outcome {
    for (key, value) in env.get_all().await? {
        // The value may be a secret of whoever runs this: it is compared, and not shown.
        ensure(env.get(&key).await? == Some(value), format!("`get` and `get_all` differ on {key}"))?;
    }
    Ok(())
}

async fn env_debug(env: Subject) -> Outcome {
    env.get_all().await?;
    let mut shown = format!("{env:?}");
    if let Err(error) = env.get("AGENTX_KIT_SECRET=").await {
        shown += &format!("{error:?}{error}");
    }
    ensure(!shown.contains("kit-s3cret-value"), "a value is shown by Debug or by an error")
}
