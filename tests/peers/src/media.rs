//! One call's media: G.711 packets whose payload nobody else sends, and the check of what arrives.
//!
//! It plays nothing out and has no jitter buffer. RFC 3550, RFC 3551 §4.5.14.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::payload::{PAYLOAD_LEN, PayloadBook, StreamId};
use crate::rtp::{RtpView, receiver_report, rtp_packet, sender_report};
use crate::sdp::{Codec, SdpView};

/// What a call agent sends in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaScript {
    /// For how long packets are sent, counted in packets of 20 ms; `None` is until the call ends, zero is never.
    pub duration: Option<Duration>,
    /// Whether sender and receiver reports are sent once a second.
    pub rtcp: bool,
}

impl Default for MediaScript {
    /// Sends until the call ends, with RTCP.
    fn default() -> Self {
        Self {
            duration: None,
            rtcp: true,
        }
    }
}

/// What came of one call's media at one agent.
#[derive(Clone, Debug)]
pub struct MediaReport {
    /// The stream this agent sent.
    pub sent_stream: StreamId,
    /// The stream it received, if any packet was recognised.
    pub received_stream: Option<StreamId>,
    /// Packets sent.
    pub sent: u64,
    /// Packets that could not be handed to the socket.
    pub send_errors: u64,
    /// Different payloads of the received stream that arrived bit for bit as sent.
    pub received: u64,
    /// Payloads sent on the received stream so far that have not arrived.
    pub lost: u64,
    /// Payloads that arrived again.
    pub duplicates: u64,
    /// Packets whose payload nobody sent, or with wrong bits.
    pub mismatched: u64,
    /// Packets of a stream other than the first one recognised.
    pub foreign: u64,
    /// RTCP packets sent.
    pub rtcp_sent: u64,
    /// RTCP packets received.
    pub rtcp_received: u64,
    /// One-way delay from socket to socket, microseconds.
    pub latency_us: Histogram<u64>,
    /// When the last packet arrived.
    pub last_arrival: Option<Instant>,
}

/// The sockets and tasks of one call's media.
#[derive(Debug)]
pub(crate) struct MediaStream {
    state: Arc<MediaState>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    is_started: AtomicBool,
    finished: watch::Sender<bool>,
    script: MediaScript,
}

#[derive(Debug)]
struct MediaState {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    local: SocketAddr,
    book: PayloadBook,
    stream: StreamId,
    ssrc: u32,
    remote: Mutex<Option<SocketAddr>>,
    may_send: AtomicBool,
    payload_type: AtomicU8,
    sent: AtomicU64,
    send_errors: AtomicU64,
    rtcp_sent: AtomicU64,
    rtcp_received: AtomicU64,
    arrivals: Mutex<Arrivals>,
}

#[derive(Debug)]
struct Arrivals {
    stream: Option<StreamId>,
    seen: HashSet<u32>,
    duplicates: u64,
    mismatched: u64,
    foreign: u64,
    latency_us: Histogram<u64>,
    last: Option<Instant>,
}

impl MediaStream {
    /// Binds an even port and the next one, and starts receiving.
    pub(crate) async fn open(ip: IpAddr, book: &PayloadBook, script: MediaScript) -> io::Result<Self> {
        let (rtp, rtcp) = bind_pair(ip).await?;
        let state = Arc::new(MediaState {
            local: rtp.local_addr()?,
            rtp,
            rtcp,
            book: book.clone(),
            stream: book.open_stream(rand::random()),
            ssrc: rand::random(),
            remote: Mutex::new(None),
            may_send: AtomicBool::new(false),
            payload_type: AtomicU8::new(0),
            sent: AtomicU64::new(0),
            send_errors: AtomicU64::new(0),
            rtcp_sent: AtomicU64::new(0),
            rtcp_received: AtomicU64::new(0),
            arrivals: Mutex::new(Arrivals::new()),
        });
        let tasks = vec![
            tokio::spawn(receive_rtp(Arc::clone(&state))),
            tokio::spawn(receive_rtcp(Arc::clone(&state))),
        ];
        Ok(Self {
            state,
            tasks: Mutex::new(tasks),
            is_started: AtomicBool::new(false),
            finished: watch::Sender::new(script.duration == Some(Duration::ZERO)),
            script,
        })
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.state.local
    }

    /// Takes the far side's description: where to send, whether, and with which codec.
    pub(crate) fn apply(&self, far: &SdpView, may_send: bool) {
        if far.rtp.port() != 0 && !far.rtp.ip().is_unspecified() {
            *lock(&self.state.remote) = Some(far.rtp);
        }
        if let Some(codec) = far.first_codec() {
            self.set_codec(codec);
        }
        self.state
            .may_send
            .store(may_send && far.wants_media(), Ordering::Relaxed);
    }

    pub(crate) fn set_codec(&self, codec: Codec) {
        self.state.payload_type.store(codec.payload_type(), Ordering::Relaxed);
    }

    /// Starts the sending script; a second call does nothing.
    pub(crate) fn start(&self) {
        if self.is_started.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut tasks = lock(&self.tasks);
        let packets = self
            .script
            .duration
            .map(|duration| duration.as_millis() / PTIME.as_millis());
        tasks.push(tokio::spawn(send_rtp(
            Arc::clone(&self.state),
            packets,
            self.finished.clone(),
        )));
        if self.script.rtcp {
            tasks.push(tokio::spawn(send_rtcp(Arc::clone(&self.state))));
        }
    }

    /// Ends sending for good; receiving goes on until the value is dropped.
    pub(crate) fn stop(&self) {
        self.state.may_send.store(false, Ordering::Relaxed);
        self.is_started.store(true, Ordering::Relaxed);
        self.finished.send_replace(true);
    }

    /// Waits until the script has been sent.
    pub(crate) async fn wait_sent(&self) {
        let mut finished = self.finished.subscribe();
        // The sender half lives in self, so the wait cannot fail.
        let _ = finished.wait_for(|finished| *finished).await;
    }

    /// Waits up to [`DRAIN`] until nothing sent is missing any more.
    pub(crate) async fn drain(&self) {
        let mut complete_polls = 0;
        let poll_interval = Duration::from_millis(20);
        for _ in 0..DRAIN.as_millis() / poll_interval.as_millis() {
            sleep(poll_interval).await;
            let report = self.report();
            let is_complete = report.received_stream.is_some() && report.lost == 0;
            complete_polls = if is_complete { complete_polls + 1 } else { 0 };
            if complete_polls > 3 {
                return;
            }
        }
    }

    pub(crate) fn report(&self) -> MediaReport {
        let (state, arrivals) = (&self.state, lock(&self.state.arrivals));
        let far_sent = arrivals
            .stream
            .map_or(0, |stream| u64::from(state.book.sent_count(stream)));
        let received = arrivals.seen.len() as u64;
        MediaReport {
            sent_stream: state.stream,
            received_stream: arrivals.stream,
            sent: state.sent.load(Ordering::Relaxed),
            send_errors: state.send_errors.load(Ordering::Relaxed),
            received,
            lost: far_sent.saturating_sub(received),
            duplicates: arrivals.duplicates,
            mismatched: arrivals.mismatched,
            foreign: arrivals.foreign,
            rtcp_sent: state.rtcp_sent.load(Ordering::Relaxed),
            rtcp_received: state.rtcp_received.load(Ordering::Relaxed),
            latency_us: arrivals.latency_us.clone(),
            last_arrival: arrivals.last,
        }
    }
}

impl Drop for MediaStream {
    fn drop(&mut self) {
        for task in lock(&self.tasks).drain(..) {
            task.abort();
        }
    }
}

impl Arrivals {
    fn new() -> Self {
        Self {
            stream: None,
            seen: HashSet::new(),
            duplicates: 0,
            mismatched: 0,
            foreign: 0,
            latency_us: Histogram::new_with_bounds(1, MAX_LATENCY_US, 3).expect("the bounds are in order"),
            last: None,
        }
    }

    fn handle_packet(&mut self, book: &PayloadBook, packet: &[u8], now: Instant) {
        self.last = Some(now);
        let payload = RtpView::parse(packet).map(|view| view.payload);
        let Some(found) = payload.and_then(|payload| book.recognise(payload)) else {
            self.mismatched += 1;
            return;
        };
        if !found.is_identical {
            self.mismatched += 1;
            return;
        }
        if *self.stream.get_or_insert(found.stream) != found.stream {
            self.foreign += 1;
            return;
        }
        if !self.seen.insert(found.index) {
            self.duplicates += 1;
            return;
        }
        if let Some(sent_at) = found.sent_at {
            let elapsed_us = now.saturating_duration_since(sent_at).as_micros();
            self.latency_us
                .saturating_record(u64::try_from(elapsed_us).unwrap_or(MAX_LATENCY_US).max(1));
        }
    }
}

async fn send_rtp(state: Arc<MediaState>, packets: Option<u128>, finished: watch::Sender<bool>) {
    let mut ticks = interval(PTIME);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut sequence, mut timestamp): (u16, u32) = (rand::random(), rand::random());
    let mut left = packets;
    while left != Some(0) {
        ticks.tick().await;
        sequence = sequence.wrapping_add(1);
        timestamp = timestamp.wrapping_add(PAYLOAD_LEN as u32);
        let remote = *lock(&state.remote);
        let Some(remote) = remote.filter(|_| state.may_send.load(Ordering::Relaxed)) else {
            // Held or not yet answered: time passes, sequence numbers do not.
            sequence = sequence.wrapping_sub(1);
            continue;
        };
        let payload = state.book.send_next(state.stream);
        let payload_type = state.payload_type.load(Ordering::Relaxed);
        let packet = rtp_packet(payload_type, sequence, timestamp, state.ssrc, &payload);
        match state.rtp.send_to(&packet, remote).await {
            Ok(_) => state.sent.fetch_add(1, Ordering::Relaxed),
            Err(_) => state.send_errors.fetch_add(1, Ordering::Relaxed),
        };
        left = left.map(|left| left - 1);
    }
    finished.send_replace(true);
}

async fn send_rtcp(state: Arc<MediaState>) {
    let mut ticks = interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        let remote = *lock(&state.remote);
        let Some(remote) = remote else { continue };
        let sent = u32::try_from(state.sent.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        let report = if state.may_send.load(Ordering::Relaxed) {
            sender_report(state.ssrc, 0, sent, sent.wrapping_mul(PAYLOAD_LEN as u32))
        } else {
            receiver_report(state.ssrc)
        };
        let to = SocketAddr::new(remote.ip(), remote.port().wrapping_add(1));
        if state.rtcp.send_to(&report, to).await.is_ok() {
            state.rtcp_sent.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn receive_rtp(state: Arc<MediaState>) {
    let mut buffer = [0; 2048];
    loop {
        // An ICMP error of an earlier send surfaces here and ends nothing.
        let Ok((len, _)) = state.rtp.recv_from(&mut buffer).await else {
            continue;
        };
        let now = Instant::now();
        lock(&state.arrivals).handle_packet(&state.book, &buffer[..len], now);
    }
}

async fn receive_rtcp(state: Arc<MediaState>) {
    let mut buffer = [0; 2048];
    loop {
        if state.rtcp.recv_from(&mut buffer).await.is_ok() {
            state.rtcp_received.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Binds RTP to a free even port and RTCP to the next.
pub(crate) async fn bind_pair(ip: IpAddr) -> io::Result<(UdpSocket, UdpSocket)> {
    for _ in 0..PORT_TRIES {
        let port = FIRST_MEDIA_PORT + 2 * (NEXT_PAIR.fetch_add(1, Ordering::Relaxed) % PORT_PAIRS);
        let Ok(rtp) = UdpSocket::bind((ip, port)).await else {
            continue;
        };
        if let Ok(rtcp) = UdpSocket::bind((ip, port + 1)).await {
            return Ok((rtp, rtcp));
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "no free pair of media ports"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of the lock panics")
}

/// The time a packet holds.
const PTIME: Duration = Duration::from_millis(20);

/// How long the last packets are awaited after sending.
const DRAIN: Duration = Duration::from_millis(500);

/// Longer delays are counted as this one: 10 s.
const MAX_LATENCY_US: u64 = 10_000_000;

/// First media port of call agents, above the range the edges take by default and below the ephemeral ports.
pub const FIRST_MEDIA_PORT: u16 = 26_000;

/// Pairs of ports that call agents use.
const PORT_PAIRS: u16 = 3_000;

/// Pairs tried before giving up.
const PORT_TRIES: usize = PORT_PAIRS as usize;

static NEXT_PAIR: AtomicU16 = AtomicU16::new(0);
