//! What the shell drives: a [`Core`] on each worker, one [`Steering`] on the SIP thread.
//!
//! Traits only; who implements them decides about SIP, and the shell never does (RFC 3261 §18 is all it knows).

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Instant;

use tollgate_call::transport::{Source, Transmit, TransportEvent};
use tollgate_contract::{CallView, Now, Report, Snapshot};

/// What a core asks for.
#[derive(Clone, Debug)]
pub enum CoreOutput {
    /// A SIP message to send.
    Transmit(Transmit),
    /// A fact for the control plane.
    Report(Report),
}

/// Where a media packet goes, in the buffer it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Index of the socket it is sent from, see [`crate::MediaPair`].
    pub socket: u32,
    /// Its destination.
    pub to: SocketAddr,
    /// Its length, bytes; at most the length of the buffer.
    pub len: usize,
}

/// The calls and flows of one worker.
///
/// The worker calls one `handle_*`, then drains [`poll_output`](Self::poll_output) to the end, then goes on. A panic in
/// any of them is caught, counted and followed by [`discard_after_panic`](Self::discard_after_panic).
pub trait Core: Send + 'static {
    /// A SIP message, or the fate of one.
    fn handle_transport(&mut self, now: Now, snapshot: &Snapshot, event: TransportEvent);

    /// The moment named by [`poll_timeout`](Self::poll_timeout) has come.
    fn handle_timeout(&mut self, now: Now, snapshot: &Snapshot);

    /// When [`handle_timeout`](Self::handle_timeout) is wanted next.
    fn poll_timeout(&self) -> Option<Instant>;

    /// The next thing to do, until there is none.
    fn poll_output(&mut self) -> Option<CoreOutput>;

    /// A packet of `len` bytes at the front of `buf`, received on socket `at`. `None`: dropped, and counted inside.
    ///
    /// `buf` is longer than the packet by at least [`crate::config::PACKET_TAIL_ROOM`] bytes, for a tag.
    fn handle_packet(&mut self, now: Now, at: u32, from: SocketAddr, buf: &mut [u8], len: usize) -> Option<Forward>;

    /// Called every monitoring interval of the snapshot.
    fn tick(&mut self, now: Now, snapshot: &Snapshot);

    /// At most `max` live calls.
    fn views(&self, now: Now, max: usize) -> Vec<CallView>;

    /// Drops the call or flow that was being handled when the panic came.
    fn discard_after_panic(&mut self, now: Now);
}

/// The bytes on a stream cannot be SIP; the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenStream;

/// Cuts a byte stream into messages (RFC 3261 §18.3). It bounds what it holds.
pub trait Framer: Send {
    /// More bytes of the stream.
    fn push(&mut self, bytes: &[u8]);

    /// The next whole message.
    ///
    /// # Errors
    /// [`BrokenStream`] when the stream cannot be cut any further.
    fn next_message(&mut self) -> Result<Option<Vec<u8>>, BrokenStream>;

    /// Whether a keep-alive ping (CRLF CRLF) came since the last call; it is answered by one CRLF (RFC 5626 §4.4.1).
    fn take_ping(&mut self) -> bool;

    /// Whether part of a message is held. Such a part may not stay for ever.
    fn is_mid_message(&self) -> bool;
}

/// What becomes of a message before it is parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes to the worker of this index.
    Deliver(usize),
    /// It is answered at once on the way it came, and forgotten.
    Answer(Vec<u8>),
    /// It is dropped.
    Drop,
}

/// The rules of the SIP thread: framing, the gate over all calls, and which worker owns a message.
pub trait Steering: Send + 'static {
    /// Its stream framer.
    type Framer: Framer + 'static;

    /// A framer for a new connection.
    fn framer(&self) -> Self::Framer;

    /// Where in a datagram its message is. `None`: there is none (keep-alive, garbage).
    fn datagram(&self, bytes: &[u8]) -> Option<Range<usize>>;

    /// What becomes of a message when there are `workers` workers.
    fn steer(&mut self, now: Now, snapshot: &Snapshot, source: &Source, message: &[u8], workers: usize) -> Verdict;

    /// The stateless answer to a message whose worker has no room, for a new INVITE a 503. `None`: silence.
    fn overload_answer(&self, source: &Source, message: &[u8]) -> Option<Vec<u8>>;
}
