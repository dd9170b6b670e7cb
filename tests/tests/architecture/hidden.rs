//! Crates that stay behind ours: what breaks in them must not break whoever uses us.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Fields, ImplItem, Item, Type, UseTree, Visibility};

use crate::{assert_none, source::Sources, workspace::Workspace};

/// The crates of which nothing is part of a public signature: their major versions change often.
const HIDDEN: &[&str] = &["rmcp"];

/// What the imports of a file call things of hidden crates.
fn imported(items: &[Item]) -> BTreeSet<String> {
    fn names(tree: &UseTree, names_of: &mut BTreeSet<String>) {
        match tree {
            UseTree::Path(path) => names(&path.tree, names_of),
            UseTree::Name(name) => drop(names_of.insert(name.ident.to_string())),
            UseTree::Rename(name) => drop(names_of.insert(name.rename.to_string())),
            UseTree::Group(group) => group.items.iter().for_each(|tree| names(tree, names_of)),
            UseTree::Glob(_) => {}
        }
    }
    let mut found: BTreeSet<String> = HIDDEN.iter().map(|&name| name.to_owned()).collect();
    for item in items {
        if let Item::Use(item) = item
            && is_hidden(&item.tree)
        {
            names(&item.tree, &mut found);
        }
    }
    found
}

fn is_hidden(tree: &UseTree) -> bool {
    match tree {
        UseTree::Path(path) => HIDDEN.contains(&path.ident.to_string().as_str()),
        UseTree::Group(group) => group.items.iter().any(is_hidden),
        _ => false,
    }
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// The types that a file declares as public.
fn public_types(items: &[Item]) -> BTreeSet<String> {
    let names = items.iter().filter_map(|item| match item {
        Item::Struct(item) if is_public(&item.vis) => Some(item.ident.to_string()),
        Item::Enum(item) if is_public(&item.vis) => Some(item.ident.to_string()),
        _ => None,
    });
    names.collect()
}

/// What of a file users see: signatures, fields, and what is implemented for public types.
fn seen(items: &[Item], public: &BTreeSet<String>) -> Vec<TokenStream> {
    let mut seen = Vec::new();
    for item in items {
        match item {
            Item::Fn(item) if is_public(&item.vis) => seen.push(item.sig.to_token_stream()),
            Item::Type(item) if is_public(&item.vis) => seen.push(item.to_token_stream()),
            Item::Const(item) if is_public(&item.vis) => seen.push(item.ty.to_token_stream()),
            Item::Trait(item) if is_public(&item.vis) => seen.push(item.to_token_stream()),
            Item::Enum(item) if is_public(&item.vis) => seen.push(item.to_token_stream()),
            Item::Use(item) if is_public(&item.vis) => seen.push(item.tree.to_token_stream()),
            Item::Struct(item) if is_public(&item.vis) => {
                seen.push(item.generics.to_token_stream());
                if let Fields::Named(_) | Fields::Unnamed(_) = item.fields {
                    let fields = item.fields.iter().filter(|field| is_public(&field.vis));
                    seen.extend(fields.map(|field| field.ty.to_token_stream()));
                }
            }
            Item::Impl(item) => {
                let of_public = match &*item.self_ty {
                    Type::Path(path) => {
                        path.path.segments.last().is_some_and(|last| public.contains(&last.ident.to_string()))
                    }
                    _ => false,
                };
                if let (true, Some((_, of, _))) = (of_public, &item.trait_) {
                    seen.push(of.to_token_stream());
                }
                seen.extend(item.items.iter().filter_map(|item| match item {
                    ImplItem::Fn(method) if is_public(&method.vis) => Some(method.sig.to_token_stream()),
                    _ => None,
                }));
            }
            _ => {}
        }
    }
    seen
}

/// The names of `hidden` among these tokens.
fn leaks(tokens: TokenStream, hidden: &BTreeSet<String>) -> Vec<String> {
    let leaks = tokens.into_iter().flat_map(|token| match token {
        TokenTree::Group(group) => leaks(group.stream(), hidden),
        TokenTree::Ident(ident) if hidden.contains(&ident.to_string()) => vec![ident.to_string()],
        _ => Vec::new(),
    });
    leaks.collect()
}

fn leaks_of(items: &[Item], public: &BTreeSet<String>) -> Vec<String> {
    let hidden = imported(items);
    seen(items, public).into_iter().flat_map(|tokens| leaks(tokens, &hidden)).collect()
}

#[test]
fn no_signature_shows_a_hidden_crate() {
    let (mut broken, mut users) = (Vec::new(), 0);
    for package in Workspace::load().libraries() {
        let files = Sources::load(&package.folder).files;
        let public = files.iter().flat_map(|source| public_types(&source.syntax.items)).collect();
        for source in files {
            users += usize::from(imported(&source.syntax.items).len() > HIDDEN.len());
            let leaked = leaks_of(&source.syntax.items, &public);
            broken.extend(leaked.into_iter().map(|name| format!("{}: {name} is shown", source.at(1))));
        }
    }
    assert!(users > 3, "the files that use a hidden crate are not found");
    assert_none(&broken);
}

#[test]
fn a_hidden_crate_that_is_shown_is_found() {
    let leaked = |code: &str| {
        let file = syn::parse_file(&format!("use rmcp::{{Peer, model::Tool as T}}; use other::Fine; {code}"))
            .unwrap();
        leaks_of(&file.items, &public_types(&file.items))
    };
    for code in [
        "pub fn f(peer: &Peer<u8>) {}",
        "pub struct A { pub tool: Vec<T> }",
        "pub struct A(pub rmcp::Error);",
        "pub enum A { B(T) }",
        "struct A; impl A { pub fn f() -> Option<T> { None } }",
        "pub struct A; impl From<T> for A { fn from(_: T) -> A { A } }",
        "pub use rmcp::Anything;",
        "pub type A = Peer<u8>;",
    ] {
        assert!(!leaked(code).is_empty(), "{code}");
    }
    for code in [
        "pub(crate) fn f(peer: &Peer<u8>) {}",
        "pub struct A { tool: T } struct B; impl From<T> for B { fn from(_: T) -> B { B } }",
        "pub fn f() -> Fine { let tool: T = g(); Fine }",
    ] {
        assert_eq!(leaked(code), Vec::<String>::new(), "{code}");
    }
}
