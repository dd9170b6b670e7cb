use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use agentx_resource::{ErrorKind, Result};

use crate::process::error;

/// The hosts that a proxy lets commands reach, which may change while they run.
///
/// A name allows exactly itself, `*.example.com` every name below `example.com` and not that name itself. Names are
/// compared without regard to case. A number of a network is no name, and never allowed. Clones are one list. The list
/// that is made by `default` is empty.
///
/// ```
/// use agentx_provider_local::AllowList;
///
/// # fn main() -> agentx_resource::Result<()> {
/// let list = AllowList::new(["crates.io", "*.crates.io"])?;
/// assert!(list.allows("static.crates.io") && !list.allows("crates.io.evil.example"));
/// list.remove("*.crates.io");
/// assert!(!list.allows("static.crates.io"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct AllowList(Arc<RwLock<BTreeSet<String>>>);

impl AllowList {
    /// The longest name that the name system has, in bytes.
    const MAX_NAME: usize = 253;

    /// A list of these names.
    ///
    /// # Errors
    /// Those of [`add`](Self::add).
    pub fn new(names: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self> {
        let list = Self::default();
        for name in names {
            list.add(name)?;
        }
        Ok(list)
    }

    /// Allows a name from now on.
    ///
    /// # Errors
    /// `InvalidInput` for what no host is ever asked for by: an address, a URL, a port, a `*` that is not the whole first
    /// part, and letters beyond ASCII, which are to be written as `xn--…`.
    pub fn add(&self, name: impl AsRef<str>) -> Result<()> {
        let name = normal(name.as_ref());
        match refusal(&name) {
            None => self.write().insert(name),
            Some(why) => {
                return Err(error(ErrorKind::InvalidInput, "allow").with_path(name).with_message(why));
            }
        };
        Ok(())
    }

    /// No longer allows a name that was added just so. Open connections go on.
    pub fn remove(&self, name: impl AsRef<str>) {
        self.write().remove(&normal(name.as_ref()));
    }

    /// Whether a host may be reached.
    pub fn allows(&self, host: &str) -> bool {
        let host = normal(host);
        if host.is_empty() || host.parse::<IpAddr>().is_ok() {
            return false;
        }
        let names = self.read();
        let parents = host.match_indices('.').filter_map(|(dot, _)| host.get(dot..));
        names.contains(&host) || parents.into_iter().any(|parent| names.contains(&format!("*{parent}")))
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeSet<String>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeSet<String>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Two lists are equal when they are one.
impl PartialEq for AllowList {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for AllowList {}

/// A name may be written with the dot that ends it.
fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Why no host can ever be meant by this.
fn refusal(name: &str) -> Option<&'static str> {
    let host = name.strip_prefix("*.").unwrap_or(name);
    let is_part = |part: &str| {
        !part.is_empty()
            && part.len() <= 63
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    // What ends in a number is an address to those who connect, however it is written.
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()) || part.starts_with("0x");
    if !host.is_ascii() {
        Some("a host's name is written in ASCII: see punycode, `xn--…`")
    } else if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        Some("addresses are never allowed: name the host")
    } else if name.len() > AllowList::MAX_NAME || !host.split('.').all(is_part) {
        Some("this is no name of a host, nor `*.` before one: a list has no URLs, ports or other patterns")
    } else if host.rsplit('.').next().is_some_and(is_number) {
        Some("addresses are never allowed: name the host")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_allows_itself_and_a_star_what_is_below() {
        let list = AllowList::new(["Example.com", "*.example.org"]).unwrap();
        for host in ["example.com", "EXAMPLE.com.", "a.example.org", "a.b.example.org"] {
            assert!(list.allows(host), "{host}");
        }
        for host in
            ["", ".", "com", "a.example.com", "example.org", "xexample.org", "example.com.evil", "*.org"]
        {
            assert!(!list.allows(host), "{host}");
        }
    }

    #[test]
    fn what_can_never_be_asked_for_is_refused() {
        for name in [
            "",
            ".",
            "*",
            "*.",
            "*.*.org",
            "a*.org",
            "a..b",
            "http://example.com",
            "example.com/path",
            "example.com:443",
            "user@example.com",
            "exämple.com",
            "exa mple.com",
            "127.0.0.1",
            "10.1",
            "2130706433",
            "0x7f000001",
            "::1",
            "[::1]",
        ] {
            let error = AllowList::new([name]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}");
        }
        for name in
            ["localhost", "a-b.c_d.example.", "*.com", "xn--exmple-cua.com", "1password.com", "4.example"]
        {
            AllowList::new([name]).unwrap();
        }
    }

    #[test]
    fn clones_are_one_list() {
        let list = AllowList::default();
        list.clone().add("a.example").unwrap();
        assert!(list.allows("a.example") && !list.allows("127.0.0.1"));
    }
}
