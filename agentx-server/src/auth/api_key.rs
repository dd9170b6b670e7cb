use std::{
    fmt,
    sync::{PoisonError, RwLock},
};

use agentx_core::{Error, ErrorKind, Result};
use async_trait::async_trait;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Authenticator, Credentials, Identity};
use crate::Owner;

/// The SHA-256 hash of an API key: what is kept of it. Keys are long and random, so that nobody finds one from its hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub(crate) [u8; 32]);

impl KeyHash {
    /// The hash of a key.
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// As 64 hexadecimal digits.
    pub fn to_hex(self) -> String {
        self.0.iter().fold(String::with_capacity(64), |text, byte| text + &format!("{byte:02x}"))
    }

    /// From 64 hexadecimal digits.
    ///
    /// # Errors
    /// `InvalidInput` for anything else.
    pub fn from_hex(text: &str) -> Result<Self> {
        let invalid = || {
            Error::new(ErrorKind::InvalidInput, "parse key hash")
                .with_message("it is not 64 hexadecimal digits")
        };
        if text.len() != 64 || !text.is_ascii() {
            return Err(invalid());
        }
        let mut hash = [0; 32];
        for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| invalid())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| invalid())?;
        }
        Ok(Self(hash))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex().chars().take(8).collect::<String>())
    }
}

/// How many random bytes a key has.
const KEY_BYTES: usize = 32;

/// A key that nobody has: `avm_` and 64 hexadecimal digits, 256 random bits of the system's.
///
/// # Errors
/// `Unavailable` where the system has no random bytes.
pub fn generate_key() -> Result<String> {
    Ok(format!("avm_{}", random_hex::<KEY_BYTES>()?))
}

/// So many random bytes, as hexadecimal digits.
pub(crate) fn random_hex<const BYTES: usize>() -> Result<String> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::new(ErrorKind::Unavailable, "generate key").with_message(error.to_string())
    })?;
    Ok(bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}")))
}

/// API keys, of which only hashes are kept. Keys may be added and revoked while a server runs.
///
/// ```
/// use agentx_server::{Owner, auth::{ApiKeys, Authenticator, Credentials, Identity, KeyHash}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> agentx_core::Result<()> {
/// let keys = ApiKeys::new();
/// keys.replace(vec![(KeyHash::of("key-of-ann"), Owner::new("ann")?)]);
/// let ann = keys.authenticate(&Credentials::bearer("key-of-ann")).await?;
/// assert_eq!(ann, Some(Identity::owner(Owner::new("ann")?)));
/// assert_eq!(keys.authenticate(&Credentials::bearer("guess")).await?, None);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct ApiKeys(RwLock<Vec<(KeyHash, Owner)>>);

impl ApiKeys {
    /// No key: nobody gets in.
    pub fn new() -> Self {
        Self::default()
    }

    /// These keys and no others, from now on.
    pub fn replace(&self, keys: Vec<(KeyHash, Owner)>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }
}

#[async_trait]
impl Authenticator for ApiKeys {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<Identity>> {
        let Some(token) = &credentials.token else { return Ok(None) };
        let hash = KeyHash::of(token);
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        // All of them are looked at: the time tells nothing of which one it was.
        let found =
            keys.iter().fold(
                None,
                |found, (known, owner)| {
                    if bool::from(known.0.ct_eq(&hash.0)) { Some(owner) } else { found }
                },
            );
        Ok(found.cloned().map(Identity::owner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_comes_back_from_its_digits() {
        let hash = KeyHash::of("key");
        assert_eq!(KeyHash::from_hex(&hash.to_hex()).unwrap(), hash);
        for text in ["", "00", &"g".repeat(64), &"é".repeat(32)] {
            assert!(KeyHash::from_hex(text).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_revoked_key_opens_nothing() {
        let keys = ApiKeys::new();
        keys.replace(vec![(KeyHash::of("a"), Owner::local()), (KeyHash::of("b"), Owner::new("b").unwrap())]);
        let known = keys.authenticate(&Credentials::bearer("b")).await.unwrap();
        assert_eq!(known, Some(Identity::owner(Owner::new("b").unwrap())));
        keys.replace(vec![(KeyHash::of("a"), Owner::local())]);
        assert_eq!(keys.authenticate(&Credentials::bearer("b")).await.unwrap(), None);
        assert_eq!(keys.authenticate(&Credentials::default()).await.unwrap(), None);
    }
}
