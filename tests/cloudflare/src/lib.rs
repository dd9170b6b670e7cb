//! Where Cloudflare's own code answers: R2, D1, KV and Durable Objects in one workerd on loopback, which
//! `cargo xtask test cloudflare` starts for all tests of this package.
//!
//! Tests run at once, each in a [`Place`] that no other has. To try a single one by hand: let `node server.mjs` of `workers/`
//! run (its first lines say how), set [`VARIABLE`] to the address that it prints, and run the test with ignored ones
//! included.

mod proxy;

use std::{
    env,
    io::{self, Read, Write},
    net::TcpStream,
    time::Duration,
};

pub use self::proxy::{Fault, FaultProxy};

/// The variable with the server's address, as `http://127.0.0.1:<port>`.
pub const VARIABLE: &str = "AGENTX_CLOUDFLARE_URL";

/// The bucket that all tests share, each below a prefix of its own.
pub const BUCKET: &str = "bucket";
/// The bucket of tests that need so many objects that others would wait for them.
pub const MANY: &str = "many";
/// The key id and the secret of both buckets' S3 endpoint.
pub const S3_CREDENTIALS: (&str, &str) = ("key", "secret");
/// What [`Place::rest_api`] wants as a bearer token.
pub const TOKEN: &str = "token";

/// How long the server may take to give a place, and for any other request.
const PATIENCE: Duration = Duration::from_mins(1);

/// How many objects one request fills in.
const FILLED_AT_ONCE: usize = 500;

/// What one test has to itself on the server.
#[derive(Clone, Debug)]
pub struct Place {
    url: String,
    number: u32,
}

impl Place {
    /// Asks the server for a place.
    ///
    /// # Panics
    /// Where there is no server, or it does not answer as it should: then nothing can be tested.
    #[expect(clippy::panic, reason = "of no use but in tests")]
    pub fn take() -> Self {
        let Ok(url) = env::var(VARIABLE) else {
            panic!("{VARIABLE} is not set; `cargo xtask test cloudflare` starts the server and sets it");
        };
        match ask(&url) {
            Ok(number) => Self { url, number },
            Err(error) => panic!("{url} gives no place: {error}"),
        }
    }

    /// The server's address, without a `/` at its end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A number that no other test has.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The endpoint of the S3 API; the bucket's name follows in the path.
    pub fn s3_endpoint(&self) -> String {
        format!("{}/cdn-cgi/local/r2/s3", self.url)
    }

    /// What all keys of this place in the bucket begin with, without a `/` at its end.
    pub fn prefix(&self) -> String {
        format!("place-{}", self.number)
    }

    /// Puts so many small objects below `directory` of this place in the bucket [`MANY`], faster than by its API.
    ///
    /// # Panics
    /// Where the server does not say that it did.
    #[expect(clippy::panic, reason = "of no use but in tests")]
    pub fn fill(&self, directory: &str, count: usize) {
        let prefix = format!("{}/{directory}", self.prefix());
        for first in (0..count).step_by(FILLED_AT_ONCE) {
            let count = FILLED_AT_ONCE.min(count - first);
            let body = serde_json::json!({"prefix": prefix, "first": first, "count": count}).to_string();
            match send(&self.url, "POST", "/fill", body.as_bytes()) {
                Ok(answer) if answer.starts_with("HTTP/1.1 200") => {}
                other => panic!("{prefix} is not filled: {other:?}"),
            }
        }
    }

    /// The id of this place's database.
    pub fn database(&self) -> String {
        format!("d1-{}", self.number)
    }

    /// The id of this place's namespace.
    pub fn namespace(&self) -> String {
        format!("kv-{}", self.number)
    }

    /// Sets a key of this place's namespace; the key is percent-encoded.
    ///
    /// # Panics
    /// Where the server does not say that it did.
    pub fn put_key(&self, key: &str, value: &[u8]) {
        self.put(&format!("values/{key}"), value);
    }

    /// Sets many keys of this place's namespace, none of which is encoded.
    ///
    /// # Panics
    /// Where the server does not say that it did.
    pub fn put_keys(&self, keys: impl IntoIterator<Item = (String, String)>) {
        let pair = |(key, value)| serde_json::json!({"key": key, "value": value});
        let pairs: serde_json::Value = keys.into_iter().map(pair).collect();
        self.put("bulk", pairs.to_string().as_bytes());
    }

    #[expect(clippy::panic, reason = "of no use but in tests")]
    fn put(&self, what: &str, body: &[u8]) {
        let namespace = format!("/cdn-cgi/local/explorer/api/storage/kv/namespaces/{}", self.namespace());
        match send(&self.url, "PUT", &format!("{namespace}/{what}"), body) {
            Ok(answer) if answer.starts_with("HTTP/1.1 200") => {}
            other => panic!("{what} is not set: {other:?}"),
        }
    }

    /// The base of the local server's own REST API, which is close to that of an account.
    pub fn explorer_api(&self) -> String {
        format!("{}/cdn-cgi/local/explorer/api", self.url)
    }

    /// The base of an account's REST API as `workers/d1.mjs` plays it, for D1 alone.
    pub fn rest_api(&self) -> String {
        format!("{}/client/v4", self.url)
    }
}

fn ask(url: &str) -> io::Result<u32> {
    let answer = send(url, "POST", "/place", b"")?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.trim());
    body.and_then(|number| number.parse().ok()).ok_or_else(|| io::Error::other(answer))
}

/// One request without a client: what is asked and answered is known.
fn send(url: &str, method: &str, path: &str, body: &[u8]) -> io::Result<String> {
    let host = url.strip_prefix("http://").ok_or_else(|| io::Error::other("no http address"))?;
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )?;
    stream.write_all(body)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
