//! All flows of one worker: from the socket a packet came in on to its flow and out again.
//!
//! It owns no socket and counts no drops. Slots are made at start; a flow that does not fit is refused.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use tollgate_contract::{Now, QualityThresholds, Side};

use crate::drop_reason::DropReason;
use crate::flow::{Entrance, Flow, FlowSpec, FlowStats, Forward};
use crate::leg::SocketId;
use crate::monitor::Verdict;

/// A flow of one [`FlowTable`]; never reused for another flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId {
    slot: u32,
    generation: u32,
}

/// All slots are taken, or a socket is not one of the table's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowTableFull;

impl fmt::Display for FlowTableFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no place for another flow")
    }
}

impl std::error::Error for FlowTableFull {}

/// How the media from one side of a flow is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QualityReading {
    /// The flow.
    pub flow: FlowId,
    /// The side the media comes from.
    pub side: Side,
    /// The verdict.
    pub verdict: Verdict,
    /// Loss over the window, 0 to 1.
    pub loss_ratio: f32,
    /// Jitter now, microseconds.
    pub jitter_us: u32,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    flow: Option<Box<Flow>>,
}

#[derive(Clone, Copy)]
struct SocketEntry {
    id: FlowId,
    entrance: Entrance,
}

/// The flows of one worker.
pub struct FlowTable {
    by_socket: Vec<Option<SocketEntry>>,
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl FlowTable {
    /// A table for sockets 0 to `sockets - 1` and at most `max_flows` flows.
    #[must_use]
    pub fn new(sockets: usize, max_flows: usize) -> Self {
        let max_flows = u32::try_from(max_flows).unwrap_or(u32::MAX);
        Self {
            by_socket: vec![None; sockets],
            slots: (0..max_flows).map(|_| Slot::default()).collect(),
            free: (0..max_flows).rev().collect(),
        }
    }

    /// Adds a flow. Sockets that another flow uses are taken from it.
    ///
    /// # Errors
    /// [`FlowTableFull`] if all slots are taken or a socket is beyond the table; nothing changed then.
    pub fn install(&mut self, now: Now, spec: FlowSpec) -> Result<FlowId, FlowTableFull> {
        let in_table = |socket: SocketId| (socket.0 as usize) < self.by_socket.len();
        if !spec.legs.iter().all(|leg| in_table(leg.rtp) && in_table(leg.rtcp)) {
            return Err(FlowTableFull);
        }
        let slot = self.free.pop().ok_or(FlowTableFull)?;
        let place = &mut self.slots[slot as usize];
        place.flow = Some(Box::new(Flow::new(now, spec)));
        let id = FlowId {
            slot,
            generation: place.generation,
        };
        self.enter_sockets(id);
        Ok(id)
    }

    /// Takes over new signalling for a flow; one that is gone is ignored.
    ///
    /// SRTP contexts whose key is unchanged stay as they are. A changed receive key leaves the old one valid until the
    /// new one authenticates a packet or 5 s pass; it or a changed remote address opens the latch. A sending key used
    /// before goes on where it was.
    pub fn update(&mut self, now: Now, id: FlowId, spec: FlowSpec) {
        if self.flow(id).is_none() {
            return;
        }
        self.leave_sockets(id);
        if let Some(flow) = self.flow_mut(id) {
            flow.apply(now, spec);
        }
        self.enter_sockets(id);
    }

    /// Ends a flow and returns how it stood; `None` if it is gone.
    pub fn remove(&mut self, id: FlowId) -> Option<FlowStats> {
        let stats = self.stats(id)?;
        self.leave_sockets(id);
        let place = self.slots.get_mut(id.slot as usize)?;
        place.flow = None;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(id.slot);
        Some(stats)
    }

    /// Decides about the packet in `buf[..len]` that came in at a socket, and transforms it in place.
    ///
    /// The buffer needs tail room for what SRTP adds, at most 164 bytes with the longest MKI.
    ///
    /// # Errors
    /// The reason for which the packet is dropped; the bytes are then unspecified. A packet that is not authentic
    /// changes nothing but counters of failures.
    pub fn forward(
        &mut self,
        now: Now,
        at: SocketId,
        from: SocketAddr,
        buf: &mut [u8],
        len: usize,
    ) -> Result<Forward, DropReason> {
        let entry = self
            .by_socket
            .get(at.0 as usize)
            .copied()
            .flatten()
            .ok_or(DropReason::NoFlow)?;
        let flow = self.flow_mut(entry.id).ok_or(DropReason::NoFlow)?;
        flow.forward(now, entry.entrance, from, buf, len)
    }

    /// Appends one reading for each active flow and side that media is expected from; called every monitoring interval.
    pub fn poll_quality(&mut self, now: Now, thresholds: &QualityThresholds, out: &mut Vec<QualityReading>) {
        for (at, slot) in self.slots.iter_mut().enumerate() {
            let Some(flow) = slot.flow.as_mut().filter(|flow| flow.active) else {
                continue;
            };
            let id = FlowId {
                slot: at as u32,
                generation: slot.generation,
            };
            for side in [Side::Inside, Side::Outside] {
                let leg = &mut flow.legs[side.index()];
                if !leg.expects_media {
                    continue;
                }
                let (verdict, loss_ratio, jitter_us) = leg.monitor.poll_verdict(now.instant, thresholds);
                out.push(QualityReading {
                    flow: id,
                    side,
                    verdict,
                    loss_ratio,
                    jitter_us,
                });
            }
        }
    }

    /// How a flow stands; `None` if it is gone.
    #[must_use]
    pub fn stats(&self, id: FlowId) -> Option<FlowStats> {
        self.flow(id).map(Flow::stats)
    }

    /// How long nothing came from either side although media is expected from one; `None` if it is not, or the flow is
    /// gone. A change of direction starts the time anew.
    #[must_use]
    pub fn silent_for(&self, now: Now, id: FlowId) -> Option<Duration> {
        self.flow(id)?.silent_for(now)
    }

    /// Whether [`silent_for`](Self::silent_for) has reached `limit`.
    #[must_use]
    pub fn is_silent(&self, now: Now, id: FlowId, limit: Duration) -> bool {
        self.silent_for(now, id).is_some_and(|silent| silent >= limit)
    }

    /// Flows installed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there is no flow.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn flow(&self, id: FlowId) -> Option<&Flow> {
        let slot = self.slots.get(id.slot as usize)?;
        slot.flow.as_deref().filter(|_| slot.generation == id.generation)
    }

    fn flow_mut(&mut self, id: FlowId) -> Option<&mut Flow> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        slot.flow.as_deref_mut().filter(|_| slot.generation == id.generation)
    }

    fn sockets_of(&self, id: FlowId) -> Option<[(SocketId, Entrance); 4]> {
        let [inside, outside] = &self.flow(id)?.legs;
        let entrance = |side, takes_rtp, takes_rtcp| Entrance {
            side,
            takes_rtp,
            takes_rtcp,
        };
        let pair = |side, rtp: SocketId, rtcp: SocketId| {
            let is_muxed = rtp == rtcp;
            [
                (rtp, entrance(side, true, is_muxed)),
                (rtcp, entrance(side, is_muxed, true)),
            ]
        };
        let [a, b] = pair(Side::Inside, inside.rtp, inside.rtcp);
        let [c, d] = pair(Side::Outside, outside.rtp, outside.rtcp);
        Some([a, b, c, d])
    }

    fn enter_sockets(&mut self, id: FlowId) {
        for (socket, entrance) in self.sockets_of(id).into_iter().flatten() {
            if let Some(place) = self.by_socket.get_mut(socket.0 as usize) {
                *place = Some(SocketEntry { id, entrance });
            }
        }
    }

    fn leave_sockets(&mut self, id: FlowId) {
        for (socket, _) in self.sockets_of(id).into_iter().flatten() {
            if let Some(place) = self.by_socket.get_mut(socket.0 as usize)
                && place.is_some_and(|entry| entry.id == id)
            {
                *place = None;
            }
        }
    }
}

impl fmt::Debug for FlowTable {
    /// Its size; what it holds are keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FlowTable({} flows)", self.len())
    }
}

#[cfg(test)]
mod tests;
