//! What `ContainerProcess` and `ContainerFileSystem` say to the server in the container, beyond the published API of
//! `@cloudflare/sandbox`: for whoever writes either side.
//!
//! | request | answer |
//! |---|---|
//! | `GET /agentx/v1/hello` | [`Hello`] |
//! | `POST /agentx/v1/commands/{id}?after=0`, a [`Command`] | the command's events from there on: server-sent [`Numbered`] |
//! | `GET /agentx/v1/commands/{id}/events?after={number}` | the same, of a command that runs |
//! | `POST /agentx/v1/commands/{id}/stdin?piece={number}`, bytes | nothing, when they were handed over |
//! | `POST /agentx/v1/commands/{id}/control`, a [`Control`] | nothing |
//! | `DELETE /agentx/v1/commands/{id}` | nothing, when all of it is dead |
//! | `GET /agentx/v1/files/content?path=&range=&if_match=` | the bytes; the head has [`FileHead`] |
//! | `PUT /agentx/v1/files/content?path=&mode=&version=&create_parents=&len=`, bytes or [pieces](Piece) | [`Metadata`] |
//! | `GET /agentx/v1/files/stat?path=&follow=` | [`Metadata`] |
//! | `GET /agentx/v1/files/list?path=&recursive=` | [`ListLine`]s |
//! | `POST /agentx/v1/files/change`, a [`Change`] | nothing |
//!
//! Every request has `authorization: Bearer`, where the server has a token, and the header [`INSTANCE`] from the
//! [`Hello`]: a container that was replaced is another instance, and answers [`GONE`], so that an empty tree is never
//! taken for the one that was left. What can't be done is answered with a [`Fault`], and a status to match.

mod command;
mod fault;
mod file;
mod hello;

pub use self::{
    command::{Command, Control, Event, Numbered, Status},
    fault::Fault,
    file::{Change, FileHead, ListLine, Listed, Metadata, Mode, Piece, Span},
    hello::Hello,
};

/// Where all paths of these requests begin.
pub const PREFIX: &str = "/agentx/v1";

/// The version of what stands here. A server of another one is not spoken to.
pub const PROTOCOL: u32 = 1;

/// The header that names the instance that is meant.
pub const INSTANCE: &str = "agentx-instance";

/// The header of a file's content that has a [`FileHead`], as base64 of JSON.
pub const FILE_HEAD: &str = "agentx-file";

/// The status of an answer to whoever means another instance: 410, Gone.
pub const GONE: u16 = 410;

/// The most bytes of output in one event.
pub const EVENT_BYTES: usize = 64 << 10;

/// The most bytes of live input in one request.
pub const STDIN_BYTES: usize = 256 << 10;

/// The most bytes of a [`Command`], as JSON: 64 MiB. Input that is known from the start takes four thirds of its size.
pub const COMMAND_BYTES: usize = 64 << 20;

/// The longest body of an answer that is no file, no list and no stream of events: 1 MiB.
pub const ANSWER_BYTES: usize = 1 << 20;

/// Bytes as base64.
mod base64 {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&base64::display::Base64Display::new(bytes, &STANDARD))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        STANDARD.decode(text.as_bytes()).map(Bytes::from).map_err(D::Error::custom)
    }
}
