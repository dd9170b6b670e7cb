//! `SIGHUP`: a server starts the program anew, as it was started itself, to take its place.

use std::{
    ffi::OsString,
    io,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::PathBuf,
    process::{ExitStatus, Stdio},
};

use tokio::{
    process::Command,
    signal::unix::{SignalKind, signal},
};

/// What the system says of a program whose file was replaced.
const REPLACED: &[u8] = b" (deleted)";

/// Starts a successor each time that it is asked for. One that does not get so far as to take this server's place changes
/// nothing.
pub(crate) async fn follow_hangups() {
    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => return tracing::error!(%error, "SIGHUP can't be heard"),
    };
    while hangups.recv().await.is_some() {
        match successor().await {
            Ok(status) => tracing::error!(%status, "the server that was to follow ended; this one goes on"),
            Err(error) => tracing::error!(%error, "no server that follows can be started"),
        }
    }
}

/// Runs the successor to its end, which this process should not live to see.
async fn successor() -> io::Result<ExitStatus> {
    let program = program()?;
    tracing::info!(program = %program.display(), "starts the server that follows");
    let args = std::env::args_os().skip(1).filter(|arg| arg != "--upgrade");
    let mut command = Command::new(program);
    command.args(args).arg("--upgrade").stdin(Stdio::null()).spawn()?.wait().await
}

/// The program's file, also where another was put in its place.
fn program() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    let stripped = path.as_os_str().as_bytes().strip_suffix(REPLACED);
    Ok(stripped.map_or(path.clone(), |stripped| OsString::from_vec(stripped.to_vec()).into()))
}
