//! One m= line's packets: two legs and the conversion between them, chosen once and replayed per packet.

use std::net::SocketAddr;
use std::time::Instant;

use tollgate_contract::{DirectionQuality, Now, Side, SrtpSuite};

use crate::classify::{PacketKind, classify};
use crate::codec::CodecHint;
use crate::drop_reason::DropReason;
use crate::flow_table::SocketId;
use crate::leg::{Leg, LegSpec};
use crate::wire::{RtcpHeader, RtpHeader};

/// What a flow is to be.
#[derive(Clone, Debug)]
pub struct FlowSpec {
    /// Its legs, by [`Side::index`].
    pub legs: [LegSpec; 2],
    /// Its payload types.
    pub codec: CodecHint,
    /// Whether RTCP passes.
    pub relay_rtcp: bool,
    /// Whether its answer has come; nothing passes before.
    pub active: bool,
}

/// Where a packet goes: send `len` bytes of the same buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// From this socket.
    pub socket: SocketId,
    /// To this address.
    pub to: SocketAddr,
    /// So many bytes.
    pub len: usize,
    /// The side the packet came from.
    pub from: Side,
    /// The suite it was protected or opened with.
    pub suite: Option<SrtpSuite>,
}

/// What was measured of a flow.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowStats {
    /// Quality of what each side sent.
    pub quality: [DirectionQuality; 2],
    /// Where media goes, per side.
    pub remote: [Option<SocketAddr>; 2],
    /// Whether that was learned from a packet.
    pub latched: [bool; 2],
    /// Packets passed on, by the side they came from.
    pub forwarded: [u64; 2],
    /// When each side's last RTP packet came.
    pub last_packet: [Option<Instant>; 2],
}

/// A flow in force.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) legs: [Leg; 2],
    pub(crate) active: bool,
    codec: CodecHint,
    relay_rtcp: bool,
    /// The outgoing SSRC in place of one whose sender restarted its sequence under a key in use.
    renamed: Option<(u32, u32)>,
}

impl Flow {
    pub(crate) fn new(now: Now, spec: &FlowSpec) -> Self {
        Self {
            legs: [Leg::new(now.instant, &spec.legs[0]), Leg::new(now.instant, &spec.legs[1])],
            active: spec.active,
            codec: spec.codec.clone(),
            relay_rtcp: spec.relay_rtcp,
            renamed: None,
        }
    }

    pub(crate) fn update(&mut self, now: Now, spec: &FlowSpec) {
        for (leg, spec) in self.legs.iter_mut().zip(&spec.legs) {
            leg.update(now.instant, spec);
        }
        self.active = spec.active;
        self.codec = spec.codec.clone();
        self.relay_rtcp = spec.relay_rtcp;
    }

    pub(crate) fn stats(&self) -> FlowStats {
        let [inside, outside] = &self.legs;
        let both = |read: &dyn Fn(&Leg) -> Option<SocketAddr>| [read(inside), read(outside)];
        FlowStats {
            quality: [inside.monitor.quality(), outside.monitor.quality()],
            remote: both(&|leg| leg.latches[0].remote()),
            latched: [inside.latches[0].is_learned(), outside.latches[0].is_learned()],
            forwarded: [inside.forwarded, outside.forwarded],
            last_packet: [inside.monitor.last_packet(), outside.monitor.last_packet()],
        }
    }

    /// One packet's way: cheap checks, authentication, what it tells, protection, destination.
    pub(crate) fn forward(
        &mut self,
        now: Now,
        (side, is_rtcp): (Side, bool),
        from: SocketAddr,
        buffer: &mut [u8],
        len: usize,
        fresh_ssrc: impl FnOnce() -> u32,
    ) -> Result<Forward, DropReason> {
        if !self.active {
            return Err(DropReason::BeforeAnswer);
        }
        let kind = buffer.get(..len).and_then(classify).ok_or(DropReason::NotMedia)?;
        if (kind == PacketKind::Rtcp) != is_rtcp {
            return Err(DropReason::NotMedia);
        }
        let which = usize::from(is_rtcp);
        let [inside, outside] = &mut self.legs;
        if outside.is_plain() {
            debug_assert!(!outside.is_plain(), "the outside is never plain");
            return Err(DropReason::NoKey);
        }
        let (near, far) = if side == Side::Inside { (inside, outside) } else { (outside, inside) };
        if is_rtcp && !self.relay_rtcp {
            return Err(DropReason::RtcpByPolicy);
        }
        if !is_rtcp && !near.may_receive {
            return Err(DropReason::WrongDirection);
        }
        near.admit(now.instant, which, from)?;
        let plain = near.open(now.instant, which, from, buffer, len)?;
        let suite = near.suite().or_else(|| far.suite());
        let packet = buffer.get(..plain).unwrap_or_default();
        if is_rtcp {
            RtcpHeader::parse(packet).ok_or(DropReason::MalformedRtcp)?;
        } else {
            let header = RtpHeader::parse(packet).ok_or(DropReason::MalformedRtp)?;
            near.monitor.on_packet(now.instant, &header, plain, &self.codec);
        }
        let to = far.latches[which].remote().ok_or(DropReason::NoRemote)?;
        let len = seal(far, which, buffer, plain, &mut self.renamed, fresh_ssrc)?;
        near.forwarded += 1;
        let socket = if is_rtcp { far.rtcp } else { far.rtp };
        Ok(Forward { socket, to, len, from: side, suite })
    }
}

/// Protects for the far leg. A sender that restarts its sequence on the same SSRC would use an index twice; it goes out
/// under a fresh SSRC instead (field-notes 4.9: never let different payloads share one index).
fn seal(
    far: &mut Leg,
    which: usize,
    buffer: &mut [u8],
    len: usize,
    renamed: &mut Option<(u32, u32)>,
    fresh_ssrc: impl FnOnce() -> u32,
) -> Result<usize, DropReason> {
    let at = if which == 0 { 8 } else { 4 };
    let ssrc = crate::wire::be32(buffer, at);
    let rename = |buffer: &mut [u8], to: u32| {
        if let Some(place) = buffer.get_mut(at..at + 4) {
            place.copy_from_slice(&to.to_be_bytes());
        }
    };
    if let Some((_, new)) = renamed.filter(|(old, _)| *old == ssrc && !far.is_plain()) {
        rename(buffer, new);
    }
    match far.seal(which, buffer, len) {
        Err(DropReason::IndexReused | DropReason::TooOld) if far.notices_restart(which, buffer) => {
            let new = fresh_ssrc();
            *renamed = Some((ssrc, new));
            rename(buffer, new);
            far.seal(which, buffer, len)
        }
        sealed => sealed,
    }
}
