//! The media sockets of one worker: bound at start, read in turns, written at once.
//!
//! What a packet means is the core's to say; here it is bytes from a socket and bytes to a socket.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use mio::event::Event;
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use tollgate_contract::Side;

use super::layout::MediaPair;
use crate::hooks::Forward;
use crate::socket::{self, BindError};
use crate::telemetry::WorkerIoCounters;

/// One socket and the side it faces.
struct MediaSocket {
    socket: UdpSocket,
    side: Side,
    /// Whether it stands in the queue of those with packets to read.
    is_queued: bool,
}

/// All of them, by socket index.
pub(crate) struct MediaSockets {
    sockets: Vec<MediaSocket>,
    /// The system tells once that packets are there, so a socket left with some is remembered.
    readable: VecDeque<usize>,
}

/// What came of reading one socket once.
pub(super) enum Received {
    /// A packet of this length.
    Packet { side: Side, from: SocketAddr, len: usize },
    /// Nothing is left.
    Empty,
    /// An error of an earlier packet; the socket is as good as before.
    Error,
}

impl MediaSockets {
    /// Binds every pair.
    pub(crate) fn bind(pairs: &[MediaPair]) -> Result<Self, BindError> {
        let mut sockets = Vec::with_capacity(pairs.len() * 2);
        for pair in pairs {
            // The layout never pairs the last port of the number space as RTP.
            for port in [pair.rtp_port, pair.rtp_port.saturating_add(1)] {
                let socket = socket::udp(SocketAddr::new(pair.bound_ip, port), "media")?;
                sockets.push(MediaSocket {
                    socket,
                    side: pair.side,
                    is_queued: false,
                });
            }
        }
        Ok(Self {
            sockets,
            readable: VecDeque::new(),
        })
    }

    /// Watches every socket, each under its index as token.
    pub(super) fn register(&mut self, registry: &Registry) -> io::Result<()> {
        for (index, media) in self.sockets.iter_mut().enumerate() {
            registry.register(&mut media.socket, Token(index), Interest::READABLE)?;
        }
        Ok(())
    }

    /// Notes that a socket has packets.
    pub(super) fn on_event(&mut self, event: &Event) {
        self.queue(event.token().0);
    }

    /// Puts a socket at the end of those to be read.
    pub(super) fn queue(&mut self, index: usize) {
        if let Some(media) = self.sockets.get_mut(index).filter(|media| !media.is_queued) {
            media.is_queued = true;
            self.readable.push_back(index);
        }
    }

    /// The next socket to be read.
    pub(super) fn next_readable(&mut self) -> Option<usize> {
        let index = self.readable.pop_front()?;
        if let Some(media) = self.sockets.get_mut(index) {
            media.is_queued = false;
        }
        Some(index)
    }

    /// How many wait to be read.
    pub(super) fn readable(&self) -> usize {
        self.readable.len()
    }

    /// Reads one packet.
    pub(super) fn receive(&self, index: usize, room: &mut [u8]) -> Received {
        let Some(media) = self.sockets.get(index) else {
            return Received::Empty;
        };
        match media.socket.recv_from(room) {
            Ok((len, from)) => Received::Packet {
                side: media.side,
                from,
                len,
            },
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => Received::Empty,
            Err(_) => Received::Error,
        }
    }

    /// Sends a packet; a failure is counted and otherwise forgotten, as the network would.
    pub(super) fn send(&self, forward: Forward, packet: &[u8], counters: &WorkerIoCounters) {
        let Some(media) = usize::try_from(forward.socket)
            .ok()
            .and_then(|index| self.sockets.get(index))
        else {
            counters.send_errors.inc();
            return;
        };
        match media.socket.send_to(packet, forward.to) {
            Ok(len) => {
                counters.packets_out[media.side.index()].inc();
                counters.bytes_out[media.side.index()].add(len as u64);
            }
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => counters.sends_blocked.inc(),
            Err(_) => counters.send_errors.inc(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_in_use_is_named() {
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let pair = MediaPair {
            side: Side::Inside,
            bound_ip: address.ip(),
            advertised_ip: address.ip(),
            rtp_port: address.port(),
            rtp_socket: 0,
            rtcp_socket: 1,
        };
        let refused = MediaSockets::bind(&[pair]).err().unwrap().to_string();
        assert!(
            refused.contains(&address.to_string()) && refused.contains("media"),
            "{refused}"
        );
    }
}
