//! One side of a flow: its sockets, its party's addresses, its keys and its monitor.
//!
//! It knows nothing of the other leg; [`flow`](crate::flow) joins the two.

mod keys;

use std::net::SocketAddr;
use std::time::Instant;

use tollgate_contract::{Now, Side, SrtpSuite};

use crate::codec::CodecHint;
use crate::drop_reason::DropReason;
use crate::latch::{AuthBudget, Latch};
use crate::monitor::Monitor;
use crate::srtp::MasterKey;
use crate::wire::{RtcpView, RtpView};
use keys::LegKeys;

/// Index of a bound media socket within a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u32);

/// How the media of one leg is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protection {
    /// RTP as it is: inside only. An outside leg with it passes nothing.
    Plain,
    /// SRTP (RFC 3711).
    Srtp {
        /// Our key; without it nothing is sent.
        send: Option<MasterKey>,
        /// The party's key, or those of two forks; further ones are ignored.
        receive: Vec<MasterKey>,
    },
}

/// What signalling says of one leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegSpec {
    /// Our socket for RTP.
    pub rtp: SocketId,
    /// Our socket for RTCP; the same as for RTP if both are multiplexed (RFC 5761).
    pub rtcp: SocketId,
    /// Where the party receives RTP.
    pub remote_rtp: Option<SocketAddr>,
    /// Where the party receives RTCP.
    pub remote_rtcp: Option<SocketAddr>,
    /// Keys.
    pub protection: Protection,
    /// Whether the party may send media to us (direction attribute, port not 0). RTCP comes either way (RFC 3264 §5.1).
    pub may_receive: bool,
    /// Whether media is expected from the party now, by the SDP alone (calls.md 6).
    pub expects_media: bool,
}

/// RTP or RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Rtp,
    Rtcp,
}

enum Guard {
    Plain,
    Srtp(LegKeys),
}

/// One side of a flow.
pub(crate) struct Leg {
    side: Side,
    pub(crate) rtp: SocketId,
    pub(crate) rtcp: SocketId,
    pub(crate) may_receive: bool,
    pub(crate) expects_media: bool,
    guard: Guard,
    rtp_latch: Latch,
    rtcp_latch: Latch,
    budget: AuthBudget,
    signalled_budget: AuthBudget,
    pub(crate) monitor: Monitor,
    pub(crate) forwarded: u64,
}

impl Leg {
    pub(crate) fn new(now: Now, side: Side, spec: LegSpec) -> Self {
        let guard = match spec.protection {
            Protection::Plain => Guard::Plain,
            Protection::Srtp { send, receive } => {
                let mut keys = LegKeys::default();
                keys.apply(now.instant, send, receive);
                Guard::Srtp(keys)
            }
        };
        Self {
            side,
            rtp: spec.rtp,
            rtcp: spec.rtcp,
            may_receive: spec.may_receive,
            expects_media: spec.expects_media,
            guard,
            rtp_latch: Latch::new(spec.remote_rtp),
            rtcp_latch: Latch::new(spec.remote_rtcp),
            budget: AuthBudget::new(now.instant),
            signalled_budget: AuthBudget::new(now.instant),
            monitor: Monitor::new(now.instant),
            forwarded: 0,
        }
    }

    /// Takes over new signalling; contexts of unchanged keys stay.
    pub(crate) fn apply(&mut self, now: Now, spec: LegSpec) {
        let is_new_key = match (&mut self.guard, spec.protection) {
            (Guard::Srtp(keys), Protection::Srtp { send, receive }) => keys.apply(now.instant, send, receive),
            (guard, Protection::Srtp { send, receive }) => {
                let mut keys = LegKeys::default();
                keys.apply(now.instant, send, receive);
                *guard = Guard::Srtp(keys);
                true
            }
            (guard, Protection::Plain) => {
                *guard = Guard::Plain;
                false
            }
        };
        self.rtp_latch.resignal(now.instant, spec.remote_rtp, is_new_key);
        self.rtcp_latch.resignal(now.instant, spec.remote_rtcp, is_new_key);
        (self.rtp, self.rtcp) = (spec.rtp, spec.rtcp);
        if (self.may_receive, self.expects_media) != (spec.may_receive, spec.expects_media) {
            self.monitor.reset_verdict(now.instant);
        }
        (self.may_receive, self.expects_media) = (spec.may_receive, spec.expects_media);
    }

    /// Admits a packet of the party and makes it plain in place; returns its plain length.
    pub(crate) fn receive(
        &mut self,
        now: Now,
        kind: Kind,
        from: SocketAddr,
        buf: &mut [u8],
        len: usize,
    ) -> Result<usize, DropReason> {
        let latch = *self.latch(kind);
        let Guard::Srtp(keys) = &mut self.guard else {
            return match self.side {
                Side::Outside => Err(DropReason::NoKey),
                Side::Inside if latch.signalled() == Some(from) => Ok(len),
                Side::Inside => Err(DropReason::SourceNotSignalled),
            };
        };
        if !latch.admits(from) {
            return Err(DropReason::SourceNotLatched);
        }
        let is_signalled = latch.signalled() == Some(from);
        let budget = if is_signalled {
            &mut self.signalled_budget
        } else {
            &mut self.budget
        };
        if !latch.is_latched() && budget.is_spent(now.instant) {
            return Err(DropReason::AuthBudget);
        }
        match keys.unprotect(now.instant, kind, buf, len) {
            Ok((plain_len, is_new_key)) => {
                self.latch_mut(kind).commit(now.instant, from, is_new_key);
                Ok(plain_len)
            }
            Err(reason) => {
                if !latch.is_latched() && matches!(reason, DropReason::AuthFailed | DropReason::UnknownMki) {
                    budget.on_failure();
                }
                Err(reason)
            }
        }
    }

    /// Checks and monitors a packet that was admitted; `wire_len` is its length as received.
    pub(crate) fn observe(
        &mut self,
        now: Instant,
        kind: Kind,
        plain: &[u8],
        wire_len: usize,
        codecs: &CodecHint,
    ) -> Result<(), DropReason> {
        match kind {
            Kind::Rtp => {
                let packet = RtpView::new_checked(plain).map_err(|_| DropReason::MalformedRtp)?;
                self.monitor.on_rtp(now, &packet, wire_len, codecs);
            }
            Kind::Rtcp => {
                RtcpView::new_checked(plain).map_err(|_| DropReason::MalformedRtcp)?;
                self.monitor.on_rtcp(now);
            }
        }
        Ok(())
    }

    /// Protects a plain packet in place; returns our socket, the party's address, and the length.
    pub(crate) fn send(
        &mut self,
        kind: Kind,
        buf: &mut [u8],
        len: usize,
    ) -> Result<(SocketId, SocketAddr, usize), DropReason> {
        let to = self.latch(kind).remote().ok_or(DropReason::NoRemote)?;
        let len = match (&mut self.guard, self.side) {
            (Guard::Srtp(keys), _) => keys.protect(kind, buf, len)?,
            (Guard::Plain, Side::Inside) => len,
            (Guard::Plain, Side::Outside) => return Err(DropReason::NoKey),
        };
        let socket = match kind {
            Kind::Rtp => self.rtp,
            Kind::Rtcp => self.rtcp,
        };
        Ok((socket, to, len))
    }

    /// The suite of this leg's keys.
    pub(crate) fn suite(&self) -> Option<SrtpSuite> {
        match &self.guard {
            Guard::Plain => None,
            Guard::Srtp(keys) => keys.suite(),
        }
    }

    /// Where RTP goes now.
    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        self.rtp_latch.remote()
    }

    /// Whether that was learned from a packet.
    pub(crate) fn is_latched(&self) -> bool {
        self.rtp_latch.is_latched()
    }

    fn latch(&self, kind: Kind) -> &Latch {
        if kind == Kind::Rtp || self.rtp == self.rtcp {
            &self.rtp_latch
        } else {
            &self.rtcp_latch
        }
    }

    fn latch_mut(&mut self, kind: Kind) -> &mut Latch {
        if kind == Kind::Rtp || self.rtp == self.rtcp {
            &mut self.rtp_latch
        } else {
            &mut self.rtcp_latch
        }
    }
}
