//! A scripted core, a line-based steering and a running data plane on 127.0.0.1 for the loopback tests.
//!
//! A "message" here is a line; no SIP is needed to prove the shell.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};

use tollgate_call::transport::{
    Dial, Listener, LocalAddresses, Role, SendFailure, SendToken, Source, Target, Transmit, TransportEvent,
};
use tollgate_contract::publish::Publisher;
use tollgate_contract::{CallView, FallbackSettings, MappingTable, Now, Report, Side, Snapshot, Transport, WireAddr};
use tollgate_runtime::tls::{ClientAuth, TlsPem, TlsSide};
use tollgate_runtime::{
    BrokenStream, Core, CoreOutput, Dataplane, Forward, Framer, Handle, RuntimeConfig, RuntimeLimits, StartError,
    Steering, Verdict,
};

/// Long enough for a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A core that shows what it gets and does what lines say.
pub(crate) struct ScriptCore {
    seen: Sender<TransportEvent>,
    orders: Arc<Mutex<VecDeque<Transmit>>>,
    outputs: VecDeque<CoreOutput>,
    forward: Option<Forward>,
    discarded: usize,
    timer: Option<(Instant, Transmit)>,
}

impl Core for ScriptCore {
    fn handle_transport(&mut self, now: Now, _: &Snapshot, event: TransportEvent) {
        if let TransportEvent::Received { source, bytes } = &event {
            let line = String::from_utf8_lossy(bytes).into_owned();
            match line.split_once(' ') {
                Some(("echo", rest)) => {
                    let reply = reply(source, rest);
                    self.outputs.push_back(CoreOutput::Transmit(reply));
                }
                Some(("later", rest)) => self.timer = Some((now.instant + LATER, reply(source, rest))),
                Some(("panic", _)) => panic!("a scripted bug"),
                Some(("block", _)) => std::thread::sleep(Duration::from_millis(600)),
                _ => {}
            }
        }
        let _ = self.seen.send(event);
    }

    fn handle_timeout(&mut self, _: Now, _: &Snapshot) {
        self.outputs
            .extend(self.timer.take().map(|(_, reply)| CoreOutput::Transmit(reply)));
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timer.as_ref().map(|(at, _)| *at)
    }

    fn poll_output(&mut self) -> Option<CoreOutput> {
        self.outputs.pop_front()
    }

    fn handle_packet(&mut self, _: Now, _: u32, _: SocketAddr, buf: &mut [u8], len: usize) -> Option<Forward> {
        assert!(buf.first() != Some(&b'!'), "a scripted bug");
        // As a tag would be appended.
        buf[len..len + 4].copy_from_slice(b"+tag");
        self.forward.map(|forward| Forward {
            len: len + 4,
            ..forward
        })
    }

    fn tick(&mut self, _: Now, _: &Snapshot) {
        let orders = std::mem::take(&mut *self.orders.lock().expect("no test panics with the lock"));
        self.outputs.extend(orders.into_iter().map(CoreOutput::Transmit));
    }

    fn views(&self, _: Now, _: usize) -> Vec<CallView> {
        Vec::new()
    }

    fn discard_after_panic(&mut self, _: Now) {
        self.discarded += 1;
    }
}

/// A line back the way one came.
fn reply(source: &Source, line: &str) -> Transmit {
    let target = match source.conn {
        Some(conn) => Target::Connection { conn, otherwise: None },
        None => Target::Datagram {
            from: source.listener,
            to: source.remote,
        },
    };
    Transmit {
        target,
        bytes: line.as_bytes().to_vec(),
        token: None,
    }
}

/// After how long a `later` line is answered.
pub(crate) const LATER: Duration = Duration::from_millis(150);

/// Lines of at most 1,000 bytes.
#[derive(Default)]
pub(crate) struct Lines {
    held: Vec<u8>,
    pinged: bool,
}

impl Framer for Lines {
    fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    fn next_message(&mut self) -> Result<Option<Vec<u8>>, BrokenStream> {
        while let Some(end) = self.held.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.held.drain(..=end).collect();
            if line != b"\r\n" {
                return Ok(Some(line));
            }
            self.pinged = true;
        }
        if self.held.len() > 1_000 {
            Err(BrokenStream)
        } else {
            Ok(None)
        }
    }

    fn take_ping(&mut self) -> bool {
        std::mem::take(&mut self.pinged)
    }

    fn is_mid_message(&self) -> bool {
        !self.held.is_empty()
    }
}

/// Everything to worker 0, but for what the lines say.
pub(crate) struct ToFirst;

impl Steering for ToFirst {
    type Framer = Lines;

    fn framer(&self) -> Lines {
        Lines::default()
    }

    fn datagram(&self, bytes: &[u8]) -> Option<Range<usize>> {
        bytes.iter().position(|byte| *byte == b'\n').map(|end| 0..end + 1)
    }

    fn steer(&mut self, _: Now, _: &Snapshot, _: &Source, message: &[u8], _: usize) -> Verdict {
        match message {
            b"refuse\n" => Verdict::Answer(b"refused\n".to_vec()),
            b"drop\n" => Verdict::Drop,
            b"steer-panic\n" => panic!("a scripted bug"),
            _ => Verdict::Deliver(0),
        }
    }

    fn overload_answer(&self, _: &Source, message: &[u8]) -> Option<Vec<u8>> {
        message.starts_with(b"invite").then(|| b"503\n".to_vec())
    }
}

/// A running data plane with one worker.
pub(crate) struct Edge {
    pub(crate) handle: Handle,
    pub(crate) seen: Receiver<TransportEvent>,
    pub(crate) reports: Receiver<Report>,
    orders: Arc<Mutex<VecDeque<Transmit>>>,
    next_token: u64,
    publisher: Publisher,
}

impl Edge {
    /// Starts with default limits and these listeners.
    pub(crate) fn with(listeners: &[(Side, Transport)], tls: Option<TlsSide>) -> Self {
        Self::start(config(listeners, tls), None).expect("it starts")
    }

    pub(crate) fn start(config: RuntimeConfig, forward: Option<Forward>) -> Result<Self, StartError> {
        let mut publisher = Publisher::new(snapshot());
        let readers = vec![publisher.reader(), publisher.reader()];
        let (seen_tx, seen) = channel();
        let (reports_tx, reports) = sync_channel(16);
        let orders = Arc::new(Mutex::new(VecDeque::new()));
        let core = ScriptCore {
            seen: seen_tx,
            orders: Arc::clone(&orders),
            outputs: VecDeque::new(),
            forward,
            discarded: 0,
            timer: None,
        };
        let handle = Dataplane::start(config, vec![core], ToFirst, readers, reports_tx)?;
        Ok(Self {
            handle,
            seen,
            reports,
            orders,
            next_token: 0,
            publisher,
        })
    }

    /// Puts mappings in force, and waits until every thread has seen them.
    pub(crate) fn map(&mut self, mappings: MappingTable) {
        let next = Snapshot { mappings, ..snapshot() };
        let generation = self.publisher.publish(next);
        self.handle.wake();
        eventually("every thread sees the mappings", || {
            self.publisher.is_seen_by_all(generation)
        });
    }

    pub(crate) fn address(&self, listener: usize) -> SocketAddr {
        self.handle.sip_addresses()[listener]
    }

    /// Lets the core send, and returns the token.
    pub(crate) fn send(&mut self, target: Target, line: &str) -> SendToken {
        self.next_token += 1;
        let token = SendToken {
            call: self.next_token,
            transaction: 0,
        };
        let transmit = Transmit {
            target,
            bytes: line.as_bytes().to_vec(),
            token: Some(token),
        };
        self.orders
            .lock()
            .expect("no test panics with the lock")
            .push_back(transmit);
        token
    }

    /// The next message received.
    pub(crate) fn received(&self) -> (Source, String) {
        match self.seen.recv_timeout(PATIENCE).expect("a message") {
            TransportEvent::Received { source, bytes } => (source, String::from_utf8_lossy(&bytes).into_owned()),
            TransportEvent::SendFailed { why, .. } => panic!("not a message: {why:?}"),
        }
    }

    /// The next failure told.
    pub(crate) fn failed(&self) -> (SendToken, SendFailure) {
        match self.seen.recv_timeout(PATIENCE).expect("a failure") {
            TransportEvent::SendFailed { token, why } => (token, why),
            TransportEvent::Received { bytes, .. } => panic!("not a failure: {}", String::from_utf8_lossy(&bytes)),
        }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.handle.stop();
    }
}

/// Waits until something holds.
pub(crate) fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn config(listeners: &[(Side, Transport)], tls_outside: Option<TlsSide>) -> RuntimeConfig {
    let listener = |(side, transport): &(Side, Transport)| Listener {
        side: *side,
        transport: *transport,
        address: WireAddr::plain("127.0.0.1:0".parse().expect("an address")),
        role: Role::Trunk,
    };
    RuntimeConfig {
        local: LocalAddresses {
            listeners: listeners.iter().map(listener).collect(),
        },
        tls_outside,
        tls_inside: None,
        media: Vec::new(),
        workers: 1,
        limits: RuntimeLimits {
            connections_max: 100,
            ..RuntimeLimits::default()
        },
    }
}

/// An outside TLS dial to one address.
pub(crate) fn dial(to: SocketAddr, server_name: &str) -> Dial {
    Dial {
        side: Side::Outside,
        transport: Transport::Tls,
        addresses: vec![to],
        server_name: Some(server_name.to_owned()),
        timeout: Duration::from_secs(5),
    }
}

/// A certificate authority of a test.
pub(crate) struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        // A CA is known by its name as well as by its key.
        params
            .distinguished_name
            .push(DnType::CommonName, format!("CA {:x?}", &key.public_key_raw()[..8]));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, key).expect("a CA"))
    }

    pub(crate) fn root_pem(&self) -> String {
        self.0.as_ref().pem()
    }

    /// PEM of a certificate for a SIP domain, and of its key.
    pub(crate) fn issue(&self, name: SanType) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![name];
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    /// TLS of an edge that bears `domain` and trusts `roots`.
    pub(crate) fn edge(&self, domain: &str, roots: &Self) -> TlsSide {
        self.edge_named(SanType::DnsName(domain.try_into().expect("a name")), roots)
    }

    pub(crate) fn edge_named(&self, name: SanType, roots: &Self) -> TlsSide {
        self.side(name, roots, ClientAuth::Required)
    }

    pub(crate) fn side(&self, name: SanType, roots: &Self, client_auth: ClientAuth) -> TlsSide {
        let ((certificates, key), roots) = (self.issue(name), roots.root_pem());
        let pem = TlsPem {
            certificates: certificates.as_bytes(),
            key: key.as_bytes(),
            roots: roots.as_bytes(),
        };
        TlsSide::from_pem(&pem, client_auth).expect("settings")
    }
}

fn snapshot() -> Snapshot {
    Snapshot {
        fallback: FallbackSettings {
            monitoring_interval: Duration::from_millis(10),
            ..FallbackSettings::default()
        },
        ..Snapshot::without_policy()
    }
}
