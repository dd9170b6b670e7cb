//! What may not stand in a source file, and how long one may be.

use std::fs;

use syn::{
    Attribute, Item,
    spanned::Spanned,
    visit::{self, Visit},
};

use crate::{
    assert_none,
    source::{Sources, is_test, relative, rust_files},
    workspace::{Workspace, root},
};

/// The most lines of a file, its tests not counted.
const LINES: usize = 500;

/// Signs of work that was left for later: in a comment, and as a macro. In two parts each, so that this file does not
/// find itself.
const COMMENTS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
const MACROS: &[&str] = &[concat!("todo", "!("), concat!("unimplemented", "!(")];

/// How many lines a file has without the tests in it.
fn length(text: &str, file: &syn::File) -> usize {
    let tests = file.items.iter().filter_map(|item| match item {
        Item::Mod(module) if module.content.is_some() && is_test(&module.attrs) => Some(module.span()),
        _ => None,
    });
    text.lines().count() - tests.map(|span| span.end().line - span.start().line + 1).sum::<usize>()
}

/// The lines with signs of unfinished work. Text that a program writes or looks for is none.
fn unfinished(text: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let comment = line.split_once("//").map_or("", |(_, comment)| comment);
        let signs = COMMENTS.iter().filter(|sign| comment.contains(**sign));
        let signs = signs.chain(MACROS.iter().filter(|sign| line.contains(**sign)));
        found.extend(signs.map(|&sign| (index + 1, sign)));
    }
    found
}

/// The lines where a lint is allowed without a reason.
fn unexplained(file: &syn::File) -> Vec<usize> {
    #[derive(Default)]
    struct Finder(Vec<usize>);
    impl<'ast> Visit<'ast> for Finder {
        fn visit_attribute(&mut self, attribute: &'ast Attribute) {
            let lint = attribute.path().is_ident("allow") || attribute.path().is_ident("expect");
            if lint
                && attribute
                    .meta
                    .require_list()
                    .is_ok_and(|list| !list.tokens.to_string().contains("reason ="))
            {
                self.0.push(attribute.span().start().line);
            }
            visit::visit_attribute(self, attribute);
        }
    }
    let mut finder = Finder::default();
    finder.visit_file(file);
    finder.0
}

#[test]
fn files_are_short() {
    let mut broken = Vec::new();
    for package in Workspace::load().members() {
        for source in Sources::load(&package.folder).files {
            let lines = length(&fs::read_to_string(&source.path).unwrap(), &source.syntax);
            if lines > LINES {
                broken.push(format!("{} has {lines} lines without its tests", relative(&source.path)));
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn every_file_is_compiled() {
    let workspace = Workspace::load();
    let lost =
        workspace.members().flat_map(|package| Sources::load(&package.folder).orphans(&package.folder));
    assert_none(&lost.collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_for_later_and_no_lint_is_allowed_without_a_reason() {
    let mut broken = Vec::new();
    for path in rust_files(&root()) {
        let text = fs::read_to_string(&path).unwrap();
        let name = relative(&path);
        broken.extend(unfinished(&text).into_iter().map(|(line, sign)| format!("{name}:{line}: {sign}")));
        let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        broken.extend(
            unexplained(&file).into_iter().map(|line| format!("{name}:{line}: a lint without a reason")),
        );
    }
    assert_none(&broken);
}

/// Where the machine is spoken to, and the compiler can't follow.
const UNSAFE: &str = "agentx-provider-local/";

/// The lines that let unsafe code in.
fn unsafe_doors(file: &syn::File) -> Vec<usize> {
    #[derive(Default)]
    struct Finder(Vec<usize>);
    impl<'ast> Visit<'ast> for Finder {
        fn visit_attribute(&mut self, attribute: &'ast Attribute) {
            let list = attribute.meta.require_list();
            if list.is_ok_and(|list| list.tokens.to_string().contains("unsafe_code")) {
                self.0.push(attribute.span().start().line);
            }
        }
    }
    let mut finder = Finder::default();
    finder.visit_file(file);
    finder.0
}

#[test]
fn unsafe_code_is_in_the_local_provider_alone() {
    let mut broken = Vec::new();
    let mut doors = 0;
    for path in rust_files(&root()) {
        let name = relative(&path);
        let found = unsafe_doors(&syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap());
        doors += found.len();
        if !name.starts_with(UNSAFE) {
            broken.extend(found.into_iter().map(|line| format!("{name}:{line} lets unsafe code in")));
        }
    }
    assert_none(&broken);
    assert!(doors > 0, "the helper's own is not found");
}

#[test]
fn a_door_for_unsafe_code_is_found() {
    let text = "#![expect(unsafe_code, reason = \"a\")]\nfn f() {}\n#[allow(unused, unsafe_code)]\nfn g() {}";
    assert_eq!(unsafe_doors(&syn::parse_file(text).unwrap()), [1, 3]);
    assert!(unsafe_doors(&syn::parse_file("#[allow(unused)] fn f() {}").unwrap()).is_empty());
}

#[test]
fn a_long_file_is_measured_without_its_tests() {
    let text =
        "#[cfg(test)]\nmod elsewhere;\nfn f() {}\n#[cfg(test)]\nmod tests {\n    fn g() {}\n}\nfn h() {}\n";
    assert_eq!(length(text, &syn::parse_file(text).unwrap()), 4);
}

#[test]
fn unfinished_work_and_unexplained_lints_are_found() {
    let (comment, call) = (COMMENTS[0], MACROS[0]);
    assert_eq!(unfinished(&format!("fn f() {{}} // {comment}: later\n{call})\n")), [(1, comment), (2, call)]);
    assert_eq!(unfinished(&format!("let wanted = \"{comment}\"; // what to look for")), []);
    let text = "#![allow(dead_code)]\n#[allow(unused, reason = \"a\")]\nfn f() {\n    #[expect(unused)]\n    let a = 1;\n}";
    assert_eq!(unexplained(&syn::parse_file(text).unwrap()), [1, 4]);
}
