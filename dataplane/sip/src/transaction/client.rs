//! Client transactions (RFC 3261 §17.1, RFC 6026 §7.2).
//!
//! ```text
//! INVITE:      Calling ─1xx─▶ Proceeding ─2xx─▶ Accepted ─M─▶ Terminated
//!                 └──────────300-699──▶ Completed ─D─▶ Terminated
//! non-INVITE:  Calling ─1xx─▶ Proceeding ─200-699─▶ Completed ─K─▶ Terminated
//! ```

use std::time::{Duration, Instant};

use super::{Fired, Kind, T1, T2, T4, TIMEOUT};

/// Timer D on unreliable transports: at least 32 s (RFC 3261 §17.1.1.2).
const TIMER_D: Duration = TIMEOUT;

/// States. `Calling` is Trying of the non-INVITE machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientState {
    /// Sent, nothing heard.
    Calling,
    /// A provisional response has come.
    Proceeding,
    /// A final response has come (INVITE: 300-699).
    Completed,
    /// A 2xx to INVITE has come; more may follow.
    Accepted,
    /// Over.
    Terminated,
}

/// What a response means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientVerdict {
    /// New: hand it on.
    PassUp,
    /// A final refusal of an INVITE: acknowledge it on this leg and hand it on.
    AckAndPassUp,
    /// A retransmitted refusal: acknowledge it again.
    Ack,
    /// Nothing to do.
    Absorb,
}

/// One client transaction.
#[derive(Clone, Debug)]
pub struct ClientTransaction {
    kind: Kind,
    reliable: bool,
    state: ClientState,
    interval: Duration,
    retransmit_at: Option<Instant>,
    deadline: Option<Instant>,
}

impl ClientTransaction {
    /// Starts with the request just sent: Timers A/E (unreliable transports) and B/F run.
    #[must_use]
    pub fn new(kind: Kind, reliable: bool, now: Instant) -> Self {
        Self {
            kind,
            reliable,
            state: ClientState::Calling,
            interval: T1,
            retransmit_at: (!reliable).then(|| now + T1),
            deadline: Some(now + TIMEOUT),
        }
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> ClientState {
        self.state
    }

    /// When [`on_timeout`](Self::on_timeout) wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.retransmit_at, self.deadline].into_iter().flatten().min()
    }

    /// A response to this transaction's request.
    pub fn on_response(&mut self, now: Instant, status: u16) -> ClientVerdict {
        match self.state {
            ClientState::Calling | ClientState::Proceeding => self.on_first_responses(now, status),
            ClientState::Completed if self.kind == Kind::Invite && status >= 300 => ClientVerdict::Ack,
            ClientState::Accepted if (200..300).contains(&status) => ClientVerdict::PassUp,
            ClientState::Completed | ClientState::Accepted | ClientState::Terminated => ClientVerdict::Absorb,
        }
    }

    /// The caller has stopped waiting for a final response: the machine lives on for at most 64 × T1, so that a late
    /// one is still acknowledged (RFC 3261 §9.1).
    pub fn give_up_within(&mut self, now: Instant, wait: Duration) {
        if matches!(self.state, ClientState::Calling | ClientState::Proceeding) {
            self.deadline = Some(now + wait);
        }
    }

    /// The transport failed for good.
    pub fn on_transport_error(&mut self) {
        self.terminate();
    }

    /// A timer may have run out; call until it answers `None`.
    pub fn on_timeout(&mut self, now: Instant) -> Option<Fired> {
        if self.deadline.is_some_and(|at| at <= now) {
            let failed = matches!(self.state, ClientState::Calling | ClientState::Proceeding);
            self.terminate();
            return Some(if failed { Fired::TimedOut } else { Fired::Terminated });
        }
        if self.retransmit_at.is_some_and(|at| at <= now) {
            self.interval = self.next_interval();
            self.retransmit_at = Some(now + self.interval);
            return Some(Fired::Retransmit);
        }
        None
    }

    fn on_first_responses(&mut self, now: Instant, status: u16) -> ClientVerdict {
        if status < 200 {
            return self.on_provisional();
        }
        self.retransmit_at = None;
        let (state, wait, verdict) = match self.kind {
            Kind::Invite if status < 300 => (ClientState::Accepted, TIMEOUT, ClientVerdict::PassUp),
            Kind::Invite => (
                ClientState::Completed,
                self.unreliable(TIMER_D),
                ClientVerdict::AckAndPassUp,
            ),
            Kind::NonInvite => (ClientState::Completed, self.unreliable(T4), ClientVerdict::PassUp),
        };
        self.state = state;
        self.deadline = Some(now + wait);
        verdict
    }

    fn on_provisional(&mut self) -> ClientVerdict {
        self.state = ClientState::Proceeding;
        if self.kind == Kind::Invite {
            // §17.1.1.2: retransmission stops and Timer B no longer applies; the caller has its own timer.
            self.retransmit_at = None;
            self.deadline = None;
        }
        ClientVerdict::PassUp
    }

    /// Timer A doubles without end (Timer B ends it); Timer E doubles up to T2, and is T2 once Proceeding.
    fn next_interval(&self) -> Duration {
        match (self.kind, self.state) {
            (Kind::Invite, _) => self.interval * 2,
            (Kind::NonInvite, ClientState::Proceeding) => T2,
            (Kind::NonInvite, _) => (self.interval * 2).min(T2),
        }
    }

    fn unreliable(&self, wait: Duration) -> Duration {
        if self.reliable { Duration::ZERO } else { wait }
    }

    fn terminate(&mut self) {
        self.state = ClientState::Terminated;
        self.retransmit_at = None;
        self.deadline = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_and_response_class_has_its_verdict() {
        use ClientState::{Accepted, Calling, Completed, Proceeding, Terminated};
        use ClientVerdict::{Absorb, Ack, AckAndPassUp, PassUp};
        // state reached by these responses, then the verdicts for 180, 200, 486
        let table: [(Kind, &[u16], ClientState, [ClientVerdict; 3]); 8] = [
            (Kind::Invite, &[], Calling, [PassUp, PassUp, AckAndPassUp]),
            (Kind::Invite, &[180], Proceeding, [PassUp, PassUp, AckAndPassUp]),
            (Kind::Invite, &[486], Completed, [Absorb, Absorb, Ack]),
            (Kind::Invite, &[200], Accepted, [Absorb, PassUp, Absorb]),
            (Kind::NonInvite, &[], Calling, [PassUp, PassUp, PassUp]),
            (Kind::NonInvite, &[100], Proceeding, [PassUp, PassUp, PassUp]),
            (Kind::NonInvite, &[200], Completed, [Absorb, Absorb, Absorb]),
            (Kind::NonInvite, &[481], Completed, [Absorb, Absorb, Absorb]),
        ];
        let now = epoch();
        for (kind, before, state, verdicts) in table {
            for (status, verdict) in [180, 200, 486].into_iter().zip(verdicts) {
                let mut machine = ClientTransaction::new(kind, false, now);
                for status in before {
                    let _ = machine.on_response(now, *status);
                }
                assert_eq!(machine.state(), state);
                assert_eq!(machine.on_response(now, status), verdict, "{kind:?} {state:?} {status}");
            }
        }
        let mut over = ClientTransaction::new(Kind::Invite, false, now);
        over.on_transport_error();
        assert_eq!((over.state(), over.on_response(now, 200)), (Terminated, Absorb));
    }

    #[test]
    fn timer_a_doubles_until_timer_b_gives_up() {
        let start = epoch();
        let mut machine = ClientTransaction::new(Kind::Invite, false, start);
        let fired = run(&mut machine);
        let at: Vec<u128> = fired
            .iter()
            .map(|(at, _)| at.duration_since(start).as_millis())
            .collect();
        assert_eq!(at, [500, 1500, 3500, 7500, 15500, 31500, 32000]);
        assert_eq!(fired.last().unwrap().1, Fired::TimedOut);
    }

    #[test]
    fn timer_e_stays_at_t2_and_timer_f_gives_up() {
        let start = epoch();
        let mut machine = ClientTransaction::new(Kind::NonInvite, false, start);
        let at: Vec<u128> = run(&mut machine)
            .iter()
            .map(|(at, _)| at.duration_since(start).as_millis())
            .collect();
        assert_eq!(
            at,
            [500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500, 32000]
        );
    }

    #[test]
    fn reliable_transports_never_retransmit_and_end_at_once() {
        let now = epoch();
        let mut machine = ClientTransaction::new(Kind::NonInvite, true, now);
        assert_eq!(machine.poll_timeout(), Some(now + TIMEOUT));
        machine.on_response(now, 200);
        assert_eq!(machine.on_timeout(now), Some(Fired::Terminated));
    }

    fn run(machine: &mut ClientTransaction) -> Vec<(Instant, Fired)> {
        let mut out = Vec::new();
        while let Some(at) = machine.poll_timeout() {
            let fired = machine.on_timeout(at).expect("a due timer fires");
            out.push((at, fired));
        }
        out
    }

    #[allow(clippy::disallowed_methods, reason = "a test needs some first instant")]
    fn epoch() -> Instant {
        Instant::now()
    }
}
