//! The witness: a process outside that holds a secret in every place where another might find it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, UdpSocket},
    os::{
        fd::AsRawFd,
        linux::net::SocketAddrExt,
        unix::{
            fs::{OpenOptionsExt, PermissionsExt},
            net::{SocketAddr, UnixDatagram, UnixListener},
        },
    },
    process::ExitCode,
    thread,
};

use super::call::{self, Errno, at, c, call};

/// The name of the witness's process.
pub(super) const NAME: &str = "agentx-witness";

/// Holds the secret that the environment names, in and below the working directory, until its input ends. It prints
/// where it does, in the words of `Target`.
pub(crate) fn testify() -> ExitCode {
    match hold() {
        Ok(()) => ExitCode::SUCCESS,
        Err(errno) => {
            // Whoever waits for the words finds none.
            let _ = writeln!(io::stderr(), "the witness could not be set up: {errno}");
            ExitCode::FAILURE
        }
    }
}

fn hold() -> Result<(), Errno> {
    let secret = std::env::var("AGENTX_PROBE_SECRET").map_err(|_| Errno::EINVAL)?;
    let name = std::env::var("AGENTX_PROBE_NAME").map_err(|_| Errno::EINVAL)?;
    let comm = c(NAME);
    call(call::PRCTL, [15, at(&comm), 0, 0, 0])?;
    for (file, text) in [
        ("secret", secret.as_str()),
        ("mine", "untouched"),
        ("removable", ""),
        ("swapped-out", "untouched"),
        ("program", &format!("#!/bin/sh\necho {secret}\n")),
    ] {
        fs::write(file, text)?;
    }
    fs::set_permissions("program", fs::Permissions::from_mode(0o755))?;
    fs::create_dir("removable-dir")?;
    std::os::unix::fs::symlink("secret", "link")?;
    fs::write(format!("/dev/shm/{name}"), &secret)?;
    let open = File::open("secret")?;
    let (handle, handle_type) = handle_of("secret").unwrap_or_default();

    let tcp = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let (tcp_port, udp_port) = (tcp.local_addr()?.port(), udp.local_addr()?.port());
    let unix = UnixListener::bind("socket")?;
    let unseen = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    let _datagrams = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(format!("{name}-datagram"))?)?;
    serve(&secret, move || tcp.accept().map(|(stream, _)| stream));
    serve(&secret, move || unix.accept().map(|(stream, _)| stream));
    serve(&secret, move || unseen.accept().map(|(stream, _)| stream));
    let words = secret.clone();
    thread::spawn(move || {
        while let Ok((_, from)) = udp.recv_from(&mut [0; 16]) {
            let _ = udp.send_to(words.as_bytes(), from);
        }
    });

    let segment = segment(&secret)?;
    let terminal = OpenOptions::new().read(true).write(true).custom_flags(0o400).open("/dev/ptmx");
    let terminal_path = terminal.as_ref().map(terminal_of).unwrap_or_default();
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "pid={} address={} fd={} tcp={tcp_port} udp={udp_port} terminal={terminal_path} segment={segment} \
         handle={handle} handle_type={handle_type}",
        std::process::id(),
        secret.as_ptr() as usize,
        open.as_raw_fd(),
    )?;
    out.flush()?;
    // Until the probe is over, or the host is gone.
    let _ = io::stdin().lock().read_to_end(&mut Vec::new());
    let _ = call(SHMCTL, [segment, 0, 0]);
    let _ = fs::remove_file(format!("/dev/shm/{name}"));
    // Kept until here.
    drop((open, terminal, secret));
    Ok(())
}

const SHMCTL: isize = if cfg!(target_arch = "x86_64") { 31 } else { 195 };

fn serve<S: Write>(secret: &str, mut accept: impl FnMut() -> io::Result<S> + Send + 'static) {
    let secret = secret.to_owned();
    thread::spawn(move || {
        while let Ok(mut stream) = accept() {
            let _ = stream.write_all(secret.as_bytes());
        }
    });
}

/// A shared memory segment that holds the secret.
fn segment(secret: &str) -> Result<usize, Errno> {
    const CREATE: usize = 0o1000;
    let id = call(call::SHMGET, [0, 4096, CREATE | 0o666])?;
    let address = call(call::SHMAT, [id, 0, 0])?;
    call::write_at(address, secret.as_bytes());
    Ok(id)
}

/// The kernel's handle to a file.
fn handle_of(path: &str) -> Result<(String, i32), Errno> {
    const AT_FDCWD: usize = (-100_isize) as usize;
    let path = c(path);
    // How long it may be, its type, and then the handle itself.
    let mut handle = [0_u32; 34];
    handle[0] = 128;
    let mut mount = 0_i32;
    call(
        call::NAME_TO_HANDLE_AT,
        [AT_FDCWD, at(&path), handle.as_mut_ptr() as usize, (&raw mut mount) as usize, 0],
    )?;
    let [length, kind, words @ ..] = handle;
    let bytes = words.iter().flat_map(|word| word.to_ne_bytes()).take(length as usize);
    let text: Vec<_> = bytes.map(|byte| format!("{byte:02x}")).collect();
    Ok((text.concat(), kind.cast_signed()))
}

/// The other end of a terminal.
fn terminal_of(master: &File) -> String {
    const TIOCGPTN: usize = 0x8004_5430;
    const TIOCSPTLCK: usize = 0x4004_5431;
    let (mut number, unlock) = (0_u32, 0_i32);
    let fd = master.as_raw_fd() as usize;
    let _ = call(call::IOCTL, [fd, TIOCSPTLCK, (&raw const unlock) as usize]);
    match call(call::IOCTL, [fd, TIOCGPTN, (&raw mut number) as usize]) {
        Ok(_) => format!("/dev/pts/{number}"),
        Err(_) => String::new(),
    }
}
