//! What the data plane is started with: addresses, certificates, media ports, bounds.
//!
//! Fixed for the life of the process; everything that changes while it runs is in the snapshot.

use std::time::Duration;

use tollgate_call::transport::LocalAddresses;

use crate::tls::TlsSide;
use crate::worker::MediaRange;

/// Largest media packet relayed, bytes; longer ones are dropped and counted. Above any Ethernet path MTU.
pub const PACKET_MAX: usize = 1_600;

/// Room after a packet for what SRTP appends, bytes: E flag and index 4, MKI, tag 16 (RFC 3711 §3.4).
pub const PACKET_TAIL_ROOM: usize = 64;

/// Packets taken from one media socket before the next has its turn.
pub const PACKETS_PER_SOCKET: usize = 64;

/// Messages waiting for one dial; more fail with overload.
pub const WAITING_PER_DIAL: usize = 64;

/// Bytes taken from one connection before the next has its turn.
pub const STREAM_BYTES_PER_TURN: usize = 64 * 1024;

/// Datagrams taken from one SIP listener before the next has its turn.
pub const DATAGRAMS_PER_TURN: usize = 64;

/// Connections accepted from one listener before other work has its turn.
pub const ACCEPTS_PER_TURN: usize = 64;

/// Most ports of the mapping service: each is a listening socket.
pub const MAPPED_PORTS_MAX: usize = 2_000;

/// Live calls that one worker shows in [`crate::Handle::views`].
pub const VIEWS_PER_WORKER: usize = 4_096;

/// Descriptors beside sockets: standard streams, pollers, the control plane's files and connections.
pub const SPARE_DESCRIPTORS: u64 = 128;

/// Everything the data plane must know before it starts.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// SIP listeners; a mapping service's ports and transparent ones are among them, by their role.
    pub local: LocalAddresses,
    /// TLS towards peer edges: always mutual. Needed for outside listeners and dials.
    pub tls_outside: Option<TlsSide>,
    /// TLS towards the call agent, where it speaks TLS.
    pub tls_inside: Option<TlsSide>,
    /// Media addresses and port ranges of both sides.
    pub media: Vec<MediaRange>,
    /// Worker threads, 1 or more.
    pub workers: usize,
    /// Bounds.
    pub limits: RuntimeLimits,
}

/// Bounds of queues, connections and waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuntimeLimits {
    /// SIP connections at once, accepted and dialled: 10,000. More are closed at once.
    ///
    /// Callers from outside can take three quarters of them.
    pub connections_max: usize,
    /// Accepted SIP connections at once from one address: 1,000.
    pub connections_per_remote_max: usize,
    /// A connection without a message or ping for so long is closed: 30 min.
    pub idle_timeout: Duration,
    /// From accept to the end of the TLS handshake: 5 s.
    pub handshake_timeout: Duration,
    /// From the first byte of a message to its last: 10 s.
    pub message_timeout: Duration,
    /// Bytes waiting to be written on one connection: 1 MiB. More fail with overload.
    pub outbound_queue_bytes: usize,
    /// Messages waiting for one worker, and messages of one worker waiting to be sent: 4,096.
    pub mailbox_messages: usize,
    /// Messages a worker handles per wake before media has its turn: 64.
    pub sip_budget: usize,
    /// Longest SIP datagram taken, bytes: 65,535 (RFC 3261 §18.1.1).
    pub datagram_max: usize,
    /// Two wakes of a worker for media are at least so far apart: 400 us; 0 wakes it for each packet.
    ///
    /// It is the most that the shell itself delays a packet, and only while packets come faster than that.
    pub media_wait: Duration,
}

impl Default for RuntimeLimits {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            connections_per_remote_max: 1_000,
            idle_timeout: Duration::from_secs(30 * 60),
            handshake_timeout: Duration::from_secs(5),
            message_timeout: Duration::from_secs(10),
            outbound_queue_bytes: 1024 * 1024,
            mailbox_messages: 4_096,
            sip_budget: 64,
            datagram_max: 65_535,
            media_wait: Duration::from_micros(400),
        }
    }
}
