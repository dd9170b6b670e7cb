//! The keys of an issuer, and how old they may be.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use agentx_core::{Error, ErrorKind, Result};
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, Header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse},
};
use tokio::sync;

use super::JwksSource;

/// The most keys of one issuer.
const MOST: usize = 64;

/// How long after one question the next is asked, where a token names a key that is not known: whoever makes up names
/// does not make the server ask each time.
const PAUSE: Duration = Duration::from_secs(30);

/// How long after an issuer failed it is asked again, where nothing is known. Whoever comes meanwhile is told of that
/// failure, and does not wait for the next.
const RETRY: Duration = Duration::from_secs(5);

/// The bytes of a key of Ed25519.
const ED25519: usize = 32;

/// The keys of one answer.
pub(super) struct Set {
    keys: Vec<Key>,
    /// Of all sets of this process, another one.
    pub(super) version: u64,
}

struct Key {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    family: AlgorithmFamily,
    checks: DecodingKey,
}

/// A source's keys, kept.
pub(super) struct Keys {
    source: Arc<dyn JwksSource>,
    refresh: Duration,
    stale: Duration,
    state: Mutex<State>,
    /// One asks at a time.
    asking: sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    set: Option<Arc<Set>>,
    /// When the set was asked for.
    fetched: Option<Instant>,
    /// When anything was asked for, also in vain.
    asked: Option<Instant>,
    /// What came of the last question, and when, where nothing did.
    failed: Option<(Instant, Error)>,
    versions: u64,
}

impl Keys {
    pub(super) fn new(source: Arc<dyn JwksSource>, refresh: Duration, stale: Duration) -> Self {
        Self { source, refresh, stale, state: Mutex::default(), asking: sync::Mutex::default() }
    }

    /// The keys to check a token with: asked for where they are too old, or where none is the token's.
    pub(super) async fn set_for(&self, header: &Header) -> Result<Arc<Set>> {
        if let Some(set) = self.good_for(header) {
            return Ok(set);
        }
        let _asking = self.asking.lock().await;
        // Somebody else may have asked meanwhile.
        if let Some(set) = self.good_for(header) {
            return Ok(set);
        }
        if let Some((at, error)) = &self.state().failed
            && at.elapsed() < RETRY.min(self.refresh)
        {
            return Err(error.clone());
        }
        self.state().asked = Some(Instant::now());
        let fetched = self.source.fetch().await.and_then(|text| Set::of(&text));
        let mut state = self.state();
        match fetched {
            Ok(mut set) => {
                state.versions += 1;
                set.version = state.versions;
                let set = Arc::new(set);
                state.fetched = state.asked;
                state.failed = None;
                state.set = Some(set.clone());
                Ok(set)
            }
            Err(error) => {
                tracing::warn!(%error, "the keys of tokens can't be had");
                let is_stale = state.fetched.is_none_or(|fetched| fetched.elapsed() >= self.stale);
                match state.set.clone().filter(|_| !is_stale) {
                    Some(set) => Ok(set),
                    None => {
                        state.failed = Some((Instant::now(), error.clone()));
                        Err(error)
                    }
                }
            }
        }
    }

    /// What is known, where that will do: it is new enough, and has the token's key or was asked for just now.
    fn good_for(&self, header: &Header) -> Option<Arc<Set>> {
        let state = self.state();
        let (set, fetched) = (state.set.as_ref()?, state.fetched?);
        let just_asked = state.asked.is_some_and(|asked| asked.elapsed() < PAUSE.min(self.refresh));
        let is_new = fetched.elapsed() < self.refresh && set.find(header).is_some();
        let is_stale = fetched.elapsed() >= self.stale;
        (is_new || (just_asked && !is_stale)).then(|| set.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Set {
    fn of(text: &[u8]) -> Result<Self> {
        let wrong = |problem: String| {
            Error::new(ErrorKind::InvalidInput, "read keys of tokens").with_message(problem)
        };
        let set: JwkSet = serde_json::from_slice(text).map_err(|error| wrong(error.to_string()))?;
        if set.keys.len() > MOST {
            return Err(wrong(format!("{} keys; at most {MOST} are taken", set.keys.len())));
        }
        // What can't be used is somebody else's business: encryption, curves that are not known here.
        Ok(Self { keys: set.keys.into_iter().filter_map(Key::of).collect(), version: 0 })
    }

    /// The key that a token was signed with, by its own word. One that names none is the only one's.
    pub(super) fn find(&self, header: &Header) -> Option<&DecodingKey> {
        let mut fitting = self.keys.iter().filter(|key| key.fits(header.alg));
        match &header.kid {
            Some(id) => fitting.find(|key| key.id.as_ref() == Some(id)).map(|key| &key.checks),
            None => fitting.next().filter(|_| fitting.next().is_none()).map(|key| &key.checks),
        }
    }
}

impl Key {
    fn of(jwk: Jwk) -> Option<Self> {
        if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
            return None;
        }
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        let family = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => AlgorithmFamily::Rsa,
            AlgorithmParameters::EllipticCurve(_) => AlgorithmFamily::Ec,
            // The library takes it for granted that a key is as long as it must be.
            AlgorithmParameters::OctetKeyPair(pair)
                if pair.curve == EllipticCurve::Ed25519
                    && key.try_get_as_bytes().is_ok_and(|bytes| bytes.len() == ED25519) =>
            {
                AlgorithmFamily::Ed
            }
            _ => return None,
        };
        let algorithm = match jwk.common.key_algorithm {
            Some(named) => Some(Algorithm::try_from(named).ok()?),
            None => None,
        };
        Some(Self { id: jwk.common.key_id, algorithm, family, checks: key })
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        self.algorithm.is_none_or(|own| own == algorithm) && self.family.algorithms().contains(&algorithm)
    }
}
