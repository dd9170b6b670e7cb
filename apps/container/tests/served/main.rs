//! Client and server, over TCP: the kit, and what goes wrong between them.
#![cfg(test)]

mod commands;
mod conformance;
mod files;
mod lazy;
mod proxy;
mod support;
