//! As much of HTTP/1.1 as a server of tests needs.

use std::io;

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

const HEAD_LIMIT: usize = 64 << 10;
const BODY_LIMIT: usize = 64 << 20;

pub(super) struct Connection {
    stream: BufReader<TcpStream>,
}

pub(super) struct Request {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// The next request, or `None` where the client has hung up.
    pub(super) async fn request(&mut self) -> io::Result<Option<Request>> {
        let start = self.line().await?;
        if start.is_empty() {
            return Ok(None);
        }
        let mut words = start.split(' ');
        let (Some(method), Some(path)) = (words.next(), words.next()) else {
            return Err(invalid("no request line"));
        };
        let (method, path) = (method.to_owned(), path.to_owned());
        let mut headers = Vec::new();
        let mut size = 0;
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                break;
            }
            size += line.len();
            let (name, value) = line.split_once(':').ok_or_else(|| invalid("no header"))?;
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
            if size > HEAD_LIMIT {
                return Err(invalid("too many headers"));
            }
        }
        let header =
            |name: &str| headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
        if header("expect").is_some() {
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let chunked = header("transfer-encoding").is_some_and(|coding| coding.contains("chunked"));
        let length = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let body = if chunked { self.chunked_body().await? } else { self.body(length).await? };
        Ok(Some(Request { method, path, headers, body }))
    }

    async fn chunked_body(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| invalid("no chunk size"))?;
            body.extend(self.body(size).await?);
            if body.len() > BODY_LIMIT {
                return Err(invalid("too large"));
            }
            self.line().await?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    async fn body(&mut self, length: usize) -> io::Result<Vec<u8>> {
        if length > BODY_LIMIT {
            return Err(invalid("too large"));
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok(body)
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        let limit = HEAD_LIMIT as u64;
        (&mut self.stream).take(limit).read_line(&mut line).await?;
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// A whole response.
    pub(super) async fn respond(
        &mut self,
        status: u16,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<()> {
        let mut response = head(status, headers);
        response.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        let mut response = response.into_bytes();
        response.extend_from_slice(body);
        self.write(&response).await
    }

    /// The head of a response whose body comes in chunks.
    pub(super) async fn begin(&mut self, status: u16, headers: &[(&str, &str)]) -> io::Result<()> {
        let mut response = head(status, headers);
        response.push_str("transfer-encoding: chunked\r\n\r\n");
        self.write(response.as_bytes()).await
    }

    pub(super) async fn chunk(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        self.write(&chunk).await
    }

    pub(super) async fn end(&mut self) -> io::Result<()> {
        self.write(b"0\r\n\r\n").await
    }

    /// Returns when the client has hung up.
    pub(super) async fn hung_up(&mut self) {
        let mut byte = [0];
        while matches!(self.stream.read(&mut byte).await, Ok(1..)) {}
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes).await
    }
}

fn head(status: u16, headers: &[(&str, &str)]) -> String {
    let mut head = format!("HTTP/1.1 {status} \r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head
}

fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
