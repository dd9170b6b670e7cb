//! What is asked of KV.

use std::collections::{BTreeMap, HashMap};

use agentx_resource::{Error, ErrorKind, Result, Secret};
use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::{KvEnv, PROVIDER, is_name};
use crate::api::{Answer, Call, Envelope, Failure};

/// The longest key that KV has, in bytes.
const MAX_KEY: usize = 512;

/// The largest value that is a setting, in bytes.
const MAX_VALUE: usize = 1 << 20;

/// The most bytes that all settings may have together.
const MAX_ALL: usize = 16 << 20;

/// The most settings.
const MAX_NAMES: usize = 10_000;

/// How many keys KV lists, and gives the values of, at once.
const PAGE: usize = 1000;
const BULK: usize = 100;

/// The most bytes that a page of keys, and the values of a bulk, may have on their way.
const MAX_LIST: usize = 8 << 20;
const MAX_BULK: usize = 32 << 20;

/// The same for one value alone, each byte of which may take six in JSON.
const MAX_ONE: usize = 6 * MAX_VALUE + 4096;

const ALL: &str = "get_all";

#[derive(Deserialize)]
struct Key {
    name: String,
}

/// Where a list goes on.
#[derive(Deserialize)]
struct Page {
    result_info: Option<PageInfo>,
}

#[derive(Deserialize)]
struct PageInfo {
    #[serde(default)]
    cursor: String,
}

#[derive(Serialize)]
struct BulkRequest<'a> {
    keys: &'a [String],
    r#type: &'static str,
}

#[derive(Deserialize)]
struct Bulk {
    values: HashMap<String, Option<String>>,
}

impl KvEnv {
    /// The value under a name; none where there is none.
    pub(super) async fn fetch(&self, operation: &'static str, name: &str) -> Result<Option<Secret>> {
        let key = format!("{}{name}", self.prefix);
        // KV holds no such key.
        if key.len() > MAX_KEY || key == "." || key == ".." {
            return Ok(None);
        }
        // The answer to one key is the bare value, which a page of a proxy could be taken for.
        let asked = self.bulk(std::slice::from_ref(&key), MAX_ONE, operation).await;
        let mut values = asked.map_err(|error| named(&error, operation, name))?;
        let missing = || fail(ErrorKind::Corrupt, operation, name).with_message("the key was not answered");
        match values.remove(&key).ok_or_else(missing)? {
            Some(value) => self.checked(operation, name, value).await,
            None => Ok(None),
        }
    }

    /// A value as it is in KV, which gives a replacement character for each byte that is no text.
    async fn checked(&self, operation: &'static str, name: &str, value: String) -> Result<Option<Secret>> {
        if value.len() > MAX_VALUE {
            return Err(fail(ErrorKind::LimitExceeded, operation, name)
                .with_message(format!("the setting has more than {MAX_VALUE} bytes")));
        }
        if !value.contains(char::REPLACEMENT_CHARACTER) {
            return Ok(Some(Secret::new(value)));
        }
        self.usage.read(1);
        let key = format!("{}{name}", self.prefix);
        let path = self.path(&format!("values/{}", utf8_percent_encode(&key, NON_ALPHANUMERIC)));
        let call = call(Method::GET, &path, Bytes::new(), MAX_VALUE);
        let answered = self.api.call(operation, call, |answer| match answer.status {
            200 if String::from_utf8_lossy(&answer.body) == value => Ok(Some(answer.body.clone())),
            200 => Err(Failure::new(ErrorKind::Unavailable, "the value has changed meanwhile").passing(None)),
            404 if is_missing_key(answer) => Ok(None),
            _ => Err(failure(answer)),
        });
        let Some(bytes) = answered.await.map_err(|error| named(&error, operation, name))? else {
            return Ok(None);
        };
        match String::from_utf8(bytes.into()) {
            Ok(value) => Ok(Some(Secret::new(value))),
            Err(_) => Err(fail(ErrorKind::Corrupt, operation, name).with_message("the value is not UTF-8")),
        }
    }

    /// All settings.
    pub(super) async fn fetch_all(&self) -> Result<BTreeMap<String, Secret>> {
        let limit = |what: String| fail(ErrorKind::LimitExceeded, ALL, "").with_message(what);
        let keys = self.keys().await?;
        let (mut all, mut bytes) = (BTreeMap::new(), 0);
        for keys in keys.chunks(BULK) {
            let mut values = self.bulk(keys, MAX_BULK, ALL).await?;
            for key in keys {
                let missing = || fail(ErrorKind::Corrupt, ALL, "").with_message("a key was not answered");
                // One that was removed meanwhile has no value any more.
                let Some(value) = values.remove(key).ok_or_else(missing)? else { continue };
                let name = key.strip_prefix(&*self.prefix).unwrap_or(key).to_owned();
                let Some(value) = self.checked(ALL, &name, value).await? else { continue };
                let length = value.expose().len();
                bytes += name.len() + length;
                if bytes > MAX_ALL {
                    return Err(limit(format!("all settings have more than {MAX_ALL} bytes")));
                }
                all.insert(name, value);
            }
        }
        Ok(all)
    }

    /// All keys that are settings.
    async fn keys(&self) -> Result<Vec<String>> {
        let (mut keys, mut cursor) = (Vec::new(), String::new());
        loop {
            let mut query = format!("keys?limit={PAGE}");
            for (name, value) in [("prefix", &*self.prefix), ("cursor", &cursor)] {
                if !value.is_empty() {
                    query.push_str(&format!("&{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
                }
            }
            self.usage.list();
            let path = self.path(&query);
            let call = call(Method::GET, &path, Bytes::new(), MAX_LIST);
            let answered = self.api.call(ALL, call, |answer| {
                if !answer.is_success() {
                    return Err(failure(answer));
                }
                let keys = Envelope::<Vec<Key>>::read(answer)?;
                let page: Page = serde_json::from_slice(&answer.body)
                    .map_err(|error| Failure::new(ErrorKind::Corrupt, error.to_string()))?;
                Ok((keys, page.result_info.map(|info| info.cursor).unwrap_or_default()))
            });
            let (page, next) = answered.await.map_err(|error| named(&error, ALL, ""))?;
            let names = page.into_iter().map(|key| key.name);
            keys.extend(names.filter(|key| key.strip_prefix(&*self.prefix).is_some_and(is_name)));
            if keys.len() > MAX_NAMES {
                return Err(fail(ErrorKind::LimitExceeded, ALL, "")
                    .with_message(format!("there are more than {MAX_NAMES} settings")));
            }
            if next.is_empty() {
                return Ok(keys);
            }
            if next == cursor {
                return Err(fail(ErrorKind::Corrupt, ALL, "").with_message("the list does not go on"));
            }
            cursor = next;
        }
    }

    /// The values of some keys; none for a key that is not there.
    async fn bulk(
        &self,
        keys: &[String],
        limit: usize,
        operation: &'static str,
    ) -> Result<HashMap<String, Option<String>>> {
        let body = serde_json::to_vec(&BulkRequest { keys, r#type: "text" })
            .map_err(|error| fail(ErrorKind::Internal, operation, "").with_source(error))?;
        self.usage.read(keys.len());
        let path = self.path("bulk/get");
        let call = call(Method::POST, &path, body.into(), limit);
        let answered = self.api.call(operation, call, |answer| {
            if answer.is_success() { Envelope::<Bulk>::read(answer) } else { Err(failure(answer)) }
        });
        let bulk = answered.await.map_err(|error| named(&error, operation, ""))?;
        Ok(bulk.values)
    }

    fn path(&self, rest: &str) -> String {
        format!("/storage/kv/namespaces/{}/{rest}", self.namespace)
    }
}

/// A request that changes nothing, so that it may be repeated.
fn call(method: Method, path: &str, body: Bytes, limit: usize) -> Call<'_> {
    Call { method, path, body, changes: false, limit }
}

/// The answer to a key that is not there, and not to a namespace that is not.
fn is_missing_key(answer: &Answer) -> bool {
    const KEY_NOT_FOUND: i64 = 10009;
    answer.errors().is_some_and(|errors| errors.iter().any(|(code, _)| *code == KEY_NOT_FOUND))
}

/// That a namespace is missing is no answer about a setting.
fn failure(answer: &Answer) -> Failure {
    let failure = answer.failure();
    match failure.kind {
        ErrorKind::NotFound => Failure::new(ErrorKind::Unavailable, failure.message),
        _ => failure,
    }
}

fn fail(kind: ErrorKind, operation: &'static str, name: &str) -> Error {
    let error = Error::new(kind, operation).with_provider(PROVIDER);
    if name.is_empty() { error } else { error.with_path(name) }
}

fn named(error: &Error, operation: &'static str, name: &str) -> Error {
    fail(error.kind(), operation, name).with_message(error.message().to_owned()).with_retry(error.retry())
}
