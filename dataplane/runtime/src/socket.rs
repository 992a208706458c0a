//! How sockets are made: options, and errors that name the address.
//!
//! No byte is read or written here.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tollgate_call::transport::Role;
use tollgate_contract::Transport;

/// An address that cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot bind {purpose} {transport} {address}: {why}")]
pub struct BindError {
    /// `SIP`, `mapped SIP`, `transparent SIP` or `media`.
    pub purpose: &'static str,
    /// The transport.
    pub transport: &'static str,
    /// The address and port.
    pub address: SocketAddr,
    /// What the system says.
    pub why: io::Error,
}

/// A bound UDP socket, non-blocking.
pub(crate) fn udp(address: SocketAddr, purpose: &'static str) -> Result<mio::net::UdpSocket, BindError> {
    let made = || -> io::Result<std::net::UdpSocket> {
        let socket = plain_socket(address, Type::DGRAM, Protocol::UDP)?;
        // The system may grant less; what is lost for that shows in its own drop counters.
        let _ = socket.set_recv_buffer_size(UDP_RECEIVE_BYTES);
        socket.bind(&address.into())?;
        Ok(socket.into())
    };
    let socket = made().map_err(|why| bind_error(purpose, Transport::Udp, address, why))?;
    Ok(mio::net::UdpSocket::from_std(socket))
}

/// A listening TCP socket, non-blocking, for TCP or TLS. A transparent one takes connections to any address.
pub(crate) fn listener(
    address: SocketAddr,
    transport: Transport,
    role: Role,
) -> Result<mio::net::TcpListener, BindError> {
    let made = || -> io::Result<std::net::TcpListener> {
        let socket = plain_socket(address, Type::STREAM, Protocol::TCP)?;
        // A restart must not wait for connections of the former process to leave TIME-WAIT.
        socket.set_reuse_address(true)?;
        if role == Role::Transparent {
            make_transparent(&socket, address)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    let purpose = match role {
        Role::Trunk => "SIP",
        Role::Mapped { .. } => "mapped SIP",
        Role::Transparent => "transparent SIP",
    };
    let listener = made().map_err(|why| bind_error(purpose, transport, address, why))?;
    Ok(mio::net::TcpListener::from_std(listener))
}

/// Begins a connection, from `local` where that is of the same family.
pub(crate) fn connect(local: Option<IpAddr>, to: SocketAddr) -> io::Result<mio::net::TcpStream> {
    let socket = plain_socket(to, Type::STREAM, Protocol::TCP)?;
    if let Some(ip) = local.filter(|ip| ip.is_ipv4() == to.is_ipv4() && !ip.is_unspecified()) {
        socket.bind(&SocketAddr::new(ip, 0).into())?;
    }
    match socket.connect(&to.into()) {
        Ok(()) => {}
        Err(why) if is_in_progress(&why) => {}
        Err(why) => return Err(why),
    }
    Ok(mio::net::TcpStream::from_std(socket.into()))
}

/// Whether a non-blocking connect has merely begun.
pub(crate) fn is_in_progress(why: &io::Error) -> bool {
    why.raw_os_error() == Some(EINPROGRESS) || why.kind() == io::ErrorKind::WouldBlock
}

fn plain_socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Lets a socket stand for addresses that are not ours (IP_TRANSPARENT, IPV6_TRANSPARENT).
fn make_transparent(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    let made = match address {
        SocketAddr::V4(_) => socket.set_ip_transparent_v4(true),
        SocketAddr::V6(_) => socket.set_ip_transparent_v6(true),
    };
    made.map_err(|why| match why.kind() == io::ErrorKind::PermissionDenied {
        true => io::Error::new(why.kind(), "a transparent listener needs the capability CAP_NET_ADMIN"),
        false => why,
    })
}

const fn bind_error(purpose: &'static str, transport: Transport, address: SocketAddr, why: io::Error) -> BindError {
    BindError {
        purpose,
        transport: transport.via_name(),
        address,
        why,
    }
}

/// Receive buffer of a UDP socket: a second of 20 ms audio is under 16 KiB, the rest is for video bursts.
const UDP_RECEIVE_BYTES: usize = 256 * 1024;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1_024;

/// The number of this error on Linux, where alone the data plane runs.
const EINPROGRESS: i32 = 115;
