//! Whom things belong to.

use std::{fmt, sync::Arc};

use agentx_core::{ContainerId, Error, ErrorKind, Result};

/// Stands between an owner and the name of a container in the store. No owner's name has it.
const SEPARATOR: char = ':';

/// The longest name of an owner, in bytes: 64 of the 128 that the id of a stored container may have.
const MAX_LEN: usize = 63;

/// Somebody who has containers, and sees those alone.
///
/// A container is stored as `{owner}:{name}`, so that two owners may use one name.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Owner(Arc<str>);

impl Owner {
    /// The owner of this name: 1 to 63 ASCII letters, digits and `- _ .`.
    ///
    /// # Errors
    /// `InvalidInput` for any other name.
    pub fn new(name: impl AsRef<str>) -> Result<Self> {
        let name = name.as_ref();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.len() > MAX_LEN || !name.bytes().all(allowed) {
            return Err(Error::new(ErrorKind::InvalidInput, "parse owner")
                .with_message("an owner is named by 1 to 63 ASCII letters, digits and - _ ."));
        }
        Ok(Self(name.into()))
    }

    /// The one owner of a server without authentication.
    pub fn local() -> Self {
        Self("local".into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The stored id of the container that this owner calls `name`.
    ///
    /// # Errors
    /// `InvalidInput` for a name that is no container id.
    pub fn container(&self, name: &str) -> Result<ContainerId> {
        // By itself first: the owner's part must not make an empty name valid.
        ContainerId::new(name)?;
        ContainerId::new(format!("{self}{SEPARATOR}{name}"))
    }

    /// Whose a stored container is; none where it is nobody's that a server knows.
    pub(crate) fn of(id: &ContainerId) -> Option<Self> {
        let (owner, _) = id.as_str().split_once(SEPARATOR)?;
        Self::new(owner).ok()
    }

    /// What this owner calls a stored container; none where it is another's.
    pub fn name_of<'id>(&self, id: &'id ContainerId) -> Option<&'id str> {
        id.as_str().strip_prefix(&*self.0)?.strip_prefix(SEPARATOR)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_sees_containers_of_its_own_alone() {
        let (ann, anna) = (Owner::new("ann").unwrap(), Owner::new("anna").unwrap());
        let id = ann.container("work:1").unwrap();
        assert_eq!(id.as_str(), "ann:work:1");
        assert_eq!(ann.name_of(&id), Some("work:1"));
        assert_eq!(anna.name_of(&id), None);
        assert_eq!(Owner::of(&id), Some(ann.clone()));
        assert_eq!(Owner::of(&ContainerId::new("local").unwrap()), None);
        assert_eq!(ann.name_of(&anna.container("work").unwrap()), None);
        assert_eq!(ann.name_of(&ContainerId::new("local").unwrap()), None);
    }

    #[test]
    fn names_that_could_mean_two_things_are_refused() {
        for name in ["", "a:b", "a/b", "ä", &"x".repeat(64)] {
            assert!(Owner::new(name).is_err(), "{name}");
        }
        let owner = Owner::local();
        for name in ["", "..", "a b", &"x".repeat(128)] {
            assert!(owner.container(name).is_err(), "{name}");
        }
    }
}
