//! The calls of one worker: finds the call a message belongs to and hands it over. It decides nothing about a call.
//!
//! Contract: one `handle_*` at a time, then [`CallTable::poll_output`] until it is empty, then the next. Time is an
//! argument; [`CallTable::poll_timeout`] says when to come back.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use tollgate_contract::counters::{AdmissionResult, Violation, WorkerCounters};
use tollgate_contract::{Admission, CallPhase, CallView, Now, Side, Snapshot, Way};
use tollgate_media::{FlowId, FlowTable, QualityReading, SocketId, Verdict};
use tollgate_sip::{InvalidMessage, Method, SipMessage, framing, response};

use crate::admit::{self, Answer};
use crate::call::{Call, Cx, Refusal, begins_call, response_target, stands_alone};
use crate::call_id::CallIdCodec;
use crate::gate::Gate;
use crate::negotiate::Resources;
use crate::output::Output;
use crate::ports::{PortPair, PortPool};
use crate::transport::{LocalAddresses, Source, Transmit, TransportEvent};

/// Most calls that share a Call-ID on one side; one lingers in its transactions while the next begins.
const MAX_CALLS_PER_ID: usize = 4;

/// OPTIONS answered per source domain and second.
const OPTIONS_PER_SECOND: u32 = 20;

/// How often silent calls and gauges are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// What a worker's table is made of.
#[derive(Debug)]
pub struct CallTableConfig {
    /// Our SIP addresses.
    pub local: LocalAddresses,
    /// The worker's media ports.
    pub ports: Vec<PortPair>,
    /// Number of its media sockets; [`SocketId`]s are below it.
    pub sockets: usize,
    /// Most calls at once on this worker.
    pub max_calls: usize,
    /// Shared by all workers and the steering.
    pub call_ids: CallIdCodec,
    /// Seed of its randomness: keys, branches, tokens.
    pub seed: [u8; 32],
}

/// The calls of one worker.
#[derive(Debug)]
pub struct CallTable {
    local: LocalAddresses,
    call_ids: CallIdCodec,
    max_calls: usize,
    calls: BTreeMap<u64, Call>,
    by_call_id: HashMap<(Side, Vec<u8>), Vec<u64>>,
    by_flow: HashMap<FlowId, u64>,
    timers: BinaryHeap<Reverse<(Instant, u64)>>,
    scheduled: BTreeMap<u64, Instant>,
    flows: FlowTable,
    ports: PortPool,
    gate: Gate,
    rng: StdRng,
    outputs: VecDeque<Output>,
    readings: Vec<QualityReading>,
    counters: Arc<WorkerCounters>,
    next_key: u64,
    current: Option<u64>,
    next_sweep: Option<Instant>,
}

/// What a call draws on, made of the table's other parts.
macro_rules! context {
    ($table:expr, $now:expr, $snapshot:expr) => {
        Cx {
            snapshot: $snapshot,
            local: &$table.local,
            call_ids: &$table.call_ids,
            counters: &$table.counters,
            outputs: &mut $table.outputs,
            res: Resources {
                now: $now,
                ports: &mut $table.ports,
                flows: &mut $table.flows,
                rng: &mut $table.rng,
            },
        }
    };
}

/// Takes a call out, hands it a context made of the table's other parts, puts it back and settles.
macro_rules! with_call {
    ($table:expr, $now:expr, $snapshot:expr, $key:expr, |$call:ident, $cx:ident| $body:expr) => {{
        let key: u64 = $key;
        $table.current = Some(key);
        let result = match $table.calls.get_mut(&key) {
            Some($call) => {
                let mut context = context!($table, $now, $snapshot);
                let $cx = &mut context;
                Some($body)
            }
            None => None,
        };
        $table.settle(key);
        $table.current = None;
        result
    }};
}

impl CallTable {
    /// An empty table.
    #[must_use]
    pub fn new(config: CallTableConfig, counters: Arc<WorkerCounters>) -> Self {
        let rng = StdRng::from_seed(config.seed);
        let max_flows = config.ports.len().max(1);
        Self {
            local: config.local,
            call_ids: config.call_ids,
            max_calls: config.max_calls,
            calls: BTreeMap::new(),
            by_call_id: HashMap::new(),
            by_flow: HashMap::new(),
            timers: BinaryHeap::new(),
            scheduled: BTreeMap::new(),
            flows: FlowTable::new(config.sockets, max_flows),
            ports: PortPool::new(config.ports),
            gate: Gate::default(),
            rng,
            outputs: VecDeque::new(),
            readings: Vec::new(),
            counters,
            next_key: 0,
            current: None,
            next_sweep: None,
        }
    }

    /// A message, or news of one that could not be sent.
    pub fn handle_transport(&mut self, now: Now, snapshot: &Snapshot, event: TransportEvent) {
        match event {
            TransportEvent::Received { source, bytes } => self.handle_bytes(now, snapshot, &source, &bytes),
            TransportEvent::SendFailed { token, why } => {
                with_call!(self, now, snapshot, token.call, |call, cx| {
                    call.handle_send_failure(cx, token.transaction, why);
                });
            }
        }
    }

    /// Timers that are due.
    pub fn handle_timeout(&mut self, now: Now, snapshot: &Snapshot) {
        while let Some(Reverse((at, key))) = self.timers.peek().copied() {
            if at > now.instant {
                return;
            }
            self.timers.pop();
            if self.scheduled.get(&key) != Some(&at) {
                continue;
            }
            self.scheduled.remove(&key);
            with_call!(self, now, snapshot, key, |call, cx| call.handle_timeout(cx));
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// The next effect to apply.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// A packet on a media socket, in a buffer with tail room. Returns the socket, address and length to send it from
    /// the same buffer; `None` when it was dropped and counted.
    pub fn handle_packet(
        &mut self,
        now: Now,
        at: SocketId,
        from: SocketAddr,
        buffer: &mut [u8],
        len: usize,
    ) -> Option<(SocketId, SocketAddr, usize)> {
        match self.flows.forward(now, at, from, buffer, len) {
            Ok(forward) => {
                let side = forward.from.index();
                self.counters.packets_forwarded.at(side).inc();
                self.counters.bytes_forwarded.at(side).add(len as u64);
                let suite = forward.suite.map_or(usize::MAX, |suite| suite as usize);
                if suite != usize::MAX {
                    let by_suite = if side == 0 {
                        &self.counters.protected
                    } else {
                        &self.counters.unprotected
                    };
                    by_suite.at(suite).inc();
                }
                Some((forward.socket, forward.to, forward.len))
            }
            Err(reason) => {
                self.counters.packets_dropped.at(reason.index()).inc();
                None
            }
        }
    }

    /// One monitoring interval is over: verdicts are read and handed to their calls.
    pub fn tick(&mut self, now: Now, snapshot: &Snapshot) {
        let mut readings = std::mem::take(&mut self.readings);
        readings.clear();
        self.flows
            .poll_quality(now, &snapshot.fallback.thresholds, &mut readings);
        let mut worst: BTreeMap<(u64, Side), (u8, QualityReading)> = BTreeMap::new();
        for reading in &readings {
            let Some(call) = self.by_flow.get(&reading.flow) else {
                continue;
            };
            let badness = badness(reading.verdict);
            let entry = worst.entry((*call, reading.side)).or_insert((badness, *reading));
            if badness > entry.0 {
                *entry = (badness, *reading);
            }
        }
        self.readings = readings;
        for ((key, side), (_, reading)) in worst {
            with_call!(self, now, snapshot, key, |call, cx| {
                call.handle_verdict(cx, side, reading.verdict, reading.loss_ratio, reading.jitter_us);
            });
        }
        if snapshot.admission == Admission::Closing {
            let live: Vec<u64> = self.calls.keys().copied().collect();
            for key in live {
                with_call!(self, now, snapshot, key, |call, cx| call.handle_closing(cx));
            }
        }
        if self.next_sweep.is_none_or(|at| at <= now.instant) {
            self.next_sweep = Some(now.instant + SWEEP);
            self.sweep(now, snapshot);
        }
    }

    /// The calls as they stand, at most `max`.
    #[must_use]
    pub fn views(&self, now: Now, max: usize) -> Vec<CallView> {
        self.calls
            .values()
            .take(max)
            .map(|call| call.view(now, &self.flows))
            .collect()
    }

    /// Calls not yet ending.
    #[must_use]
    pub fn live_calls(&self) -> usize {
        self.calls
            .values()
            .filter(|call| call.phase() != CallPhase::Ending)
            .count()
    }

    /// Everything held: calls, transactions, lent ports. All zero 40 s after the last call.
    pub fn leftovers(&mut self, now: Now) -> [usize; 3] {
        let transactions = self.calls.values().map(Call::transactions).sum();
        let lent = [Side::Inside, Side::Outside].map(|side| self.ports.counts(now.instant, side)[0]);
        [self.calls.len(), transactions, lent.iter().sum()]
    }

    /// After a panic was caught: the call that was being handled is dropped whole, its ports go to quarantine.
    pub fn discard_current(&mut self, now: Now) {
        self.outputs.clear();
        let Some(key) = self.current.take() else {
            return;
        };
        self.counters.contained.inc();
        if let Some(mut call) = self.calls.remove(&key) {
            let mut res = Resources {
                now,
                ports: &mut self.ports,
                flows: &mut self.flows,
                rng: &mut self.rng,
            };
            call.discard(&mut res);
            self.forget(key, &call);
        }
    }

    fn handle_bytes(&mut self, now: Now, snapshot: &Snapshot, source: &Source, bytes: &[u8]) {
        let framed = match source.conn {
            Some(_) => Some(bytes),
            None => framing::datagram(bytes),
        };
        let Some(framed) = framed else { return };
        let message = match SipMessage::index(framed.to_vec()) {
            Ok(message) => message,
            Err(why) => {
                self.counters.sip_parse_errors.at(why.index()).inc();
                return;
            }
        };
        if let Err(why) = message.check() {
            self.refuse_invalid(source, &message, why);
            return;
        }
        match message.method() {
            Some(method) => {
                self.counters.sip_requests[source.side.index()]
                    .at(method.label_index())
                    .inc();
                self.handle_request(now, snapshot, source, message);
            }
            None => self.handle_response(now, snapshot, source, &message),
        }
    }

    fn handle_response(&mut self, now: Now, snapshot: &Snapshot, source: &Source, message: &SipMessage) {
        let taken = self.owner(source.side, message).and_then(|key| {
            with_call!(self, now, snapshot, key, |call, cx| call
                .handle_response(cx, source, message))
        });
        if taken != Some(true) {
            self.counters.violation(Violation::Unmatched);
        }
    }

    fn handle_request(&mut self, now: Now, snapshot: &Snapshot, source: &Source, message: SipMessage) {
        if let Some(key) = self.owner(source.side, &message) {
            let copy = message.clone();
            let taken = with_call!(self, now, snapshot, key, |call, cx| call
                .handle_request(cx, source, copy));
            if taken == Some(true) {
                return;
            }
        }
        let has_to_tag = message.to().is_some_and(|to| to.tag().is_some());
        match message.method() {
            Some(Method::Ack) | None => self.counters.violation(Violation::Unmatched),
            Some(Method::Cancel) => {
                self.counters.violation(Violation::CancelWithoutInvite);
                self.answer(source, &message, 481, &[]);
            }
            Some(_) if has_to_tag => {
                self.counters.violation(Violation::UnknownDialog);
                self.answer(source, &message, 481, &[]);
            }
            // These are never without a dialog (RFC 3261 §15.1.2, RFC 3262 §4, RFC 3311 §5.1).
            Some(Method::Bye | Method::Prack | Method::Update) => {
                self.counters.violation(Violation::UnknownDialog);
                self.answer(source, &message, 481, &[]);
            }
            Some(_) if begins_call(&message) => self.admit(now, snapshot, source, message),
            Some(method) => {
                let method = method.clone();
                self.handle_alone(now, snapshot, source, message, &method);
            }
        }
    }

    /// The call of this Call-ID that the message belongs to; every call is asked, as one may linger beside the next.
    fn owner(&self, side: Side, message: &SipMessage) -> Option<u64> {
        let keys = self.by_call_id.get(&(side, message.call_id().to_vec()))?;
        let claims = |key: &&u64| self.calls.get(key).is_some_and(|call| call.claims(side, message));
        keys.iter().find(claims).copied()
    }

    fn admit(&mut self, now: Now, snapshot: &Snapshot, source: &Source, invite: SipMessage) {
        let way = if source.side == Side::Inside {
            Way::Outbound
        } else {
            Way::Inbound
        };
        let judged = match way {
            Way::Outbound => admit::outbound(now, snapshot, &self.local, &self.counters, source, &invite),
            Way::Inbound => admit::inbound(now, snapshot, &self.local, &self.counters, source, &invite),
        };
        let begun = judged.and_then(|invitation| {
            self.check_room(now, snapshot, source, &invite)?;
            self.next_key += 1;
            let mut cx = context!(self, now, snapshot);
            Call::begin(&mut cx, self.next_key, source, invite.clone(), invitation).map_err(Answer::from)
        });
        match begun {
            Ok(call) => {
                self.counters.admission(way, AdmissionResult::Admitted);
                self.insert(call);
            }
            Err(why) => {
                if let Answer::Refuse { refusal, .. } = &why {
                    self.counters.admission(way, refusal.counted);
                }
                self.refuse(source, &invite, &why);
            }
        }
    }

    /// Answers as judged; a 420 names what of Proxy-Require is not known, which is all of it (RFC 3261 §20.29).
    fn refuse(&mut self, source: &Source, request: &SipMessage, why: &Answer) {
        let Answer::Refuse { refusal, reason } = why else {
            return;
        };
        let mut extra = Vec::new();
        extra.extend(reason.as_deref().map(|reason| ("Reason", reason)));
        let required: Vec<_> = request
            .values(tollgate_sip::Header::ProxyRequire)
            .map(String::from_utf8_lossy)
            .collect();
        let unsupported = required.join(", ");
        if refusal.status == 420 {
            extra.push(("Unsupported", &unsupported));
        }
        self.answer(source, request, refusal.status, &extra);
    }

    /// A request outside any dialog that begins no call: answered here, or passed on by the catch-all route.
    fn handle_alone(&mut self, now: Now, snapshot: &Snapshot, source: &Source, request: SipMessage, method: &Method) {
        let is_options = *method == Method::Options;
        if is_options && (source.side == Side::Outside || admit::asks_us(snapshot, &self.local, &request)) {
            return self.answer_options(now, snapshot, source, &request);
        }
        let judged = match (source.side, stands_alone(method)) {
            (Side::Inside, true) => admit::alone(now, snapshot, &self.counters, source, &request),
            (Side::Inside | Side::Outside, _) => Ok(None),
        };
        let passed = match judged {
            Ok(None) if is_options => return self.answer_options(now, snapshot, source, &request),
            Ok(None) => return self.refuse_out_of_dialog(now, snapshot, source, &request),
            Ok(Some(way)) => self.check_room(now, snapshot, source, &request).and_then(|()| {
                self.next_key += 1;
                let mut cx = context!(self, now, snapshot);
                Call::pass_alone(&mut cx, self.next_key, source, request.clone(), way).map_err(Answer::from)
            }),
            Err(why) => Err(why),
        };
        match passed {
            Ok(call) => self.insert(call),
            Err(why) => self.refuse(source, &request, &why),
        }
    }

    fn check_room(
        &mut self,
        now: Now,
        snapshot: &Snapshot,
        source: &Source,
        invite: &SipMessage,
    ) -> Result<(), Answer> {
        let no_room = Refusal::new(503, AdmissionResult::NoCapacity);
        let same_id = self
            .by_call_id
            .get(&(source.side, invite.call_id().to_vec()))
            .map_or(0, Vec::len);
        if self.calls.len() >= self.max_calls.saturating_mul(2)
            || self.live_calls_at_limit()
            || same_id >= MAX_CALLS_PER_ID
        {
            return Err(no_room.into());
        }
        if let Some(domain) = source.peer.as_ref().and_then(|peer| peer.domains.first())
            && !self
                .gate
                .admits(now.instant, domain, snapshot.limits.calls_per_second_per_peer)
        {
            return Err(Refusal::new(503, AdmissionResult::RateLimited).into());
        }
        Ok(())
    }

    fn live_calls_at_limit(&self) -> bool {
        self.calls.len() >= self.max_calls && self.live_calls() >= self.max_calls
    }

    fn insert(&mut self, call: Call) {
        let key = call.key;
        for side in [Side::Inside, Side::Outside] {
            self.by_call_id
                .entry((side, call.call_id(side).to_vec()))
                .or_default()
                .push(key);
        }
        self.calls.insert(key, call);
        self.settle(key);
    }

    /// After a call was touched: its timer, its flows, and its end.
    fn settle(&mut self, key: u64) {
        let Some(call) = self.calls.get(&key) else {
            return;
        };
        for (flow, _) in call.flows() {
            self.by_flow.insert(flow, key);
        }
        if call.is_finished() {
            if let Some(call) = self.calls.remove(&key) {
                self.forget(key, &call);
            }
            return;
        }
        if let Some(at) = call.poll_timeout()
            && self.scheduled.get(&key).is_none_or(|known| at < *known)
        {
            self.scheduled.insert(key, at);
            self.timers.push(Reverse((at, key)));
        }
    }

    fn forget(&mut self, key: u64, call: &Call) {
        self.scheduled.remove(&key);
        for side in [Side::Inside, Side::Outside] {
            let id = (side, call.call_id(side).to_vec());
            if let Some(keys) = self.by_call_id.get_mut(&id) {
                keys.retain(|known| *known != key);
                if keys.is_empty() {
                    self.by_call_id.remove(&id);
                }
            }
        }
    }

    /// Gauges, silent calls, and flows of calls that are gone.
    fn sweep(&mut self, now: Now, snapshot: &Snapshot) {
        self.by_flow.retain(|flow, _| self.flows.stats(*flow).is_some());
        for side in [Side::Inside, Side::Outside] {
            let counts = self.ports.counts(now.instant, side);
            counts
                .iter()
                .enumerate()
                .for_each(|(at, n)| self.counters.ports[side.index()].at(at).set(*n as u64));
        }
        let mut phases = [0u64; 5];
        self.calls.values().for_each(|call| phases[call.phase() as usize] += 1);
        phases
            .iter()
            .enumerate()
            .for_each(|(at, n)| self.counters.calls_active.at(at).set(*n));
        self.counters
            .transactions
            .set(self.calls.values().map(|call| call.transactions() as u64).sum());
        self.counters
            .hold_downs
            .set(self.calls.values().filter(|call| call.is_holding_down()).count() as u64);
        let Some(limit) = snapshot.media.media_timeout else {
            return;
        };
        let silent: Vec<u64> = self
            .calls
            .values()
            .filter(|call| {
                let mut flows = call.flows().peekable();
                flows.peek().is_some() && flows.all(|(flow, _)| self.flows.is_silent(now, flow, limit))
            })
            .map(|call| call.key)
            .collect();
        for key in silent {
            with_call!(self, now, snapshot, key, |call, cx| call.handle_silence(cx));
        }
    }

    fn refuse_invalid(&mut self, source: &Source, message: &SipMessage, why: InvalidMessage) {
        self.counters.sip_parse_errors.at(why.index()).inc();
        let is_answerable = message.method().is_some_and(|method| *method != Method::Ack) && message.is_answerable();
        if let (true, Some(status)) = (is_answerable, why.status()) {
            self.answer(source, message, status, &[]);
        }
    }

    /// OPTIONS is the peers' health check: answered here, never passed on (ticket.md 2).
    fn answer_options(&mut self, now: Now, snapshot: &Snapshot, source: &Source, request: &SipMessage) {
        let asker = match &source.peer {
            Some(peer) => peer.domains.first().cloned().unwrap_or_default(),
            None => source.remote.ip().to_string(),
        };
        if !self
            .gate
            .admits(now.instant, &format!("OPTIONS {asker}"), OPTIONS_PER_SECOND)
        {
            return;
        }
        let allow = (
            "Allow",
            "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, REFER, NOTIFY",
        );
        match snapshot.admission {
            Admission::Open => self.answer(source, request, 200, &[allow, ("Accept", "application/sdp")]),
            Admission::Draining | Admission::Closing => self.answer(source, request, 503, &[("Retry-After", "60")]),
        }
    }

    /// What would begin something other than a call is not carried; outside it needs its ticket to learn even that.
    fn refuse_out_of_dialog(&mut self, now: Now, snapshot: &Snapshot, source: &Source, request: &SipMessage) {
        let judged = match source.side {
            Side::Inside => admit::check_source(snapshot, &self.counters, source),
            Side::Outside => admit::check_ticket(now, snapshot, &self.counters, source, request).map(drop),
        };
        match judged {
            Ok(()) => self.answer(source, request, 405, &[("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS")]),
            Err(Answer::Refuse { refusal, .. }) => self.answer(source, request, refusal.status, &[]),
            Err(Answer::Silence) => {}
        }
    }

    /// A stateless answer: the same request always gets the same To tag (RFC 3261 §8.2.7).
    fn answer(&mut self, source: &Source, request: &SipMessage, status: u16, extra: &[(&str, &str)]) {
        let branch = request.top_via().and_then(|via| via.branch()).unwrap_or_default();
        let tag = format!("{:016x}", self.call_ids.steer(branch));
        let bytes = response::respond(request, source.remote, status, Some(&tag), extra);
        let target = response_target(source, request);
        self.counters.response_sent(source.side, status);
        self.outputs.push_back(Output::Transmit(Transmit {
            target,
            bytes,
            token: None,
        }));
    }
}

fn badness(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Unknown => 0,
        Verdict::Good => 1,
        Verdict::Poor(_) => 2,
        Verdict::Dead => 3,
    }
}
