use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

/// The hosts that a proxy lets commands reach, which may change while they run.
///
/// A name allows exactly itself, `*.example.com` every name below `example.com` and not that name itself. Names are
/// compared without regard to case. A number of a network is no name, and never allowed. Clones are one list.
///
/// ```
/// use agentx_provider_local::AllowList;
///
/// let list = AllowList::new(["crates.io", "*.crates.io"]);
/// assert!(list.allows("static.crates.io") && !list.allows("crates.io.evil.example"));
/// list.remove("*.crates.io");
/// assert!(!list.allows("static.crates.io"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct AllowList(Arc<RwLock<BTreeSet<String>>>);

impl AllowList {
    /// A list of these names.
    pub fn new(names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let list = Self::default();
        for name in names {
            list.add(name);
        }
        list
    }

    /// Allows a name from now on.
    pub fn add(&self, name: impl AsRef<str>) {
        self.write().insert(normal(name.as_ref()));
    }

    /// No longer allows a name that was added just so. Open connections go on.
    pub fn remove(&self, name: impl AsRef<str>) {
        self.write().remove(&normal(name.as_ref()));
    }

    /// Whether a host may be reached.
    pub fn allows(&self, host: &str) -> bool {
        let host = normal(host);
        if host.is_empty() || host.parse::<std::net::IpAddr>().is_ok() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_allows_itself_and_a_star_what_is_below() {
        let list = AllowList::new(["Example.com", "*.example.org"]);
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
    fn an_address_is_never_allowed() {
        let list = AllowList::new(["127.0.0.1", "::1"]);
        assert!(!list.allows("127.0.0.1") && !list.allows("::1"));
    }

    #[test]
    fn clones_are_one_list() {
        let list = AllowList::default();
        list.clone().add("a.example");
        assert!(list.allows("a.example"));
    }
}
