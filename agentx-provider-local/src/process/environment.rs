use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    fmt,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use agentx_resource::{ErrorKind, Result};

use super::{
    error, program,
    tree::{Mark, VARIABLE},
};

/// Where programs are when the host has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variables that every command gets.
#[derive(Clone)]
pub(super) struct Environment {
    base: BTreeMap<OsString, OsString>,
    /// The marks of the host itself, when it is a command too.
    outer: Option<String>,
}

impl Environment {
    pub(super) fn new() -> Self {
        let path = env::var_os("PATH").filter(|path| !path.is_empty());
        let path = path.unwrap_or_else(|| DEFAULT_PATH.into());
        Self { base: BTreeMap::from([("PATH".into(), path)]), outer: env::var(VARIABLE).ok() }
    }

    pub(super) fn set(&mut self, name: OsString, value: OsString) {
        self.base.insert(name, value);
    }

    /// Takes a variable from the host, where it is set.
    pub(super) fn inherit(&mut self, name: &OsStr) {
        if let Some(value) = env::var_os(name).filter(|_| name != "PATH") {
            self.set(name.to_owned(), value);
        }
    }

    /// bash where `PATH` has it, else the shell that every system has.
    pub(super) fn find_shell(&self) -> String {
        let path = self.base.get(OsStr::new("PATH")).map(OsString::as_os_str);
        let absolute =
            path.into_iter().flat_map(env::split_paths).filter(|directory| directory.is_absolute());
        let mut candidates = absolute.map(|directory| directory.join("bash"));
        let bash = candidates.find(|file| program::is_executable(rustix::fs::CWD, file));
        bash.and_then(|file| file.into_os_string().into_string().ok()).unwrap_or_else(|| "/bin/sh".into())
    }

    pub(super) fn mark(&self) -> std::io::Result<Mark> {
        Mark::new(self.outer.as_deref())
    }

    /// All that a command finds. The mark comes last: nobody can replace it. Without one, those of the host itself are
    /// handed on.
    pub(super) fn of_command(
        &self,
        request: &BTreeMap<String, String>,
        mark: Option<&Mark>,
    ) -> Result<Variables> {
        let mut variables = self.base.clone();
        variables.extend(request.iter().map(|(name, value)| (name.into(), value.into())));
        for (name, value) in &variables {
            check(name, value)?;
        }
        if let Some(marks) = mark.map(Mark::value).or(self.outer.as_deref()) {
            variables.insert(VARIABLE.into(), marks.into());
        }
        Ok(Variables(variables))
    }
}

/// Shows the names of variables, never their values: a value may be a secret.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.base.keys()).finish()
    }
}

/// The whole environment of one command.
pub(super) struct Variables(BTreeMap<OsString, OsString>);

impl Variables {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// Where this command's programs are looked up, in order. An empty entry means the working directory.
    pub(super) fn search_path(&self) -> impl Iterator<Item = PathBuf> {
        let path = self.0.get(OsStr::new("PATH")).map(OsString::as_os_str);
        path.into_iter().flat_map(env::split_paths).map(|directory| {
            if directory.as_os_str().is_empty() { Path::new(".").to_owned() } else { directory }
        })
    }
}

fn check(name: &OsStr, value: &OsStr) -> Result<()> {
    let message = match (name.as_bytes(), value.as_bytes()) {
        ([], _) => "a variable has no name",
        (name, _) if name.contains(&b'=') => "a variable's name contains `=`",
        (name, value) if name.contains(&0) || value.contains(&0) => "a variable contains NUL",
        _ => return Ok(()),
    };
    Err(error(ErrorKind::InvalidInput, "spawn").with_path(name.display()).with_message(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        Environment { base: BTreeMap::from([("PATH".into(), "/bin".into())]), outer: None }
    }

    #[test]
    fn a_request_overrides_and_nobody_replaces_the_mark() {
        let mut environment = environment();
        environment.set("A".into(), "base".into());
        environment.set("B".into(), "base".into());
        let mark = environment.mark().unwrap();
        let request = BTreeMap::from([("A".into(), "request".into()), (VARIABLE.into(), "forged".into())]);
        let variables = environment.of_command(&request, Some(&mark)).unwrap();
        let found: Vec<_> =
            variables.iter().map(|(n, v)| (n.to_str().unwrap(), v.to_str().unwrap())).collect();
        assert_eq!(found, [("A", "request"), (VARIABLE, mark.value()), ("B", "base"), ("PATH", "/bin")]);
    }

    #[test]
    fn what_is_no_variable_is_refused() {
        let environment = environment();
        let mark = environment.mark().unwrap();
        for (name, value) in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "x\0")] {
            let request = BTreeMap::from([(name.into(), value.into())]);
            let error = environment.of_command(&request, Some(&mark)).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name:?}");
        }
    }

    #[test]
    fn debug_shows_no_value() {
        let mut environment = environment();
        environment.set("TOKEN".into(), "hush".into());
        assert_eq!(format!("{environment:?}"), r#"["PATH", "TOKEN"]"#);
    }
}
