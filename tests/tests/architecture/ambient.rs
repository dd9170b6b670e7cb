//! Rule 2: who reaches for files, processes, variables and sockets by itself.

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::{
    Item, Macro, UseTree,
    visit::{self, Visit},
};

use crate::{
    assert_none,
    source::{Sources, is_test},
    workspace::{Package, Workspace},
};

/// Where the machine is in reach.
const EXEMPT: &str = "agentx-provider-local";

/// The line in the root of a library that turns clippy's list on.
const SWITCH: &str = "cfg_attr(not(test),deny(clippy::disallowed_methods,clippy::disallowed_types))";

/// What clippy's list must at least name, one for each door.
const DOORS: &[&str] = &[
    "ignore::gitignore::Gitignore::new",
    "ignore::gitignore::GitignoreBuilder::add",
    "std::env::var",
    "std::fs::File",
    "std::fs::read",
    "std::net::TcpStream",
    "std::path::Path::exists",
    "std::process::Command",
    "tokio::fs::File",
    "tokio::net::TcpStream",
    "tokio::process::Command",
];

/// Whether a path leads to the machine. Addresses are data; sockets are not.
fn is_ambient(path: &[String]) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["std", "net", item, ..] => !matches!(
            *item,
            "IpAddr" | "Ipv4Addr" | "Ipv6Addr" | "SocketAddr" | "SocketAddrV4" | "SocketAddrV6"
        ),
        // What the program was built for.
        ["std", "env", "consts", ..] => false,
        ["std", "env" | "fs" | "net" | "os" | "process", ..] | ["tokio", "fs" | "net" | "process", ..] => {
            true
        }
        // Its patterns are data; clippy names what reads their files. All else walks the host's directories.
        ["ignore", rest @ ..] => {
            !matches!(rest, ["gitignore", "Gitignore" | "GitignoreBuilder", ..] | ["Match", ..])
        }
        // Renamed or taken whole, they could not be followed any more.
        ["std" | "tokio", rest @ ..] => matches!(rest, [] | ["*"]),
        _ => false,
    }
}

/// Collects the ambient paths of a file with their lines, tests left out.
#[derive(Default)]
struct Finder {
    found: Vec<(usize, String)>,
}

impl Finder {
    fn look(&mut self, path: &[String], span: Span) {
        if is_ambient(path) {
            self.found.push((span.start().line, path.join("::")));
        }
    }

    fn look_at_use(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: String| [before, &[name]].concat();
        match tree {
            UseTree::Path(path) => self.look_at_use(&path.tree, &with(path.ident.to_string())),
            UseTree::Name(name) if name.ident == "self" => self.look(before, name.ident.span()),
            UseTree::Name(name) => self.look(&with(name.ident.to_string()), name.ident.span()),
            UseTree::Rename(rename) if rename.ident == "self" => self.look(before, rename.ident.span()),
            UseTree::Rename(rename) => self.look(&with(rename.ident.to_string()), rename.ident.span()),
            UseTree::Glob(glob) => self.look(&with("*".to_owned()), glob.star_token.spans[0]),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.look_at_use(tree, before)),
        }
    }

    /// The paths in a macro's arguments, which are no syntax yet.
    fn look_at_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut start = Span::call_site();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.look(&std::mem::take(&mut path), start);
                        start = ident.span();
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                other => {
                    self.look(&std::mem::take(&mut path), start);
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.look_at_tokens(group.stream());
                    }
                }
            }
        }
        self.look(&path, start);
    }
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_test(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.look_at_use(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if let Some(first) = path.segments.first() {
            self.look(&names, first.ident.span());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.look_at_tokens(call.tokens.clone());
    }
}

/// Where a file reaches for the machine, with the line.
fn ambient(file: &syn::File) -> Vec<(usize, String)> {
    let mut finder = Finder::default();
    finder.visit_file(file);
    finder.found
}

/// What is wrong with the lints that say the same to whoever writes the code. `workspace` is the settings of the root,
/// `model` those that all library crates share, `own` and `root` the crate's settings and root file.
fn unguarded(workspace: &str, model: &str, own: Option<&str>, root: &syn::File) -> Vec<String> {
    let mut broken = Vec::new();
    let Some(own) = own else { return vec!["has no clippy.toml".to_owned()] };
    let missing = workspace.lines().filter(|line| !own.lines().any(|other| other == *line));
    broken.extend(missing.map(|line| format!("clippy.toml lacks the root's {line:?}")));
    let missing = DOORS.iter().filter(|door| !own.contains(&format!("\"{door}\"")));
    broken.extend(missing.map(|door| format!("clippy.toml does not name {door}")));
    if own != model {
        broken.push("clippy.toml differs from that of agentx-resource".to_owned());
    }
    let attribute = |attribute: &syn::Attribute| {
        attribute.meta.require_list().is_ok_and(|list| {
            format!("{}({})", list.path.get_ident().map_or(String::new(), ToString::to_string), list.tokens)
                .replace(' ', "")
                == SWITCH
        })
    };
    if !root.attrs.iter().any(attribute) {
        broken.push(format!("src/lib.rs lacks #![{SWITCH}]"));
    }
    broken
}

fn confined(workspace: &Workspace) -> impl Iterator<Item = &Package> {
    workspace.libraries().filter(|package| package.name != EXEMPT)
}

#[test]
fn no_library_but_the_local_provider_reaches_the_machine() {
    let workspace = Workspace::load();
    let mut broken = Vec::new();
    for package in confined(&workspace) {
        let sources = Sources::load(&package.folder);
        assert!(!sources.files.is_empty(), "{} has no sources", package.name);
        for source in sources.files {
            let found = ambient(&source.syntax);
            broken.extend(found.into_iter().map(|(line, path)| format!("{} uses {path}", source.at(line))));
        }
    }
    assert_none(&broken);
}

#[test]
fn clippy_says_so_too() {
    let workspace = Workspace::load();
    let root = std::fs::read_to_string(crate::workspace::root().join("clippy.toml")).unwrap();
    let resource = workspace.members().find(|package| package.name == "agentx-resource").unwrap();
    let model = resource.read_file("clippy.toml").unwrap();
    let mut broken = Vec::new();
    for package in confined(&workspace) {
        let lib = syn::parse_file(&package.read_file("src/lib.rs").unwrap()).unwrap();
        let problems = unguarded(&root, &model, package.read_file("clippy.toml").as_deref(), &lib);
        broken.extend(problems.into_iter().map(|problem| format!("{}: {problem}", package.name)));
    }
    assert_none(&broken);
}

#[test]
fn reaching_out_is_found_in_every_form() {
    let find = |text: &str| {
        let found = ambient(&syn::parse_file(text).unwrap());
        found.into_iter().map(|(_, path)| path).collect::<Vec<_>>()
    };
    assert_eq!(find("use std::fs;"), ["std::fs"]);
    assert_eq!(find("use std::{fmt, fs::{self, File}, env as e};"), ["std::fs", "std::fs::File", "std::env"]);
    assert_eq!(find("use std::*;"), ["std::*"]);
    assert_eq!(find("use tokio as t;"), ["tokio"]);
    assert_eq!(find("fn f() { std::process::exit(1) }"), ["std::process::exit"]);
    assert_eq!(find("fn f(_: tokio::net::TcpStream) {}"), ["tokio::net::TcpStream"]);
    assert_eq!(find("fn f() { println!(\"{:?}\", (1, std::env::var(\"HOME\"))) }"), ["std::env::var"]);
    assert_eq!(find("#[cfg(not(test))] mod m { use std::net::TcpStream; }"), ["std::net::TcpStream"]);
    assert_eq!(find("use std::net::{IpAddr, UdpSocket};"), ["std::net::UdpSocket"]);
    let walks = find("use ignore::{Match, WalkBuilder, gitignore::{Gitignore, gitconfig_excludes_path}};");
    assert_eq!(walks, ["ignore::WalkBuilder", "ignore::gitignore::gitconfig_excludes_path"]);
}

#[test]
fn words_and_tests_are_not_found() {
    let text = r#"
        //! Like `std::fs::read`.
        use std::{env::consts, fmt, io, net::IpAddr, sync::Arc};
        use tokio::{sync::mpsc, time};
        /// Not std::env::var.
        fn f(fs: &str) -> String { format!("std::fs {fs}") }
        #[cfg(test)]
        mod tests { use std::{fs, process::Command}; }
    "#;
    assert_eq!(ambient(&syn::parse_file(text).unwrap()), []);
}

#[test]
fn a_crate_without_its_lints_is_found() {
    let with = syn::parse_file(&format!("#![{SWITCH}]")).unwrap();
    let without = syn::parse_file("#![deny(missing_docs)]").unwrap();
    let model = format!("\"{}\"\na = true\n", DOORS.join("\"\n\""));
    assert_none(&unguarded("a = true\n", &model, Some(&model), &with));
    assert_eq!(unguarded("a = true\n", &model, None, &with).len(), 1);
    assert_eq!(unguarded("a = true\n", &model, Some(&model), &without).len(), 1);
    assert_eq!(unguarded("b = true\n", &model, Some(&model), &with).len(), 1);
    assert_eq!(unguarded("", "", Some(""), &with).len(), DOORS.len());
}
