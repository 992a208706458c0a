//! The sockets of a call agent: UDP and TCP on one port.
//!
//! It reads no message beyond its length. RFC 3261 §18.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{QUEUE_LEN, SipTransport, lock};
use crate::framing::StreamFramer;

/// A message and the way back to its sender.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) bytes: Vec<u8>,
    pub(super) hop: Hop,
}

/// Where bytes go next.
#[derive(Clone, Debug)]
pub(super) enum Hop {
    /// A datagram to this address.
    Udp(SocketAddr),
    /// An open connection.
    Tcp(mpsc::Sender<Vec<u8>>),
}

/// The sockets and the tasks that read them.
#[derive(Debug)]
pub(super) struct Transport {
    udp: Arc<UdpSocket>,
    local: SocketAddr,
    wires: Arc<Wires>,
}

#[derive(Debug)]
struct Wires {
    inbox: mpsc::Sender<Received>,
    connections: Mutex<HashMap<SocketAddr, mpsc::Sender<Vec<u8>>>>,
    tasks: Mutex<JoinSet<()>>,
}

impl Hop {
    pub(super) const fn transport(&self) -> SipTransport {
        match self {
            Self::Udp(_) => SipTransport::Udp,
            Self::Tcp(_) => SipTransport::Tcp,
        }
    }
}

impl Transport {
    pub(super) async fn bind(listen: SocketAddr, inbox: mpsc::Sender<Received>) -> io::Result<Self> {
        let udp = Arc::new(UdpSocket::bind(listen).await?);
        let local = udp.local_addr()?;
        let listener = TcpListener::bind(local).await?;
        let wires = Arc::new(Wires {
            inbox,
            connections: Mutex::default(),
            tasks: Mutex::new(JoinSet::new()),
        });
        wires.spawn(read_datagrams(Arc::clone(&udp), Arc::clone(&wires)));
        wires.spawn(accept(listener, Arc::clone(&wires)));
        Ok(Self { udp, local, wires })
    }

    pub(super) const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Opens or finds the way to an address.
    pub(super) async fn hop(&self, transport: SipTransport, to: SocketAddr) -> io::Result<Hop> {
        match transport {
            SipTransport::Udp => Ok(Hop::Udp(to)),
            SipTransport::Tcp => self.connection(to).await.map(Hop::Tcp),
        }
    }

    pub(super) async fn send(&self, hop: &Hop, bytes: &[u8]) -> io::Result<()> {
        match hop {
            Hop::Udp(to) => self.udp.send_to(bytes, to).await.map(drop),
            Hop::Tcp(connection) => connection
                .send(bytes.to_vec())
                .await
                .map_err(|_| io::ErrorKind::BrokenPipe.into()),
        }
    }

    pub(super) fn close(&self) {
        lock(&self.wires.tasks).abort_all();
    }

    async fn connection(&self, to: SocketAddr) -> io::Result<mpsc::Sender<Vec<u8>>> {
        let known = lock(&self.wires.connections).get(&to).cloned();
        if let Some(open) = known.filter(|sender| !sender.is_closed()) {
            return Ok(open);
        }
        let stream = self.dial(to).await?;
        let sender = serve(stream, &self.wires)?;
        lock(&self.wires.connections).insert(to, sender.clone());
        Ok(sender)
    }

    /// Connects from the agent's own address: an edge admits its call agent by it.
    async fn dial(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let socket = if to.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.bind(SocketAddr::new(self.local.ip(), 0))?;
        socket.connect(to).await
    }
}

impl Wires {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        lock(&self.tasks).spawn(task);
    }
}

async fn read_datagrams(udp: Arc<UdpSocket>, wires: Arc<Wires>) {
    let mut buffer = vec![0; 65_536];
    loop {
        // An ICMP error of an earlier send surfaces here and ends nothing.
        let Ok((len, from)) = udp.recv_from(&mut buffer).await else {
            continue;
        };
        let received = Received {
            bytes: buffer[..len].to_vec(),
            hop: Hop::Udp(from),
        };
        if wires.inbox.send(received).await.is_err() {
            return;
        }
    }
}

async fn accept(listener: TcpListener, wires: Arc<Wires>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        // A connection that is gone already needs no service.
        let _ = serve(stream, &wires);
    }
}

fn serve(stream: TcpStream, wires: &Arc<Wires>) -> io::Result<mpsc::Sender<Vec<u8>>> {
    stream.set_nodelay(true)?;
    let (sender, receiver) = mpsc::channel(QUEUE_LEN);
    let (reader, writer) = stream.into_split();
    let (inbox, back) = (wires.inbox.clone(), sender.clone());
    wires.spawn(async move {
        // Whichever way ends first takes the other with it, so that nothing is sent into a closed connection.
        tokio::select! {
            () = write_stream(writer, receiver) => {}
            () = read_stream(reader, inbox, back) => {}
        }
    });
    Ok(sender)
}

async fn write_stream(mut writer: tokio::net::tcp::OwnedWriteHalf, mut receiver: mpsc::Receiver<Vec<u8>>) {
    while let Some(bytes) = receiver.recv().await {
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn read_stream(
    mut reader: tokio::net::tcp::OwnedReadHalf,
    inbox: mpsc::Sender<Received>,
    back: mpsc::Sender<Vec<u8>>,
) {
    let mut framer = StreamFramer::default();
    let mut buffer = vec![0; 16_384];
    while let Ok(len @ 1..) = reader.read(&mut buffer).await {
        framer.push(&buffer[..len]);
        while let Ok(Some(bytes)) = framer.next_message() {
            let received = Received {
                bytes,
                hop: Hop::Tcp(back.clone()),
            };
            if inbox.send(received).await.is_err() {
                return;
            }
        }
    }
}
