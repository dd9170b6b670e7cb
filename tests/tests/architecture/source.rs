//! The sources of a crate, as the compiler reaches them: from its root along the `mod` lines.

use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path, PathBuf},
};

use syn::{Attribute, Expr, ExprLit, Item, Lit, Meta};

use crate::workspace::root;

/// A source file that is part of a library or a program, not of its tests.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) syntax: syn::File,
}

impl Source {
    /// Where a line of it stands, for a message.
    pub(crate) fn at(&self, line: usize) -> String {
        format!("{}:{line}", relative(&self.path))
    }
}

/// What the `mod` lines of one crate lead to.
#[derive(Default)]
pub(crate) struct Sources {
    /// The files that a user compiles.
    pub(crate) files: Vec<Source>,
    /// All files that were reached, tests too.
    reached: BTreeSet<PathBuf>,
}

impl Sources {
    /// The sources of the crate in `folder`: its library, its program, and the helper program that it carries.
    pub(crate) fn load(folder: &Path) -> Self {
        let mut sources = Self::default();
        for name in ["src/lib.rs", "src/main.rs", "helper/main.rs"] {
            let path = folder.join(name);
            if path.is_file() {
                sources.follow(path, false, false);
            }
        }
        sources
    }

    /// The files below `src` and `helper` that no `mod` line leads to: they are never compiled.
    pub(crate) fn orphans(&self, folder: &Path) -> Vec<String> {
        let files = [rust_files(&folder.join("src")), rust_files(&folder.join("helper"))].concat();
        let lost = files
            .iter()
            .filter(|path| !self.reached.contains(*path) && !path.starts_with(folder.join("src/bin")));
        lost.map(|path| format!("{} is in no module", relative(path))).collect()
    }

    /// Reads a file. One that its `mod` line names is at home where it lies, as `mod.rs` is.
    fn follow(&mut self, path: PathBuf, named: bool, test: bool) {
        // A file of two programs is one file.
        if !self.reached.insert(path.clone()) {
            return;
        }
        let source = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", relative(&path)));
        let syntax = syn::parse_file(&source).unwrap_or_else(|error| panic!("{}: {error}", relative(&path)));
        let home = path.parent().unwrap().to_owned();
        let folder = match path.file_stem().and_then(|stem| stem.to_str()) {
            Some("lib" | "main" | "mod") | None => home.clone(),
            Some(_) if named => home.clone(),
            Some(stem) => path.with_file_name(stem),
        };
        self.follow_items(&syntax.items, &home, &folder, test);
        if !test {
            self.files.push(Source { path, syntax });
        }
    }

    /// `home` is where a named file is looked for, `folder` where the others are.
    fn follow_items(&mut self, items: &[Item], home: &Path, folder: &Path, test: bool) {
        for item in items {
            let Item::Mod(module) = item else { continue };
            let test = test || is_test(&module.attrs);
            let name = module.ident.to_string();
            let name = name.trim_start_matches("r#");
            match (&module.content, named_file(&module.attrs)) {
                (Some((_, items)), _) => {
                    self.follow_items(items, &folder.join(name), &folder.join(name), test);
                }
                (None, Some(file)) => self.follow(normal(&home.join(file)), true, test),
                (None, None) => self.follow(module_file(folder, name), false, test),
            }
        }
    }
}

/// The file that a `mod` line names.
fn named_file(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(meta) if meta.path.is_ident("path") => match &meta.value {
            Expr::Lit(ExprLit { lit: Lit::Str(name), .. }) => Some(name.value()),
            _ => None,
        },
        _ => None,
    })
}

/// A path without `..` in it.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        if component == Component::ParentDir {
            normal.pop();
        } else {
            normal.push(component);
        }
    }
    normal
}

/// The file of `mod name;`.
fn module_file(folder: &Path, name: &str) -> PathBuf {
    let file = folder.join(name).with_extension("rs");
    if file.is_file() { file } else { folder.join(name).join("mod.rs") }
}

/// Whether something is compiled for tests alone.
pub(crate) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = list.tokens.to_string().replace(' ', "");
            condition == "test" || condition.starts_with("all(test,")
        }
        _ => false,
    })
}

/// All Rust files below a folder, but for build output and the workspace of its own.
pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return files };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules" {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// A path as seen from the workspace's folder.
pub(crate) fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

#[test]
fn modules_are_followed_and_tests_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join("src").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("lib.rs", "mod a; mod b; #[cfg(test)] mod tests; mod inline { mod c; }");
    write("a.rs", "mod deep; #[path = \"odd/place.rs\"] mod e;");
    write("odd/place.rs", "mod d;");
    write("odd/d.rs", "");
    write("a/deep.rs", "");
    write("b/mod.rs", "#[cfg(not(test))] mod d;");
    write("b/d.rs", "");
    write("inline/c.rs", "");
    write("tests.rs", "");
    write("lost.rs", "");
    let sources = Sources::load(folder.path());
    let mut names: Vec<_> = sources
        .files
        .iter()
        .map(|source| source.path.strip_prefix(folder.path().join("src")).unwrap())
        .collect();
    names.sort();
    let all =
        ["a/deep.rs", "a.rs", "b/d.rs", "b/mod.rs", "inline/c.rs", "lib.rs", "odd/d.rs", "odd/place.rs"];
    assert_eq!(names, all.map(Path::new));
    let orphans = sources.orphans(folder.path());
    assert!(matches!(orphans.as_slice(), [one] if one.contains("src/lost.rs")), "{orphans:?}");
}
