//! The Messages API driver against a server that speaks the API's wire format.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

#[path = "messages/support.rs"]
mod support;

#[path = "messages/answers.rs"]
mod answers;
#[path = "messages/faults.rs"]
mod faults;
#[path = "messages/requests.rs"]
mod requests;
#[path = "messages/server.rs"]
mod server;
