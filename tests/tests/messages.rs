//! The Messages API driver against a server that speaks the API's wire format.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

#[path = "messages/support.rs"]
mod support;

#[path = "messages/answers.rs"]
mod answers;
#[path = "messages/compaction.rs"]
mod compaction;
#[path = "messages/faults.rs"]
mod faults;
#[path = "messages/images.rs"]
mod images;
#[path = "messages/requests.rs"]
mod requests;
#[path = "messages/retries.rs"]
mod retries;
#[path = "messages/server.rs"]
mod server;
#[path = "messages/turns.rs"]
mod turns;
