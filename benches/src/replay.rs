//! A Messages API on the loopback that answers with recorded bytes, and so costs next to nothing itself.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// The two answers of a turn with one tool call. The server ends when it is dropped.
#[derive(Debug)]
pub struct ReplayServer {
    address: SocketAddr,
    accept: JoinHandle<()>,
}

/// What the server sends: to a request without a tool's result, and to one with it.
#[derive(Clone, Debug)]
pub struct Answers {
    /// The stream that calls the tool.
    pub call: Vec<u8>,
    /// The stream that ends the turn.
    pub end: Vec<u8>,
}

impl ReplayServer {
    /// Starts the server in the current tokio runtime.
    ///
    /// # Errors
    /// What the host says.
    pub async fn start(answers: Answers) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let answers = Arc::new(answers);
        let accept = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&answers)));
            }
        });
        Ok(Self { address, accept })
    }

    /// Where it is: `http://127.0.0.1:PORT`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for ReplayServer {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

/// Answers the requests of one connection until the client goes or says what this server does not read.
async fn serve(mut stream: TcpStream, answers: Arc<Answers>) {
    let [call, end] = [&answers.call, &answers.end].map(|body| response(body));
    let mut buffer = Vec::new();
    // A client that goes in the middle of a request is of no interest here.
    while let Ok(Some(body)) = request(&mut stream, &mut buffer).await {
        let answer = if memchr::memmem::find(&body, b"\"tool_result\"").is_some() { &end } else { &call };
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}

/// The body of the next request; none when the client has gone.
async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    loop {
        if let Some(head) = memchr::memmem::find(buffer, b"\r\n\r\n") {
            let length = buffer.get(..head).and_then(content_length).ok_or(io::ErrorKind::InvalidData)?;
            let (start, end) = (head + 4, head + 4 + length);
            if buffer.len() >= end {
                return Ok(Some(buffer.drain(..end).skip(start).collect()));
            }
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    let mut lines = std::str::from_utf8(head).ok()?.lines();
    lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok()).flatten()
    })
}

fn response(body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(stream: &mut TcpStream, body: &str) -> String {
        let request = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        for piece in request.as_bytes().chunks(7) {
            stream.write_all(piece).await.unwrap();
        }
        let mut answer = Vec::new();
        while !answer.ends_with(b"!") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
        }
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn a_request_gets_the_answer_that_it_calls_for() {
        let answers = Answers { call: b"call!".to_vec(), end: b"the end!".to_vec() };
        let server = ReplayServer::start(answers).await.unwrap();
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        for _ in 0..2 {
            assert!(ask(&mut stream, r#"{"messages":[]}"#).await.ends_with("content-length: 5\r\n\r\ncall!"));
            assert!(ask(&mut stream, r#"{"type":"tool_result"}"#).await.ends_with("\r\n\r\nthe end!"));
        }
    }
}
