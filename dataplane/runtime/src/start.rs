//! Start and stop: everything is checked and bound before the first thread runs.
//!
//! After that the threads are on their own; the [`Handle`] only looks and stops.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::{Poll, Waker};
use tollgate_call::transport::{Listener, LocalAddresses, Role, TransportEvent};
use tollgate_contract::publish::Reader;
use tollgate_contract::{CallView, Report, Side, Transport};

use crate::channel::{Bell, Mailbox, Postbox, mailbox};
use crate::config::{MAPPED_PORTS_MAX, RuntimeConfig};
use crate::descriptors::{self, Demand, TooFewDescriptors};
use crate::hooks::{Core, Steering};
use crate::sip_io::{Exchange, ExchangeParts, Listeners, OUTBOX, SipIo};
use crate::socket::BindError;
use crate::status::{Heartbeat, ViewBoard};
use crate::telemetry::Telemetry;
use crate::tls::{ClientAuth, CurrentTls, TlsSide};
use crate::worker::{LayoutError, MAILBOX, MediaPair, MediaSockets, Outgoing, Turn, TurnParts, Worker, media_layout};

/// Why the data plane does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Media ports cannot be shared out.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// An address cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Too few descriptors.
    #[error(transparent)]
    Descriptors(#[from] TooFewDescriptors),
    /// A listener outside is not TLS.
    #[error("the outside listener {0} is not TLS")]
    OutsideNotTls(SocketAddr),
    /// A TLS listener has no certificate.
    #[error("the TLS listener {0} has no TLS settings of its side")]
    NoTlsSettings(SocketAddr),
    /// TLS outside must ask for client certificates.
    #[error("TLS outside must require client certificates")]
    OutsideWithoutClientAuth,
    /// There must be a core for each worker, and a reader for each worker and the SIP thread.
    #[error("{workers} workers need as many cores and one reader more, not {cores} and {readers}")]
    Mismatch {
        /// Configured workers.
        workers: usize,
        /// Cores given.
        cores: usize,
        /// Readers given.
        readers: usize,
    },
    /// Too many listeners to number.
    #[error("more than 65,535 listeners")]
    TooManyListeners,
    /// A mapping service's range is empty, or the ranges are too large together.
    #[error("the mapped ports from {0} are none, or all mapped ports together are more than {MAPPED_PORTS_MAX}")]
    MappedPorts(SocketAddr),
    /// A mapped or transparent listener is outside or for datagrams.
    #[error("the listener {0} stands for peers and so must be inside and over TCP or TLS")]
    NotInsideStream(SocketAddr),
    /// Calls from outside have no address to show to the call agent.
    #[error("beside mapped or transparent listeners there must be an inside listener that is the edge's own")]
    NoOwnInside,
    /// The system refuses a thread or a poller.
    #[error("cannot start the threads: {0}")]
    System(#[from] io::Error),
}

/// The data plane before it runs.
#[derive(Debug)]
pub struct Dataplane;

/// A running data plane. Dropping it leaves the threads running.
#[derive(Debug)]
pub struct Handle {
    telemetry: Arc<Telemetry>,
    addresses: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
    bells: Vec<Bell>,
    views: Arc<ViewBoard>,
    tls: CurrentTls,
    local: LocalAddresses,
    threads: Vec<Thread>,
}

/// One thread as the handle sees it.
#[derive(Debug)]
struct Thread {
    name: String,
    heartbeat: Heartbeat,
    join: JoinHandle<io::Result<()>>,
}

/// Whether a thread lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Liveness {
    /// `sip-io` or `worker-N`.
    pub thread: String,
    /// Since it last went round its loop; more than about 2 s means that it hangs.
    pub silent_for: Duration,
    /// It has ended: by [`Handle::stop`], or by an error of the system.
    pub is_finished: bool,
}

impl Dataplane {
    /// Checks, binds and starts everything.
    ///
    /// `cores` has one core for each worker, made for the pairs that [`media_layout`] gives that worker; `readers` one
    /// for each worker and one for the SIP thread. Facts that `reports` has no room for are counted and lost.
    ///
    /// # Errors
    /// Any [`StartError`]; nothing runs then.
    pub fn start<C: Core, S: Steering>(
        config: RuntimeConfig,
        cores: Vec<C>,
        steering: S,
        mut readers: Vec<Reader>,
        reports: SyncSender<Report>,
    ) -> Result<Handle, StartError> {
        check(&config, cores.len(), readers.len())?;
        let layout = media_layout(&config.media, config.workers)?;
        descriptors::reserve(demand(&config, &layout))?;
        let sip_reader = readers.pop().ok_or_else(|| mismatch(&config, cores.len(), 0))?;
        let listeners = Listeners::bind(config.local.clone())?;
        let sockets = layout
            .iter()
            .map(|pairs| MediaSockets::bind(pairs))
            .collect::<Result<Vec<_>, _>>()?;

        let mut frame = Frame::new(&config, &listeners)?;
        let (sip_poll, outbox, outgoing) = mailbox_with_poll(OUTBOX, config.limits.mailbox_messages)?;
        frame.bells.push(outbox.bell());
        let mut workers = Vec::new();
        let mut postboxes = Vec::new();
        for (index, ((core, sockets), reader)) in cores.into_iter().zip(sockets).zip(readers).enumerate() {
            let (poll, postbox, mailbox) = mailbox_with_poll(MAILBOX, config.limits.mailbox_messages)?;
            frame.bells.push(postbox.bell());
            postboxes.push(postbox);
            let parts = frame.parts(index, mailbox, outbox.clone(), reports.clone(), &config);
            workers.push(frame.worker(poll, reader, &config, Turn::new(core, sockets, parts)));
        }
        let exchange = Exchange::new(ExchangeParts {
            steering,
            listeners,
            registry: sip_poll.registry().try_clone()?,
            tls: frame.tls.clone(),
            workers: postboxes,
            outbox: outgoing,
            limits: config.limits,
            telemetry: Arc::clone(&frame.telemetry),
        })?;
        let (heartbeat, stop) = (frame.heartbeat(), Arc::clone(&frame.stop));
        frame.run(
            SipIo {
                poll: sip_poll,
                reader: sip_reader,
                heartbeat,
                stop,
                exchange,
            },
            workers,
        )
    }
}

impl Handle {
    /// The counters of all threads.
    #[must_use]
    pub fn telemetry(&self) -> &Arc<Telemetry> {
        &self.telemetry
    }

    /// The bound SIP addresses, in the order of the listeners; they tell ports asked for as 0.
    #[must_use]
    pub fn sip_addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The live calls of all workers, as each saw them within the last second; waits for at most that long.
    ///
    /// A worker that does not answer in time is shown as it was.
    #[must_use]
    pub fn views(&self) -> Vec<CallView> {
        let question = self.views.ask();
        self.wake();
        let deadline = Instant::now() + VIEWS_WAIT;
        while !self.views.is_answered(question) && Instant::now() < deadline {
            thread::sleep(VIEWS_POLL);
        }
        self.views.collect()
    }

    /// Whether each thread lives.
    #[must_use]
    pub fn liveness(&self) -> Vec<Liveness> {
        let now = Instant::now();
        let of = |thread: &Thread| Liveness {
            thread: thread.name.clone(),
            silent_for: thread.heartbeat.age(now),
            is_finished: thread.join.is_finished(),
        };
        self.threads.iter().map(of).collect()
    }

    /// Wakes every thread, so that a new snapshot is seen at once.
    pub fn wake(&self) {
        for bell in &self.bells {
            bell.ring();
        }
    }

    /// Puts new TLS settings in force, inside and outside, for handshakes from now on; connections that stand keep theirs.
    ///
    /// # Errors
    /// [`StartError::NoTlsSettings`] and [`StartError::OutsideWithoutClientAuth`]; the old settings stay then.
    pub fn set_tls(&self, inside: Option<TlsSide>, outside: Option<TlsSide>) -> Result<(), StartError> {
        check_tls(&self.local, [inside.as_ref(), outside.as_ref()])?;
        self.tls.set([inside, outside]);
        Ok(())
    }

    /// Tells every thread to end; calls end with them. A drain is a snapshot with [`tollgate_contract::Admission`].
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake();
    }

    /// Waits for every thread to end.
    ///
    /// # Errors
    /// The first error of the system that ended a thread, or a panic of the shell itself.
    pub fn join(self) -> io::Result<()> {
        let mut first = Ok(());
        for thread in self.threads {
            let ended = thread
                .join
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a thread of the data plane panicked")));
            first = first.and(ended);
        }
        first
    }
}

/// What all threads share, while they are made.
struct Frame {
    started: Instant,
    telemetry: Arc<Telemetry>,
    addresses: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
    views: Arc<ViewBoard>,
    bells: Vec<Bell>,
    tls: CurrentTls,
    local: LocalAddresses,
}

impl Frame {
    fn new(config: &RuntimeConfig, listeners: &Listeners) -> io::Result<Self> {
        Ok(Self {
            started: Instant::now(),
            telemetry: Arc::new(Telemetry::new(config.workers, &config.local)),
            addresses: listeners.addresses()?,
            stop: Arc::new(AtomicBool::new(false)),
            views: Arc::new(ViewBoard::new(config.workers)),
            bells: Vec::new(),
            tls: CurrentTls::new([config.tls_inside.clone(), config.tls_outside.clone()]),
            local: config.local.clone(),
        })
    }

    fn heartbeat(&self) -> Heartbeat {
        Heartbeat::new(self.started)
    }

    fn parts(
        &self,
        index: usize,
        mailbox: Mailbox<TransportEvent>,
        outbox: Postbox<Outgoing>,
        reports: SyncSender<Report>,
        config: &RuntimeConfig,
    ) -> TurnParts {
        let (telemetry, views) = (Arc::clone(&self.telemetry), Arc::clone(&self.views));
        TurnParts {
            index,
            mailbox,
            outbox,
            reports,
            limits: config.limits,
            telemetry,
            views,
        }
    }

    fn worker<C>(&self, poll: Poll, reader: Reader, config: &RuntimeConfig, turn: Turn<C>) -> Worker<C> {
        let (heartbeat, stop, media_wait) = (self.heartbeat(), Arc::clone(&self.stop), config.limits.media_wait);
        Worker {
            poll,
            reader,
            heartbeat,
            stop,
            media_wait,
            turn,
        }
    }

    fn run<C: Core, S: Steering>(self, sip: SipIo<S>, workers: Vec<Worker<C>>) -> Result<Handle, StartError> {
        let mut threads = Vec::new();
        let spawned = || -> io::Result<()> {
            let heartbeat = sip.heartbeat.clone();
            threads.push(spawn("sip-io".to_owned(), heartbeat, move || sip.run())?);
            for (index, worker) in workers.into_iter().enumerate() {
                let heartbeat = worker.heartbeat.clone();
                threads.push(spawn(format!("worker-{index}"), heartbeat, move || worker.run())?);
            }
            Ok(())
        }();
        let Self {
            telemetry,
            addresses,
            stop,
            views,
            bells,
            tls,
            local,
            ..
        } = self;
        let handle = Handle {
            telemetry,
            addresses,
            stop,
            bells,
            views,
            tls,
            local,
            threads,
        };
        if let Err(why) = spawned {
            handle.stop();
            return Err(why.into());
        }
        Ok(handle)
    }
}

fn spawn(
    name: String,
    heartbeat: Heartbeat,
    run: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> io::Result<Thread> {
    let join = thread::Builder::new().name(name.clone()).spawn(run)?;
    Ok(Thread { name, heartbeat, join })
}

fn mailbox_with_poll<T>(token: mio::Token, capacity: usize) -> io::Result<(Poll, Postbox<T>, Mailbox<T>)> {
    let poll = Poll::new()?;
    let (postbox, mailbox) = mailbox(capacity, Waker::new(poll.registry(), token)?);
    Ok((poll, postbox, mailbox))
}

fn check(config: &RuntimeConfig, cores: usize, readers: usize) -> Result<(), StartError> {
    if cores != config.workers || readers != config.workers + 1 {
        return Err(mismatch(config, cores, readers));
    }
    if sip_sockets(&config.local) > usize::from(u16::MAX) {
        return Err(StartError::TooManyListeners);
    }
    check_roles(&config.local)?;
    check_tls(&config.local, [config.tls_inside.as_ref(), config.tls_outside.as_ref()])
}

/// Whether the listeners can live with these settings, in order of [`Side::index`].
fn check_tls(local: &LocalAddresses, sides: [Option<&TlsSide>; 2]) -> Result<(), StartError> {
    let outside = sides[Side::Outside.index()];
    if outside.is_some_and(|tls| tls.client_auth() != ClientAuth::Required) {
        return Err(StartError::OutsideWithoutClientAuth);
    }
    let mut listeners = local.listeners.iter();
    listeners.try_for_each(|listener| check_listener(listener, sides[listener.side.index()]))
}

fn check_listener(listener: &Listener, settings: Option<&TlsSide>) -> Result<(), StartError> {
    match (listener.side, listener.transport) {
        (_, Transport::Tls) if settings.is_none() => Err(StartError::NoTlsSettings(listener.address.bound)),
        (Side::Outside, Transport::Udp | Transport::Tcp) => Err(StartError::OutsideNotTls(listener.address.bound)),
        (_, Transport::Udp | Transport::Tcp | Transport::Tls) => Ok(()),
    }
}

/// Listeners that stand for peers are inside, bounded, and beside one of our own.
fn check_roles(local: &LocalAddresses) -> Result<(), StartError> {
    let mut mapped = 0;
    for listener in local.listeners.iter().filter(|listener| listener.role != Role::Trunk) {
        let address = listener.address.bound;
        if listener.side == Side::Outside || listener.transport == Transport::Udp {
            return Err(StartError::NotInsideStream(address));
        }
        if local.own(Side::Inside).next().is_none() {
            return Err(StartError::NoOwnInside);
        }
        if let Role::Mapped { .. } = listener.role {
            mapped += listener.ports().len();
            if address.port() == 0 || listener.ports().is_empty() || mapped > MAPPED_PORTS_MAX {
                return Err(StartError::MappedPorts(address));
            }
        }
    }
    Ok(())
}

/// Sockets of all listeners.
fn sip_sockets(local: &LocalAddresses) -> usize {
    local.listeners.iter().map(|listener| listener.ports().len()).sum()
}

const fn mismatch(config: &RuntimeConfig, cores: usize, readers: usize) -> StartError {
    StartError::Mismatch {
        workers: config.workers,
        cores,
        readers,
    }
}

fn demand(config: &RuntimeConfig, layout: &[Vec<MediaPair>]) -> Demand {
    let media_sockets = 2 * layout.iter().map(Vec::len).sum::<usize>() as u64;
    let (listeners, connections) = (sip_sockets(&config.local) as u64, config.limits.connections_max as u64);
    Demand {
        media_sockets,
        listeners,
        connections,
    }
}

/// Longest wait for the workers' views.
const VIEWS_WAIT: Duration = Duration::from_secs(1);

/// How often it is looked whether they came.
const VIEWS_POLL: Duration = Duration::from_millis(2);
