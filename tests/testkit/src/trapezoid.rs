//! One edge between a scripted call agent inside and a scripted peer edge outside, in virtual time.
//!
//! No sockets and no threads. Whatever the edge sends outside is searched for inside addresses, and whatever it sends
//! anywhere must be valid SIP: a scenario need not ask for that.

mod build;
mod talk;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tollgate_call::transport::{
    ConnId, Dial, Listener, ListenerId, PeerIdentity, Role, SendFailure, SendToken, Source, Target, Transmit,
    TransportEvent,
};
use tollgate_call::{CallTable, Output, PortPair};
use tollgate_contract::counters::{AdmissionResult, Violation, WorkerCounters};
use tollgate_contract::{CallEnded, Mapping, Now, Report, Side, Snapshot, Transport, Way};
use tollgate_media::SocketId;
use tollgate_sip::SipMessage;

pub use self::build::{AGENT_TICKET, Deployment, Setup, grant, ticket_key};
pub use self::talk::Talk;
use crate::message::Message;
use crate::party::Party;

/// The interval of ticks (edge.md 8).
const TICK: Duration = Duration::from_millis(100);

/// Room behind a packet for the tag.
const TAIL: usize = 128;

/// What the edge sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// When.
    pub at: Instant,
    /// To which side.
    pub side: Side,
    /// Where to.
    pub target: Target,
    /// The token its failure would be reported with.
    pub token: Option<SendToken>,
    /// The message.
    pub message: Message,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A packet the edge passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// The media address of ours it was sent from.
    pub from: SocketAddr,
    /// Where to.
    pub to: SocketAddr,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The test bed.
#[derive(Debug)]
pub struct Trapezoid {
    /// The calls under test.
    pub table: CallTable,
    /// What new calls are judged by; a test may change it at any time.
    pub snapshot: Snapshot,
    /// What the edge counts.
    pub counters: Arc<WorkerCounters>,
    /// The call agent inside.
    pub agent: Party,
    /// The peer edge outside.
    pub peer: Party,
    /// Certificate names of the connections from outside.
    pub peer_domains: Vec<String>,
    /// Where the agent connects to for what it sends, if not to an address of the edge's own.
    pub dials: Option<SocketAddr>,
    /// Everything the edge sent, in order.
    pub log: Vec<Sent>,
    /// Everything it reported, in order.
    pub reports: Vec<Report>,
    /// Whether monitoring intervals pass while the test waits.
    pub is_ticking: bool,
    /// Whether every message of the edge must be valid SIP; off where it answers what is not.
    pub seeks_faults: bool,
    /// Whether messages to the outside are searched for inside addresses.
    pub seeks_leaks: bool,
    now: Now,
    next_tick: Instant,
    /// How often the agent has connected anew.
    inside_conns: u64,
    inbox: [VecDeque<Sent>; 2],
    listeners: Vec<Listener>,
    pairs: Vec<PortPair>,
    /// Addresses of the inside, as they would stand in a message.
    secrets: Vec<String>,
}

impl Trapezoid {
    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Now {
        self.now
    }

    /// The party of a side.
    #[must_use]
    pub fn party(&mut self, side: Side) -> &mut Party {
        match side {
            Side::Inside => &mut self.agent,
            Side::Outside => &mut self.peer,
        }
    }

    /// A message of a party reaches the edge.
    pub fn send(&mut self, side: Side, message: &Message) {
        self.send_bytes(side, message.to_bytes());
    }

    /// Bytes of a party reach the edge, one message or datagram.
    pub fn send_bytes(&mut self, side: Side, bytes: Vec<u8>) {
        let source = self.source(side);
        self.deliver(TransportEvent::Received { source, bytes });
    }

    /// An event of the transport.
    pub fn deliver(&mut self, event: TransportEvent) {
        self.table.handle_transport(self.now, &self.snapshot, event);
        self.drain();
    }

    /// A source as the transport would name it.
    ///
    /// # Panics
    /// If the edge has no listener of that side and transport.
    #[must_use]
    pub fn source(&mut self, side: Side) -> Source {
        let (transport, remote) = (self.party(side).transport, self.party(side).address);
        let dialled = self.dials.filter(|_| side == Side::Inside);
        let listener = self.listeners.iter().position(|listener| {
            (listener.side, listener.transport) == (side, transport)
                && listener.address.same_family(remote.ip())
                && (listener.role == Role::Trunk) == dialled.is_none()
        });
        let listener = ListenerId(listener.expect("the edge listens there") as u16);
        let conn = (transport != Transport::Udp).then(|| self.conn_of(side));
        let peer = (side == Side::Outside).then(|| {
            Arc::new(PeerIdentity {
                domains: self.peer_domains.clone(),
            })
        });
        let bound = self.listeners[usize::from(listener.0)].address.bound;
        let local = dialled.unwrap_or(bound);
        Source {
            side,
            transport,
            listener,
            remote,
            local,
            conn,
            peer,
        }
    }

    /// The agent's connection is gone; what it sends next comes on another.
    pub fn reconnect(&mut self) {
        self.inside_conns += 1;
    }

    /// A mapping of the peer's address to a domain.
    #[must_use]
    pub fn mapping(&self, domain: &str) -> Mapping {
        let host = match self.peer.address {
            SocketAddr::V4(address) => address.ip().to_string(),
            SocketAddr::V6(address) => format!("[{}]", address.ip()),
        };
        Mapping {
            global: self.peer.address,
            global_host: host,
            transport: Transport::Tls,
            domain: domain.to_owned(),
            expires: None,
        }
    }

    /// The next message for a side, which must be this request or status.
    ///
    /// # Panics
    /// If it is another, or there is none.
    pub fn expect(&mut self, side: Side, name: &str) -> Message {
        let Some(sent) = self.inbox[side.index()].pop_front() else {
            panic!("{} waits for {name} but nothing comes", side.name());
        };
        assert_eq!(sent.message.name(), name, "{} got\n{}", side.name(), text(&sent.bytes));
        self.party(side).hear(&sent.message);
        sent.message
    }

    /// Nothing more has come for a side.
    ///
    /// # Panics
    /// If something has.
    pub fn expect_nothing(&self, side: Side) {
        let waiting = self.inbox[side.index()].front();
        assert!(
            waiting.is_none(),
            "{} got\n{}",
            side.name(),
            waiting.map(|sent| text(&sent.bytes)).unwrap_or_default()
        );
    }

    /// The agent's call is refused so that it uses the PSTN: with the fallback code and this Reason, counted as this,
    /// and nothing was sent or is left of it.
    ///
    /// # Panics
    /// If any of it is not so.
    pub fn expect_fallback(&mut self, counted: AdmissionResult, reason: &str) {
        let code = self.snapshot.calls.fallback_code.to_string();
        let refusal = self.expect(Side::Inside, &code);
        assert_eq!(refusal.field("Reason"), Some(reason));
        assert_eq!(refusal.field("Retry-After"), None);
        self.expect_nothing(Side::Outside);
        assert_eq!(self.leftovers(), [0, 0, 0], "calls, transactions, ports");
        let count = self.counters.admissions[Way::Outbound as usize].at(counted as usize);
        assert_eq!(count.get(), 1, "{counted:?}");
    }

    /// How the last message to the outside was to be connected.
    ///
    /// # Panics
    /// If there was none, or it went by a connection that stood.
    #[must_use]
    pub fn last_dial(&self) -> Dial {
        let sent = self.log.iter().rfind(|sent| sent.side == Side::Outside);
        match sent.map(|sent| sent.target.clone()) {
            Some(Target::Dial(dial)) => dial,
            other @ (Some(Target::Connection { .. } | Target::Datagram { .. }) | None) => {
                panic!("not dialled: {other:?}")
            }
        }
    }

    /// Everything waiting for a side.
    pub fn take(&mut self, side: Side) -> Vec<Sent> {
        self.inbox[side.index()].drain(..).collect()
    }

    /// A party answers a request.
    pub fn respond(&mut self, side: Side, request: &Message, status: u16, sdp: Option<&str>) {
        let response = self.party(side).response(request, status, sdp);
        self.send(side, &response);
    }

    /// A party sends a request within its dialog.
    pub fn request(&mut self, side: Side, method: &str) -> Message {
        let request = self.party(side).request(method);
        self.send(side, &request);
        request
    }

    /// A party begins a call.
    pub fn invite(&mut self, side: Side, sdp: Option<&str>) -> Message {
        let invite = self.party(side).invite(sdp);
        self.send(side, &invite);
        invite
    }

    /// A party sends an INVITE within its dialog.
    pub fn reinvite(&mut self, side: Side, sdp: Option<&str>) -> Message {
        let invite = self.party(side).reinvite(sdp);
        self.send(side, &invite);
        invite
    }

    /// A party acknowledges a 2xx.
    pub fn ack(&mut self, side: Side, sdp: Option<&str>) -> Message {
        let ack = self.party(side).ack(sdp);
        self.send(side, &ack);
        ack
    }

    /// A party acknowledges a refusal.
    pub fn ack_refusal(&mut self, side: Side, refusal: &Message) {
        let ack = self.party(side).ack_refusal(refusal);
        self.send(side, &ack);
    }

    /// A party cancels its INVITE.
    pub fn cancel(&mut self, side: Side) {
        let cancel = self.party(side).cancel();
        self.send(side, &cancel);
    }

    /// The last message sent to a side could not be.
    ///
    /// # Panics
    /// If there is none with a token.
    pub fn fail_last(&mut self, side: Side, why: SendFailure) {
        let sent = self
            .log
            .iter()
            .rev()
            .find(|sent| sent.side == side && sent.token.is_some());
        let token = sent.and_then(|sent| sent.token).expect("something was sent");
        self.deliver(TransportEvent::SendFailed { token, why });
    }

    /// Time passes; timers fire at their moments, and ticks if they are on.
    pub fn wait(&mut self, by: Duration) {
        let end = self.now.instant + by;
        while self.step(end) {}
        self.jump(end);
    }

    /// Jumps to the next timer or tick before `end`. Returns whether there was one.
    pub fn step(&mut self, end: Instant) -> bool {
        let tick = self.is_ticking.then_some(self.next_tick);
        let timer = self.table.poll_timeout();
        let Some(next) = [tick, timer].into_iter().flatten().min().filter(|next| *next <= end) else {
            return false;
        };
        self.jump(next);
        if timer.is_some_and(|at| at <= self.now.instant) {
            self.table.handle_timeout(self.now, &self.snapshot);
            self.drain();
        }
        if tick.is_some_and(|at| at <= self.now.instant) {
            self.next_tick += TICK;
            self.tick();
        }
        true
    }

    /// A monitoring interval ends now.
    pub fn tick(&mut self) {
        self.table.tick(self.now, &self.snapshot);
        self.drain();
    }

    /// Ticks begin now.
    pub fn start_ticking(&mut self) {
        self.is_ticking = true;
        self.next_tick = self.now.instant + TICK;
    }

    /// A datagram reaches a media address of the edge. Returns what the edge passes on.
    ///
    /// # Panics
    /// If the address is none of the edge's.
    pub fn packet(&mut self, at: SocketAddr, from: SocketAddr, bytes: &[u8]) -> Option<Forwarded> {
        let socket = self.socket_at(at).expect("a media address of the edge");
        let mut buffer = bytes.to_vec();
        buffer.resize(bytes.len() + TAIL, 0);
        let (socket, to, len) = self
            .table
            .handle_packet(self.now, socket, from, &mut buffer, bytes.len())?;
        buffer.truncate(len);
        Some(Forwarded {
            from: self.address_of(socket),
            to,
            bytes: buffer,
        })
    }

    /// How often a rule was broken.
    #[must_use]
    pub fn violations(&self, violation: Violation) -> u64 {
        self.counters.state_violations.at(violation as usize).get()
    }

    /// How often packets were dropped for a reason.
    #[must_use]
    pub fn drops(&self, reason: tollgate_media::DropReason) -> u64 {
        self.counters.packets_dropped.at(reason.index()).get()
    }

    /// Packets dropped for any reason.
    #[must_use]
    pub fn all_drops(&self) -> u64 {
        self.counters.packets_dropped.iter().map(|counter| counter.get()).sum()
    }

    /// Everything the calls hold: calls, transactions, lent ports.
    #[must_use]
    pub fn leftovers(&mut self) -> [usize; 3] {
        self.table.leftovers(self.now)
    }

    /// 40 s after a call's end nothing of it is left (edge.md 3).
    ///
    /// # Panics
    /// If something is.
    pub fn expect_nothing_left(&mut self) {
        self.wait(Duration::from_secs(40));
        assert_eq!(self.leftovers(), [0, 0, 0], "calls, transactions, ports");
    }

    /// The records of ended calls.
    #[must_use]
    pub fn records(&self) -> Vec<&CallEnded> {
        let mut records = Vec::new();
        for report in &self.reports {
            match report {
                Report::CallEnded(record) => records.push(&**record),
                Report::Fallback(_) | Report::SetupFailed { .. } | Report::Contained { .. } => {}
            }
        }
        records
    }

    /// The stages of fallbacks, in order.
    #[must_use]
    pub fn fallback_stages(&self) -> Vec<&'static str> {
        let stage = |report: &Report| match report {
            Report::Fallback(event) => Some(event.stage),
            Report::CallEnded(_) | Report::SetupFailed { .. } | Report::Contained { .. } => None,
        };
        self.reports.iter().filter_map(stage).collect()
    }

    /// The media socket of an advertised address.
    #[must_use]
    pub fn socket_at(&self, at: SocketAddr) -> Option<SocketId> {
        self.pairs.iter().find_map(|pair| {
            let offset = (pair.advertised == at.ip()).then(|| at.port().wrapping_sub(pair.port))?;
            match offset {
                0 => Some(pair.rtp),
                1 => Some(pair.rtcp),
                _ => None,
            }
        })
    }

    fn address_of(&self, socket: SocketId) -> SocketAddr {
        let found = self.pairs.iter().find_map(|pair| match socket {
            id if id == pair.rtp => Some(SocketAddr::new(pair.advertised, pair.port)),
            id if id == pair.rtcp => Some(SocketAddr::new(pair.advertised, pair.port + 1)),
            _ => None,
        });
        found.expect("the table names sockets of its own")
    }

    fn jump(&mut self, to: Instant) {
        let by = to.saturating_duration_since(self.now.instant);
        self.now = self.now.plus(by);
    }

    fn drain(&mut self) {
        while let Some(output) = self.table.poll_output() {
            match output {
                Output::Transmit(transmit) => self.on_transmit(transmit),
                Output::Report(report) => self.reports.push(report),
            }
        }
    }

    fn on_transmit(&mut self, transmit: Transmit) {
        let side = self.side_of(&transmit.target);
        let valid = SipMessage::index(transmit.bytes.clone()).map(|message| message.check());
        assert!(
            !self.seeks_faults || matches!(valid, Ok(Ok(()))),
            "the edge sent {valid:?}\n{}",
            text(&transmit.bytes)
        );
        if side == Side::Outside && self.seeks_leaks {
            self.seek_leaks(&transmit.bytes);
        }
        let sent = Sent {
            at: self.now.instant,
            side,
            target: transmit.target,
            token: transmit.token,
            message: if self.seeks_faults {
                Message::parse(&transmit.bytes)
            } else {
                Message::status_line(0)
            },
            bytes: transmit.bytes,
        };
        self.inbox[side.index()].push_back(sent.clone());
        self.log.push(sent);
    }

    fn seek_leaks(&self, bytes: &[u8]) {
        let shown = text(bytes);
        for secret in &self.secrets {
            assert!(!shown.contains(secret.as_str()), "{secret} is shown outside:\n{shown}");
        }
    }

    fn side_of(&self, target: &Target) -> Side {
        match target {
            Target::Datagram { from, .. } => self.listeners[usize::from(from.0)].side,
            Target::Connection { conn, .. } if conn.0 % 2 == 1 => Side::Inside,
            Target::Connection { .. } => Side::Outside,
            Target::Dial(dial) => dial.side,
        }
    }

    /// The connection of a side; those of the agent have odd numbers.
    fn conn_of(&self, side: Side) -> ConnId {
        match side {
            Side::Inside => ConnId(1 + 2 * self.inside_conns),
            Side::Outside => ConnId(2),
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
