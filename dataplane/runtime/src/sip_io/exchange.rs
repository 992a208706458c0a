//! The SIP thread's state, and how a connection lives from its first byte to its last.
//!
//! It carries messages between sockets and workers; [`Steering`] says to which worker, and nothing here reads one.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::Connection;
use tollgate_call::transport::{ConnId, Dial, SendFailure, Source, TransportEvent};
use tollgate_contract::{Now, Side, Snapshot, Transport};

use super::dial::Dials;
use super::listeners::{Bound, Listeners, PerRemote};
use super::queue::{Outbound, Queued, Sender};
use super::stream::{CloseReason, Conn, Stage};
use crate::channel::{Mailbox, Postbox};
use crate::config::RuntimeLimits;
use crate::hooks::{BrokenStream, Framer, Steering, Verdict};
use crate::telemetry::{HandshakeFailure, Telemetry, of};
use crate::tls::{CurrentTls, TlsSide};
use crate::worker::{Outgoing, WAKE_AT_LEAST};

/// What the exchange is made of.
pub(crate) struct ExchangeParts<S> {
    pub(crate) steering: S,
    pub(crate) listeners: Listeners,
    pub(crate) tls: CurrentTls,
    pub(crate) workers: Vec<Postbox<TransportEvent>>,
    pub(crate) outbox: Mailbox<Outgoing>,
    pub(crate) limits: RuntimeLimits,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) registry: Registry,
}

/// Everything the SIP thread owns but its poller and its snapshot.
pub(crate) struct Exchange<S: Steering> {
    pub(super) steering: S,
    pub(super) listeners: Listeners,
    tls: CurrentTls,
    workers: Vec<Postbox<TransportEvent>>,
    pub(super) outbox: Mailbox<Outgoing>,
    pub(super) limits: RuntimeLimits,
    pub(super) telemetry: Arc<Telemetry>,
    registry: Registry,
    pub(super) conns: HashMap<ConnId, Conn<S::Framer>>,
    pub(super) dials: Dials,
    pub(super) per_remote: PerRemote,
    /// One entry for each connection.
    timers: BTreeSet<(Instant, ConnId)>,
    last_conn: u64,
    pub(super) scratch: Vec<u8>,
    /// Sockets left with something to read: the system tells only once.
    pub(super) again: Vec<Token>,
    /// Listening sockets that could not accept for want of descriptors.
    pub(super) stalled: Vec<Token>,
    pub(super) has_more_outgoing: bool,
}

impl<S: Steering> Exchange<S> {
    pub(crate) fn new(parts: ExchangeParts<S>) -> io::Result<Self> {
        let ExchangeParts {
            steering,
            mut listeners,
            tls,
            workers,
            outbox,
            limits,
            telemetry,
            registry,
        } = parts;
        listeners.register(&registry)?;
        Ok(Self {
            steering,
            listeners,
            tls,
            workers,
            outbox,
            limits,
            telemetry,
            registry,
            conns: HashMap::new(),
            dials: Dials::default(),
            per_remote: PerRemote::default(),
            timers: BTreeSet::new(),
            last_conn: FIRST_CONN,
            scratch: vec![0; SCRATCH],
            again: Vec::new(),
            stalled: Vec::new(),
            has_more_outgoing: false,
        })
    }

    /// How long the poller may wait.
    pub(super) fn timeout(&self, now: Instant) -> Duration {
        if self.has_more_outgoing || !self.again.is_empty() {
            return Duration::ZERO;
        }
        let next = self.timers.first().map(|(at, _)| at.saturating_duration_since(now));
        next.unwrap_or(WAKE_AT_LEAST).min(WAKE_AT_LEAST)
    }

    /// A socket is ready.
    pub(super) fn on_ready(&mut self, now: Now, snapshot: &Snapshot, token: Token) {
        match self.listeners.bound.get(token.0) {
            Some((id, Bound::Udp(_))) => self.read_datagrams(now, snapshot, token, *id),
            Some((_, Bound::Stream(_))) => self.accept(now, snapshot, token),
            None => self.serve(now, snapshot, ConnId(token.0 as u64)),
        }
    }

    /// Goes on with sockets that had more than their turn allowed, and with listeners that were stalled.
    pub(super) fn resume(&mut self, now: Now, snapshot: &Snapshot) {
        for token in std::mem::take(&mut self.again) {
            self.on_ready(now, snapshot, token);
        }
        for token in std::mem::take(&mut self.stalled) {
            self.accept(now, snapshot, token);
        }
    }

    /// Closes what is overdue.
    pub(super) fn on_timers(&mut self, now: Instant) {
        while let Some((at, id)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, id));
            let Some(mut conn) = self.conns.remove(&id) else {
                continue;
            };
            let deadline = conn.deadline(&self.limits);
            if deadline <= now {
                let why = conn.overdue();
                self.close(now, conn, why);
            } else {
                conn.timer = deadline;
                self.timers.insert((deadline, id));
                self.conns.insert(id, conn);
            }
        }
    }

    /// TLS of a side, as it is in force now.
    pub(super) fn tls(&self, side: Side) -> Option<TlsSide> {
        self.tls.get(side)
    }

    /// A connection's name, never given twice.
    pub(super) const fn next_conn(&mut self) -> ConnId {
        self.last_conn += 1;
        ConnId(self.last_conn)
    }

    /// Takes a new connection in.
    pub(super) fn add(
        &mut self,
        now: Instant,
        source: Source,
        mut stream: TcpStream,
        session: Option<Connection>,
        stage: Stage,
        dial: Option<Dial>,
    ) -> io::Result<()> {
        let id = source.conn.expect("streams have a connection");
        // SIP messages are whole when written; waiting for more would only delay them.
        let _ = stream.set_nodelay(true);
        let token = Token(usize::try_from(id.0).expect("one process opens fewer connections than its words count"));
        let watched = self
            .registry
            .register(&mut stream, token, Interest::READABLE | Interest::WRITABLE);
        if let Err(why) = watched {
            if dial.is_none() {
                self.per_remote.give_back(source.remote.ip());
            }
            return Err(why);
        }
        of(&self.telemetry.sip.open, source.side, source.transport).inc();
        if let Some(port) = self.telemetry.mapped_port(&source) {
            port.open.inc();
        }
        let conn = Conn {
            id,
            source,
            stream,
            session: session.map(Box::new),
            framer: self.steering.framer(),
            stage,
            dial,
            outbound: Outbound::new(self.limits.outbound_queue_bytes),
            last_active: now,
            message_since: None,
            timer: now,
        };
        let timer = conn.deadline(&self.limits);
        self.timers.insert((timer, id));
        self.conns.insert(id, Conn { timer, ..conn });
        Ok(())
    }

    /// Reads, delivers and writes what a connection has.
    fn serve(&mut self, now: Now, snapshot: &Snapshot, id: ConnId) {
        let Some(mut conn) = self.conns.remove(&id) else { return };
        let driven = self.drive(now, snapshot, &mut conn);
        self.settle(now.instant, conn, driven);
    }

    /// Keeps a connection or closes it.
    pub(super) fn settle(&mut self, now: Instant, mut conn: Conn<S::Framer>, driven: Result<(), CloseReason>) {
        if let Err(why) = driven {
            self.timers.remove(&(conn.timer, conn.id));
            return self.close(now, conn, why);
        }
        let deadline = conn.deadline(&self.limits);
        if deadline < conn.timer {
            self.timers.remove(&(conn.timer, conn.id));
            self.timers.insert((deadline, conn.id));
            conn.timer = deadline;
        }
        self.conns.insert(conn.id, conn);
    }

    fn drive(&mut self, now: Now, snapshot: &Snapshot, conn: &mut Conn<S::Framer>) -> Result<(), CloseReason> {
        if conn.stage == Stage::Connecting {
            if !conn.is_connected()? {
                return Ok(());
            }
            conn.stage = Stage::Handshaking;
            // The session speaks first, and a connection without one has nothing more to wait for.
            conn.flush()?;
        }
        let read = conn.read(&mut self.scratch);
        let (Ok(progress) | Err((progress, _))) = read;
        if progress.has_bytes {
            conn.outbound.on_heard();
        }
        if conn.stage == Stage::Handshaking && conn.is_secured() {
            self.on_secured(now.instant, conn)?;
        }
        if conn.stage == Stage::Open {
            self.take_messages(now, snapshot, conn)?;
        }
        if progress.has_more {
            self.again.push(Token(usize::try_from(conn.id.0).unwrap_or(usize::MAX)));
        }
        let flushed = self.flush(conn);
        read.map_err(|(_, why)| why)?;
        flushed
    }

    /// The peer is proved as far as this connection asks for it: messages may pass.
    fn on_secured(&mut self, now: Instant, conn: &mut Conn<S::Framer>) -> Result<(), CloseReason> {
        conn.learn_identity();
        if conn.needs_identity() && conn.source.peer.is_none() {
            return Err(CloseReason::Tls(HandshakeFailure::NoIdentity));
        }
        if conn.session.is_some() {
            self.telemetry.sip.handshakes.inc();
        }
        conn.stage = Stage::Open;
        conn.last_active = now;
        if let Some(dial) = &conn.dial {
            self.telemetry.sip.dialled.inc();
            for queued in self.dials.on_open(dial, conn.source.remote, conn.id) {
                self.push(conn, queued);
            }
        }
        Ok(())
    }

    /// Delivers every whole message, answers pings.
    fn take_messages(&mut self, now: Now, snapshot: &Snapshot, conn: &mut Conn<S::Framer>) -> Result<(), CloseReason> {
        while let Some(message) = self
            .next_message(&mut conn.framer)
            .map_err(|BrokenStream| CloseReason::NotSip)?
        {
            (conn.last_active, conn.message_since) = (now.instant, None);
            if let Some(bytes) = self.deliver(now, snapshot, &conn.source, message) {
                self.push(conn, Queued { bytes, sender: None });
            }
        }
        if conn.framer.take_ping() {
            conn.last_active = now.instant;
            self.push(
                conn,
                Queued {
                    bytes: PONG.to_vec(),
                    sender: None,
                },
            );
        }
        conn.message_since = conn
            .framer
            .is_mid_message()
            .then(|| conn.message_since.unwrap_or(now.instant));
        Ok(())
    }

    fn next_message(&self, framer: &mut S::Framer) -> Result<Option<Vec<u8>>, BrokenStream> {
        catch_unwind(AssertUnwindSafe(|| framer.next_message())).unwrap_or_else(|_| {
            self.telemetry.sip.panics.inc();
            Err(BrokenStream)
        })
    }

    /// Where in a datagram its message is.
    pub(super) fn message_in(&self, datagram: &[u8]) -> Option<Range<usize>> {
        catch_unwind(AssertUnwindSafe(|| self.steering.datagram(datagram))).unwrap_or_else(|_| {
            self.telemetry.sip.panics.inc();
            None
        })
    }

    /// Hands a message to its worker. What comes back is to be answered at once.
    pub(super) fn deliver(
        &mut self,
        now: Now,
        snapshot: &Snapshot,
        source: &Source,
        bytes: Vec<u8>,
    ) -> Option<Vec<u8>> {
        let sip = &self.telemetry.sip;
        of(&sip.messages_in, source.side, source.transport).inc();
        let (steering, workers) = (&mut self.steering, self.workers.len());
        let steer = || steering.steer(now, snapshot, source, &bytes, workers);
        let verdict = catch_unwind(AssertUnwindSafe(steer)).unwrap_or_else(|_| {
            sip.panics.inc();
            Verdict::Drop
        });
        let answer = match verdict {
            Verdict::Deliver(worker) => return self.post(worker, source, bytes),
            Verdict::Answer(bytes) => Some(bytes),
            Verdict::Drop => None,
        };
        let counter = if answer.is_some() {
            &sip.messages_answered
        } else {
            &sip.messages_dropped
        };
        counter.inc();
        answer
    }

    fn post(&self, worker: usize, source: &Source, bytes: Vec<u8>) -> Option<Vec<u8>> {
        let Some(postbox) = self.workers.get(worker) else {
            self.telemetry.sip.messages_dropped.inc();
            return None;
        };
        let Err(refused) = postbox.send(TransportEvent::Received {
            source: source.clone(),
            bytes,
        }) else {
            return None;
        };
        self.telemetry.sip.mailbox_full.inc();
        match refused {
            TransportEvent::Received { source, bytes } => self.steering.overload_answer(&source, &bytes),
            TransportEvent::SendFailed { .. } => None,
        }
    }

    /// Queues a message on a connection, or tells its sender that there is no room.
    pub(super) fn push(&self, conn: &mut Conn<S::Framer>, queued: Queued) {
        if let Err(refused) = conn.push(queued) {
            self.telemetry.sip.outbound_full.inc();
            self.fail(refused.sender, SendFailure::Overload);
        }
    }

    pub(super) fn flush(&self, conn: &mut Conn<S::Framer>) -> Result<(), CloseReason> {
        let sent = conn.flush()?;
        of(
            &self.telemetry.sip.messages_out,
            conn.source.side,
            conn.source.transport,
        )
        .add(sent);
        Ok(())
    }

    /// Tells the sender of a message, if it wants to know.
    pub(super) fn fail(&self, sender: Option<Sender>, why: SendFailure) {
        let Some(Sender { worker, token }) = sender else { return };
        let Some(postbox) = self.workers.get(worker) else {
            return;
        };
        if postbox.send(TransportEvent::SendFailed { token, why }).is_err() {
            self.telemetry.sip.mailbox_full.inc();
        }
    }

    /// Counts a handshake's failure and says what the sender is told.
    pub(super) fn count_handshake(&self, why: HandshakeFailure) -> SendFailure {
        self.telemetry.sip.handshakes_failed[why.index()].inc();
        CloseReason::Tls(why).send_failure(Stage::Handshaking)
    }

    /// Ends a connection that is in no table any more.
    fn close(&mut self, now: Instant, mut conn: Conn<S::Framer>, why: CloseReason) {
        conn.say_goodbye();
        let _ = self.registry.deregister(&mut conn.stream);
        self.count_close(&conn, why);
        let Conn {
            id,
            source,
            stage,
            dial,
            outbound,
            ..
        } = conn;
        let failure = why.send_failure(stage);
        let (unwritten, lost) = outbound.into_lost();
        self.telemetry.sip.messages_lost.add(unwritten as u64);
        for sender in lost {
            self.fail(Some(sender), failure);
        }
        match dial {
            None => self.per_remote.give_back(source.remote.ip()),
            Some(dial) if stage == Stage::Open => self.dials.on_closed(&dial, source.remote, id),
            Some(dial) => {
                self.dials.on_address_failed(&dial, failure);
                self.try_next_address(now, &dial);
            }
        }
    }

    fn count_close(&self, conn: &Conn<S::Framer>, why: CloseReason) {
        let sip = &self.telemetry.sip;
        let open = of(&sip.open, conn.source.side, conn.source.transport);
        open.set(open.get().saturating_sub(1));
        if let Some(port) = self.telemetry.mapped_port(&conn.source) {
            port.open.set(port.open.get().saturating_sub(1));
        }
        let in_handshake = conn.stage == Stage::Handshaking && conn.source.transport == Transport::Tls;
        let failed = |why: HandshakeFailure| sip.handshakes_failed[why.index()].inc();
        match why {
            CloseReason::Tls(why) => failed(why),
            CloseReason::Timeout if in_handshake => failed(HandshakeFailure::Timeout),
            CloseReason::Ended | CloseReason::Lost if in_handshake => failed(HandshakeFailure::Lost),
            CloseReason::NotSip => sip.framing_errors.inc(),
            CloseReason::SlowMessage => sip.slow_messages.inc(),
            CloseReason::Idle => sip.idle_closed.inc(),
            CloseReason::Ended | CloseReason::Lost | CloseReason::Timeout => {}
        }
    }
}

/// The token of the outbox's waker. Listening sockets have the tokens below, connections those above.
pub(crate) const OUTBOX: Token = Token(FIRST_CONN as usize);

/// Listening sockets are fewer: start sees to it.
const FIRST_CONN: u64 = 1 << 16;

/// The longest datagram and one byte more.
const SCRATCH: usize = 65_536;

/// RFC 5626 §4.4.1.
const PONG: &[u8] = b"\r\n";
