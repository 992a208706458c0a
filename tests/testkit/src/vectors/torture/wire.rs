//! One sender: a datagram socket or a fresh connection to an inside listener, on an address of its own.
//!
//! It sends bytes as they are and cuts what comes back by Content-Length alone (RFC 3261 §18.3).

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// Room for any datagram.
const DATAGRAM: usize = 65_536;

/// How long one read waits before the time is looked at.
const BREATH: Duration = Duration::from_millis(200);

/// A sender.
#[derive(Debug)]
pub(super) struct Wire {
    kind: Kind,
    local: SocketAddr,
    held: Vec<u8>,
}

#[derive(Debug)]
enum Kind {
    Datagrams(UdpSocket),
    Plain(TcpStream),
    Secure(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    /// Datagrams from an address, which listens at the default port: without `rport` an answer goes there.
    pub(super) fn udp(from: SocketAddr, to: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(from)?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(BREATH))?;
        Ok(Self::new(Kind::Datagrams(socket), from))
    }

    /// A connection from an address.
    pub(super) fn tcp(from: SocketAddr, to: SocketAddr) -> io::Result<Self> {
        let stream = connect(from, to)?;
        let local = stream.local_addr()?;
        Ok(Self::new(Kind::Plain(stream), local))
    }

    /// The same over TLS, to a server of this name.
    pub(super) fn tls(from: SocketAddr, to: SocketAddr, tls: ClientConfig, name: &'static str) -> io::Result<Self> {
        let stream = connect(from, to)?;
        let local = stream.local_addr()?;
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::new(tls), name).map_err(io::Error::other)?;
        let stream = StreamOwned::new(connection, stream);
        Ok(Self::new(Kind::Secure(Box::new(stream)), local))
    }

    fn new(kind: Kind, local: SocketAddr) -> Self {
        Self {
            kind,
            local,
            held: Vec::new(),
        }
    }

    /// UDP, TCP or TLS.
    pub(super) const fn transport(&self) -> &'static str {
        match self.kind {
            Kind::Datagrams(_) => "UDP",
            Kind::Plain(_) => "TCP",
            Kind::Secure(_) => "TLS",
        }
    }

    /// A good request of this Call-ID, which is its Subject too.
    pub(super) fn request(&self, method: &str, uri: &str, call_id: &str) -> Vec<u8> {
        let (transport, local) = (self.transport(), self.local);
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{transport} {local};branch=z9hG4bK-{call_id};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:sender@edge.example.net>;tag=s1\r\nTo: <{uri}>\r\nCall-ID: {call_id}\r\n\
             CSeq: 1 {method}\r\nSubject: {call_id}\r\nContent-Length: 0\r\n\r\n"
        )
        .into_bytes()
    }

    /// Sends bytes as they are: one datagram, or one write.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.kind {
            Kind::Datagrams(socket) => socket.send(bytes).map(drop),
            Kind::Plain(stream) => stream.write_all(bytes),
            Kind::Secure(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    /// The next whole message; `None` when the connection is closed or nothing comes in time.
    pub(super) fn next(&mut self, within: Duration) -> Option<Vec<u8>> {
        let deadline = Instant::now() + within;
        let mut room = vec![0; DATAGRAM];
        loop {
            if let Some(message) = cut(&mut self.held) {
                return Some(message);
            }
            let read = match &mut self.kind {
                Kind::Datagrams(socket) => socket.recv(&mut room),
                Kind::Plain(stream) => stream.read(&mut room),
                Kind::Secure(stream) => stream.read(&mut room),
            };
            match read {
                Ok(0) => return None,
                Ok(len) => self.held.extend_from_slice(&room[..len]),
                Err(why) if matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(_) => return None,
            }
            if Instant::now() > deadline {
                return None;
            }
        }
    }
}

fn connect(from: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(from.ip(), 0).into())?;
    socket.connect(&to.into())?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(BREATH))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Takes the first whole message from what was read.
pub(super) fn cut(held: &mut Vec<u8>) -> Option<Vec<u8>> {
    let blank = held.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    held.drain(..blank);
    let head = held.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&held[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        matches!(name.trim_end(), "content-length" | "l").then(|| value.trim().parse().ok())?
    });
    let end = head + length.unwrap_or(0_usize);
    (held.len() >= end).then(|| held.drain(..end).collect())
}
