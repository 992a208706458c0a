//! The sockets of a call agent: UDP and TCP on one port, or TLS in place of TCP.
//!
//! It reads no message beyond its length. RFC 3261 §18 and §26.2.1.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{AgentTls, QUEUE_LEN, SipTransport, lock};
use crate::framing::StreamFramer;
use crate::tls::{client_config, server_config};

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
    Stream(SipTransport, mpsc::Sender<Vec<u8>>),
}

/// The sockets and the tasks that read them.
#[derive(Debug)]
pub(super) struct Transport {
    udp: Arc<UdpSocket>,
    local: SocketAddr,
    wires: Arc<Wires>,
}

/// Both roles of an agent's TLS.
struct Tls {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    edge_name: ServerName<'static>,
}

#[derive(Debug)]
struct Wires {
    inbox: mpsc::Sender<Received>,
    tls: Option<Tls>,
    connections: Mutex<HashMap<SocketAddr, mpsc::Sender<Vec<u8>>>>,
    tasks: Mutex<JoinSet<()>>,
}

impl Hop {
    pub(super) const fn transport(&self) -> SipTransport {
        match self {
            Self::Udp(_) => SipTransport::Udp,
            Self::Stream(transport, _) => *transport,
        }
    }
}

impl Transport {
    pub(super) async fn bind(
        listen: SocketAddr,
        tls: Option<&AgentTls>,
        inbox: mpsc::Sender<Received>,
    ) -> io::Result<Self> {
        let tls = tls.map(Tls::new).transpose()?;
        let udp = Arc::new(UdpSocket::bind(listen).await?);
        let local = udp.local_addr()?;
        let listener = TcpListener::bind(local).await?;
        let wires = Arc::new(Wires {
            inbox,
            tls,
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
            SipTransport::Tcp | SipTransport::Tls if transport == self.wires.stream_transport() => self
                .connection(to)
                .await
                .map(|connection| Hop::Stream(transport, connection)),
            // An agent with TLS never falls back to a plain stream, nor the other way round.
            SipTransport::Tcp | SipTransport::Tls => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub(super) async fn send(&self, hop: &Hop, bytes: &[u8]) -> io::Result<()> {
        match hop {
            Hop::Udp(to) => self.udp.send_to(bytes, to).await.map(drop),
            Hop::Stream(_, connection) => connection
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
        let sender = match &self.wires.tls {
            None => serve(stream, &self.wires),
            Some(tls) => serve(tls.connector.connect(tls.edge_name.clone(), stream).await?, &self.wires),
        };
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
        let stream = socket.connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Tls {
    fn new(papers: &AgentTls) -> io::Result<Self> {
        let AgentTls {
            identity,
            ca_pem,
            edge_name,
        } = papers;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(server_config(ca_pem, identity)?)),
            connector: TlsConnector::from(Arc::new(client_config(ca_pem, Some(identity))?)),
            edge_name: ServerName::try_from(edge_name.clone()).map_err(io::Error::other)?,
        })
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("edge_name", &self.edge_name)
            .finish_non_exhaustive()
    }
}

impl Wires {
    /// What every stream of this agent is.
    const fn stream_transport(&self) -> SipTransport {
        match self.tls {
            None => SipTransport::Tcp,
            Some(_) => SipTransport::Tls,
        }
    }

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
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        match &wires.tls {
            None => drop(serve(stream, &wires)),
            Some(tls) => {
                let (handshake, served) = (tls.acceptor.accept(stream), Arc::clone(&wires));
                wires.spawn(async move {
                    // Whom the handshake turns away is told by its alert.
                    if let Ok(stream) = handshake.await {
                        drop(serve(stream, &served));
                    }
                });
            }
        }
    }
}

fn serve<S>(stream: S, wires: &Wires) -> mpsc::Sender<Vec<u8>>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(QUEUE_LEN);
    let (reader, writer) = tokio::io::split(stream);
    let (inbox, back) = (
        wires.inbox.clone(),
        Hop::Stream(wires.stream_transport(), sender.clone()),
    );
    wires.spawn(async move {
        // Whichever way ends first takes the other with it, so that nothing is sent into a closed connection.
        tokio::select! {
            () = write_stream(writer, receiver) => {}
            () = read_stream(reader, inbox, back) => {}
        }
    });
    sender
}

async fn write_stream(mut writer: impl AsyncWrite + Unpin, mut receiver: mpsc::Receiver<Vec<u8>>) {
    while let Some(bytes) = receiver.recv().await {
        // A TLS stream keeps what it could not write at once until it is flushed.
        if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
            return;
        }
    }
}

async fn read_stream(mut reader: impl AsyncRead + Unpin, inbox: mpsc::Sender<Received>, back: Hop) {
    let mut framer = StreamFramer::default();
    let mut buffer = vec![0; 16_384];
    while let Ok(len @ 1..) = reader.read(&mut buffer).await {
        framer.push(&buffer[..len]);
        while let Ok(Some(bytes)) = framer.next_message() {
            let hop = back.clone();
            if inbox.send(Received { bytes, hop }).await.is_err() {
                return;
            }
        }
    }
}
