//! The socket: how it is made, and what its errors mean.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use agentx_core::{Error, ErrorKind, Result, Retry};
use futures::{Sink, SinkExt, Stream, StreamExt};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::time;
use tokio_tungstenite::{
    Connector, connect_async_tls_with_config,
    tungstenite::{
        self, Message,
        client::IntoClientRequest,
        error::ProtocolError,
        handshake::client::Request,
        http::{HeaderValue, StatusCode, header::AUTHORIZATION},
        protocol::{WebSocketConfig, frame::coding::CloseCode},
    },
};

use crate::client::{RemoteBuilder, failure};

/// What a connection reads into, and writes from, in bytes.
const BUFFER: usize = 16 << 10;

/// How long the other side may take to hear that the connection ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// Makes sockets to one server.
pub(super) struct Dialer {
    request: Request,
    config: WebSocketConfig,
    connector: Connector,
    timeout: Duration,
}

/// Why there is no socket.
pub(super) enum DialError {
    /// Another attempt may succeed.
    Again(Error),
    Final(Error),
}

impl DialError {
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Again(error) | Self::Final(error) => error,
        }
    }
}

impl Dialer {
    pub(super) fn new(options: &RemoteBuilder) -> Result<Self> {
        let invalid =
            |message: &'static str| failure::error(ErrorKind::InvalidInput, "connect").with_message(message);
        let request = options.url.as_str().into_client_request();
        let mut request =
            request.map_err(|error| invalid("the URL is none of ws: or wss:").with_source(error))?;
        if let Some(key) = &options.key {
            let value = HeaderValue::try_from(format!("Bearer {key}"));
            let mut value = value.map_err(|_| invalid("the key has characters that no header may have"))?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER)
            .write_buffer_size(BUFFER)
            .max_message_size(Some(options.largest_frame))
            .max_frame_size(Some(options.largest_frame));
        let connector = match request.uri().scheme_str() {
            Some("wss") => Connector::Rustls(Arc::new(tls()?)),
            Some("ws") => Connector::Plain,
            _ => return Err(invalid("the URL is none of ws: or wss:")),
        };
        Ok(Self { request, config, connector, timeout: options.connect_timeout })
    }

    pub(super) async fn dial(&self) -> Result<Socket, DialError> {
        let connector = Some(self.connector.clone());
        let dialed = connect_async_tls_with_config(self.request.clone(), Some(self.config), true, connector);
        let place = self.request.uri().authority().map(ToString::to_string).unwrap_or_default();
        match time::timeout(self.timeout, dialed).await {
            Ok(Ok((inner, _))) => Ok(Socket { inner: Box::pin(inner), is_dirty: false }),
            Ok(Err(error)) => Err(refused(error, &place)),
            Err(_) => Err(DialError::Again(
                failure::error(ErrorKind::TimedOut, "connect")
                    .with_path(&place)
                    .with_message(format!("no connection within {:?}", self.timeout))
                    .with_retry(Retry::After(None)),
            )),
        }
    }
}

fn tls() -> Result<ClientConfig> {
    let unusable = |error: rustls::Error| {
        failure::error(ErrorKind::Internal, "connect").with_message("TLS can't be set up").with_source(error)
    };
    let builder = || {
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unusable)
    };
    Ok(match builder()?.with_platform_verifier() {
        Ok(builder) => builder.with_no_client_auth(),
        Err(_) => {
            let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
            builder()?.with_root_certificates(roots).with_no_client_auth()
        }
    })
}

/// What a failed attempt means. The words of the server's answer are left out: they may be anything.
fn refused(error: tungstenite::Error, place: &str) -> DialError {
    let of = |kind| failure::error(kind, "connect").with_path(place);
    match error {
        tungstenite::Error::Http(response) => {
            let status = response.status();
            let message = format!("the server answered {status}");
            match status {
                StatusCode::UNAUTHORIZED => DialError::Final(
                    of(ErrorKind::Unauthenticated).with_message("the server refuses the key"),
                ),
                StatusCode::FORBIDDEN => {
                    DialError::Final(of(ErrorKind::PermissionDenied).with_message(message))
                }
                StatusCode::TOO_MANY_REQUESTS => DialError::Again(
                    of(ErrorKind::LimitExceeded).with_message(message).with_retry(Retry::After(None)),
                ),
                _ if status.is_server_error() => DialError::Again(
                    of(ErrorKind::Unavailable).with_message(message).with_retry(Retry::After(None)),
                ),
                _ => DialError::Final(of(ErrorKind::Unsupported).with_message(message)),
            }
        }
        tungstenite::Error::Url(_) | tungstenite::Error::HttpFormat(_) => {
            DialError::Final(of(ErrorKind::InvalidInput).with_source(error))
        }
        tungstenite::Error::Protocol(
            ProtocolError::HandshakeIncomplete | ProtocolError::ResetWithoutClosingHandshake,
        )
        | tungstenite::Error::Io(_)
        | tungstenite::Error::Tls(_)
        | tungstenite::Error::ConnectionClosed => {
            DialError::Again(of(ErrorKind::Unavailable).with_retry(Retry::After(None)).with_source(error))
        }
        _ => {
            let error = of(ErrorKind::Unsupported).with_source(error);
            DialError::Final(error.with_message("what answers there does not speak WebSocket"))
        }
    }
}

/// Why a connection ends.
pub(super) enum End {
    /// The next one may do.
    Lost(Error),
    /// It makes no sense to speak with this server.
    Final(Error),
}

pub(super) struct Socket {
    inner: Pin<Box<dyn Wire>>,
    /// Whether something was written that is not on its way.
    is_dirty: bool,
}

/// A WebSocket, whatever carries it.
trait Wire:
    Stream<Item = Result<Message, tungstenite::Error>> + Sink<Message, Error = tungstenite::Error> + Send
{
}

impl<T> Wire for T where
    T: Stream<Item = Result<Message, tungstenite::Error>> + Sink<Message, Error = tungstenite::Error> + Send
{
}

impl Socket {
    /// Writes what there is to write, and gives the next message. Whoever waits here reads and writes at once: a server that
    /// waits until it is read is read.
    pub(super) async fn next(&mut self, outgoing: &mut VecDeque<Message>) -> Result<Message, End> {
        std::future::poll_fn(|cx| {
            if let Err(error) = self.write(cx, outgoing) {
                return Poll::Ready(Err(ended(error)));
            }
            self.inner.poll_next_unpin(cx).map(|message| match message {
                Some(Ok(Message::Close(frame))) => Err(closed(frame.map(|frame| frame.code))),
                Some(Ok(message)) => Ok(message),
                Some(Err(error)) => Err(ended(error)),
                None => Err(closed(None)),
            })
        })
        .await
    }

    fn write(
        &mut self,
        cx: &mut Context<'_>,
        outgoing: &mut VecDeque<Message>,
    ) -> Result<(), tungstenite::Error> {
        while !outgoing.is_empty() {
            match self.inner.poll_ready_unpin(cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => return Ok(()),
            }
            if let Some(message) = outgoing.pop_front() {
                self.inner.start_send_unpin(message)?;
                self.is_dirty = true;
            }
        }
        if self.is_dirty
            && let Poll::Ready(flushed) = self.inner.poll_flush_unpin(cx)
        {
            flushed?;
            self.is_dirty = false;
        }
        Ok(())
    }

    /// Says that it is over.
    pub(super) async fn close(mut self) {
        // Whoever is gone does not hear it.
        drop(time::timeout(FAREWELL, self.inner.close()).await);
    }
}

fn closed(code: Option<CloseCode>) -> End {
    let of = |kind| failure::error(kind, "read");
    match code {
        Some(CloseCode::Policy) => End::Final(
            of(ErrorKind::Unauthenticated).with_message("the server does not know the key any more"),
        ),
        Some(CloseCode::Size) => {
            End::Final(of(ErrorKind::LimitExceeded).with_message("what was sent is too long for the server"))
        }
        Some(CloseCode::Protocol | CloseCode::Invalid | CloseCode::Unsupported) => {
            End::Final(of(ErrorKind::Corrupt).with_message("the server does not understand this client"))
        }
        _ => End::Lost(
            of(ErrorKind::Unavailable)
                .with_message("the server ended the connection")
                .with_retry(Retry::After(None)),
        ),
    }
}

fn ended(error: tungstenite::Error) -> End {
    let of = |kind| failure::error(kind, "read");
    match error {
        tungstenite::Error::Capacity(_) => {
            let error = of(ErrorKind::LimitExceeded).with_source(error);
            End::Final(error.with_message("the server sent a longer frame than is taken"))
        }
        tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)
        | tungstenite::Error::Io(_)
        | tungstenite::Error::ConnectionClosed
        | tungstenite::Error::AlreadyClosed => End::Lost(
            of(ErrorKind::Unavailable)
                .with_message("the connection broke")
                .with_retry(Retry::After(None))
                .with_source(error),
        ),
        _ => {
            let error = of(ErrorKind::Corrupt).with_source(error);
            End::Final(error.with_message("the server does not speak the protocol"))
        }
    }
}
