use std::{
    fmt, fs,
    io::Read,
    path::{Path, PathBuf},
};

use agentx_resource::{ApiSupply, ErrorKind, LLMProvider, Result, Secret};
use async_trait::async_trait;
use rustix::{
    fs::{FileType, Mode, OFlags, fstat},
    io::Errno,
};

use crate::{
    blocking::blocking,
    env::{check, host_variable},
    fs::{Done, Fault},
};

/// The largest file that is read for a key, in bytes.
const MAX_FILE: u64 = 64 << 10;

/// A key for a model API, from this machine: a value, an environment variable, or a file.
///
/// Variables and files are read anew at each [`LLMProvider::provide`], so that a key can rotate. White space around a
/// key is dropped; a key that is empty or holds anything but visible ASCII is `InvalidInput`. The key is never
/// in `Debug` or in an error.
///
/// ```
/// use agentx_provider_local::ApiKey;
/// use agentx_resource::LLMProvider;
///
/// # futures::executor::block_on(async {
/// let provider = ApiKey::value("sk-123").with_base_url("http://127.0.0.1:8080");
/// let supply = provider.provide().await?;
/// assert_eq!(supply.key.expose(), "sk-123");
/// assert_eq!(supply.base_url.as_deref(), Some("http://127.0.0.1:8080"));
/// # Ok::<(), agentx_resource::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct ApiKey {
    name: String,
    source: Source,
    base_url: BaseUrl,
}

#[derive(Clone)]
enum Source {
    Value(Secret),
    Variable(String),
    File(PathBuf),
}

#[derive(Clone, Debug)]
enum BaseUrl {
    Default,
    Given(String),
    Variable(String),
}

impl ApiKey {
    /// This key.
    pub fn value(key: impl Into<Secret>) -> Self {
        Self::new("api key".to_owned(), Source::Value(key.into()))
    }

    /// The key in the environment variable `name`, such as `ANTHROPIC_API_KEY`.
    pub fn from_env(name: impl Into<String>) -> Self {
        let name = name.into();
        Self::new(name.clone(), Source::Variable(name))
    }

    /// The key in a file of at most 64 KiB. Symbolic links are followed: that is how mounted secrets rotate.
    pub fn from_file(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self::new(path.display().to_string(), Source::File(path))
    }

    /// With this name, for messages to people.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The API lives here.
    pub fn with_base_url(mut self, url: impl Into<String>) -> Self {
        self.base_url = BaseUrl::Given(url.into());
        self
    }

    /// The API lives where the environment variable `name` says, such as `ANTHROPIC_BASE_URL`; at the driver's default
    /// place while it is unset or empty.
    pub fn with_base_url_from_env(mut self, name: impl Into<String>) -> Self {
        self.base_url = BaseUrl::Variable(name.into());
        self
    }

    fn new(name: String, source: Source) -> Self {
        Self { name, source, base_url: BaseUrl::Default }
    }

    async fn key(&self) -> Done<Secret> {
        let found = match &self.source {
            Source::Value(key) => key.clone(),
            Source::Variable(name) => Secret::new(
                variable(name)?.ok_or_else(|| Fault::new(ErrorKind::NotFound, "the variable is not set"))?,
            ),
            Source::File(path) => {
                let path = path.clone();
                blocking(move |_| read(&path)).await?
            }
        };
        let key = found.expose().trim();
        if key.is_empty() {
            return Err(Fault::new(ErrorKind::InvalidInput, "the key is empty"));
        }
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Fault::new(ErrorKind::InvalidInput, "the key holds more than visible ASCII"));
        }
        Ok(Secret::from(key))
    }
}

#[async_trait]
impl LLMProvider<ApiSupply> for ApiKey {
    fn name(&self) -> &str {
        &self.name
    }

    async fn provide(&self) -> Result<ApiSupply> {
        let supply = ApiSupply::new(self.key().await.map_err(|fault| fault.told("provide", &self.name))?);
        let url = match &self.base_url {
            BaseUrl::Default => None,
            BaseUrl::Given(url) => Some(url.clone()),
            BaseUrl::Variable(name) => variable(name)
                .map_err(|fault| fault.told("provide", name))?
                .map(|url| url.trim().to_owned())
                .filter(|url| !url.is_empty()),
        };
        Ok(match url {
            Some(url) => supply.with_base_url(url),
            None => supply,
        })
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(_) => f.write_str("Value([redacted])"),
            Self::Variable(name) => f.debug_tuple("Variable").field(name).finish(),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

fn variable(name: &str) -> Done<Option<String>> {
    check(name)?;
    host_variable(name)
}

fn read(path: &Path) -> Done<Secret> {
    // Not to wait for the other end of a FIFO.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    match FileType::from_raw_mode(fstat(&file)?.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(Errno::ISDIR.into()),
        _ => return Err(Errno::NXIO.into()),
    }
    // Room for all of it from the start: a buffer that grows leaves copies behind in memory.
    let mut text = Vec::with_capacity(usize::try_from(MAX_FILE).unwrap_or(0) + 64);
    fs::File::from(file).take(MAX_FILE + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(Fault::new(ErrorKind::LimitExceeded, "a key file has at most 64 KiB"));
    }
    match String::from_utf8(text) {
        Ok(text) => Ok(Secret::new(text)),
        Err(_) => Err(Fault::new(ErrorKind::InvalidInput, "the file is not UTF-8")),
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    #[test]
    fn a_key_comes_from_a_variable() {
        // Cargo sets these for every test.
        let key = ApiKey::from_env("CARGO_PKG_NAME").with_base_url_from_env("CARGO_PKG_VERSION");
        let supply = block_on(key.provide()).unwrap();
        assert_eq!(supply.key.expose(), "agentx-provider-local");
        assert_eq!(supply.base_url.as_deref(), Some(env!("CARGO_PKG_VERSION")));

        let error = block_on(ApiKey::from_env("AGENTX_NOBODY_SETS_THIS").provide()).unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::NotFound, Some("AGENTX_NOBODY_SETS_THIS")));
        let unset = ApiKey::value("k").with_base_url_from_env("AGENTX_NOBODY_SETS_THIS");
        assert_eq!(block_on(unset.provide()).unwrap().base_url, None);
    }

    #[test]
    fn an_unusable_key_is_refused_and_never_shown() {
        for key in ["", "  \n", "sk-se cret", "sk-secret\u{e9}", "sk-secret\r\nX: y"] {
            let provider = ApiKey::value(key);
            let error = block_on(provider.provide()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{key:?}");
            assert!(!format!("{error:?} {error} {provider:?}").contains("sk-se"));
        }
    }

    #[test]
    fn a_file_is_read_anew_each_time() {
        let path = std::env::temp_dir().join(format!("agentx-key-{}", std::process::id()));
        let provider = ApiKey::from_file(&path);
        assert_eq!(block_on(provider.provide()).unwrap_err().kind(), ErrorKind::NotFound);
        for key in ["sk-one", "sk-two"] {
            fs::write(&path, format!("  {key}\n")).unwrap();
            assert_eq!(block_on(provider.provide()).unwrap().key.expose(), key);
        }
        fs::write(&path, "k".repeat(65_536)).unwrap();
        assert!(block_on(provider.provide()).is_ok());
        fs::write(&path, "k".repeat(65_537)).unwrap();
        assert_eq!(block_on(provider.provide()).unwrap_err().kind(), ErrorKind::LimitExceeded);
        fs::remove_file(&path).unwrap();
        let directory = ApiKey::from_file(std::env::temp_dir());
        assert_eq!(block_on(directory.provide()).unwrap_err().kind(), ErrorKind::IsADirectory);
    }
}
