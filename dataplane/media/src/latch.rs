//! From whom media is taken and where it is sent: symmetric RTP, learned only from authenticated packets.
//!
//! It authenticates nothing itself: it is asked before and told after. RFC 4961; RFC 7362 §4 on its dangers.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Failed authentications a second from sources other than the signalled one, while the latch is open.
pub const AUTH_BUDGET: u32 = 50;
/// After new signalling the source before may not latch again for so long, unless the new key vouches for it.
const STALE_FOR: Duration = Duration::from_secs(5);

/// The remote address of RTP or of RTCP on one protected leg.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Latch {
    signalled: Option<SocketAddr>,
    learned: Option<SocketAddr>,
    stale: Option<(SocketAddr, Instant)>,
}

impl Latch {
    pub(crate) const fn new(signalled: Option<SocketAddr>) -> Self {
        Self {
            signalled,
            learned: None,
            stale: None,
        }
    }

    pub(crate) const fn signalled(&self) -> Option<SocketAddr> {
        self.signalled
    }

    pub(crate) const fn is_latched(&self) -> bool {
        self.learned.is_some()
    }

    /// Where media is sent: the learned address, else the signalled one.
    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        self.learned.or(self.signalled)
    }

    /// Whether a packet of this source is worth authenticating.
    pub(crate) fn admits(&self, from: SocketAddr) -> bool {
        self.learned.is_none_or(|learned| learned == from)
    }

    /// A packet of this source was authenticated; `is_new_key` if by a key that came with the last signalling.
    pub(crate) fn commit(&mut self, now: Instant, from: SocketAddr, is_new_key: bool) {
        if self.learned.is_some() {
            return;
        }
        let is_stale = self
            .stale
            .is_some_and(|(stale, until)| stale == from && now < until && !is_new_key);
        if !is_stale {
            (self.learned, self.stale) = (Some(from), None);
        }
    }

    /// Signalling names an address anew; `reopens` if another source must be able to latch.
    pub(crate) fn resignal(&mut self, now: Instant, signalled: Option<SocketAddr>, reopens: bool) {
        if reopens || signalled != self.signalled {
            let before = self.learned.take();
            self.stale = before.map(|before| (before, now + STALE_FOR)).or(self.stale);
        }
        self.signalled = signalled;
    }
}

/// How many authentications may still fail in this second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AuthBudget {
    second: Instant,
    failed: u32,
}

impl AuthBudget {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { second: now, failed: 0 }
    }

    pub(crate) fn is_spent(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.second) >= Duration::from_secs(1) {
            *self = Self::new(now);
        }
        self.failed >= AUTH_BUDGET
    }

    pub(crate) fn on_failure(&mut self) {
        self.failed = self.failed.saturating_add(1);
    }
}
