//! The helper that `LocalProcess` starts its commands through.
//!
//! A small process can do for each command what costs a large one dearly: start it without copying page tables, set it
//! up between `fork` and `exec`, adopt what it leaves behind, and end all of it. It outlives neither the host nor its
//! socket: when the host closes that, in whatever way it ends, everything that the helper started is ended.
//!
//! The library carries this program and runs it from memory. Where that is not allowed, it can be installed as a file:
//! `cargo install agentx-provider-local`, and `LocalProcess::with_helper`. It is of no use by itself.

mod family;
mod launch;
mod policy;
mod probe;
mod server;
mod sys;
#[path = "../src/process/helper/wire.rs"]
#[cfg_attr(not(test), expect(dead_code, reason = "each side uses its half"))]
mod wire;

use std::{os::fd::OwnedFd, process::ExitCode};

use self::{
    policy::Policy,
    server::Server,
    wire::{Reply, Setup, Stage, VERSION},
};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("probe") => return probe::run(args),
        Some("witness") => return probe::testify(),
        _ => {}
    }
    let Ok(control) = sys::settle_in() else { return ExitCode::FAILURE };
    match prepare(&control) {
        Ok(mut server) => {
            sys::send_now(&control, &Reply::Ready { version: VERSION }.encode());
            // Of what is left the host takes care, where it is still there.
            if server.serve(&control) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err((stage, errno)) => {
            sys::send_now(&control, &Reply::Refused { stage, errno }.encode());
            ExitCode::FAILURE
        }
    }
}

fn prepare(control: &OwnedFd) -> Result<Server, (Stage, i32)> {
    let invalid = (Stage::Request, sys::EINVAL);
    let mut buffer = vec![0; wire::MAX_PACKET];
    let packet = sys::receive(control, &mut buffer, true).map_err(|errno| (Stage::Request, errno))?;
    let setup = buffer.get(..packet.length).filter(|_| !packet.cut).and_then(Setup::decode).ok_or(invalid)?;
    let mut policy = Policy::default();
    let mut handles = packet.handles.into_iter();
    if setup.pid_namespace {
        sys::enter_pid_namespace().map_err(|errno| (Stage::Namespace, errno))?;
    }
    if !setup.policy.is_empty() {
        let plan = handles.next().ok_or(invalid)?;
        policy = Policy::enter(plan).map_err(|failure| (Stage::Policy, failure.number()))?;
    }
    let groups: Vec<OwnedFd> = handles.collect();
    if groups.len() != usize::from(setup.groups) {
        return Err(invalid);
    }
    policy.set_groups(groups);
    sys::adopt_orphans().map_err(|errno| (Stage::Namespace, errno))?;
    let mut server =
        Server::new(control, setup.first_tag, policy).map_err(|errno| (Stage::Handles, errno))?;
    server.lock().map_err(|failure| (Stage::Policy, failure.number()))?;
    Ok(server)
}
