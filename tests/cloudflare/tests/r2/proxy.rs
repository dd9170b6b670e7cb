//! A proxy on loopback that does what networks and servers do.
//!
//! It takes one request per connection, passes it on unchanged (its signature holds for the address that the client
//! called), and gives back what the server said, unless a rule for the request says otherwise.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

/// What befalls a request.
pub(crate) enum Fault {
    /// The server is not asked; this is the answer, with a code of the S3 API.
    Answer(u16, &'static str),
    /// The server does it, and then this is the answer.
    AnswerAfter(u16, &'static str),
    /// The connection breaks before the server is asked.
    Break,
    /// The server does it, and the connection breaks. Both ends are told, where there are any: the first that it is
    /// done, the second that it may break.
    BreakAfter(Option<(oneshot::Sender<()>, oneshot::Receiver<()>)>),
    /// The answer breaks off after so many bytes of its body.
    Truncate(usize),
    /// The answer announces so many bytes more, or fewer.
    Length(isize),
    /// The server does it, and there is no answer for so long.
    Silence(Duration),
    /// The answer stands still after so many bytes of its body, until the client goes.
    Stall(usize),
    /// The answer comes in pieces of so many bytes, with this much time between them.
    Slow(usize, Duration),
    /// The request carries this moment in place of the client's.
    Date(&'static str),
}

struct Rule {
    /// What the request's first line and headers contain.
    matching: &'static [&'static str],
    fault: Fault,
}

/// The proxy; it ends when it is dropped.
pub(crate) struct Proxy {
    pub(crate) url: String,
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    rules: Mutex<VecDeque<Rule>>,
    seen: Mutex<Vec<String>>,
}

impl Proxy {
    /// A proxy for the server at `upstream`, an `http://` address.
    pub(crate) async fn start(upstream: &str) -> Self {
        let upstream = upstream.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (state, upstream) = (Arc::clone(&shared), upstream.clone());
                tokio::spawn(async move { serve(client, &upstream, &state).await });
            }
        });
        Self { url, state, task }
    }

    /// Lets `fault` befall the next request whose head contains all of `matching`.
    pub(crate) fn then(&self, matching: &'static [&'static str], fault: Fault) -> &Self {
        lock(&self.state.rules).push_back(Rule { matching, fault });
        self
    }

    /// Lets the fault befall the next `times` of them.
    pub(crate) fn times(&self, times: usize, matching: &'static [&'static str], fault: impl Fn() -> Fault) {
        for _ in 0..times {
            self.then(matching, fault());
        }
    }

    /// How many requests have had all of `matching` in their heads.
    pub(crate) fn seen(&self, matching: &[&str]) -> usize {
        lock(&self.state.seen).iter().filter(|head| matching.iter().all(|part| head.contains(part))).count()
    }

    /// That every fault has befallen a request: else a test has not tested.
    pub(crate) fn assert_used(&self) {
        assert_eq!(lock(&self.state.rules).len(), 0, "a fault has met no request");
    }

    /// Forgets what has not befallen yet.
    pub(crate) fn clear(&self) {
        lock(&self.state.rules).clear();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(mut client: TcpStream, upstream: &str, state: &State) -> io::Result<()> {
    let (mut head, body) = read_request(&mut client).await?;
    lock(&state.seen).push(head.clone());
    let fault = {
        let mut rules = lock(&state.rules);
        let index = rules.iter().position(|rule| rule.matching.iter().all(|part| head.contains(part)));
        index.and_then(|index| rules.remove(index)).map(|rule| rule.fault)
    };
    match &fault {
        Some(Fault::Answer(status, code)) => return client.write_all(&answer(*status, code)).await,
        Some(Fault::Break) => return reset(client),
        Some(Fault::Date(date)) => {
            let from = head.find("x-amz-date: ").unwrap() + "x-amz-date: ".len();
            head.replace_range(from..from + date.len(), date);
        }
        _ => {}
    }
    let said = ask(upstream, &head, &body).await?;
    let end = said.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    match fault {
        Some(Fault::AnswerAfter(status, code)) => client.write_all(&answer(status, code)).await,
        Some(Fault::BreakAfter(None)) => reset(client),
        Some(Fault::BreakAfter(Some((done, go)))) => {
            done.send(()).map_err(|()| io::ErrorKind::BrokenPipe)?;
            go.await.map_err(io::Error::other)?;
            reset(client)
        }
        Some(Fault::Truncate(kept)) => {
            client.write_all(&said[..end + kept]).await?;
            client.flush().await
        }
        Some(Fault::Length(difference)) => {
            let head = String::from_utf8_lossy(&said[..end]).into_owned();
            let lower = head.to_ascii_lowercase();
            let from = lower.find("content-length: ").unwrap() + "content-length: ".len();
            let to = from + lower[from..].find('\r').unwrap();
            let length = lower[from..to].parse::<usize>().unwrap().checked_add_signed(difference).unwrap();
            let head = format!("{}{length}{}", &head[..from], &head[to..]);
            client.write_all(head.as_bytes()).await?;
            client.write_all(&said[end..]).await
        }
        Some(Fault::Silence(time)) => {
            tokio::time::sleep(time).await;
            client.write_all(&said).await
        }
        Some(Fault::Stall(kept)) => {
            client.write_all(&said[..end + kept]).await?;
            client.read(&mut [0]).await.map(drop)
        }
        Some(Fault::Slow(piece, between)) => {
            for piece in said.chunks(piece) {
                client.write_all(piece).await?;
                tokio::time::sleep(between).await;
            }
            Ok(())
        }
        _ => client.write_all(&said).await,
    }
}

/// Closes the connection with a reset, as a server that dies does.
fn reset(client: TcpStream) -> io::Result<()> {
    client.set_zero_linger()?;
    drop(client);
    Ok(())
}

async fn read_request(client: &mut TcpStream) -> io::Result<(String, Bytes)> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if client.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let head = String::from_utf8(read[..end].to_vec()).map_err(io::Error::other)?;
    let lower = head.to_ascii_lowercase();
    let length = lower.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next());
    let length: usize = length.map_or(0, |length| length.parse().unwrap());
    while read.len() < end + length {
        if client.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok((head, Bytes::copy_from_slice(&read[end..end + length])))
}

/// Passes a request on. The server closes the connection at the end of its answer, and so does this proxy.
async fn ask(upstream: &str, head: &str, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(upstream).await?;
    let (line, headers) = head.split_once("\r\n").unwrap();
    server.write_all(format!("{line}\r\nconnection: close\r\n{headers}").as_bytes()).await?;
    server.write_all(body).await?;
    let mut said = Vec::new();
    server.read_to_end(&mut said).await?;
    Ok(said)
}

fn answer(status: u16, code: &str) -> Vec<u8> {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>told so</Message></Error>");
    let length = body.len();
    format!("HTTP/1.1 {status} Told\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
        .into_bytes()
}
