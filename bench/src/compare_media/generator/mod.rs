//! The generator: both ends of every call, on one core, open loop.
//!
//! Each stream sends on its own beat whatever comes back. Every packet that arrives is verified, decrypted and compared
//! byte by byte; nothing is sampled. Latency runs from the sending call to the end of the receiving one, on one clock.
//! While it has nothing to do it spins, so that no relay pays for waking it.

mod packet;
mod schedule;
mod tally;

use std::hint::spin_loop;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use tollgate_media::srtp::{ReceiveContext, SendContext};

use super::call::{Ends, Relayed};
pub(crate) use packet::{PACKET_LEN, Pattern};
use packet::{Received, Written};
use schedule::Schedule;
pub(crate) use tally::Tally;

/// How much to send for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Of all streams together.
    pub(crate) packets_per_second: f64,
    /// How long.
    pub(crate) duration: Duration,
    /// What goes first when there is too much of both.
    pub(crate) favour: Favour,
}

/// What goes first when there is more to send and to receive than time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Favour {
    /// As many of each: what comes is counted soon after it came.
    Neither,
    /// Sending: for an overload, where what comes back matters less.
    Sending,
}

/// One end of one call.
struct Leg {
    socket: UdpSocket,
    ssrc: u32,
    sequence: u16,
    protect: Option<SendContext>,
    unprotect: Option<ReceiveContext>,
    /// Sequence number of the last packet that came.
    last: Option<u16>,
    /// When the first packet of this phase came, after the phase's start; 0 if none did.
    first_of_phase_ns: u64,
}

/// Both ends of all calls of one relay.
pub(crate) struct Generator {
    legs: Vec<Leg>,
    poller: OwnedFd,
    ready: Vec<Event>,
    buffer: Box<[u8; BUFFER_LEN]>,
    pattern: Pattern,
    schedule: Schedule,
    origin: Instant,
    phase: u16,
    phase_start_ns: u64,
    /// Of this phase, and of the one before, whose last packets still come.
    tallies: [Tally; 2],
}

impl Generator {
    /// Binds all ends.
    ///
    /// # Errors
    /// In words, when a port cannot be had.
    pub(crate) fn bind(ends: &[Ends]) -> Result<Self, String> {
        let poller = epoll::create(CreateFlags::CLOEXEC).map_err(|why| why.to_string())?;
        let mut legs = Vec::new();
        for address in ends.iter().flat_map(|ends| [ends.inside, ends.outside]) {
            let socket = bind(address).map_err(|why| format!("{address}: {why}"))?;
            let token = EventData::new_u64(legs.len() as u64);
            epoll::add(&poller, &socket, token, EventFlags::IN).map_err(|why| why.to_string())?;
            legs.push(Leg {
                socket,
                ssrc: rand::random(),
                sequence: rand::random::<u16>() / 2,
                protect: None,
                unprotect: None,
                last: None,
                first_of_phase_ns: 0,
            });
        }
        Ok(Self {
            schedule: Schedule::new(legs.len()),
            legs,
            poller,
            ready: Vec::with_capacity(EVENTS_PER_TURN),
            buffer: Box::new([0; BUFFER_LEN]),
            pattern: Pattern::new(),
            origin: Instant::now(),
            phase: 0,
            phase_start_ns: 0,
            tallies: [Tally::new(), Tally::new()],
        })
    }

    /// Points both ends of a call at the relay.
    ///
    /// # Errors
    /// In words, when the relay's address cannot be used.
    pub(crate) fn connect(&mut self, call: usize, ends: &Ends, relayed: &Relayed) -> Result<(), String> {
        let [inside, outside] = self
            .legs
            .get_mut(2 * call..2 * call + 2)
            .and_then(|legs| <&mut [Leg; 2]>::try_from(legs).ok())
            .ok_or("there is no such call")?;
        for (leg, to) in [(inside, relayed.inside), (&mut *outside, relayed.outside)] {
            leg.socket.connect(to).map_err(|why| format!("{to}: {why}"))?;
        }
        if let Some(key) = &relayed.key {
            outside.protect = Some(SendContext::new(&ends.outside_key));
            outside.unprotect = Some(ReceiveContext::new(key));
        }
        Ok(())
    }

    /// Generates a load. The figures of its packets are complete after a further phase: [`Self::before`].
    pub(crate) fn run(&mut self, load: Load) {
        self.phase = self.phase.wrapping_add(1);
        self.tallies.swap(0, 1);
        self.tallies[0].clear();
        self.legs.iter_mut().for_each(|leg| leg.first_of_phase_ns = 0);
        let start = self.now();
        self.phase_start_ns = start;
        self.schedule.start(start, load.packets_per_second);
        let end = start + load.duration.as_nanos() as u64;
        loop {
            let now = self.now();
            if now >= end {
                // What fell due since the last turn belongs to this phase.
                self.send_due(now, end, EVENTS_PER_TURN);
                break self.tallies[0].elapsed_ns = now - start;
            }
            let (sends, receives) = match load.favour {
                Favour::Neither => (EVENTS_PER_TURN, EVENTS_PER_TURN),
                Favour::Sending => (8 * EVENTS_PER_TURN, EVENTS_PER_TURN / 4),
            };
            let was_busy = self.send_due(now, end, sends) | self.receive_ready(receives);
            if !was_busy {
                self.spin(now, end);
            }
        }
        self.tallies[0].planned = self.schedule.due_until(end);
    }

    /// The figures of this phase, without the packets still on their way.
    pub(crate) const fn current(&self) -> &Tally {
        &self.tallies[0]
    }

    /// The figures of the phase before.
    pub(crate) const fn before(&self) -> &Tally {
        &self.tallies[1]
    }

    /// For each stream, how long after the start of this phase its first packet sent in this phase arrived.
    pub(crate) fn first_arrivals(&self) -> Vec<Option<Duration>> {
        let arrival = |leg: &Leg| (leg.first_of_phase_ns > 0).then(|| Duration::from_nanos(leg.first_of_phase_ns));
        self.legs.iter().map(arrival).collect()
    }

    fn now(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    /// Sends what is due now and was before the end of the phase, at most so many packets. Whether there was any.
    fn send_due(&mut self, mut now: u64, end: u64, most: usize) -> bool {
        let mut any = false;
        for _ in 0..most {
            let Some((due, place)) = self.schedule.next_due(now.min(end - 1)) else {
                break;
            };
            self.tallies[0].on_late(now - due);
            self.send(place, now);
            any = true;
            now = self.now();
        }
        any
    }

    fn send(&mut self, place: usize, now: u64) {
        let Some(leg) = self.legs.get_mut(place) else {
            return;
        };
        leg.sequence = leg.sequence.wrapping_add(1);
        let written = Written {
            ssrc: leg.ssrc,
            sequence: leg.sequence,
            stream: place as u32,
            phase: self.phase,
            sent_ns: now,
        };
        self.pattern.write(&written, &mut self.buffer[..]);
        let len = match &mut leg.protect {
            Some(context) => context.protect_rtp(&mut self.buffer[..], PACKET_LEN).unwrap_or(0),
            None => PACKET_LEN,
        };
        let tally = &mut self.tallies[0];
        tally.sent += 1;
        if leg.socket.send(&self.buffer[..len]).is_err() {
            tally.send_errors += 1;
        }
    }

    /// Receives one packet of each of at most so many sockets. Whether there was any.
    fn receive_ready(&mut self, most: usize) -> bool {
        self.ready.clear();
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        // An interrupted wait is one without events.
        let _ = epoll::wait(&self.poller, spare_capacity(&mut self.ready), Some(&at_once));
        let ready = std::mem::take(&mut self.ready);
        for event in ready.iter().take(most) {
            self.receive(event.data.u64() as usize);
        }
        self.ready = ready;
        !self.ready.is_empty()
    }

    fn receive(&mut self, place: usize) {
        // Streams are named by their sending leg: the other one of the call.
        let from = place ^ 1;
        let Some(ssrc) = self.legs.get(from).map(|leg| leg.ssrc) else {
            return;
        };
        let now_of = self.origin;
        let Some(leg) = self.legs.get_mut(place) else {
            return;
        };
        // A port of the relay that is closed shows here as an error; the packet is then counted as lost.
        let Ok(len) = leg.socket.recv(&mut self.buffer[..]) else {
            return;
        };
        let now = now_of.elapsed().as_nanos() as u64;
        self.tallies[0].arrived += 1;
        let plain = match &mut leg.unprotect {
            Some(context) => context.unprotect_rtp(&mut self.buffer[..], len).ok(),
            None => Some(len),
        };
        let packet = plain.and_then(|len| self.buffer.get(..len));
        let Some(Received {
            sequence,
            phase,
            sent_ns,
        }) = packet.and_then(|packet| self.pattern.check(packet, ssrc, from as u32))
        else {
            self.tallies[0].spoilt += 1;
            return;
        };
        let age = self.phase.wrapping_sub(phase);
        let Some(tally) = self.tallies.get_mut(usize::from(age)) else {
            return;
        };
        if !leg.on_sequence(sequence) {
            tally.out_of_order += 1;
            return;
        }
        tally.on_delivered(now.saturating_sub(sent_ns));
        if age == 0 && leg.first_of_phase_ns == 0 {
            leg.first_of_phase_ns = now - self.phase_start_ns;
        }
    }

    /// Waits without sleeping: until a packet is due, but looks for arrivals every few microseconds.
    fn spin(&mut self, now: u64, end: u64) {
        let until = (now + LOOK_EVERY_NS).min(self.schedule.peek().max(now)).min(end);
        let mut then = self.now();
        while then < until {
            spin_loop();
            then = self.now();
        }
        self.tallies[0].idle_ns += then - now;
    }
}

impl Leg {
    /// Notes a sequence number; false if it is not after the last.
    fn on_sequence(&mut self, sequence: u16) -> bool {
        let is_after = self.last.is_none_or(|last| {
            let step = sequence.wrapping_sub(last);
            step != 0 && step < 0x8000
        });
        if is_after {
            self.last = Some(sequence);
        }
        is_after
    }
}

fn bind(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Packets sent, and sockets read, before the other has its turn.
const EVENTS_PER_TURN: usize = 64;

/// With nothing to do, how often arrivals are looked for, nanoseconds. It adds half of that to latencies.
const LOOK_EVERY_NS: u64 = 3_000;

/// Room for a packet and what SRTP appends.
const BUFFER_LEN: usize = 2_048;

#[cfg(test)]
mod tests;
