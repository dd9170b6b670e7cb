use agentx_resource::ResourcePath;
use globset::{GlobBuilder, GlobSet};

/// The patterns of one `.gitignore`, as git reads them.
#[derive(Debug)]
pub(super) struct Patterns {
    directory: ResourcePath,
    globs: GlobSet,
    /// What each glob says, in their order.
    rules: Vec<Rule>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    /// It takes back what an earlier one leaves out.
    negated: bool,
    directories_only: bool,
}

impl Patterns {
    /// The patterns of a file in `directory`; `None` where there are none. As git does, a line that is no pattern is
    /// passed over.
    pub(super) fn new(directory: &ResourcePath, content: &[u8]) -> Option<Self> {
        let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
        let (mut set, mut rules) = (GlobSet::builder(), Vec::new());
        for line in String::from_utf8_lossy(content).lines() {
            let Some((rule, pattern)) = parse(line) else { continue };
            let glob = GlobBuilder::new(&pattern).literal_separator(true).backslash_escape(true).build();
            if let Ok(glob) = glob {
                set.add(glob);
                rules.push(rule);
            }
        }
        let globs = set.build().ok().filter(|globs| !globs.is_empty())?;
        Some(Self { directory: directory.clone(), globs, rules })
    }

    /// Whether an entry below the directory is left out, where a pattern matches it. The last one that does decides.
    pub(super) fn leave_out(&self, path: &ResourcePath, is_dir: bool) -> Option<bool> {
        let below = path.strip_prefix(&self.directory)?;
        let matching =
            self.globs.matches(below).into_iter().rev().filter_map(|number| self.rules.get(number));
        let mut deciding = matching.filter(|rule| is_dir || !rule.directories_only);
        deciding.next().map(|rule| !rule.negated)
    }
}

/// What a line says, and the glob of the paths below the directory that it speaks of.
fn parse(line: &str) -> Option<(Rule, String)> {
    if line.starts_with('#') {
        return None;
    }
    // A blank at the end counts where it is escaped.
    let line = if line.ends_with("\\ ") { line } else { line.trim_end() };
    let (negated, line) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest));
    let (directories_only, line) = line.strip_suffix('/').map_or((false, line), |rest| (true, rest));
    if line.is_empty() {
        return None;
    }
    // One with a `/` within is about the path from here, one without about the name anywhere below.
    let mut glob = match line.strip_prefix('/') {
        Some(anchored) => anchored.to_owned(),
        None if line.contains('/') => line.to_owned(),
        None => format!("**/{line}"),
    };
    if glob.ends_with("/**") {
        // All that is in a directory, and not the directory.
        glob.push_str("/*");
    }
    Some((Rule { negated, directories_only }, glob))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(patterns: &str, path: &str) -> Option<bool> {
        let (path, is_dir) = path.strip_suffix('/').map_or((path, false), |path| (path, true));
        let set = Patterns::new(&ResourcePath::new("/w").unwrap(), patterns.as_bytes())?;
        set.leave_out(&ResourcePath::new(format!("/w{path}")).unwrap(), is_dir)
    }

    /// The cases of git's own description, `gitignore(5)`.
    #[test]
    fn as_git_reads_them() {
        let (out, kept, silent) = (Some(true), Some(false), None);
        for (patterns, path, expected) in [
            ("*.log", "/a.log", out),
            ("*.log", "/x/y/a.log", out),
            ("*.log\n!keep.log", "/x/keep.log", kept),
            ("!keep.log\n*.log", "/keep.log", out),
            ("/build", "/build", out),
            ("/build", "/x/build", silent),
            ("build/", "/build/", out),
            ("build/", "/x/build/", out),
            ("build/", "/build", silent),
            ("doc/frotz/", "/doc/frotz/", out),
            ("doc/frotz/", "/a/doc/frotz/", silent),
            ("foo/*", "/foo/test.json", out),
            ("foo/*", "/foo/bar/hello.c", silent),
            ("**/foo/bar", "/x/foo/bar", out),
            ("**/foo", "/foo", out),
            ("abc/**", "/abc/x/y", out),
            ("abc/**", "/abc/", silent),
            ("a/**/b", "/a/b", out),
            ("a/**/b", "/a/x/y/b", out),
            ("fo?", "/foo", out),
            ("[a-c].txt", "/b.txt", out),
            ("# a", "/# a", silent),
            ("\\#a", "/#a", out),
            ("\\!a", "/!a", out),
            ("a  ", "/a", out),
            ("a\\ ", "/a ", out),
            ("a\\ ", "/a", silent),
            ("a\r\nb", "/a", out),
            ("[\nb", "/b", out),
            ("\n/\n!\n", "/a", silent),
            ("A", "/a", silent),
        ] {
            assert_eq!(verdict(patterns, path), expected, "{patterns:?} {path}");
        }
    }
}
