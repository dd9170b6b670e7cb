//! A Messages API on the loopback that answers with recorded bytes, one write for each event, as a model speaks.
//!
//! It runs in a process of its own, so that the processor time of this one is that of the clients.

use std::{
    io::{self, BufRead, Read, Write},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// The two answers of a turn with one tool call. The server ends when it is dropped.
#[derive(Debug)]
pub struct ReplayServer {
    address: SocketAddr,
    host: Host,
}

/// Where the server runs.
#[derive(Debug)]
enum Host {
    Task(JoinHandle<()>),
    Process(Child),
}

/// The argument that makes a bench program a server of recorded answers.
pub(crate) const SERVE: &str = "serve-recorded-answers";

/// What the server sends: to a request without a tool's result, and to one with it.
#[derive(Clone, Debug)]
pub struct Answers {
    /// The stream that calls the tool.
    pub call: Vec<u8>,
    /// The stream that ends the turn.
    pub end: Vec<u8>,
}

impl ReplayServer {
    /// Starts the server in a process: this program once more, which must be a bench program
    /// ([`program::main`](crate::program::main)).
    ///
    /// # Errors
    /// What the host says.
    pub fn spawn(answers: &Answers) -> io::Result<Self> {
        let program = std::env::current_exe()?;
        let mut child =
            Command::new(program).arg(SERVE).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(stdin), Some(stdout)) = (&mut child.stdin, &mut child.stdout) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        for answer in [&answers.call, &answers.end] {
            stdin.write_all(&u64::try_from(answer.len()).unwrap_or(u64::MAX).to_le_bytes())?;
            stdin.write_all(answer)?;
        }
        stdin.flush()?;
        let mut line = String::new();
        io::BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
        Ok(Self { address, host: Host::Process(child) })
    }

    /// Starts the server in the current tokio runtime.
    ///
    /// # Errors
    /// What the host says.
    pub async fn start(answers: Answers) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        Ok(Self { address, host: Host::Task(tokio::spawn(accept(listener, answers))) })
    }

    /// Where it is: `http://127.0.0.1:PORT`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for ReplayServer {
    fn drop(&mut self) {
        match &mut self.host {
            Host::Task(task) => task.abort(),
            Host::Process(child) => {
                // A child that has ended already is as good as one that is ended.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// What the process of [`ReplayServer::spawn`] does, until whoever started it has gone.
///
/// # Errors
/// What the host says.
pub(crate) fn serve_in_this_process() -> crate::Result<()> {
    let mut stdin = io::stdin().lock();
    let mut answer = || -> io::Result<Vec<u8>> {
        let mut length = [0; 8];
        stdin.read_exact(&mut length)?;
        let mut bytes = Vec::new();
        (&mut stdin).take(u64::from_le_bytes(length)).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let answers = Answers { call: answer()?, end: answer()? };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let server = runtime.block_on(ReplayServer::start(answers))?;
    writeln!(io::stdout(), "{}", server.address)?;
    // The end of the input is the end of whoever started this.
    stdin.read_to_end(&mut Vec::new())?;
    Ok(())
}

async fn accept(listener: TcpListener, answers: Answers) {
    let answers = Arc::new(answers);
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, Arc::clone(&answers)));
    }
}

/// Answers the requests of one connection until the client goes or says what this server does not read.
async fn serve(mut stream: TcpStream, answers: Arc<Answers>) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let [call, end] = [&answers.call, &answers.end].map(|body| response(body));
    let mut buffer = Vec::new();
    // A client that goes in the middle of a request is of no interest here.
    while let Ok(Some(body)) = request(&mut stream, &mut buffer).await {
        let answer = if memchr::memmem::find(&body, b"\"tool_result\"").is_some() { &end } else { &call };
        for write in answer {
            if stream.write_all(write).await.is_err() {
                return;
            }
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

/// What is written at a time: the head, each event as a chunk, and the end.
fn response(body: &[u8]) -> Vec<Vec<u8>> {
    let mut writes = vec![
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_vec(),
    ];
    let mut rest = body;
    while !rest.is_empty() {
        let end = memchr::memmem::find(rest, b"\n\n").map_or(rest.len(), |end| end + 2);
        let (event, after) = rest.split_at(end);
        writes.push([format!("{:x}\r\n", event.len()).as_bytes(), event, b"\r\n"].concat());
        rest = after;
    }
    writes.push(b"0\r\n\r\n".to_vec());
    writes
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
        while !answer.ends_with(b"0\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
        }
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn a_request_gets_the_answer_that_it_calls_for() {
        let answers = Answers { call: b"call\n\nme".to_vec(), end: b"the end".to_vec() };
        let server = ReplayServer::start(answers).await.unwrap();
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        for _ in 0..2 {
            assert!(
                ask(&mut stream, r#"{"messages":[]}"#)
                    .await
                    .ends_with("\r\n\r\n6\r\ncall\n\n\r\n2\r\nme\r\n0\r\n\r\n")
            );
            assert!(
                ask(&mut stream, r#"{"type":"tool_result"}"#)
                    .await
                    .ends_with("\r\n\r\n7\r\nthe end\r\n0\r\n\r\n")
            );
        }
    }
}
