//! What the helper does all day.

use std::{
    collections::{HashMap, hash_map::Entry},
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use crate::{
    family::{Family, Member, is_stopped},
    launch::{Launch, Launcher, Progress, Refusal, Request},
    policy::{Failure, Holder, Policy},
    sys::{self, Ended, Epoll, Event, SIGCONT, SIGKILL, SIGSTOP, SIGTERM},
    wire::{MAX_PACKET, NUMBER_BITS, Order, Reply, Stage},
};

const CONTROL: u64 = u64::MAX;
const CHILDREN: u64 = u64::MAX - 1;
/// How many requests are taken before the others get their turn.
const MAX_REQUESTS: usize = 1;
/// How long the helper tries to end what does not end.
const MAX_KILL: Duration = Duration::from_secs(2);
/// How many trees below a command's own children are walked through when it is ended.
const MAX_WALKS: usize = 16;
/// How often it looks again meanwhile, without being told that a child has ended.
const KILL_PAUSE_MS: u16 = 20;

/// How long a command may take to execute its program before the host is told so.
const LAUNCH: Duration = Duration::from_millis(50);
/// When it looks whether all of a command that was told to go on does so: one that was being forked may stay behind.
const GO_ON_LOOKS: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(500)];
const GO_ON_PAUSE_MS: u16 = 20;

/// How long a start is kept from the host. Most commands have ended by then, which tells of it: one wake-up for both.
const START_DELAY_MS: u16 = 2;
const START_DELAY: Duration = Duration::from_millis(START_DELAY_MS as u64);
/// How often the helper looks for one that takes long to execute its program.
const LAUNCH_PAUSE_MS: u16 = 5;

pub(crate) struct Server {
    epoll: Epoll,
    signals: OwnedFd,
    launcher: Launcher,
    family: Family,
    commands: HashMap<u32, Command>,
    /// The lines that the host holds open, by their names in `epoll`.
    lines: HashMap<u64, Line>,
    next_line: u64,
    /// The commands whose start was not told.
    untold: Vec<u32>,
    /// The commands that were told to go on, and when the next look is due.
    going_on: Vec<(u32, Instant)>,
    first_tag: u64,
    buffer: Vec<u8>,
}

/// Whom a line serves.
enum Line {
    /// Nobody: the next thing to come is a request.
    Idle(OwnedFd),
    /// This command, which has the socket.
    Of(u32),
}

/// A command of which something lives, or may.
struct Command {
    /// Its line and that one's name. None when the host has let go.
    line: Option<(u64, OwnedFd)>,
    begun: Instant,
    /// Its first process, until that has ended.
    first: Option<u32>,
    /// Until it was seen that that has executed its program.
    launch: Option<Launch>,
    /// The host was told that this takes long.
    delayed: bool,
    /// The namespaces that are its own.
    holder: Option<Holder>,
    /// Since when it is being ended.
    killed: Option<Instant>,
    /// The host was told that the rest can't be ended.
    stuck: bool,
    /// The host was told of its end, which tells of its start.
    told: bool,
}

impl Command {
    fn new(name: u64, line: OwnedFd, launch: Launch) -> Self {
        Self {
            line: Some((name, line)),
            begun: Instant::now(),
            first: Some(launch.pid),
            holder: launch.holder,
            launch: Some(launch),
            delayed: false,
            killed: None,
            stuck: false,
            told: false,
        }
    }

    /// Signals the first process and its group, which it may not have made yet.
    fn signal(&self, signal: i32) {
        if let Some(first) = self.first.and_then(|first| i32::try_from(first).ok()) {
            // An error means that nothing of the group is there, or that there is no such signal.
            let _ = sys::signal_to(-first, signal);
            if self.launch.is_some() {
                let _ = sys::signal_to(first, signal);
            }
        }
    }

    fn tell(&self, reply: Reply) {
        if let Some((_, line)) = &self.line {
            sys::send_now(line, &reply.encode());
        }
    }

    /// Tells the last there is to tell, after which the line serves another.
    fn tell_last(&mut self, reply: Reply, lines: &mut HashMap<u64, Line>) {
        self.tell(reply);
        if let Some((name, line)) = self.line.take() {
            lines.insert(name, Line::Idle(line));
        }
    }
}

impl Server {
    pub(crate) fn new(control: &OwnedFd, first_tag: u64, policy: Policy) -> Result<Self, i32> {
        let (epoll, signals) = (Epoll::new()?, sys::child_signals()?);
        epoll.add(control.as_fd(), CONTROL)?;
        epoll.add(signals.as_fd(), CHILDREN)?;
        Ok(Self {
            epoll,
            signals,
            launcher: Launcher::new(policy)?,
            family: Family::new(first_tag),
            commands: HashMap::new(),
            lines: HashMap::new(),
            next_line: 0,
            untold: Vec::new(),
            going_on: Vec::new(),
            first_tag,
            buffer: vec![0; MAX_PACKET],
        })
    }

    /// Puts the policy into force for the helper itself, which has opened what it needs.
    pub(crate) fn lock(&mut self) -> Result<(), Failure> {
        self.launcher.policy.lock()
    }

    /// Serves until the host lets go, ends everything, and returns whether nothing is left.
    pub(crate) fn serve(&mut self, control: &OwnedFd) -> bool {
        let mut events = [Event::NONE; 64];
        loop {
            let pause = self.commands.values().any(|command| command.killed.is_some() && !command.stuck);
            let is_delayed = |number| self.commands.get(number).is_some_and(|command| command.delayed);
            let pauses = [
                (!self.untold.iter().all(is_delayed), START_DELAY_MS),
                (!self.untold.is_empty(), LAUNCH_PAUSE_MS),
                (pause || !self.going_on.is_empty(), GO_ON_PAUSE_MS.min(KILL_PAUSE_MS)),
            ];
            let millis = pauses.into_iter().find_map(|(is_due, millis)| is_due.then_some(millis));
            let found = self.epoll.wait(&mut events, millis);
            if pause || found.iter().any(|event| event.data == CHILDREN) {
                sys::drain(&self.signals);
                self.settle();
            }
            self.look_who_stays();
            for event in found {
                match event.data {
                    CHILDREN => {}
                    CONTROL => {
                        if !self.take_requests(control) {
                            return self.end_all();
                        }
                    }
                    name => match self.lines.get(&name) {
                        Some(Line::Of(number)) => self.take_orders(*number),
                        Some(Line::Idle(_)) => self.take_request(name),
                        None => {}
                    },
                }
            }
            self.tell_starts();
        }
    }

    /// Tells of the commands that have not ended soon.
    fn tell_starts(&mut self) {
        for number in std::mem::take(&mut self.untold) {
            self.look_at_launch(number);
            let Some(command) = self.commands.get_mut(&number).filter(|command| !command.told) else {
                continue;
            };
            let age = command.begun.elapsed();
            if command.launch.is_none() && age >= START_DELAY {
                command.tell(Reply::Started);
                continue;
            }
            if age >= LAUNCH && !std::mem::replace(&mut command.delayed, true) {
                command.tell(Reply::Delayed);
            }
            self.untold.push(number);
        }
    }

    /// Takes requests that bring a new line. False when the host has let go.
    fn take_requests(&mut self, control: &OwnedFd) -> bool {
        for _ in 0..MAX_REQUESTS {
            let packet = match sys::receive(control, &mut self.buffer, false) {
                Err(sys::EAGAIN) => return true,
                Err(_) => return false,
                Ok(packet) if packet.length == 0 => return false,
                Ok(packet) => packet,
            };
            let whole = packet.whole();
            let mut handles = packet.handles.into_iter();
            // Without a line there is nobody to answer.
            let Some(line) = handles.next() else { continue };
            let name = self.next_line;
            // Where nothing could be heard of the host, it learns by the line's end that nothing is known.
            if self.epoll.add(line.as_fd(), name).is_ok() {
                self.next_line += 1;
                self.answer(name, line, whole, handles);
            }
        }
        true
    }

    /// Takes what comes over a line that serves nobody.
    fn take_request(&mut self, name: u64) {
        let Entry::Occupied(line) = self.lines.entry(name) else { return };
        let Line::Idle(socket) = line.get() else { return };
        match sys::receive(socket, &mut self.buffer, false) {
            Err(sys::EAGAIN) => {}
            // What was meant for a command that has ended.
            Ok(packet) if self.buffer.get(..packet.length).is_some_and(Order::is_one) => {}
            Ok(packet) if packet.length > 0 => {
                let Line::Idle(socket) = line.remove() else { return };
                let whole = packet.whole();
                self.answer(name, socket, whole, packet.handles.into_iter());
            }
            // The host has let go.
            Ok(_) | Err(_) => drop(line.remove()),
        }
    }

    /// Does what a request of so many bytes wants, or says why not.
    fn answer(
        &mut self,
        name: u64,
        line: OwnedFd,
        length: Option<usize>,
        handles: impl Iterator<Item = OwnedFd>,
    ) {
        let bytes = length.and_then(|length| self.buffer.get(..length)).unwrap_or_default();
        match Request::parse(bytes, handles).and_then(|request| self.start(request)) {
            Ok((number, launch)) => {
                self.lines.insert(name, Line::Of(number));
                self.commands.insert(number, Command::new(name, line, launch));
                self.untold.push(number);
                self.launcher.policy.refill();
            }
            Err((stage, errno)) => {
                sys::send_now(&line, &Reply::Refused { stage, errno }.encode());
                self.lines.insert(name, Line::Idle(line));
            }
        }
    }

    fn start(&mut self, request: Request) -> Result<(u32, Launch), Refusal> {
        let number = request.number();
        if number >> NUMBER_BITS != 0 {
            return Err((Stage::Request, sys::EINVAL));
        }
        if self.commands.contains_key(&number) {
            return Err((Stage::Request, sys::EEXIST));
        }
        let launch = self.launcher.launch(request, self.first_tag)?;
        self.family.add(launch.pid, number);
        if let Some(holder) = launch.holder {
            self.family.add_holder(holder.pid(), number);
        }
        Ok((number, launch))
    }

    /// Looks whether a command has executed its program, and gives up one that can't.
    fn look_at_launch(&mut self, number: u32) {
        let Some(command) = self.commands.get_mut(&number) else { return };
        let Some(launch) = command.launch.take() else { return };
        match self.launcher.finish(launch) {
            Progress::Done => {}
            Progress::Delayed(launch) => command.launch = Some(launch),
            Progress::Refused((stage, errno)) => {
                command.tell_last(Reply::Refused { stage, errno }, &mut self.lines);
                // What came back is a zombie by now, or nearly: it is taken off the books as any other.
                if let Some(pid) = command.first {
                    self.family.disown(pid);
                }
                self.commands.remove(&number);
            }
        }
    }

    /// Does what the host says about one command.
    fn take_orders(&mut self, number: u32) {
        self.look_at_launch(number);
        let Some(command) = self.commands.get_mut(&number) else { return };
        let Some((name, line)) = &command.line else { return };
        let mut packet = [0; 16];
        let order = match sys::receive(line, &mut packet, false) {
            Err(sys::EAGAIN) => return,
            Ok(received) if received.length > 0 => {
                Order::decode(packet.get(..received.length).unwrap_or_default())
            }
            // The host has let go.
            Ok(_) | Err(_) => {
                self.lines.remove(name);
                command.line = None;
                Some(Order::Kill)
            }
        };
        match order {
            Some(Order::Kill) => {
                command.killed.get_or_insert_with(Instant::now);
                self.settle();
            }
            Some(Order::Ask) => self.ask(number),
            Some(Order::Signal(signal)) => {
                command.signal(signal);
                if signal == SIGCONT {
                    let now = Instant::now();
                    self.going_on.extend(GO_ON_LOOKS.map(|later| (number, now + later)));
                } else if signal == SIGSTOP {
                    self.going_on.retain(|(other, _)| *other != number);
                }
            }
            None => {}
        }
    }

    /// Tells those once more to go on that are stopped all the same.
    fn look_who_stays(&mut self) {
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.going_on).into_iter().partition(|(_, at)| *at <= now);
        self.going_on = later;
        let due: Vec<(u32, Instant)> = due;
        for (number, _) in due {
            let Some(first) = self.commands.get(&number).and_then(|command| command.first) else { continue };
            let stays = |pid: u32| sys::group_of(pid) == Some(first) && is_stopped(pid);
            if stays(first) {
                let _ = sys::signal_to(i32::try_from(first).unwrap_or_default(), SIGCONT);
            }
            self.family.signal_below(first, number, &[SIGCONT], stays);
        }
    }

    /// Asks all of a command to end, also what was stopped, and once: a second request often means "at once".
    fn ask(&mut self, number: u32) {
        const REQUEST: [i32; 2] = [SIGTERM, SIGCONT];
        let Some(command) = self.commands.get(&number) else { return };
        for signal in REQUEST {
            command.signal(signal);
        }
        let first = command.first;
        let outside = |pid: u32| first.is_none() || sys::group_of(pid) != first;
        for (pid, member) in self.family.members(|number| self.commands.contains_key(&number)) {
            if member.command() == Some(number) {
                if outside(pid) {
                    for signal in REQUEST {
                        let _ = sys::signal_to(i32::try_from(pid).unwrap_or_default(), signal);
                    }
                }
                self.family.signal_below(pid, number, &REQUEST, outside);
            }
        }
    }

    /// Takes off the books who has ended, tells the host, and goes on ending what is to be ended.
    fn settle(&mut self) {
        let (ended, alone) = self.reap();
        self.let_go(&ended);
        let waits = |command: &Command| command.first.is_none() || command.killed.is_some();
        let members = if alone || !self.commands.values().any(waits) { Vec::new() } else { self.look() };
        // A stranger may be anybody's, and is as good as dead.
        let is_left = |number: u32| {
            let may_be_its = |member: &Member| member.command().is_none_or(|other| other == number);
            members.iter().any(|(_, member)| may_be_its(member))
        };
        for (number, ended) in &ended {
            if let Some(command) = self.commands.get_mut(number) {
                command.told = true;
                let Ended { signalled, value, .. } = *ended;
                let gone = !is_left(*number);
                let reply = Reply::Exited { signalled, value, gone };
                if gone { command.tell_last(reply, &mut self.lines) } else { command.tell(reply) }
            }
        }
        let (family, lines) = (&mut self.family, &mut self.lines);
        self.commands.retain(|number, command| {
            if command.first.is_none() && !is_left(*number) {
                // Unless its end has told so.
                command.tell_last(Reply::Gone, lines);
                return false;
            }
            if let Some(since) = command.killed {
                kill(*number, command, &members, family);
                if since.elapsed() > MAX_KILL && !command.stuck {
                    command.stuck = true;
                    command.tell(Reply::Stuck);
                }
            }
            true
        });
    }

    /// Takes the namespaces of commands that have ended and left nothing behind.
    fn let_go(&mut self, ended: &[(u32, Ended)]) {
        for (number, _) in ended {
            let Some(command) = self.commands.get_mut(number) else { continue };
            if let Some(holder) = command.holder.take_if(|holder| self.family.let_go(holder.pid())) {
                self.launcher.policy.release(holder);
            }
        }
    }

    /// The commands whose first process has ended, and whether no child is left at all.
    fn reap(&mut self) -> (Vec<(u32, Ended)>, bool) {
        let mut firsts = Vec::new();
        loop {
            match self.family.reap() {
                Ok(None) => return (firsts, false),
                Err(_) => return (firsts, true),
                Ok(Some((ended, Some(Member::First(number))))) => {
                    if let Some(command) = self.commands.get_mut(&number) {
                        command.first = None;
                    }
                    // Who has ended is done with what it shared.
                    self.look_at_launch(number);
                    firsts.push((number, ended));
                }
                Ok(Some((ended, _))) => self.launcher.policy.reaped(ended.pid),
            }
        }
    }

    /// All children that belong to a command, or may. Strangers are ended at once; who can't be is left out.
    fn look(&mut self) -> Vec<(u32, Member)> {
        let mut members = self.family.members(|number| self.commands.contains_key(&number));
        let policy = &self.launcher.policy;
        members.retain(|(pid, member)| {
            *member != Member::Stranger
                || !policy.owns(*pid)
                    && sys::signal_to(i32::try_from(*pid).unwrap_or_default(), SIGKILL).is_ok()
        });
        members
    }

    /// Ends everything, and returns whether that was possible.
    fn end_all(&mut self) -> bool {
        let since = Instant::now();
        self.launcher.policy.end_all();
        for command in self.commands.values_mut() {
            command.line = None;
            command.killed.get_or_insert(since);
        }
        loop {
            if self.reap().1 {
                return true;
            }
            if since.elapsed() > MAX_KILL {
                return false;
            }
            let members = self.look();
            for (number, command) in &self.commands {
                kill(*number, command, &members, &mut self.family);
            }
            sys::wait_readable(&self.signals, KILL_PAUSE_MS);
            sys::drain(&self.signals);
        }
    }
}

/// Ends what can be seen of a command. What it has just started comes up when its parent has ended.
fn kill(number: u32, command: &Command, members: &[(u32, Member)], family: &mut Family) {
    command.signal(SIGKILL);
    let own = members.iter().filter(|(_, member)| member.command() == Some(number));
    let fresh: Vec<u32> = own.map(|(pid, _)| *pid).filter(|pid| family.doom(*pid)).collect();
    for pid in &fresh {
        // Of many, each has little below it, which soon comes up by itself.
        if fresh.len() <= MAX_WALKS {
            family.signal_below(*pid, number, &[SIGKILL], |_| true);
        }
        if i32::try_from(*pid).is_ok_and(|pid| sys::signal_to(pid, SIGKILL).is_err()) {
            // It is another user's, for now.
            family.spare(*pid);
        }
    }
}
