//! The network between two edges: it owns the addresses they advertise, forwards to the bound ones, spoils the path on
//! command and counts what it sees.
//!
//! It knows no key, ends no TLS and changes no byte unless told to. A datagram keeps the port it was sent from and gets
//! the advertised address of its sender, as a 1:1 NAT would give it (RFC 4787 §4.1).

mod detector;
mod impairment;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::task::JoinSet;

use crate::payload::PayloadBook;
use crate::rtp::rtp_packet;
pub use impairment::{Impairment, Toward};

use detector::{Detector, StreamScan};
use impairment::{Fate, Impairer};

/// The addresses of one edge.
#[derive(Clone, Debug)]
pub struct RelayEdge {
    /// The SIP address told to others; the relay listens there.
    pub advertised_sip: SocketAddr,
    /// The SIP address the edge listens on.
    pub bound_sip: SocketAddr,
    /// The media address told to others; the relay holds its ports.
    pub advertised_media: IpAddr,
    /// The media address the edge's sockets have.
    pub bound_media: IpAddr,
    /// First media port.
    pub first_port: u16,
    /// Number of media ports, RTP and RTCP counted each.
    pub port_count: u16,
}

/// The edges on this network; an index into them names an edge.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// Usually two.
    pub edges: Vec<RelayEdge>,
    /// Payloads that must not be seen.
    pub book: PayloadBook,
    /// Texts that must not be seen, such as `INVITE sip:`; none shorter than 4 bytes.
    pub texts: Vec<String>,
    /// Seed of the impairments.
    pub seed: u64,
}

/// What the relay has seen. Arrays of numbers are indexed by the edge traffic goes toward.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelayCounters {
    /// Connections accepted for each edge.
    pub tcp_connections: Vec<u64>,
    /// Bytes toward each edge on connections.
    pub tcp_bytes: Vec<u64>,
    /// Datagrams that came for each edge.
    pub udp_packets: Vec<u64>,
    /// Their bytes.
    pub udp_bytes: Vec<u64>,
    /// Datagrams dropped by the impairment.
    pub dropped: u64,
    /// Datagrams spoiled by the impairment.
    pub corrupted: u64,
    /// Datagrams from or to nobody known, or that could not be sent.
    pub unroutable: u64,
    /// Datagrams with payload or a watched text in clear.
    pub cleartext_packets: u64,
    /// Times a watched text was seen on a connection.
    pub cleartext_texts: u64,
}

/// A running relay; dropping it ends it.
#[derive(Debug)]
pub struct Relay {
    network: Arc<Network>,
    // Held for its Drop, which ends the tasks.
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Network {
    edges: Vec<RelayEdge>,
    /// By advertised address and port, as index of the edge and socket.
    sockets: HashMap<(usize, u16), Arc<UdpSocket>>,
    detector: Detector,
    impairer: Mutex<Impairer>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    toward: Vec<CountsToward>,
    dropped: AtomicU64,
    corrupted: AtomicU64,
    unroutable: AtomicU64,
    cleartext_packets: AtomicU64,
    cleartext_texts: AtomicU64,
}

#[derive(Debug, Default)]
struct CountsToward {
    tcp_connections: AtomicU64,
    tcp_bytes: AtomicU64,
    udp_packets: AtomicU64,
    udp_bytes: AtomicU64,
}

impl Relay {
    /// Binds every advertised address and begins to forward.
    ///
    /// # Errors
    /// When an address cannot be bound.
    pub async fn start(config: RelayConfig) -> io::Result<Self> {
        let mut sockets = HashMap::new();
        let mut listeners = Vec::new();
        for (index, edge) in config.edges.iter().enumerate() {
            listeners.push(TcpListener::bind(edge.advertised_sip).await?);
            for port in edge.first_port..edge.first_port.saturating_add(edge.port_count) {
                let socket = UdpSocket::bind((edge.advertised_media, port)).await?;
                sockets.insert((index, port), Arc::new(socket));
            }
        }
        let toward = config.edges.iter().map(|_| CountsToward::default()).collect();
        let network = Arc::new(Network {
            edges: config.edges,
            sockets,
            detector: Detector::new(config.book, config.texts),
            impairer: Mutex::new(Impairer::new(config.seed)),
            counts: Counts {
                toward,
                ..Counts::default()
            },
        });
        let mut tasks = JoinSet::new();
        for ((index, port), socket) in &network.sockets {
            tasks.spawn(forward_datagrams(
                Arc::clone(&network),
                *index,
                *port,
                Arc::clone(socket),
            ));
        }
        for (index, listener) in listeners.into_iter().enumerate() {
            tasks.spawn(accept(Arc::clone(&network), index, listener));
        }
        Ok(Self { network, _tasks: tasks })
    }

    /// Spoils the media path from now on; connections are left alone.
    pub fn impair(&self, impairment: Impairment) {
        self.impair_each(vec![impairment]);
    }

    /// Spoils several media paths, each in its own way; the first impairment that is for a packet decides.
    pub fn impair_each(&self, impairments: Vec<Impairment>) {
        self.network.impairer().set(impairments);
    }

    /// Ends the impairment.
    pub fn clear(&self) {
        self.impair_each(Vec::new());
    }

    /// Watches for one more text, of at least 4 bytes.
    pub fn watch_text(&self, text: &str) {
        self.network.detector.watch_text(text);
    }

    /// What was seen so far.
    #[must_use]
    pub fn counters(&self) -> RelayCounters {
        self.network.counts.read()
    }

    /// Shows the detector one plain RTP packet and one plain INVITE on the paths real traffic takes.
    ///
    /// True only if both were flagged, and sealed bytes of the same size were not. The counters are as before.
    #[must_use]
    pub fn self_test(&self) -> bool {
        let detector = &self.network.detector;
        let book = detector.book();
        let payload = book.send_next(book.open_stream(rand::random()));
        let plain = rtp_packet(8, 1, 160, 7, &payload);
        let sealed: Vec<u8> = plain.iter().map(|byte| byte ^ rand::random::<u8>()).collect();
        let invite = b"INVITE sip:+14085550100@b.example SIP/2.0\r\nVia: SIP/2.0/TLS a.example;branch=z9hG4bK1\r\n\r\n";
        let mut scan = StreamScan::default();
        let (first, second) = invite.split_at(5);
        let flagged = detector.count_in_stream(&mut scan, first) + detector.count_in_stream(&mut scan, second);
        detector.is_clear(&plain) && !detector.is_clear(&sealed) && flagged > 0 && detector.is_clear(invite)
    }
}

impl Network {
    fn impairer(&self) -> std::sync::MutexGuard<'_, Impairer> {
        self.impairer.lock().expect("no holder of the lock panics")
    }

    /// The edge that sends from this address, by its bound or its advertised one.
    fn edge_of(&self, source: IpAddr) -> Option<usize> {
        self.edges
            .iter()
            .position(|edge| edge.bound_media == source || edge.advertised_media == source)
    }

    /// Decides over one datagram and sends it on at once or later.
    fn handle_datagram(self: &Arc<Self>, toward: usize, port: u16, source: SocketAddr, packet: &mut [u8]) {
        self.counts.count_datagram(toward, packet.len());
        if self.detector.is_clear(packet) {
            self.counts.cleartext_packets.fetch_add(1, Ordering::Relaxed);
        }
        let sender = self
            .edge_of(source.ip())
            .and_then(|from| self.sockets.get(&(from, source.port())));
        let (Some(sender), Some(edge)) = (sender, self.edges.get(toward)) else {
            self.counts.unroutable.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let to = SocketAddr::new(edge.bound_media, port);
        let fate = self.impairer().fate(toward, port);
        match fate {
            Fate::Drop => {
                self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            }
            Fate::Pass { delay, corrupt_at } => {
                if let Some(at) = corrupt_at {
                    self.counts.corrupted.fetch_add(1, Ordering::Relaxed);
                    let len = packet.len().max(1);
                    if let Some(byte) = packet.get_mut(at % len) {
                        *byte ^= 0x5a;
                    }
                }
                self.send(Arc::clone(sender), to, packet, delay);
            }
        }
    }

    fn send(self: &Arc<Self>, sender: Arc<UdpSocket>, to: SocketAddr, packet: &[u8], delay: Duration) {
        if delay.is_zero() {
            if sender.try_send_to(packet, to).is_err() {
                self.counts.unroutable.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
        let (network, packet) = (Arc::clone(self), packet.to_vec());
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            network.send(sender, to, &packet, Duration::ZERO);
        });
    }
}

impl Counts {
    fn count_datagram(&self, toward: usize, len: usize) {
        if let Some(counts) = self.toward.get(toward) {
            counts.udp_packets.fetch_add(1, Ordering::Relaxed);
            counts.udp_bytes.fetch_add(len as u64, Ordering::Relaxed);
        }
    }

    fn read(&self) -> RelayCounters {
        let each = |field: fn(&CountsToward) -> &AtomicU64| {
            self.toward
                .iter()
                .map(|counts| field(counts).load(Ordering::Relaxed))
                .collect()
        };
        RelayCounters {
            tcp_connections: each(|counts| &counts.tcp_connections),
            tcp_bytes: each(|counts| &counts.tcp_bytes),
            udp_packets: each(|counts| &counts.udp_packets),
            udp_bytes: each(|counts| &counts.udp_bytes),
            dropped: self.dropped.load(Ordering::Relaxed),
            corrupted: self.corrupted.load(Ordering::Relaxed),
            unroutable: self.unroutable.load(Ordering::Relaxed),
            cleartext_packets: self.cleartext_packets.load(Ordering::Relaxed),
            cleartext_texts: self.cleartext_texts.load(Ordering::Relaxed),
        }
    }
}

async fn forward_datagrams(network: Arc<Network>, toward: usize, port: u16, socket: Arc<UdpSocket>) {
    let mut buffer = vec![0; MAX_DATAGRAM_LEN];
    loop {
        // An ICMP error of an earlier send surfaces here and ends nothing.
        let Ok((len, source)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        network.handle_datagram(toward, port, source, &mut buffer[..len]);
    }
}

async fn accept(network: Arc<Network>, toward: usize, listener: TcpListener) {
    // The connections end with this task.
    let mut connections = JoinSet::new();
    loop {
        let Ok((near, source)) = listener.accept().await else {
            continue;
        };
        if let Some(counts) = network.counts.toward.get(toward) {
            counts.tcp_connections.fetch_add(1, Ordering::Relaxed);
        }
        connections.spawn(splice(Arc::clone(&network), toward, near, source));
        while connections.try_join_next().is_some() {}
    }
}

/// Joins a connection to the edge it is for; its source becomes the sender's advertised address where that is known.
async fn splice(network: Arc<Network>, toward: usize, near: TcpStream, source: SocketAddr) {
    let Some(edge) = network.edges.get(toward) else { return };
    let from = network.edges.iter().position(|edge| edge.bound_sip.ip() == source.ip());
    let Ok(far) = dial(from.and_then(|from| network.edges.get(from)), edge.bound_sip).await else {
        return;
    };
    if near.set_nodelay(true).is_err() || far.set_nodelay(true).is_err() {
        return;
    }
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::join!(
        pump(&network, Some(toward), near_read, far_write),
        pump(&network, from, far_read, near_write)
    );
}

async fn dial(from: Option<&RelayEdge>, to: SocketAddr) -> io::Result<TcpStream> {
    let Some(from) = from else {
        return TcpStream::connect(to).await;
    };
    let socket = if to.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.bind(SocketAddr::new(from.advertised_sip.ip(), 0))?;
    socket.connect(to).await
}

async fn pump(
    network: &Network,
    toward: Option<usize>,
    mut reader: tokio::net::tcp::OwnedReadHalf,
    mut writer: tokio::net::tcp::OwnedWriteHalf,
) {
    let mut scan = StreamScan::default();
    let mut buffer = vec![0; 16_384];
    while let Ok(len @ 1..) = reader.read(&mut buffer).await {
        let bytes = &buffer[..len];
        let flagged = network.detector.count_in_stream(&mut scan, bytes);
        network.counts.cleartext_texts.fetch_add(flagged, Ordering::Relaxed);
        if let Some(counts) = toward.and_then(|toward| network.counts.toward.get(toward)) {
            counts.tcp_bytes.fetch_add(len as u64, Ordering::Relaxed);
        }
        if writer.write_all(bytes).await.is_err() {
            return;
        }
    }
    // The other way may go on; its reader sees this end.
    let _ = writer.shutdown().await;
}

/// The longest UDP datagram.
const MAX_DATAGRAM_LEN: usize = 65_535;

#[cfg(test)]
mod tests;
