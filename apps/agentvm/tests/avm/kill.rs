//! A server that is killed, and clients that go on.

use std::{collections::HashMap, path::Path, sync::mpsc};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Gone, Served, Socket};

/// How often it is killed, unless `AVM_KILL_ROUNDS` says so.
const ROUNDS: usize = 6;

/// How many talk at the same time.
const CLIENTS: usize = 4;

/// What the one client has just heard when the server is killed, by turns.
const MOMENTS: [&str; 6] =
    ["tool_executing", "user_message", "text_delta", "assistant_message", "tool_completed", "turn_response"];

/// A client that lives longer than servers: it goes on behind the last event that it heard.
struct Client {
    name: String,
    image: Option<Value>,
    /// The stored events that it heard, in the order in which it did: their places and kinds.
    heard: Vec<(u64, String)>,
    /// What it said, of which the last may not have arrived.
    said: Vec<String>,
    /// The one that waits for the end of its turn.
    open: bool,
}

/// What one client has just heard.
type Moment = (usize, String);

impl Client {
    fn new(number: usize) -> Self {
        Self {
            name: format!("client{number}"),
            image: None,
            heard: Vec::new(),
            said: Vec::new(),
            open: false,
        }
    }

    fn image(&self) -> Value {
        json!({"imageId": self.image.as_ref().unwrap()["imageId"]})
    }

    /// Talks until the server is gone, or until `enough` turns are over.
    fn talk(&mut self, address: &str, enough: usize, told: impl Fn(&str)) -> Result<(), Gone> {
        let mut socket = Socket::connect(address)?;
        if self.image.is_none() {
            socket.call("container.create", &json!({"containerId": self.name}))?;
            let made = socket.call("image.create", &json!({"containerId": self.name}))?;
            self.image = Some(made["record"].clone());
        }
        socket.call("image.run", &self.image())?;
        let last = self.heard.last().map_or(0, |(place, _)| *place).to_string();
        let topic = &self.image.as_ref().unwrap()["sessionId"];
        socket.say("subscribe", &json!({"topic": topic, "afterCursor": last}))?;
        if self.open && !self.texts(&mut socket)?.contains(self.said.last().unwrap()) {
            // It was on its way when the server was killed.
            self.send(&mut socket)?;
        }
        let mut over = 0;
        while over < enough {
            if !self.open {
                let number = self.said.len();
                self.said.push(format!("$ echo {}.{number} | tee -a log.txt; sleep 0.02", self.name));
                self.open = true;
                self.send(&mut socket)?;
            }
            let event = self.event(&mut socket)?;
            let (cursor, kind) = (event["cursor"].as_str().unwrap(), event["type"].as_str().unwrap());
            if let Ok(cursor) = cursor.parse() {
                self.heard.push((cursor, kind.to_owned()));
            }
            if kind == "turn_response" {
                self.open = false;
                over += 1;
            }
            told(kind);
        }
        Ok(())
    }

    /// The next event of its conversation: it hears of all that are its owner's.
    fn event(&self, socket: &mut Socket) -> Result<Value, Gone> {
        loop {
            let event = socket.event()?;
            if event["context"]["sessionId"] == self.image.as_ref().unwrap()["sessionId"] {
                return Ok(event);
            }
        }
    }

    fn send(&self, socket: &mut Socket) -> Result<(), Gone> {
        let mut params = self.image();
        params["content"] = json!(self.said.last().unwrap());
        socket.ask("message.send", &params).map(drop)
    }

    /// What the server has of what was said.
    fn texts(&self, socket: &mut Socket) -> Result<Vec<String>, Gone> {
        let messages = self.messages(socket)?;
        let texts = messages.iter().filter(|message| message["role"] == "user");
        Ok(texts.map(|message| message["content"].as_str().unwrap().to_owned()).collect())
    }

    fn messages(&self, socket: &mut Socket) -> Result<Vec<Value>, Gone> {
        let (mut all, mut params) = (Vec::new(), self.image());
        loop {
            let page = socket.call("image.messages", &params)?;
            all.extend(page["messages"].as_array().unwrap().iter().cloned());
            match page.get("next").filter(|next| !next.is_null()) {
                Some(next) => params["after"] = next.clone(),
                None => return Ok(all),
            }
        }
    }

    /// Holds what it heard against what is stored.
    fn compare(&self, served: &Served, data: &Path) {
        let mut socket = Socket::connect(&served.address).unwrap();
        socket.call("image.run", &self.image()).unwrap();
        let messages = self.messages(&mut socket).unwrap();
        // What was said is there, once, in its order; the last of it may have been said after the end.
        assert_eq!(self.texts(&mut socket).unwrap(), self.said);
        let mut ids = HashMap::new();
        for message in &messages {
            *ids.entry(message["id"].as_str().unwrap()).or_insert(0) += 1;
        }
        assert!(ids.values().all(|count| *count == 1), "{messages:#?}");

        // Every event that is stored was heard, once, in its order.
        let topic = &self.image.as_ref().unwrap()["sessionId"];
        socket.say("subscribe", &json!({"topic": topic, "afterCursor": "0"})).unwrap();
        let mut stored = Vec::new();
        while stored.last() != self.heard.last() {
            let event = self.event(&mut socket).unwrap();
            let place = event["cursor"].as_str().unwrap().parse::<u64>();
            stored.extend(place.map(|place| (place, event["type"].as_str().unwrap().to_owned())));
        }
        let differ = stored.iter().zip(&self.heard).position(|(stored, heard)| stored != heard);
        let near = differ.map(|place| (&stored[place], &self.heard[place]));
        assert!(stored == self.heard, "{}: stored and heard differ first at {near:?}", self.name);

        // No command ran twice, whatever it was killed in; one whose output is stored did run.
        let image = self.image.as_ref().unwrap()["imageId"].as_str().unwrap();
        let log = data.join("workspaces").join(format!("local:{}", self.name)).join(image).join("log.txt");
        let log = std::fs::read_to_string(log).unwrap();
        let ran = |line: &str| log.lines().filter(|ran| *ran == line).count();
        for number in 0..self.said.len() {
            let line = format!("{}.{number}", self.name);
            let shown = |message: &&Value| {
                message["role"] == "tool"
                    && message["toolResult"]["output"].to_string().contains(&format!("{line}\\n"))
            };
            assert!(ran(&line) <= 1, "{line} in {log}");
            if let Some(message) = messages.iter().find(shown) {
                assert_eq!(ran(&line), 1, "{message}");
            }
        }
    }
}

#[test]
fn a_server_that_is_killed_in_the_middle_of_turns_loses_and_doubles_nothing_and_clients_resume() {
    let rounds = std::env::var("AVM_KILL_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let data = TempDir::new().unwrap();
    let mut clients: Vec<Client> = (0..CLIENTS).map(Client::new).collect();
    for round in 0..rounds {
        let served = Served::start(data.path(), &[]);
        let (told, moments) = mpsc::channel::<Moment>();
        std::thread::scope(|scope| {
            for (number, client) in clients.iter_mut().enumerate() {
                let (told, address) = (told.clone(), served.address.as_str());
                scope.spawn(move || {
                    // Nobody counts any more once the server is killed.
                    let tell = |kind: &str| drop(told.send((number, kind.to_owned())));
                    client.talk(address, usize::MAX, tell).unwrap_err();
                });
            }
            let moment = (round % CLIENTS, MOMENTS[round % MOMENTS.len()]);
            // What was left open is replayed first: the second time is in a turn of this server's.
            let mut times = 0;
            while times < 2 {
                let (number, kind) = moments.recv().unwrap();
                times += usize::from((number, kind.as_str()) == moment);
            }
            served.signal("-KILL");
        });
    }
    let served = Served::start(data.path(), &[]);
    for client in &mut clients {
        client.talk(&served.address, 2, |_| {}).unwrap();
        client.compare(&served, data.path());
    }
}
