//! JSON Web Tokens of an issuer whose public keys are known (RFC 7519, 7517).

mod keys;
mod source;
mod url;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use agentx_core::{Result, Timestamp};
use async_trait::async_trait;
use jsonwebtoken::{DecodingKey, Header, Validation, decode, decode_header};
use serde_json::{Map, Value};

use self::keys::{Keys, Set};
pub use self::{
    source::{JwksFile, JwksSource},
    url::JwksUrl,
};
use super::{Authenticator, Credentials, Identity, KeyHash};
use crate::Owner;

/// The longest token that is looked at, in bytes.
const LONGEST: usize = 16 << 10;

/// How many tokens that were found good are remembered. Each is forgotten when the keys change, and by its end.
const REMEMBERED: usize = 4_096;

/// How a token is signed. Others are refused, whatever a token or a key says of itself: among them all with a shared
/// secret, and `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Algorithm {
    /// RSA, PKCS #1 v1.5, SHA-256.
    Rs256,
    /// RSA, PSS, SHA-256.
    Ps256,
    /// ECDSA, P-256, SHA-256.
    Es256,
    /// ECDSA, P-384, SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    fn of_library(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Ps256 => jsonwebtoken::Algorithm::PS256,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::Es384 => jsonwebtoken::Algorithm::ES384,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

/// What a token must say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JwtOptions {
    /// Who made it (`iss`).
    pub issuer: String,
    /// Whom it is for (`aud`).
    pub audience: String,
    /// How it is signed: one of these; RS256, ES256 or Ed25519.
    pub algorithms: Vec<Algorithm>,
    /// The claim that names the owner; `sub`. A token whose claim is no owner's name stands for nobody.
    pub owner_claim: String,
    /// How much the clocks may differ; 30 seconds. A token ends so much behind its `exp`.
    pub leeway: Duration,
    /// How old the keys may be before they are asked for again; 10 minutes. They are asked for at once where a token
    /// names one that is not known, yet no more often than every 30 seconds.
    pub refresh: Duration,
    /// How old they may be where they can't be had; 24 hours. From then on no token is good.
    pub stale: Duration,
}

impl JwtOptions {
    /// Tokens of this issuer for this audience.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            algorithms: vec![Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa],
            owner_claim: "sub".to_owned(),
            leeway: Duration::from_secs(30),
            refresh: Duration::from_mins(10),
            stale: Duration::from_hours(24),
        }
    }

    /// Signed by one of these.
    pub fn with_algorithms(mut self, algorithms: Vec<Algorithm>) -> Self {
        self.algorithms = algorithms;
        self
    }

    /// The owner is named by this claim.
    pub fn with_owner_claim(mut self, claim: impl Into<String>) -> Self {
        self.owner_claim = claim.into();
        self
    }

    /// Clocks differ by so much.
    pub fn with_leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Keys are asked for so often, and are good for so long where they can't be had.
    pub fn with_refresh(mut self, refresh: Duration, stale: Duration) -> Self {
        self.refresh = refresh;
        self.stale = stale;
        self
    }
}

/// Knows whose a token is. Tokens of anything else but its issuer stand for nobody.
///
/// ```no_run
/// use agentx_server::auth::jwt::{Jwt, JwtOptions, JwksUrl};
///
/// # fn main() -> agentx_core::Result<()> {
/// let keys = JwksUrl::new("https://login.example/.well-known/jwks.json")?;
/// let jwt = Jwt::new(keys, JwtOptions::new("https://login.example/", "agents"));
/// # drop(jwt); Ok(())
/// # }
/// ```
pub struct Jwt {
    options: JwtOptions,
    validation: Validation,
    keys: Keys,
    good: Mutex<Good>,
}

/// Tokens that were found good with one set of keys.
#[derive(Default)]
struct Good {
    version: u64,
    tokens: HashMap<KeyHash, Identity>,
}

impl Jwt {
    /// Tokens that are signed by a key of this source. It is asked with the first token.
    pub fn new(source: impl JwksSource, options: JwtOptions) -> Self {
        let mut validation = Validation::default();
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.set_issuer(&[&options.issuer]);
        validation.set_audience(&[&options.audience]);
        validation.validate_nbf = true;
        validation.leeway = options.leeway.as_secs();
        let keys = Keys::new(Arc::new(source), options.refresh, options.stale);
        Self { options, validation, keys, good: Mutex::default() }
    }

    /// Whose a token is, by the keys of this set. Nobody's where anything about it is not as it must be.
    fn check(&self, token: &str, header: &Header, set: &Set) -> Option<Identity> {
        let key = set.find(header)?;
        let claims = self.claims(token, header, key)?;
        let owner = Owner::new(claims.get(&self.options.owner_claim)?.as_str()?).ok()?;
        let end = claims.get("exp")?.as_f64()?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float's cast stays in bounds"
        )]
        let end = Timestamp::from_millis((end * 1_000.0) as u64).after(self.options.leeway);
        Some(Identity::owner(owner).with_until(Some(end)))
    }

    fn claims(&self, token: &str, header: &Header, key: &DecodingKey) -> Option<Map<String, Value>> {
        let mut validation = self.validation.clone();
        validation.algorithms = vec![header.alg];
        match decode(token, key, &validation) {
            Ok(decoded) => Some(decoded.claims),
            Err(error) => {
                tracing::debug!(%error, "a token is not good");
                None
            }
        }
    }

    /// The header of a token that may be good; what is none is perhaps another authenticator's.
    fn header(&self, token: &str) -> Option<Header> {
        if token.len() > LONGEST || token.bytes().filter(|byte| *byte == b'.').count() != 2 {
            return None;
        }
        let header = decode_header(token).ok()?;
        let is_allowed = self.options.algorithms.iter().any(|allowed| allowed.of_library() == header.alg);
        // What must be understood is not: nothing beyond the plain token is.
        (is_allowed && header.crit.is_none()).then_some(header)
    }

    fn remembered(&self, token: &KeyHash, version: u64) -> Option<Identity> {
        let good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        let found = (good.version == version).then(|| good.tokens.get(token).cloned()).flatten();
        found.filter(|identity| identity.holds_at(crate::tenant::now()))
    }

    fn remember(&self, token: KeyHash, identity: Identity, version: u64) {
        let mut good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        if good.version != version || good.tokens.len() >= REMEMBERED {
            *good = Good { version, ..Good::default() };
        }
        good.tokens.insert(token, identity);
    }
}

#[async_trait]
impl Authenticator for Jwt {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<Identity>> {
        let Some(token) = &credentials.token else { return Ok(None) };
        let Some(header) = self.header(token) else { return Ok(None) };
        let set = self.keys.set_for(&header).await?;
        let hash = KeyHash::of(token);
        if let Some(identity) = self.remembered(&hash, set.version) {
            return Ok(Some(identity));
        }
        let checked = self.check(token, &header, &set);
        if let Some(identity) = &checked {
            self.remember(hash, identity.clone(), set.version);
        }
        Ok(checked)
    }
}

impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwt").field("options", &self.options).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
