use std::sync::{Arc, LazyLock};

use agentx_core::{Error, ErrorKind, Result};
use agentx_resource::ResourcePath;
use globset::{GlobBuilder, GlobSet};

/// What a shell, git or ssh runs or trusts by itself, when the user does nothing but work in the directory.
const DEFAULT: &[&str] = &[
    // A file of this name says where the real one is.
    "**/.git",
    "**/.git/hooks/**",
    "**/.git/modules/**/hooks/**",
    "**/.git/**/config",
    "**/.git/**/config.worktree",
    "**/.gitconfig",
    "**/.bashrc",
    "**/.bash_aliases",
    "**/.bash_profile",
    "**/.bash_login",
    "**/.bash_logout",
    "**/.profile",
    "**/.zshrc",
    "**/.zshenv",
    "**/.zprofile",
    "**/.zlogin",
    "**/.zlogout",
    "**/.config/fish/**",
    "**/.ssh/**",
];

/// Files inside a writable root that the tools neither write nor edit, since something runs them later without being
/// asked: git's hooks and configuration, the start files of shells, ssh's directory.
///
/// The patterns are globs from the root, compared without regard to case. This is a guard of names against an agent
/// that was talked into it, and no boundary: a command, or a symlink with another name, still reaches such a file
/// wherever the provider lets it.
///
/// ```
/// use agentx_resource::ResourcePath;
/// use agentx_sandbox::ProtectedPaths;
///
/// let protected = ProtectedPaths::default();
/// assert!(protected.contains(&ResourcePath::new("/project/.git/hooks/pre-commit")?));
/// assert!(!protected.contains(&ResourcePath::new("/project/.gitignore")?));
/// let protected = ProtectedPaths::new(["/deploy/**"])?;
/// assert!(protected.contains(&ResourcePath::new("/deploy/run.sh")?));
/// # Ok::<(), agentx_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ProtectedPaths(Arc<GlobSet>);

impl ProtectedPaths {
    /// Files whose path matches one of these globs: `*` stays within a name, `**` crosses directories, and a leading
    /// `/` is the root.
    ///
    /// # Errors
    /// `InvalidInput` for a text that is no glob.
    pub fn new(globs: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self> {
        let mut set = GlobSet::builder();
        for glob in globs {
            let glob = glob.as_ref();
            let built = GlobBuilder::new(glob.trim_start_matches('/'))
                .literal_separator(true)
                .case_insensitive(true)
                .build()
                .map_err(|error| invalid(&error).with_path(glob))?;
            set.add(built);
        }
        Ok(Self(Arc::new(set.build().map_err(|error| invalid(&error))?)))
    }

    /// No file.
    pub fn none() -> Self {
        Self(Arc::new(GlobSet::empty()))
    }

    /// The globs of [`ProtectedPaths::default`], as a list to begin one's own with.
    pub fn default_globs() -> &'static [&'static str] {
        DEFAULT
    }

    /// Whether the file is protected.
    pub fn contains(&self, path: &ResourcePath) -> bool {
        self.0.is_match(path.relative())
    }
}

fn invalid(error: &globset::Error) -> Error {
    Error::new(ErrorKind::InvalidInput, "protect").with_message(error.to_string())
}

/// [`ProtectedPaths::default_globs`].
impl Default for ProtectedPaths {
    #[expect(clippy::expect_used, reason = "the globs are constants, and a test builds them")]
    fn default() -> Self {
        /// Built once: a set of globs is an automaton, and every runtime has one.
        static SET: LazyLock<ProtectedPaths> =
            LazyLock::new(|| ProtectedPaths::new(DEFAULT).expect("the default globs are globs"));
        SET.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_by_itself_is_protected() {
        let protected = ProtectedPaths::default();
        for path in [
            "/sub/.git",
            "/.git/hooks/pre-commit",
            "/.GIT/Hooks/pre-commit",
            "/a/b/.git/config",
            "/.git/worktrees/x/config.worktree",
            "/.git/modules/sub/hooks/post-checkout",
            "/.bashrc",
            "/home/u/.zshrc",
            "/.ssh/authorized_keys",
        ] {
            assert!(protected.contains(&ResourcePath::new(path).unwrap()), "{path}");
        }
        for path in
            ["/.gitignore", "/src/config", "/.github/workflows/ci.yml", "/hooks/pre-commit", "/profile"]
        {
            assert!(!protected.contains(&ResourcePath::new(path).unwrap()), "{path}");
        }
    }

    #[test]
    fn a_text_that_is_no_glob_is_refused() {
        assert_eq!(ProtectedPaths::new(["a[b"]).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
