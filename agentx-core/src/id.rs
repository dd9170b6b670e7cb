//! Ids with a type each, so that none can stand where another belongs.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

const MAX_LEN: usize = 128;

fn check(kind: &'static str, id: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@:+".contains(&byte);
    let problem = if id.is_empty() {
        "empty"
    } else if id.len() > MAX_LEN {
        "longer than 128 bytes"
    } else if !id.bytes().all(allowed) {
        "only ASCII letters, digits and - _ . @ : + are allowed"
    } else if id.bytes().all(|byte| byte == b'.') {
        "only dots"
    } else {
        return Ok(());
    };
    let shown: String = id.chars().take(MAX_LEN).collect();
    Err(Error::new(ErrorKind::InvalidInput, "parse id")
        .with_path(shown)
        .with_message(format!("{kind} id: {problem}")))
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $kind:literal;)*) => {$(
        $(#[$doc])*
        ///
        /// At most 128 bytes: ASCII letters, digits and `- _ . @ : +`.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes `id` as it is.
            ///
            /// # Errors
            /// `InvalidInput` for an id that is empty, too long, or has other characters.
            pub fn new(id: impl AsRef<str>) -> Result<Self> {
                check($kind, id.as_ref())?;
                Ok(Self(id.as_ref().into()))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(id: &str) -> Result<Self> {
                Self::new(id)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(id: String) -> Result<Self> {
                Self::new(id)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }
    )*};
}

ids! {
    /// Names a container; chosen by the user.
    ContainerId, "container";
    /// Names an image.
    ImageId, "image";
    /// Names a session.
    SessionId, "session";
    /// Names a running agent.
    AgentId, "agent";
    /// Names a message.
    MessageId, "message";
    /// Names a turn.
    TurnId, "turn";
    /// Names an approval that a tool call waits for.
    ApprovalId, "approval";
}

macro_rules! fresh {
    ($($name:ident, $prefix:literal;)*) => {$(
        impl $name {
            /// A new id from `ids`.
            pub fn fresh(ids: &(impl crate::IdSource + ?Sized)) -> Self {
                Self(format!(concat!($prefix, "_{}"), ids.fresh()).into())
            }
        }
    )*};
}

fresh! {
    ImageId, "img";
    SessionId, "sess";
    AgentId, "agent";
    MessageId, "msg";
    TurnId, "turn";
    ApprovalId, "appr";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_ids_are_refused() {
        for id in ["", ".", "..", "a/b", "a\0", "a b", "ü", &"x".repeat(129)] {
            assert_eq!(ContainerId::new(id).unwrap_err().kind(), ErrorKind::InvalidInput, "{id}");
        }
        assert_eq!(ContainerId::new("user-alice@example.org").unwrap().as_str(), "user-alice@example.org");
        assert!(serde_json::from_str::<ContainerId>(r#""../x""#).is_err());
    }
}
