//! The flows of one worker: from a socket to its flow, and nothing that grows.

use std::net::SocketAddr;
use std::time::Duration;

use tollgate_contract::{Now, QualityThresholds, Side};

use crate::drop_reason::DropReason;
use crate::flow::{Flow, FlowSpec, FlowStats, Forward};
use crate::monitor::Verdict;

/// A media socket of the worker, by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u32);

/// A flow; never means another one after it was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId {
    index: u32,
    generation: u32,
}

/// There are as many flows as there may be, or a socket is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowTableFull;

/// A verdict about what one side sends of one flow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QualityReading {
    /// The flow.
    pub flow: FlowId,
    /// The side that sends.
    pub side: Side,
    /// How it is.
    pub verdict: Verdict,
    /// Loss over the window, 0 to 1.
    pub loss_ratio: f32,
    /// Jitter, microseconds.
    pub jitter_us: u32,
}

#[derive(Clone, Copy, Debug)]
struct Owner {
    flow: u32,
    side: Side,
    is_rtcp: bool,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    flow: Option<Box<Flow>>,
}

/// The flows of one worker.
#[derive(Debug)]
pub struct FlowTable {
    owners: Vec<Option<Owner>>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    random: u64,
}

impl FlowTable {
    /// A table for so many sockets and flows; `seed` makes SSRCs.
    #[must_use]
    pub fn new(sockets: usize, max_flows: usize, seed: u64) -> Self {
        let slots = (0..max_flows).map(|_| Slot { generation: 0, flow: None }).collect();
        let free = (0..max_flows as u32).rev().collect();
        Self { owners: vec![None; sockets], slots, free, random: seed | 1 }
    }

    /// Puts a flow in force.
    ///
    /// # Errors
    /// [`FlowTableFull`].
    pub fn install(&mut self, now: Now, spec: FlowSpec) -> Result<FlowId, FlowTableFull> {
        let sockets = spec.legs.iter().flat_map(|leg| [leg.rtp, leg.rtcp]);
        if sockets.into_iter().any(|socket| socket.0 as usize >= self.owners.len()) {
            return Err(FlowTableFull);
        }
        let index = self.free.pop().ok_or(FlowTableFull)?;
        let slot = &mut self.slots[index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.flow = Some(Box::new(Flow::new(now, &spec)));
        let id = FlowId { index, generation: slot.generation };
        self.own_sockets(index, &spec);
        Ok(id)
    }

    /// Takes what signalling says now. SRTP contexts whose key is unchanged go on; a latch opens again only for another
    /// address or a new receive key.
    pub fn update(&mut self, now: Now, id: FlowId, spec: FlowSpec) {
        if let Some(flow) = self.flow_mut(id) {
            flow.update(now, &spec);
        }
    }

    /// Ends a flow. Returns what was measured.
    pub fn remove(&mut self, id: FlowId) -> Option<FlowStats> {
        let slot = self.slots.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation)?;
        let flow = slot.flow.take()?;
        for leg in &flow.legs {
            for socket in [leg.rtp, leg.rtcp] {
                if let Some(owner) = self.owners.get_mut(socket.0 as usize) {
                    *owner = None;
                }
            }
        }
        self.free.push(id.index);
        Some(flow.stats())
    }

    /// A packet of `len` bytes at the front of `buffer`, received on a socket. The answer speaks of the same buffer.
    ///
    /// # Errors
    /// [`DropReason`]; the buffer's content is then undefined.
    pub fn forward(
        &mut self,
        now: Now,
        at: SocketId,
        from: SocketAddr,
        buffer: &mut [u8],
        len: usize,
    ) -> Result<Forward, DropReason> {
        let owner = self.owners.get(at.0 as usize).copied().flatten().ok_or(DropReason::NoFlow)?;
        let slot = self.slots.get_mut(owner.flow as usize).ok_or(DropReason::NoFlow)?;
        let flow = slot.flow.as_mut().ok_or(DropReason::NoFlow)?;
        let random = &mut self.random;
        flow.forward(now, (owner.side, owner.is_rtcp), from, buffer, len, || next_random(random))
    }

    /// Reads quality at the end of a monitoring interval: one reading for each active flow and side that should send.
    pub fn poll_quality(&mut self, now: Now, thresholds: &QualityThresholds, out: &mut Vec<QualityReading>) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let Some(flow) = slot.flow.as_mut().filter(|flow| flow.active) else { continue };
            let id = FlowId { index: index as u32, generation: slot.generation };
            for (leg, side) in flow.legs.iter_mut().zip([Side::Inside, Side::Outside]) {
                let (verdict, loss_ratio, jitter_us) = leg.monitor.verdict(now.instant, leg.expects_media, thresholds);
                if leg.expects_media {
                    out.push(QualityReading { flow: id, side, verdict, loss_ratio, jitter_us });
                }
            }
        }
    }

    /// What was measured so far.
    #[must_use]
    pub fn stats(&self, id: FlowId) -> Option<FlowStats> {
        self.flow(id).map(Flow::stats)
    }

    /// Whether a flow exists.
    #[must_use]
    pub fn contains(&self, id: FlowId) -> bool {
        self.flow(id).is_some()
    }

    /// Whether every side that should send has been silent for so long. A flow nobody should send on is not silent.
    #[must_use]
    pub fn is_silent(&self, now: Now, id: FlowId, limit: Duration) -> bool {
        let Some(flow) = self.flow(id).filter(|flow| flow.active) else { return false };
        let mut expecting = flow.legs.iter().filter(|leg| leg.expects_media).peekable();
        expecting.peek().is_some()
            && expecting.all(|leg| {
                let since = leg.monitor.last_packet().max(leg.expects_since);
                since.is_some_and(|since| now.instant.saturating_duration_since(since) >= limit)
            })
    }

    fn own_sockets(&mut self, flow: u32, spec: &FlowSpec) {
        for (leg, side) in spec.legs.iter().zip([Side::Inside, Side::Outside]) {
            for (socket, is_rtcp) in [(leg.rtp, false), (leg.rtcp, true)] {
                if let Some(owner) = self.owners.get_mut(socket.0 as usize) {
                    *owner = Some(Owner { flow, side, is_rtcp });
                }
            }
        }
    }

    fn flow(&self, id: FlowId) -> Option<&Flow> {
        self.slots.get(id.index as usize).filter(|slot| slot.generation == id.generation)?.flow.as_deref()
    }

    fn flow_mut(&mut self, id: FlowId) -> Option<&mut Flow> {
        self.slots.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation)?.flow.as_deref_mut()
    }
}

/// xorshift64: SSRCs need to differ, not to be secret (RFC 3550 §8.1).
fn next_random(state: &mut u64) -> u32 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 32) as u32
}
