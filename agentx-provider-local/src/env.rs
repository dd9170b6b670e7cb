use std::{collections::BTreeMap, env, fmt};

use agentx_resource::{Env, ErrorKind, Result, Secret};
use async_trait::async_trait;

use crate::fs::{Done, Fault};

/// Variables of this process that were named one by one, and others that were set here. Nothing else is inherited.
///
/// A variable of the host is looked up at each call, so that one which is set here wins and one which the host
/// lacks is not set. `Debug` shows names only.
///
/// ```
/// use agentx_provider_local::LocalEnv;
/// use agentx_resource::Env;
///
/// # futures::executor::block_on(async {
/// let env = LocalEnv::new().allow("PATH").set("STAGE", "test")?;
/// assert_eq!(env.get("STAGE").await?.as_deref(), Some("test"));
/// assert_eq!(env.get("HOME").await?, None);
/// # Ok::<(), agentx_resource::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Default)]
pub struct LocalEnv {
    /// No value: the host's own.
    variables: BTreeMap<String, Option<Secret>>,
}

impl LocalEnv {
    /// No variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the host's variable `name` through. A name that no variable can have lets nothing through.
    pub fn allow(self, name: impl Into<String>) -> Self {
        self.allow_all([name])
    }

    /// Lets several of the host's variables through.
    pub fn allow_all(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let names = names.into_iter().map(Into::into).filter(|name| check(name).is_ok());
        for name in names {
            self.variables.entry(name).or_default();
        }
        self
    }

    /// Sets a variable, whatever the host says. The process itself is not changed.
    ///
    /// # Errors
    /// `InvalidInput` for a name that is empty or holds `=` or NUL, and for a value that holds NUL.
    pub fn set(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Result<Self> {
        let (name, value) = (name.into(), value.into());
        let checked = check(&name).and_then(|()| {
            if value.expose().contains('\0') {
                return Err(Fault::new(ErrorKind::InvalidInput, "the value holds NUL"));
            }
            Ok(())
        });
        checked.map_err(|fault| fault.told("set", &name))?;
        self.variables.insert(name, Some(value));
        Ok(self)
    }
}

#[async_trait]
impl Env for LocalEnv {
    async fn get(&self, key: &str) -> Result<Option<String>> {
        let value = check(key).and_then(|()| match self.variables.get(key) {
            None => Ok(None),
            Some(own) => value(key, own.as_ref()),
        });
        value.map_err(|fault| fault.told("get", key))
    }

    async fn get_all(&self) -> Result<BTreeMap<String, String>> {
        let mut all = BTreeMap::new();
        for (name, own) in &self.variables {
            if let Some(value) = value(name, own.as_ref()).map_err(|fault| fault.told("get_all", name))? {
                all.insert(name.clone(), value);
            }
        }
        Ok(all)
    }
}

impl fmt::Debug for LocalEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalEnv").field("variables", &self.variables.keys()).finish()
    }
}

/// The host's variable `name`.
pub(crate) fn host_variable(name: &str) -> Done<Option<String>> {
    match env::var_os(name).map(std::ffi::OsString::into_string) {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(value)),
        // The value itself is not shown, since it may be a secret.
        Some(Err(_)) => Err(Fault::new(ErrorKind::Corrupt, "the value is not UTF-8")),
    }
}

/// Whether a variable can have this name.
pub(crate) fn check(name: &str) -> Done<()> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(Fault::new(ErrorKind::InvalidInput, "no variable can have this name"));
    }
    Ok(())
}

fn value(name: &str, own: Option<&Secret>) -> Done<Option<String>> {
    match own {
        Some(own) => Ok(Some(own.expose().to_owned())),
        None => host_variable(name),
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    // Cargo sets this one for every test.
    const OF_HOST: &str = "CARGO_MANIFEST_DIR";

    #[test]
    fn nothing_is_inherited_that_was_not_named() {
        assert!(env::var_os(OF_HOST).is_some());
        let none = LocalEnv::new().set("OWN", "1").unwrap();
        assert_eq!(block_on(none.get(OF_HOST)).unwrap(), None);
        assert_eq!(block_on(none.get_all()).unwrap().into_keys().collect::<Vec<_>>(), ["OWN"]);

        let some = none.allow_all([OF_HOST, "AGENTX_NOBODY_SETS_THIS", ""]);
        assert_eq!(block_on(some.get(OF_HOST)).unwrap(), env::var(OF_HOST).ok());
        assert_eq!(block_on(some.get("AGENTX_NOBODY_SETS_THIS")).unwrap(), None);
        let names: Vec<_> = block_on(some.get_all()).unwrap().into_keys().collect();
        assert_eq!(names, [OF_HOST, "OWN"]);
    }

    #[test]
    fn what_is_set_wins_in_any_order() {
        for env in [
            LocalEnv::new().allow(OF_HOST).set(OF_HOST, "mine").unwrap(),
            LocalEnv::new().set(OF_HOST, "mine").unwrap().allow(OF_HOST),
        ] {
            assert_eq!(block_on(env.get(OF_HOST)).unwrap().as_deref(), Some("mine"));
        }
    }

    #[test]
    fn impossible_names_and_values_are_refused() {
        for name in ["", "A=B", "A\0"] {
            assert_eq!(block_on(LocalEnv::new().get(name)).unwrap_err().kind(), ErrorKind::InvalidInput);
            assert_eq!(LocalEnv::new().set(name, "x").unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        let error = LocalEnv::new().set("KEY", "sk-secret\0").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(!format!("{error:?}").contains("sk-secret"));
    }

    #[test]
    fn debug_shows_names_only() {
        let shown = format!("{:?}", LocalEnv::new().set("KEY", "sk-secret").unwrap().allow(OF_HOST));
        assert!(shown.contains("KEY") && shown.contains(OF_HOST), "{shown}");
        assert!(!shown.contains("sk-secret") && !shown.contains(&env::var(OF_HOST).unwrap()), "{shown}");
    }
}
