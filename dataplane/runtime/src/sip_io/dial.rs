//! Connections we open: tried address by address, then kept for the next message to the same peer.
//!
//! Which peer and which addresses is the core's choice (RFC 3261 §18.1.1, RFC 5923 §5 for the reuse).

use std::collections::HashMap;
use std::net::SocketAddr;

use tollgate_call::transport::{ConnId, Dial, SendFailure};
use tollgate_contract::{Side, Transport};

use super::queue::Queued;
use crate::config::WAITING_PER_DIAL;

/// What makes two connections the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PoolKey {
    side: Side,
    transport: Transport,
    address: SocketAddr,
    server_name: Option<String>,
}

impl PoolKey {
    fn new(dial: &Dial, address: SocketAddr) -> Self {
        Self {
            side: dial.side,
            transport: dial.transport,
            address,
            server_name: dial.server_name.clone(),
        }
    }
}

/// A dial under way.
#[derive(Debug)]
struct Pending {
    next_address: usize,
    waiting: Vec<Queued>,
    failure: SendFailure,
}

/// All dials under way and all dialled connections that stand.
#[derive(Debug, Default)]
pub(super) struct Dials {
    pool: HashMap<PoolKey, ConnId>,
    pending: HashMap<Dial, Pending>,
}

/// What to do with a message for a dial.
#[derive(Debug)]
pub(super) enum Join {
    /// The dial is new and must be started.
    Start,
    /// It waits with the others.
    Waits,
    /// Too many wait.
    Full(Queued),
}

impl Dials {
    /// A connection that stands for one of the dial's addresses.
    pub(super) fn pooled(&self, dial: &Dial) -> Option<ConnId> {
        dial.addresses
            .iter()
            .find_map(|address| self.pool.get(&PoolKey::new(dial, *address)).copied())
    }

    /// Lets a message wait for a dial.
    pub(super) fn join(&mut self, dial: &Dial, queued: Queued) -> Join {
        let Some(pending) = self.pending.get_mut(dial) else {
            let pending = Pending {
                next_address: 0,
                waiting: vec![queued],
                failure: SendFailure::Unreachable,
            };
            self.pending.insert(dial.clone(), pending);
            return Join::Start;
        };
        if pending.waiting.len() >= WAITING_PER_DIAL {
            return Join::Full(queued);
        }
        pending.waiting.push(queued);
        Join::Waits
    }

    /// The address to be tried now.
    pub(super) fn next_address(&mut self, dial: &Dial) -> Option<SocketAddr> {
        let pending = self.pending.get_mut(dial)?;
        let address = dial.addresses.get(pending.next_address).copied();
        pending.next_address += 1;
        address
    }

    /// One address failed.
    pub(super) fn on_address_failed(&mut self, dial: &Dial, why: SendFailure) {
        if let Some(pending) = self
            .pending
            .get_mut(dial)
            .filter(|pending| weight(why) > weight(pending.failure))
        {
            pending.failure = why;
        }
    }

    /// No address is left: who waited, and why they fail.
    pub(super) fn give_up(&mut self, dial: &Dial) -> (Vec<Queued>, SendFailure) {
        let pending = self.pending.remove(dial);
        pending.map_or((Vec::new(), SendFailure::Unreachable), |pending| {
            (pending.waiting, pending.failure)
        })
    }

    /// The connection stands: who waited for it.
    pub(super) fn on_open(&mut self, dial: &Dial, address: SocketAddr, conn: ConnId) -> Vec<Queued> {
        self.pool.insert(PoolKey::new(dial, address), conn);
        self.pending
            .remove(dial)
            .map_or_else(Vec::new, |pending| pending.waiting)
    }

    /// A connection that stood is closed.
    pub(super) fn on_closed(&mut self, dial: &Dial, address: SocketAddr, conn: ConnId) {
        let key = PoolKey::new(dial, address);
        if self.pool.get(&key) == Some(&conn) {
            self.pool.remove(&key);
        }
    }
}

/// Of several addresses' failures the one is told that says most: a wrong name must not hide behind a dead address.
const fn weight(failure: SendFailure) -> u8 {
    match failure {
        SendFailure::Unreachable => 0,
        SendFailure::ConnectTimeout => 1,
        SendFailure::ConnectionLost => 2,
        SendFailure::Overload => 3,
        SendFailure::Tls => 4,
        SendFailure::TlsName => 5,
    }
}

/// Each failure of a dial, by its place in [`crate::SipIoCounters::dials_failed`].
pub const DIAL_FAILURES: [SendFailure; 6] = [
    SendFailure::Unreachable,
    SendFailure::ConnectTimeout,
    SendFailure::Tls,
    SendFailure::TlsName,
    SendFailure::ConnectionLost,
    SendFailure::Overload,
];

/// The place of a failure in [`DIAL_FAILURES`].
pub(super) fn failure_index(failure: SendFailure) -> usize {
    DIAL_FAILURES
        .iter()
        .position(|each| *each == failure)
        .expect("DIAL_FAILURES holds each failure")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn dial() -> Dial {
        Dial {
            side: Side::Outside,
            transport: Transport::Tls,
            addresses: vec!["192.0.2.1:5061".parse().unwrap(), "192.0.2.2:5061".parse().unwrap()],
            server_name: Some("b.example".to_owned()),
            timeout: Duration::from_secs(1),
        }
    }

    fn queued() -> Queued {
        Queued {
            bytes: Vec::new(),
            sender: None,
        }
    }

    #[test]
    fn messages_waiting_for_one_dial_are_bounded() {
        let mut dials = Dials::default();
        assert!(matches!(dials.join(&dial(), queued()), Join::Start));
        for _ in 1..WAITING_PER_DIAL {
            assert!(matches!(dials.join(&dial(), queued()), Join::Waits));
        }
        assert!(matches!(dials.join(&dial(), queued()), Join::Full(_)));
        assert_eq!(dials.give_up(&dial()).0.len(), WAITING_PER_DIAL);
    }

    #[test]
    fn wrong_name_is_told_even_when_the_last_address_is_dead() {
        let mut dials = Dials::default();
        dials.join(&dial(), queued());
        assert_eq!(dials.next_address(&dial()), Some(dial().addresses[0]));
        dials.on_address_failed(&dial(), SendFailure::TlsName);
        assert_eq!(dials.next_address(&dial()), Some(dial().addresses[1]));
        dials.on_address_failed(&dial(), SendFailure::Unreachable);
        assert_eq!(dials.next_address(&dial()), None);
        assert_eq!(dials.give_up(&dial()).1, SendFailure::TlsName);
    }

    #[test]
    fn connection_to_the_same_address_under_another_name_is_not_reused() {
        let mut dials = Dials::default();
        dials.on_open(&dial(), dial().addresses[1], ConnId(7));
        assert_eq!(dials.pooled(&dial()), Some(ConnId(7)));
        assert_eq!(
            dials.pooled(&Dial {
                server_name: Some("c.example".to_owned()),
                ..dial()
            }),
            None
        );
        dials.on_closed(&dial(), dial().addresses[1], ConnId(7));
        assert_eq!(dials.pooled(&dial()), None);
    }
}
