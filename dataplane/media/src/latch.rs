//! Which source a leg listens to (product.md 6.5).
//!
//! A cheap check before any crypto, a commitment only after authentication. RTP and RTCP latch apart.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::drop_reason::DropReason;

/// Failed authentications that a leg without a source spends a second on; a spray costs no more crypto than that.
const FAILURES_PER_SECOND: u32 = 50;

/// The source of one leg's RTP or RTCP.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latch {
    signalled: Option<SocketAddr>,
    learned: Option<SocketAddr>,
    failures: u32,
    counted_from: Option<Instant>,
}

impl Latch {
    /// A leg whose party told this address.
    pub(crate) fn new(signalled: Option<SocketAddr>) -> Self {
        Self { signalled, ..Self::default() }
    }

    /// Where to send: the learned source, before that the signalled address.
    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        self.signalled.map(|signalled| self.learned.unwrap_or(signalled))
    }

    /// Whether the source was learned from a packet.
    pub(crate) fn is_learned(&self) -> bool {
        self.learned.is_some()
    }

    /// Signalling told an address. Another one than before, or a new key, opens the latch again.
    pub(crate) fn signal(&mut self, signalled: Option<SocketAddr>, reopen: bool) {
        if reopen || signalled != self.signalled {
            self.learned = None;
            self.failures = 0;
        }
        self.signalled = signalled;
    }

    /// Judges the source of a plain packet: the signalled address and no other.
    pub(crate) fn admit_plain(&self, from: SocketAddr) -> Result<(), DropReason> {
        if self.signalled == Some(from) { Ok(()) } else { Err(DropReason::SourceNotSignalled) }
    }

    /// Judges the source of a protected packet before its tag is looked at.
    pub(crate) fn admit_protected(&mut self, now: Instant, from: SocketAddr) -> Result<(), DropReason> {
        match self.learned {
            Some(learned) if learned == from => Ok(()),
            Some(_) => Err(DropReason::SourceNotLatched),
            None => {
                let is_new_second = self
                    .counted_from
                    .is_none_or(|start| now.saturating_duration_since(start) >= Duration::from_secs(1));
                if is_new_second {
                    self.counted_from = Some(now);
                    self.failures = 0;
                }
                if self.failures < FAILURES_PER_SECOND { Ok(()) } else { Err(DropReason::AuthBudget) }
            }
        }
    }

    /// The packet was authentic: its source is the leg's.
    pub(crate) fn commit(&mut self, from: SocketAddr) {
        self.learned = Some(from);
    }

    /// The packet was not.
    pub(crate) fn on_failure(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }
}
