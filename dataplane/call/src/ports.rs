//! The media ports of a worker: bound at start, lent to calls, left alone for a while afterwards.
//!
//! It knows numbers only; the sockets are the runtime's. A pair is an even RTP port and the RTCP port above it.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use tollgate_contract::Side;
use tollgate_media::SocketId;

/// A bound pair of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortPair {
    /// The side it faces.
    pub side: Side,
    /// The address written into SDP.
    pub advertised: IpAddr,
    /// The RTP port; RTCP's is one above.
    pub port: u16,
    /// The RTP socket.
    pub rtp: SocketId,
    /// The RTCP socket.
    pub rtcp: SocketId,
}

impl PortPair {
    /// Where RTP is to be sent, as told in SDP.
    #[must_use]
    pub fn advertised_rtp(&self) -> SocketAddr {
        SocketAddr::new(self.advertised, self.port)
    }
}

/// Port pairs of one side and address family: free, lent, or quarantined.
#[derive(Debug, Default)]
struct Shelf {
    free: VecDeque<PortPair>,
    quarantined: VecDeque<(Instant, PortPair)>,
    used: usize,
}

/// All port pairs of one worker.
#[derive(Debug, Default)]
pub(crate) struct PortPool {
    /// By [`Side::index`], then IPv6 and IPv4.
    shelves: [[Shelf; 2]; 2],
}

impl PortPool {
    /// A pool of these pairs, all free.
    #[must_use]
    pub(crate) fn new(pairs: impl IntoIterator<Item = PortPair>) -> Self {
        let mut pool = Self::default();
        for pair in pairs {
            pool.shelf_of(pair).free.push_back(pair);
        }
        pool
    }

    /// Lends the pair of a side and address family that has been free longest; `None` when there is none.
    pub(crate) fn take(&mut self, now: Instant, side: Side, is_ipv4: bool) -> Option<PortPair> {
        let shelf = &mut self.shelves[side.index()][usize::from(is_ipv4)];
        shelf.release(now);
        let pair = shelf.free.pop_front()?;
        shelf.used += 1;
        Some(pair)
    }

    /// Whether there is any pair of a side and address family, lent or not.
    pub(crate) fn has_family(&self, side: Side, is_ipv4: bool) -> bool {
        let shelf = &self.shelves[side.index()][usize::from(is_ipv4)];
        shelf.used + shelf.free.len() + shelf.quarantined.len() > 0
    }

    /// Takes a pair back; it is lent again only after `quarantine`, so that late packets of the old call meet no new
    /// one.
    pub(crate) fn give_back(&mut self, now: Instant, pair: PortPair, quarantine: Duration) {
        let shelf = self.shelf_of(pair);
        shelf.used = shelf.used.saturating_sub(1);
        shelf.quarantined.push_back((now + quarantine, pair));
    }

    /// Pairs of a side: used, free, quarantined.
    pub(crate) fn counts(&mut self, now: Instant, side: Side) -> [usize; 3] {
        let mut sums = [0; 3];
        for shelf in &mut self.shelves[side.index()] {
            shelf.release(now);
            let counts = [shelf.used, shelf.free.len(), shelf.quarantined.len()];
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        sums
    }

    fn shelf_of(&mut self, pair: PortPair) -> &mut Shelf {
        &mut self.shelves[pair.side.index()][usize::from(pair.advertised.is_ipv4())]
    }
}

impl Shelf {
    fn release(&mut self, now: Instant) {
        while let Some((until, pair)) = self.quarantined.front().copied() {
            if until > now {
                return;
            }
            self.quarantined.pop_front();
            self.free.push_back(pair);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_returned_pair_is_not_lent_before_its_quarantine_ends() {
        let now = crate::testing::now().instant;
        let mut pool = PortPool::new([pair(4000, "192.0.2.1")]);
        let lent = pool.take(now, Side::Inside, true).unwrap();
        assert_eq!(pool.take(now, Side::Inside, true), None);
        pool.give_back(now, lent, Duration::from_secs(10));
        assert_eq!(pool.take(now + Duration::from_secs(9), Side::Inside, true), None);
        assert_eq!(pool.counts(now, Side::Inside), [0, 0, 1]);
        assert_eq!(pool.take(now + Duration::from_secs(10), Side::Inside, true), Some(lent));
    }

    #[test]
    fn families_and_sides_do_not_mix() {
        let now = crate::testing::now().instant;
        let mut pool = PortPool::new([pair(4000, "192.0.2.1"), pair(4002, "2001:db8::1")]);
        assert_eq!(pool.take(now, Side::Outside, true), None);
        assert_eq!(pool.take(now, Side::Inside, false).unwrap().port, 4002);
        assert_eq!(pool.take(now, Side::Inside, false), None);
    }

    fn pair(port: u16, ip: &str) -> PortPair {
        let advertised = ip.parse().unwrap();
        PortPair {
            side: Side::Inside,
            advertised,
            port,
            rtp: SocketId(0),
            rtcp: SocketId(1),
        }
    }
}
