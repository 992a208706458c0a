//! Two legs and what happens to a packet between them.
//!
//! Everything it needs was decided by signalling and stored; it looks nothing up.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tollgate_contract::{DirectionQuality, Now, Side, SrtpSuite};

use crate::classify::{PacketClass, classify};
use crate::codec::CodecHint;
use crate::drop_reason::DropReason;
use crate::leg::{Kind, Leg, LegSpec, SocketId};
use crate::srtp::MAX_PACKET;
use crate::wire::{RtpHeader, rtcp_sender};

/// What signalling says of a flow: one m= line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowSpec {
    /// Inside and outside, as [`Side::index`] orders them.
    pub legs: [LegSpec; 2],
    /// What the payload types mean.
    pub codec: CodecHint,
    /// Whether RTCP is relayed.
    pub relay_rtcp: bool,
    /// Whether the answer is there; before it nothing passes.
    pub active: bool,
}

/// Where the packet in the buffer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The side it came from.
    pub from: Side,
    /// The suite it was protected or unprotected with.
    pub suite: Option<SrtpSuite>,
    /// The socket to send from.
    pub socket: SocketId,
    /// The address to send to.
    pub to: SocketAddr,
    /// Its length in the buffer.
    pub len: usize,
}

/// How a flow stands; pairs are inside, outside.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowStats {
    /// Quality of what came from each side.
    pub quality: [DirectionQuality; 2],
    /// Where RTP goes on each side.
    pub remote: [Option<SocketAddr>; 2],
    /// Whether that was learned from a packet.
    pub latched: [bool; 2],
    /// Packets from each side that were sent on.
    pub forwarded: [u64; 2],
    /// When the last RTP packet came from each side.
    pub last_packet: [Option<Instant>; 2],
}

/// What a socket of ours takes, and for which side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entrance {
    pub(crate) side: Side,
    pub(crate) takes_rtp: bool,
    pub(crate) takes_rtcp: bool,
}

/// A pair of legs.
pub(crate) struct Flow {
    pub(crate) legs: [Leg; 2],
    codec: CodecHint,
    relay_rtcp: bool,
    pub(crate) active: bool,
    /// Since when nothing has come that is not told by a packet's own time.
    quiet_since: Instant,
}

impl Flow {
    pub(crate) fn new(now: Now, spec: FlowSpec) -> Self {
        let [inside, outside] = spec.legs;
        Self {
            legs: [
                Leg::new(now, Side::Inside, inside),
                Leg::new(now, Side::Outside, outside),
            ],
            codec: spec.codec,
            relay_rtcp: spec.relay_rtcp,
            active: spec.active,
            quiet_since: now.instant,
        }
    }

    pub(crate) fn apply(&mut self, now: Now, spec: FlowSpec) {
        let before = self.expectations();
        let was_active = self.active;
        for (leg, spec) in self.legs.iter_mut().zip(spec.legs) {
            leg.apply(now, spec);
        }
        (self.codec, self.relay_rtcp, self.active) = (spec.codec, spec.relay_rtcp, spec.active);
        if was_active != self.active {
            self.legs
                .iter_mut()
                .for_each(|leg| leg.monitor.reset_verdict(now.instant));
        }
        if (before, was_active) != (self.expectations(), self.active) {
            self.quiet_since = now.instant;
        }
    }

    pub(crate) fn forward(
        &mut self,
        now: Now,
        entrance: Entrance,
        from: SocketAddr,
        buf: &mut [u8],
        len: usize,
    ) -> Result<Forward, DropReason> {
        if len > MAX_PACKET {
            return Err(DropReason::PayloadTooLarge);
        }
        let packet = buf.get(..len).ok_or(DropReason::PayloadTooLarge)?;
        if !self.active {
            return Err(DropReason::BeforeAnswer);
        }
        let kind = kind_of(packet, entrance)?;
        if kind == Kind::Rtcp && !self.relay_rtcp {
            return Err(DropReason::RtcpByPolicy);
        }
        let [inside, outside] = &mut self.legs;
        let (near, far) = match entrance.side {
            Side::Inside => (inside, outside),
            Side::Outside => (outside, inside),
        };
        if kind == Kind::Rtp && !near.may_receive {
            return Err(DropReason::WrongDirection);
        }
        let plain_len = near.receive(now, kind, from, buf, len)?;
        near.observe(now.instant, kind, &buf[..plain_len], len, &self.codec)?;
        let (socket, to, len) = far.send(kind, buf, plain_len)?;
        near.forwarded += 1;
        let suite = far.suite().or_else(|| near.suite());
        Ok(Forward {
            from: entrance.side,
            suite,
            socket,
            to,
            len,
        })
    }

    pub(crate) fn stats(&self) -> FlowStats {
        let pair = |of: fn(&Leg) -> Option<SocketAddr>| [of(&self.legs[0]), of(&self.legs[1])];
        FlowStats {
            quality: [self.legs[0].monitor.quality(), self.legs[1].monitor.quality()],
            remote: pair(Leg::remote),
            latched: [self.legs[0].is_latched(), self.legs[1].is_latched()],
            forwarded: [self.legs[0].forwarded, self.legs[1].forwarded],
            last_packet: [self.legs[0].monitor.last_packet(), self.legs[1].monitor.last_packet()],
        }
    }

    /// How long no media has come from either side although it is expected from one; `None` if from neither.
    pub(crate) fn silent_for(&self, now: Now) -> Option<Duration> {
        if !self.active || self.expectations() == [false; 2] {
            return None;
        }
        let last = self.legs.iter().filter_map(|leg| leg.monitor.last_packet()).max();
        let since = last.map_or(self.quiet_since, |last| last.max(self.quiet_since));
        Some(now.instant.saturating_duration_since(since))
    }

    fn expectations(&self) -> [bool; 2] {
        [self.legs[0].expects_media, self.legs[1].expects_media]
    }
}

/// Tells RTP from RTCP and refuses what cannot be either, before anything is spent on it.
fn kind_of(packet: &[u8], entrance: Entrance) -> Result<Kind, DropReason> {
    match classify(packet) {
        PacketClass::Rtp if entrance.takes_rtp => {
            RtpHeader::parse(packet).map_err(|_| DropReason::MalformedRtp)?;
            Ok(Kind::Rtp)
        }
        PacketClass::Rtcp if entrance.takes_rtcp => {
            rtcp_sender(packet).map_err(|_| DropReason::MalformedRtcp)?;
            Ok(Kind::Rtcp)
        }
        PacketClass::Rtp
        | PacketClass::Rtcp
        | PacketClass::Stun
        | PacketClass::Zrtp
        | PacketClass::Dtls
        | PacketClass::TurnChannel
        | PacketClass::Other => Err(DropReason::NotMedia),
    }
}
