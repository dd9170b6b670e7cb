use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use agentx_resource::{Error, ErrorKind, FileWriter, Metadata, ResourcePath, Result, WriteOptions};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    SinkExt, Stream, StreamExt,
    channel::mpsc::{Receiver, Sender, channel},
    future::{BoxFuture, Either, select},
};
use http_body::Frame;
use http_body_util::StreamBody;
use reqwest::{Body, Response};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::write;
use crate::container::{
    http::{Effect, Http, fail, silent, transport},
    wire::{self, Piece},
};

/// How many pieces, of 1 MiB at most, wait to be sent.
const QUEUE: usize = 2;

/// A write under way: one request, whose body goes out as it comes.
pub(super) struct ContainerWriter {
    http: Arc<Http>,
    path: ResourcePath,
    pieces: Sender<Out>,
    answer: Answer,
}

/// What goes out.
enum Out {
    Data(Bytes),
    /// And nothing after it.
    Last(Bytes),
}

enum Answer {
    Waited(BoxFuture<'static, Result<Response, reqwest::Error>>),
    /// It came before the end: it can only be a refusal.
    Refused(Error),
}

impl ContainerWriter {
    pub(super) fn open(http: Arc<Http>, path: &ResourcePath, options: &WriteOptions) -> Result<Self> {
        let (pieces, rest) = channel(QUEUE);
        let body = Body::wrap(StreamBody::new(Outgoing { rest, ended: false }));
        let sent = http.send_now(write::request("write", path, options)?.bytes(body))?;
        Ok(Self { http, path: path.clone(), pieces, answer: Answer::Waited(Box::pin(sent)) })
    }

    /// Hands a piece over, while the request is being sent.
    async fn send(&mut self, piece: Out) -> Result<()> {
        let answer = match &mut self.answer {
            Answer::Waited(answer) => answer,
            Answer::Refused(error) => return Err(error.clone()),
        };
        let patience = self.http.options.answer;
        let failed = match timeout(patience, select(self.pieces.feed(piece), answer)).await {
            Ok(Either::Left((Ok(()), _))) => return Ok(()),
            Ok(Either::Left((Err(_), answer))) => Some(answer.await),
            Ok(Either::Right((answer, _))) => Some(answer),
            Err(_) => None,
        };
        // An answer that came before the content was whole: nothing was published then.
        let error = match failed {
            None => silent("write", Effect::None, patience),
            Some(Err(source)) => transport("write", Effect::None, source),
            Some(Ok(response)) if response.status().is_success() => {
                fail(ErrorKind::Corrupt, "write").with_message("an answer before the content was whole")
            }
            Some(Ok(response)) => self.http.failure("write", Effect::None, response).await.error,
        };
        let error = error.with_path(&self.path);
        self.answer = Answer::Refused(error.clone());
        Err(error)
    }

    /// The answer to the whole.
    async fn end<T: DeserializeOwned>(self, operation: &'static str, effect: Effect) -> Result<T> {
        let answer = match self.answer {
            Answer::Waited(answer) => answer,
            Answer::Refused(error) => return Err(error),
        };
        match timeout(self.http.options.answer, answer).await {
            Ok(Ok(response)) => self.http.answer(operation, effect, response).await,
            Ok(Err(source)) => Err(transport(operation, effect, source)),
            Err(_) => Err(silent(operation, effect, self.http.options.answer)),
        }
    }
}

#[async_trait]
impl FileWriter for ContainerWriter {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        for piece in Piece::encode(data) {
            self.send(Out::Data(piece)).await?;
        }
        Ok(())
    }

    async fn close(mut self: Box<Self>) -> Result<Metadata> {
        self.send(Out::Last(Piece::end())).await?;
        let path = self.path.clone();
        let sent: Result<wire::Metadata> = self.end("close", Effect::Change).await;
        sent.map(Metadata::from).map_err(|error| error.with_path(path))
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        if matches!(self.answer, Answer::Refused(_)) {
            return Ok(());
        }
        self.send(Out::Last(Piece::abort())).await?;
        let path = self.path.clone();
        let sent: Result<()> = self.end("abort", Effect::None).await;
        sent.map_err(|error| error.with_path(path))
    }
}

impl fmt::Debug for ContainerWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The body: what was handed over. It breaks off when the writer is gone before it has said that it is all.
struct Outgoing {
    rest: Receiver<Out>,
    ended: bool,
}

impl Stream for Outgoing {
    type Item = std::io::Result<Frame<Bytes>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.rest.poll_next_unpin(cx).map(|piece| match piece {
            Some(Out::Data(piece)) => Some(Ok(Frame::data(piece))),
            Some(Out::Last(piece)) => {
                self.ended = true;
                Some(Ok(Frame::data(piece)))
            }
            None => {
                self.ended = true;
                Some(Err(std::io::Error::other("the write was given up")))
            }
        })
    }
}
