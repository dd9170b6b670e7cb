//! What the tests that cross crates share. Nothing here is published.

pub mod messages_server;
