//! Sockets.

use std::{
    io::Read,
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr as UnixAddr, UnixDatagram, UnixStream},
    },
    time::Duration,
};

use super::{
    Attempt, Outcome, Target,
    call::{self, Errno, call},
    done, own, raw, secret,
};

const STREAM: usize = 1;
const DATAGRAM: usize = 2;
const RAW: usize = 3;
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) const ATTEMPTS: &[Attempt] = &[
    ("tcp", |t| tcp(&format!("127.0.0.1:{}", t.tcp))),
    ("tcp-by-mapped-address", |t| tcp(&format!("[::ffff:127.0.0.1]:{}", t.tcp))),
    ("tcp-by-zero-address", |t| tcp(&format!("0.0.0.0:{}", t.tcp))),
    ("tcp-by-own-address", |t| tcp(&format!("{}:{}", own_address()?, t.tcp))),
    ("udp", |t| {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        // Connected, it is told when nobody is there.
        socket.connect((Ipv4Addr::LOCALHOST, t.udp))?;
        socket.send(b"?")?;
        let mut bytes = [0; 256];
        let count = socket.recv(&mut bytes)?;
        secret(bytes.get(..count).unwrap_or_default())
    }),
    ("route-out", |_| own_address()),
    ("interfaces", interfaces),
    ("unix", |t| unix(UnixStream::connect(t.at("socket"))?)),
    ("unix-by-symlink", |t| {
        let _ = std::fs::remove_file("socket-link");
        std::os::unix::fs::symlink(t.at("socket"), "socket-link")?;
        unix(UnixStream::connect("socket-link")?)
    }),
    ("unix-abstract", |t| unix(UnixStream::connect_addr(&UnixAddr::from_abstract_name(&t.name)?)?)),
    ("unix-datagram-abstract", |t| {
        let socket = UnixDatagram::unbound()?;
        let address = UnixAddr::from_abstract_name(format!("{}-datagram", t.name))?;
        done(socket.send_to_addr(b"?", &address).map_err(Errno::from))
    }),
    ("raw-ipv4", |_| socket(2, RAW, 1)),
    ("raw-ipv6", |_| socket(10, RAW, 58)),
    ("ax25", |_| socket(3, DATAGRAM, 0)),
    ("netlink-events", |_| socket(16, RAW, 15)),
    ("netlink-firewall", |_| socket(16, RAW, 12)),
    ("netlink-generic", |_| socket(16, RAW, 16)),
    ("netlink-transformations", |_| socket(16, RAW, 6)),
    ("netlink-diagnostics", |_| socket(16, RAW, 4)),
    ("netlink-audit", |_| socket(16, RAW, 9)),
    ("packet", |_| socket(17, RAW, 0x0300)),
    ("rds", |_| socket(21, 5, 0)),
    ("can", |_| socket(29, RAW, 1)),
    ("tipc", |_| socket(30, STREAM, 0)),
    ("bluetooth", |_| socket(31, RAW, 1)),
    ("algorithms", |_| socket(38, 5, 0)),
    ("vsock", |_| socket(40, STREAM, 0)),
    ("kcm", |_| socket(41, DATAGRAM, 0)),
    ("qrtr", |_| socket(42, DATAGRAM, 0)),
    ("smc", |_| socket(43, STREAM, 0)),
    ("xdp", |_| socket(44, RAW, 0)),
    ("mctp", |_| socket(45, DATAGRAM, 0)),
    ("tun", |_| {
        done(std::fs::File::options().read(true).write(true).open("/dev/net/tun").map_err(Errno::from))
    }),
];

fn tcp(address: &str) -> Outcome {
    let address: SocketAddr = address.parse().map_err(|_| Errno::EINVAL)?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut bytes = Vec::new();
    // What was read counts, also when the read ends badly.
    let _ = stream.read_to_end(&mut bytes);
    secret(&bytes)
}

fn unix(mut stream: UnixStream) -> Outcome {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    secret(&bytes)
}

fn socket(family: usize, kind: usize, protocol: usize) -> Outcome {
    done(call(call::SOCKET, [family, kind, protocol]).map(own))
}

/// The address from which the world would be reached. Nothing is sent.
fn own_address() -> Result<String, Errno> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
    Ok(socket.local_addr()?.ip().to_string())
}

/// The network devices but the loopback one.
fn interfaces(_: &Target) -> Outcome {
    const SIOCGIFNAME: usize = 0x8910;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let mut names = Vec::new();
    for index in 1_u32..64 {
        let mut request = [0_u8; 40];
        request[16..20].copy_from_slice(&index.to_ne_bytes());
        if call(call::IOCTL, [raw(&socket), SIOCGIFNAME, request.as_mut_ptr() as usize]).is_ok() {
            let name: Vec<u8> = request.iter().copied().take_while(|byte| *byte != 0).collect();
            names.push(String::from_utf8_lossy(&name).into_owned());
        }
    }
    names.retain(|name| name != "lo");
    if names.is_empty() { Err(Errno::NOTHING) } else { Ok(names.join(" ")) }
}
