//! Server transactions (RFC 3261 §17.2, RFC 6026 §7.1).
//!
//! ```text
//! INVITE:      Proceeding ─2xx─▶ Accepted ─L─▶ Terminated
//!                 └─300-699─▶ Completed ─ACK─▶ Confirmed ─I─▶ Terminated
//! non-INVITE:  Proceeding ─200-699─▶ Completed ─J─▶ Terminated
//! ```
//! `Proceeding` stands for Trying too: whether a response may be repeated is known by there being one.

use std::time::{Duration, Instant};

use super::{Fired, Kind, T1, T2, T4, TIMEOUT};

/// States.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// No final response sent.
    Proceeding,
    /// A final response sent (INVITE: 300-699, waiting for the ACK).
    Completed,
    /// The ACK has come.
    Confirmed,
    /// A 2xx to INVITE sent; it and its ACKs still pass (RFC 6026).
    Accepted,
    /// Over.
    Terminated,
}

/// One server transaction.
#[derive(Clone, Debug)]
pub struct ServerTransaction {
    kind: Kind,
    reliable: bool,
    state: ServerState,
    interval: Duration,
    retransmit_at: Option<Instant>,
    deadline: Option<Instant>,
}

impl ServerTransaction {
    /// Starts with the request just received.
    #[must_use]
    pub fn new(kind: Kind, reliable: bool) -> Self {
        Self {
            kind,
            reliable,
            state: ServerState::Proceeding,
            interval: T1,
            retransmit_at: None,
            deadline: None,
        }
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> ServerState {
        self.state
    }

    /// When [`on_timeout`](Self::on_timeout) wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.retransmit_at, self.deadline].into_iter().flatten().min()
    }

    /// Whether a repeated request is answered with the last response again (§17.2.1, §17.2.2). In Accepted it is
    /// absorbed: the 2xx belongs to the far end (RFC 6026 §7.1).
    #[must_use]
    pub fn repeats_response(&self) -> bool {
        match self.state {
            ServerState::Proceeding | ServerState::Completed => true,
            ServerState::Confirmed | ServerState::Accepted | ServerState::Terminated => false,
        }
    }

    /// Whether a response of this status may still be sent; if so the machine moves on.
    pub fn on_send(&mut self, now: Instant, status: u16) -> bool {
        match self.state {
            ServerState::Proceeding if status < 200 => true,
            ServerState::Proceeding => {
                self.on_final(now, status);
                true
            }
            ServerState::Accepted => (200..300).contains(&status),
            ServerState::Completed | ServerState::Confirmed | ServerState::Terminated => false,
        }
    }

    /// The ACK to a refusal has come. Returns whether it belonged here.
    pub fn on_ack(&mut self, now: Instant) -> bool {
        match self.state {
            ServerState::Completed if self.kind == Kind::Invite => {
                self.state = ServerState::Confirmed;
                self.retransmit_at = None;
                self.deadline = Some(now + self.unreliable(T4));
                true
            }
            ServerState::Confirmed => true,
            ServerState::Completed | ServerState::Proceeding | ServerState::Accepted | ServerState::Terminated => false,
        }
    }

    /// A timer may have run out; call until it answers `None`.
    pub fn on_timeout(&mut self, now: Instant) -> Option<Fired> {
        if self.deadline.is_some_and(|at| at <= now) {
            let unacknowledged = self.kind == Kind::Invite && self.state == ServerState::Completed;
            self.state = ServerState::Terminated;
            self.retransmit_at = None;
            self.deadline = None;
            return Some(if unacknowledged {
                Fired::TimedOut
            } else {
                Fired::Terminated
            });
        }
        if self.retransmit_at.is_some_and(|at| at <= now) {
            self.interval = (self.interval * 2).min(T2);
            self.retransmit_at = Some(now + self.interval);
            return Some(Fired::Retransmit);
        }
        None
    }

    fn on_final(&mut self, now: Instant, status: u16) {
        match self.kind {
            Kind::Invite if status < 300 => {
                self.state = ServerState::Accepted;
                self.deadline = Some(now + TIMEOUT);
            }
            Kind::Invite => {
                // §17.2.1: Timer G repeats the response on unreliable transports; Timer H waits for the ACK.
                self.state = ServerState::Completed;
                self.retransmit_at = (!self.reliable).then(|| now + T1);
                self.deadline = Some(now + TIMEOUT);
            }
            Kind::NonInvite => {
                self.state = ServerState::Completed;
                self.deadline = Some(now + self.unreliable(TIMEOUT));
            }
        }
    }

    fn unreliable(&self, wait: Duration) -> Duration {
        if self.reliable { Duration::ZERO } else { wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_says_what_may_be_sent_repeated_and_acknowledged() {
        use ServerState::{Accepted, Completed, Confirmed, Proceeding, Terminated};
        // (kind, statuses sent, acked, state, may send 180, 200, 486, repeats, takes an ACK)
        type Row<'t> = (Kind, &'t [u16], bool, ServerState, [bool; 5]);
        let table: [Row<'_>; 6] = [
            (Kind::Invite, &[], false, Proceeding, [true, true, true, true, false]),
            (Kind::Invite, &[180], false, Proceeding, [true, true, true, true, false]),
            (
                Kind::Invite,
                &[486],
                false,
                Completed,
                [false, false, false, true, true],
            ),
            (
                Kind::Invite,
                &[486],
                true,
                Confirmed,
                [false, false, false, false, true],
            ),
            (
                Kind::Invite,
                &[200],
                false,
                Accepted,
                [false, true, false, false, false],
            ),
            (
                Kind::NonInvite,
                &[200],
                false,
                Completed,
                [false, false, false, true, false],
            ),
        ];
        for (kind, sent, acked, state, [may_180, may_200, may_486, repeats, takes_ack]) in table {
            let make = || {
                let mut machine = ServerTransaction::new(kind, false);
                sent.iter()
                    .for_each(|status| assert!(machine.on_send(epoch(), *status)));
                if acked {
                    assert!(machine.on_ack(epoch()));
                }
                machine
            };
            assert_eq!(make().state(), state);
            assert_eq!(make().on_send(epoch(), 180), may_180, "{state:?}");
            assert_eq!(make().on_send(epoch(), 200), may_200, "{state:?}");
            assert_eq!(make().on_send(epoch(), 486), may_486, "{state:?}");
            assert_eq!(make().repeats_response(), repeats, "{state:?}");
            assert_eq!(make().on_ack(epoch()), takes_ack, "{state:?}");
        }
        let mut over = ServerTransaction::new(Kind::NonInvite, true);
        let now = epoch();
        over.on_send(now, 200);
        assert_eq!(
            (over.on_timeout(now), over.state()),
            (Some(Fired::Terminated), Terminated)
        );
    }

    #[test]
    fn timer_g_repeats_up_to_t2_and_timer_h_gives_up() {
        let start = epoch();
        let mut machine = ServerTransaction::new(Kind::Invite, false);
        machine.on_send(start, 503);
        let mut at = Vec::new();
        while let Some(due) = machine.poll_timeout() {
            at.push((due.duration_since(start).as_millis(), machine.on_timeout(due).unwrap()));
        }
        assert_eq!(
            at.iter().map(|(at, _)| *at).take(5).collect::<Vec<_>>(),
            [500, 1500, 3500, 7500, 11500]
        );
        assert_eq!(at.last(), Some(&(32000, Fired::TimedOut)));
    }

    #[allow(clippy::disallowed_methods, reason = "a test needs some first instant")]
    fn epoch() -> Instant {
        Instant::now()
    }
}
