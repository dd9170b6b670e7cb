//! A loopback proxy between a client and the server, through which answers get lost.

use std::{
    collections::VecDeque,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// The most that a request or an answer may have, in bytes.
const MAX_MESSAGE: usize = 64 << 20;

/// What becomes of one request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// None: this request is passed on.
    Pass,
    /// The server does not see it; this is the answer, each line of the head without its end.
    Answer(&'static [&'static str], &'static str),
    /// The server does not see it, and the connection ends.
    Refuse,
    /// The server does not see it, and the connection is reset, as by a server that dies.
    Reset,
    /// The server does it, and the connection ends without an answer.
    Lose,
    /// The server does it, and the connection is reset.
    LoseByReset,
    /// The server does it twice, and the second answer is told.
    Double,
    /// The connection ends without an answer, and the server sees it when it is [released](FaultProxy::release).
    Late,
    /// The server does it, and this is the answer in place of its own.
    Replace(&'static [&'static str], &'static str),
    /// The server does it, and its answer ends after so many bytes of its body.
    Truncate(usize),
    /// The server does it, and its answer stands still after so many bytes of its body, until the client goes.
    Stall(usize),
    /// The server does it, and its answer comes byte by byte.
    Trickle,
    /// The server does it, and its answer announces so many bytes more, or fewer, and has what it has.
    Length(isize),
}

/// A proxy to one server. It speaks HTTP/1.1, one request for each connection. It ends when it is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    state: Arc<State>,
    accept: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    server: String,
    faults: Mutex<VecDeque<Fault>>,
    requests: AtomicUsize,
    late: Mutex<Vec<Vec<u8>>>,
}

impl FaultProxy {
    /// Starts a proxy to the server at `url`, `http://<host>:<port>`. What is not told to fail is passed on.
    ///
    /// # Panics
    /// Where it can't listen.
    #[expect(clippy::expect_used, reason = "a test without its proxy has failed")]
    pub async fn start(url: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("listen on the loopback");
        let address = listener.local_addr().expect("the address of a listener");
        let server = url.trim_start_matches("http://").to_owned();
        let state = Arc::new(State {
            server,
            faults: Mutex::default(),
            requests: AtomicUsize::new(0),
            late: Mutex::default(),
        });
        let accept = tokio::spawn(accept(listener, state.clone()));
        Self { address, state, accept }
    }

    /// `url` of the server, through this proxy.
    pub fn through(&self, url: &str) -> String {
        url.replacen(&self.state.server, &self.address.to_string(), 1)
    }

    /// Lets the next request go wrong. Several faults befall one request after another.
    pub fn inject(&self, fault: Fault) {
        self.state.faults.lock().unwrap_or_else(PoisonError::into_inner).push_back(fault);
    }

    /// Gives the server what came [late](Fault::Late) and waits for its answers, which it gives back whole.
    ///
    /// # Errors
    /// Where the server gives none.
    pub async fn release(&self) -> io::Result<Vec<String>> {
        let late = std::mem::take(&mut *self.state.late.lock().unwrap_or_else(PoisonError::into_inner));
        let mut answers = Vec::new();
        for request in late {
            let (head, body) = forward(&self.state.server, &request).await?;
            answers.push(String::from_utf8_lossy(&[head, body].concat()).into_owned());
        }
        Ok(answers)
    }

    /// How many requests have come so far.
    pub fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        let state = state.clone();
        tokio::spawn(async move {
            // The client sees what became of it; nobody else is to be told.
            drop(serve(client, &state).await);
        });
    }
}

async fn serve(mut client: TcpStream, state: &State) -> io::Result<()> {
    let request = message(&mut client).await?;
    state.requests.fetch_add(1, Ordering::SeqCst);
    let fault = state.faults.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    match fault {
        Some(Fault::Answer(head, body)) => return client.write_all(&written(head, body)).await,
        Some(Fault::Refuse) => return Ok(()),
        Some(Fault::Reset) => return reset(client),
        Some(Fault::Late) => {
            state.late.lock().unwrap_or_else(PoisonError::into_inner).push(request);
            return Ok(());
        }
        Some(Fault::Double) => drop(forward(&state.server, &request).await?),
        _ => {}
    }
    let (head, body) = forward(&state.server, &request).await?;
    let whole = || [&head[..], b"\r\n\r\n", &body[..]].concat();
    let part = |bytes: usize| [&head[..], b"\r\n\r\n", body.get(..bytes).unwrap_or(&body)].concat();
    match fault {
        Some(Fault::Lose) => Ok(()),
        Some(Fault::LoseByReset) => reset(client),
        Some(Fault::Replace(head, body)) => client.write_all(&written(head, body)).await,
        Some(Fault::Truncate(bytes)) => client.write_all(&part(bytes)).await,
        Some(Fault::Stall(bytes)) => {
            client.write_all(&part(bytes)).await?;
            // Ends when the client has hung up.
            client.read(&mut [0]).await.map(drop)
        }
        Some(Fault::Trickle) => {
            client.set_nodelay(true)?;
            for byte in whole() {
                client.write_all(&[byte]).await?;
                tokio::task::yield_now().await;
            }
            Ok(())
        }
        Some(Fault::Length(difference)) => {
            let body = in_one_piece(&head, body);
            client.write_all(&[&with_length(&head, &body, difference)[..], &body].concat()).await
        }
        _ => client.write_all(&whole()).await,
    }
}

/// Closes the connection with a reset.
fn reset(client: TcpStream) -> io::Result<()> {
    client.set_zero_linger()?;
    drop(client);
    Ok(())
}

/// The body without the marks of its pieces, where the server told it in pieces.
fn in_one_piece(head: &[u8], body: Vec<u8>) -> Vec<u8> {
    if !String::from_utf8_lossy(head).to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return body;
    }
    let (mut whole, mut rest) = (Vec::new(), &body[..]);
    while let Some(end) = find(rest, b"\r\n") {
        let size = std::str::from_utf8(rest.get(..end).unwrap_or_default());
        let size = size.ok().and_then(|size| usize::from_str_radix(size, 16).ok()).unwrap_or(0);
        let Some(piece) = rest.get(end + 2..end + 2 + size).filter(|piece| !piece.is_empty()) else { break };
        whole.extend_from_slice(piece);
        rest = rest.get(end + 4 + size..).unwrap_or_default();
    }
    whole
}

/// The head with another length of the body, whichever way the server told it.
fn with_length(head: &[u8], body: &[u8], difference: isize) -> Vec<u8> {
    let head = String::from_utf8_lossy(head);
    let told = |line: &&str| {
        let line = line.to_ascii_lowercase();
        !line.starts_with("content-length:") && !line.starts_with("transfer-encoding:")
    };
    let lines: Vec<_> = head.lines().filter(told).collect();
    let length = body.len().saturating_add_signed(difference);
    format!("{}\r\ncontent-length: {length}\r\n\r\n", lines.join("\r\n")).into_bytes()
}

fn written(head: &[&str], body: &str) -> Vec<u8> {
    let head = head.join("\r\n");
    format!("{head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).into_bytes()
}

/// A whole request: head and body.
async fn message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = find(&bytes, b"\r\n\r\n") {
            break end + 4;
        }
        more(stream, &mut bytes).await?;
    };
    let length = header(bytes.get(..head).unwrap_or_default(), "content-length").unwrap_or(0);
    while bytes.len() < head.saturating_add(length) {
        more(stream, &mut bytes).await?;
    }
    Ok(bytes)
}

async fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    if stream.read_buf(bytes).await? == 0 || bytes.len() > MAX_MESSAGE {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// The server's answer: its head, which says how long the body is and that the connection ends, and its body.
async fn forward(server: &str, request: &[u8]) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut stream = TcpStream::connect(server).await?;
    let line = find(request, b"\r\n").map_or(0, |end| end + 2);
    let (first, rest) = request.split_at(line);
    stream.write_all(&[first, b"Connection: close\r\n", rest].concat()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_MESSAGE as u64).read_to_end(&mut answer).await?;
    let end = find(&answer, b"\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let (head, body) = (answer.get(..end).unwrap_or_default(), answer.get(end + 4..).unwrap_or_default());
    Ok((head.to_vec(), body.to_vec()))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn header(head: &[u8], name: &str) -> Option<usize> {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(found, _)| found.trim().eq_ignore_ascii_case(name))?;
    value.trim().parse().ok()
}
