//! Rule 3: contract traits have no provided methods, so that a wrapper can't forget one.

use std::collections::BTreeSet;

use syn::{Item, ItemTrait, TraitItem, Visibility};

use crate::{
    assert_none,
    source::Sources,
    workspace::{Workspace, root},
};

/// The contract and the ports, so that a trait that is renamed or moved is not lost from sight.
const CONTRACT: &[&str] = &[
    "Child",
    "Clock",
    "ContainerRepository",
    "Disk",
    "Driver",
    "Env",
    "FileSystem",
    "FileWriter",
    "IdSource",
    "ImageRepository",
    "InboxRepository",
    "LLMProvider",
    "Layer",
    "LeaseRepository",
    "Model",
    "Permission",
    "Process",
    "Repository",
    "SessionRepository",
    "Spawn",
    "Tool",
    "WorkspaceProvider",
];

/// A public trait that others implement; extension traits are all provided methods.
fn is_contract(item: &ItemTrait) -> bool {
    matches!(item.vis, Visibility::Public(_)) && !item.ident.to_string().ends_with("Ext")
}

/// The contract traits of a file.
fn contract_traits(items: &[Item]) -> Vec<&ItemTrait> {
    let mut traits = Vec::new();
    for item in items {
        match item {
            Item::Trait(item) if is_contract(item) => traits.push(item),
            Item::Mod(module) => {
                if let Some((_, items)) = &module.content {
                    traits.extend(contract_traits(items));
                }
            }
            _ => {}
        }
    }
    traits
}

/// The provided methods of a trait.
fn provided(item: &ItemTrait) -> Vec<String> {
    let methods = item.items.iter().filter_map(|item| match item {
        TraitItem::Fn(method) if method.default.is_some() => Some(&method.sig.ident),
        _ => None,
    });
    methods.map(|method| format!("{}::{method} is a provided method", item.ident)).collect()
}

#[test]
fn contract_traits_have_no_provided_methods() {
    let mut broken = Vec::new();
    for package in Workspace::load().libraries() {
        for source in Sources::load(&package.folder).files {
            for item in contract_traits(&source.syntax.items) {
                broken.extend(provided(item).into_iter().map(|method| format!("{}: {method}", package.name)));
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn every_contract_trait_is_looked_at() {
    let mut seen = BTreeSet::new();
    for package in ["agentx-resource", "agentx-core"] {
        for source in Sources::load(&root().join(package)).files {
            seen.extend(contract_traits(&source.syntax.items).iter().map(|item| item.ident.to_string()));
        }
    }
    let missing: Vec<String> = CONTRACT
        .iter()
        .filter(|name| !seen.contains(**name))
        .map(|name| format!("{name} is not there"))
        .collect();
    assert_none(&missing);
}

#[test]
fn a_provided_method_is_found() {
    let file = syn::parse_file(
        "pub trait T { fn a(&self); fn b(&self) {} async fn c() -> u8 { 1 } } pub trait TExt { fn d() {} }
         trait Private { fn e() {} }",
    );
    let file = file.unwrap();
    let found: Vec<String> = contract_traits(&file.items).into_iter().flat_map(provided).collect();
    assert_eq!(found, ["T::b is a provided method", "T::c is a provided method"]);
}
