//! A server's process, and a client that speaks with it over its socket.

use std::{
    cell::Cell,
    collections::VecDeque,
    fs,
    io::{BufRead, BufReader},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    sync::{Mutex, mpsc},
};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{
    self, Message, WebSocket,
    client::{IntoClientRequest, client},
};

/// `avm` with a clean environment: no key, no home of anybody's.
pub(crate) fn avm(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_avm"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("AVM_DATA_DIR", data)
        .stdin(Stdio::null());
    command
}

/// A server that is killed with its test, and so is the one that it starts in its place.
pub(crate) struct Served {
    pub(crate) child: Child,
    pub(crate) address: String,
    data: PathBuf,
    is_followed: Cell<bool>,
    banners: BufReader<ChildStdout>,
    logs: Mutex<mpsc::Receiver<String>>,
}

impl Served {
    pub(crate) fn start(data: &Path, flags: &[&str]) -> Self {
        let mut command = avm(data);
        command.args(["serve", "--port", "0"]).args(flags).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (line, logs) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for told in stderr.lines().map_while(Result::ok) {
                // Nobody may be interested any more.
                drop(line.send(told));
            }
        });
        let mut banners = BufReader::new(child.stdout.take().unwrap());
        let address = banner(&mut banners);
        let (data, is_followed) = (data.to_owned(), Cell::new(false));
        Self { child, address, data, is_followed, banners, logs: Mutex::new(logs) }
    }

    /// Waits until it logs a line with this text.
    pub(crate) fn logged(&self, text: &str) {
        let logs = self.logs.lock().unwrap();
        assert!(logs.iter().any(|line| line.contains(text)), "it never logged {text}");
    }

    /// Stops it, and gives what it logged and nobody has looked at.
    pub(crate) fn end(&mut self) -> String {
        self.signal("-TERM");
        assert!(self.child.wait().unwrap().success());
        self.logs.get_mut().unwrap().iter().collect::<Vec<_>>().join("\n")
    }

    /// Waits until a server that took this one's place says where it serves.
    pub(crate) fn followed(&mut self) -> String {
        banner(&mut self.banners)
    }

    pub(crate) fn chat(&self, data: &Path, flags: &[&str]) -> Output {
        let url = format!("ws://{}/ws", self.address);
        avm(data).args(["chat", "--url", &url]).args(flags).output().unwrap()
    }

    pub(crate) fn signal(&self, signal: &str) {
        self.is_followed.set(self.is_followed.get() || signal == "-HUP");
        kill(signal, &self.child.id().to_string());
    }
}

/// The servers on a data directory, whoever started them.
fn serving(data: &Path) -> impl Iterator<Item = String> {
    let variable = [b"AVM_DATA_DIR=", data.as_os_str().as_encoded_bytes()].concat();
    let serves = move |process: &Path| {
        // A process may be gone by now, or be somebody else's.
        let has = |file: &str, entry: &[u8]| {
            fs::read(process.join(file)).is_ok_and(|text| text.split(|byte| *byte == 0).any(|it| it == entry))
        };
        has("cmdline", b"serve") && has("environ", &variable)
    };
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let serving = processes.filter(move |process| serves(process));
    serving.map(|process| process.file_name().unwrap().to_str().unwrap().to_owned())
}

pub(crate) fn kill(signal: &str, process: &str) {
    assert!(Command::new("kill").args([signal, process]).status().unwrap().success());
}

fn banner(banners: &mut BufReader<ChildStdout>) -> String {
    loop {
        let mut line = String::new();
        assert!(banners.read_line(&mut line).unwrap() > 0, "it ended before it served");
        if let Some((_, address)) = line.split_once("http://") {
            return address.split_whitespace().next().unwrap().to_owned();
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
        if self.is_followed.get() {
            for process in serving(&self.data) {
                drop(Command::new("kill").args(["-KILL", &process]).status());
            }
        }
    }
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn complained(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The image that a chat tells of.
pub(crate) fn image(output: &Output) -> String {
    let complaint = complained(output);
    let line = complaint
        .lines()
        .find_map(|line| line.strip_prefix("image "))
        .unwrap_or_else(|| panic!("{complaint}"));
    line.to_owned()
}

/// A client's connection. Whatever it asks is refused once the server is gone.
pub(crate) struct Socket {
    stream: WebSocket<TcpStream>,
    waiting: VecDeque<Value>,
    asked: u64,
}

/// The connection is over.
#[derive(Debug)]
pub(crate) struct Gone {
    /// The code that the server closed it with.
    pub(crate) code: Option<u16>,
}

impl From<tungstenite::Error> for Gone {
    fn from(_: tungstenite::Error) -> Self {
        Self { code: None }
    }
}

impl Socket {
    pub(crate) fn connect(address: &str) -> Result<Self, Gone> {
        let stream = TcpStream::connect(address).map_err(|_| Gone { code: None })?;
        let opened = client(format!("ws://{address}/ws"), stream);
        let (stream, _) = opened.map_err(|_| Gone { code: None })?;
        Ok(Self { stream, waiting: VecDeque::new(), asked: 0 })
    }

    /// A client who has a key.
    pub(crate) fn connect_as(address: &str, key: &str) -> Result<Self, Gone> {
        let stream = TcpStream::connect(address).map_err(|_| Gone { code: None })?;
        let mut request = format!("ws://{address}/ws").into_client_request()?;
        request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        let (stream, _) = client(request, stream).map_err(|_| Gone { code: None })?;
        Ok(Self { stream, waiting: VecDeque::new(), asked: 0 })
    }

    /// Says something that is not answered.
    pub(crate) fn say(&mut self, method: &str, params: &Value) -> Result<(), Gone> {
        let frame = json!({"jsonrpc": "2.0", "method": method, "params": params});
        Ok(self.stream.send(Message::text(frame.to_string()))?)
    }

    /// Asks, and gives the number of the answer.
    pub(crate) fn ask(&mut self, method: &str, params: &Value) -> Result<u64, Gone> {
        self.asked += 1;
        let frame = json!({"jsonrpc": "2.0", "id": self.asked, "method": method, "params": params});
        self.stream.send(Message::text(frame.to_string()))?;
        Ok(self.asked)
    }

    /// Asks, and gives the answer, which must be no error.
    pub(crate) fn call(&mut self, method: &str, params: &Value) -> Result<Value, Gone> {
        let frame = self.answer(method, params)?;
        assert!(frame.get("error").is_none(), "{method} {params}: {frame}");
        Ok(frame["result"].clone())
    }

    /// Asks, and gives the answer, whatever it is.
    pub(crate) fn answer(&mut self, method: &str, params: &Value) -> Result<Value, Gone> {
        let id = json!(self.ask(method, params)?);
        loop {
            let frame = self.read()?;
            if frame.get("id") == Some(&id) {
                return Ok(frame);
            }
            self.waiting.push_back(frame);
        }
    }

    /// The next event.
    pub(crate) fn event(&mut self) -> Result<Value, Gone> {
        loop {
            let mut frame = match self.waiting.pop_front() {
                Some(frame) => frame,
                None => self.read()?,
            };
            if let Some(event) = frame.pointer_mut("/params/event") {
                return Ok(event.take());
            }
        }
    }

    fn read(&mut self) -> Result<Value, Gone> {
        loop {
            match self.stream.read()? {
                Message::Text(text) => return Ok(serde_json::from_str(&text).unwrap()),
                Message::Close(frame) => return Err(Gone { code: frame.map(|frame| frame.code.into()) }),
                _ => {}
            }
        }
    }
}
