//! The Messages API: one request, one answer as a stream of events.
//!
//! ```text
//! ModelRequest ─▶ request body ─▶ Transport ─▶ SseParser ─▶ Decoder ─▶ ModelEvents
//! ```
//!
//! [`MessagesModel`] is the whole of it, as an [`agentx_core::Model`]. The pieces stand by themselves too: the
//! [`Decoder`] is a pure function of bytes, and a [`Transport`] is all that a host must bring where the HTTP client
//! of this crate can't run.

mod call;
mod count;
mod decoder;
mod endpoint;
mod error;
mod exchange;
mod model;
mod rate_limit;
mod request;
mod retry;
mod settings;
mod sse;
mod timers;
mod transport;

#[cfg(feature = "reqwest")]
pub use self::transport::ReqwestTransport;
pub use self::{
    decoder::{Decoder, Skipped},
    error::ApiFailure,
    model::MessagesModel,
    rate_limit::{RateLimit, RateLimits, ResponseInfo},
    settings::{ApiVersion, Auth, MessagesSettings, PromptCache},
    sse::{SseEvent, SseParser},
    transport::{HttpRequest, HttpResponse, Transport},
};
#[cfg(feature = "code")]
pub(crate) use self::{error::of_status, request::history};
