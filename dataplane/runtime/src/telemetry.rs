//! Counters that the threads write and the control plane reads.
//!
//! Each thread writes only its own set, so no counter is contended. It keeps no history and formats nothing.

use std::net::SocketAddr;

use tollgate_call::transport::{ListenerId, LocalAddresses, Role, Source};
use tollgate_contract::counters::Counter;
use tollgate_contract::{Side, Transport};

/// The counters of all threads.
#[derive(Debug)]
pub struct Telemetry {
    /// One set for each worker, by its index.
    pub workers: Vec<WorkerIoCounters>,
    /// Those of the SIP thread.
    pub sip: SipIoCounters,
    /// One set for each port of the mapping service, in order of listener and port; the SIP thread counts.
    pub mapped: Vec<MappedPortCounters>,
}

impl Telemetry {
    /// All zero.
    pub(crate) fn new(workers: usize, local: &LocalAddresses) -> Self {
        Self {
            workers: (0..workers).map(|_| WorkerIoCounters::default()).collect(),
            sip: SipIoCounters::default(),
            mapped: mapped_ports(local),
        }
    }

    /// The counters of the mapped port that a connection came to; `None` for other connections.
    pub(crate) fn mapped_port(&self, source: &Source) -> Option<&MappedPortCounters> {
        let key = (source.listener.0, source.local.port());
        let found = self
            .mapped
            .binary_search_by_key(&key, |port| (port.listener.0, port.address.port()));
        self.mapped.get(found.ok()?)
    }
}

fn mapped_ports(local: &LocalAddresses) -> Vec<MappedPortCounters> {
    let numbered = (0..=u16::MAX).map(ListenerId).zip(&local.listeners);
    let mapped = numbered.filter(|(_, listener)| matches!(listener.role, Role::Mapped { .. }));
    let port = |listener: ListenerId, address: SocketAddr| MappedPortCounters {
        listener,
        address,
        open: Counter::default(),
        accepted: Counter::default(),
    };
    mapped
        .flat_map(|(id, listener)| {
            let ip = listener.address.bound.ip();
            listener
                .ports()
                .map(move |number| port(id, SocketAddr::new(ip, number)))
        })
        .collect()
}

/// What is counted of one port of the mapping service: it tells whether a mapping is in use.
#[derive(Debug)]
pub struct MappedPortCounters {
    listener: ListenerId,
    /// The bound address.
    pub address: SocketAddr,
    /// Connections open now.
    pub open: Counter,
    /// Connections accepted; those without a mapping are not among them.
    pub accepted: Counter,
}

/// What one worker counts.
#[derive(Debug, Default)]
pub struct WorkerIoCounters {
    /// Media packets received, by [`Side::index`] of the socket.
    pub packets_in: [Counter; 2],
    /// Their bytes.
    pub bytes_in: [Counter; 2],
    /// Media packets sent, by [`Side::index`] of the socket.
    pub packets_out: [Counter; 2],
    /// Their bytes.
    pub bytes_out: [Counter; 2],
    /// Packets longer than [`crate::config::PACKET_MAX`].
    pub packets_oversize: Counter,
    /// Packets that the system's send queue had no room for.
    pub sends_blocked: Counter,
    /// Packets that the system refused to send for another reason, or for a socket that does not exist.
    pub send_errors: Counter,
    /// Errors reported by reading a media socket (ICMP among them).
    pub receive_errors: Counter,
    /// SIP messages and send failures handled.
    pub messages: Counter,
    /// SIP messages handed to the SIP thread.
    pub transmits: Counter,
    /// SIP messages that the SIP thread had no room for.
    pub transmits_refused: Counter,
    /// Facts that the control plane had no room for.
    pub reports_lost: Counter,
    /// Bugs contained.
    pub panics: Counter,
    /// Times the thread woke.
    pub wakes: Counter,
}

/// What the SIP thread counts.
#[derive(Debug, Default)]
pub struct SipIoCounters {
    /// Connections open now, by [`Side::index`] and [`transport_index`].
    pub open: [[Counter; 3]; 2],
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections accepted by a transparent listener; they are among those accepted.
    pub accepted_transparent: Counter,
    /// Connections to a mapped port without a mapping, closed at once.
    pub unmapped: Counter,
    /// Connections dialled, counted when they stand.
    pub dialled: Counter,
    /// Dials that failed for good, by the index of [`crate::DIAL_FAILURES`].
    pub dials_failed: [Counter; 6],
    /// TLS handshakes completed, either role.
    pub handshakes: Counter,
    /// TLS handshakes failed, by [`HandshakeFailure`].
    pub handshakes_failed: [Counter; HandshakeFailure::ALL.len()],
    /// Messages received, by side and transport.
    pub messages_in: [[Counter; 3]; 2],
    /// Messages sent, by side and transport: written to the socket's queue.
    pub messages_out: [[Counter; 3]; 2],
    /// Messages refused by the steering.
    pub messages_dropped: Counter,
    /// Messages answered by the steering without a worker.
    pub messages_answered: Counter,
    /// Messages and failures that a worker's mailbox had no room for.
    pub mailbox_full: Counter,
    /// Streams that were not SIP, and datagrams without a message.
    pub framing_errors: Counter,
    /// Connections closed because a message took too long to arrive.
    pub slow_messages: Counter,
    /// Connections closed for being idle.
    pub idle_closed: Counter,
    /// Connections refused: too many.
    pub over_limit: Counter,
    /// Connections refused: too many from one address.
    pub over_limit_per_remote: Counter,
    /// Datagrams longer than the limit.
    pub datagrams_oversize: Counter,
    /// Datagrams that could not be sent.
    pub datagram_send_errors: Counter,
    /// Messages that a connection's or a dial's queue had no room for.
    pub outbound_full: Counter,
    /// Messages lost with their connection.
    pub messages_lost: Counter,
    /// Bugs contained.
    pub panics: Counter,
    /// Times the thread woke.
    pub wakes: Counter,
}

/// The place of a transport in an array of counters: UDP 0, TCP 1, TLS 2.
#[must_use]
pub const fn transport_index(transport: Transport) -> usize {
    match transport {
        Transport::Udp => 0,
        Transport::Tcp => 1,
        Transport::Tls => 2,
    }
}

/// The counter of a side and transport.
pub(crate) fn of(counters: &[[Counter; 3]; 2], side: Side, transport: Transport) -> &Counter {
    &counters[side.index()][transport_index(transport)]
}

/// Why a TLS handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HandshakeFailure {
    /// The peer's certificate leads to no trust root.
    UnknownCa,
    /// The peer's certificate is expired or not yet valid.
    Validity,
    /// The peer's certificate is bad in another way: usage, signature, encoding.
    BadCertificate,
    /// The peer showed no certificate.
    NoCertificate,
    /// The peer's certificate bears no SIP identity (RFC 5922 §7.1).
    NoIdentity,
    /// The server's certificate does not bear the expected name.
    NameMismatch,
    /// No common version, suite or group.
    Incompatible,
    /// The peer gave up with an alert.
    Alert,
    /// It took too long.
    Timeout,
    /// The connection was lost.
    Lost,
    /// The bytes were not TLS, or the peer broke the protocol.
    Protocol,
}

impl HandshakeFailure {
    /// Each, in the order of the enum.
    pub const ALL: [Self; 11] = [
        Self::UnknownCa,
        Self::Validity,
        Self::BadCertificate,
        Self::NoCertificate,
        Self::NoIdentity,
        Self::NameMismatch,
        Self::Incompatible,
        Self::Alert,
        Self::Timeout,
        Self::Lost,
        Self::Protocol,
    ];

    /// The name in metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownCa => "unknown_ca",
            Self::Validity => "validity",
            Self::BadCertificate => "bad_certificate",
            Self::NoCertificate => "no_certificate",
            Self::NoIdentity => "no_identity",
            Self::NameMismatch => "name_mismatch",
            Self::Incompatible => "incompatible",
            Self::Alert => "alert",
            Self::Timeout => "timeout",
            Self::Lost => "lost",
            Self::Protocol => "protocol",
        }
    }

    /// Its place in [`SipIoCounters::handshakes_failed`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_handshake_failure_has_its_own_place() {
        for (place, failure) in HandshakeFailure::ALL.into_iter().enumerate() {
            assert_eq!(failure.index(), place);
        }
    }
}
