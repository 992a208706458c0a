//! One TCP or TLS connection: bytes in, bytes out, how far it has come and how long that may take.
//!
//! It knows neither messages' meaning nor other connections.

use std::io::{self, Read, Write};
use std::time::Instant;

use mio::net::TcpStream;
use rustls::Connection;
use tollgate_call::transport::{ConnId, Dial, SendFailure, Source};
use tollgate_contract::Side;

use super::queue::{Outbound, Queued};
use super::tls;
use crate::config::{RuntimeLimits, STREAM_BYTES_PER_TURN};
use crate::hooks::Framer;
use crate::telemetry::HandshakeFailure;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The TCP handshake is under way.
    Connecting,
    /// The TLS handshake is under way.
    Handshaking,
    /// Messages may pass.
    Open,
}

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseReason {
    /// The peer closed it.
    Ended,
    /// The system reports an error.
    Lost,
    /// It did not come to its stage's end in time.
    Timeout,
    /// TLS failed.
    Tls(HandshakeFailure),
    /// Its bytes are not SIP.
    NotSip,
    /// A message did not come to its end in time.
    SlowMessage,
    /// Nothing came for long.
    Idle,
}

impl CloseReason {
    /// What those are told whose messages were not sent, for a connection closed in `stage`.
    pub(super) const fn send_failure(self, stage: Stage) -> SendFailure {
        match (self, stage) {
            (Self::Tls(HandshakeFailure::NameMismatch), _) => SendFailure::TlsName,
            (Self::Tls(_), _) => SendFailure::Tls,
            (Self::Timeout, _) => SendFailure::ConnectTimeout,
            (Self::Ended | Self::Lost, Stage::Connecting | Stage::Handshaking) => SendFailure::Unreachable,
            (Self::Ended | Self::Lost | Self::NotSip | Self::SlowMessage | Self::Idle, _) => {
                SendFailure::ConnectionLost
            }
        }
    }
}

/// A connection.
pub(super) struct Conn<F> {
    pub(super) id: ConnId,
    pub(super) source: Source,
    pub(super) stream: TcpStream,
    pub(super) session: Option<Box<Connection>>,
    pub(super) framer: F,
    pub(super) stage: Stage,
    /// For connections we opened: what was asked for.
    pub(super) dial: Option<Dial>,
    pub(super) outbound: Outbound,
    /// When it was accepted or dialled; then when the last message or ping came.
    pub(super) last_active: Instant,
    /// When the first byte of the message now arriving came.
    pub(super) message_since: Option<Instant>,
    /// Under which moment it stands in the table of timers.
    pub(super) timer: Instant,
}

/// What a turn of reading came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Bytes of messages came.
    pub(super) has_bytes: bool,
    /// There may be more to read at once.
    pub(super) has_more: bool,
}

impl<F: Framer> Conn<F> {
    /// The latest moment at which something must have happened.
    pub(super) fn deadline(&self, limits: &RuntimeLimits) -> Instant {
        match (self.stage, &self.dial) {
            (Stage::Connecting | Stage::Handshaking, Some(dial)) => self.last_active + dial.timeout,
            (Stage::Connecting | Stage::Handshaking, None) => self.last_active + limits.handshake_timeout,
            (Stage::Open, _) => {
                let idle = self.last_active + limits.idle_timeout;
                self.message_since
                    .map_or(idle, |since| idle.min(since + limits.message_timeout))
            }
        }
    }

    /// Why it is closed when its deadline has passed.
    pub(super) const fn overdue(&self) -> CloseReason {
        match (self.stage, self.message_since) {
            (Stage::Connecting | Stage::Handshaking, _) => CloseReason::Timeout,
            (Stage::Open, Some(_)) => CloseReason::SlowMessage,
            (Stage::Open, None) => CloseReason::Idle,
        }
    }

    /// Whether the TCP connection stands.
    ///
    /// # Errors
    /// [`CloseReason::Lost`] when it was refused or cannot be made.
    pub(super) fn is_connected(&self) -> Result<bool, CloseReason> {
        if !matches!(self.stream.take_error(), Ok(None)) {
            return Err(CloseReason::Lost);
        }
        match self.stream.peer_addr() {
            Ok(_) => Ok(true),
            Err(why) if why.kind() == io::ErrorKind::NotConnected || crate::socket::is_in_progress(&why) => Ok(false),
            Err(_) => Err(CloseReason::Lost),
        }
    }

    /// Whether a TLS handshake is done, or none is needed.
    pub(super) fn is_secured(&self) -> bool {
        self.session.as_ref().is_none_or(|session| !session.is_handshaking())
    }

    /// Moves what arrived into the framer, up to [`STREAM_BYTES_PER_TURN`].
    ///
    /// # Errors
    /// Why the connection is over; what came before its end is in the framer.
    pub(super) fn read(&mut self, scratch: &mut [u8]) -> Result<Progress, (Progress, CloseReason)> {
        let mut progress = Progress::default();
        let mut taken = 0;
        while taken < STREAM_BYTES_PER_TURN {
            let step = match &mut self.session {
                None => read_plain(&mut self.stream, &mut self.framer, scratch),
                Some(session) => read_tls(session, &mut self.stream, &mut self.framer, scratch),
            };
            match step {
                Ok(Step::Blocked) => return Ok(progress),
                Ok(Step::Read { raw, plain }) => {
                    taken += raw;
                    progress.has_bytes |= plain > 0;
                }
                Err((plain, why)) => {
                    progress.has_bytes |= plain > 0;
                    return Err((progress, why));
                }
            }
        }
        progress.has_more = true;
        Ok(progress)
    }

    /// Queues a message; hands it back when there is no room.
    pub(super) fn push(&mut self, queued: Queued) -> Result<(), Queued> {
        self.outbound.push(queued)
    }

    /// Writes as much as the system takes. The number of messages that were written to their end.
    ///
    /// # Errors
    /// [`CloseReason::Lost`].
    pub(super) fn flush(&mut self) -> Result<u64, CloseReason> {
        let mut sent = 0;
        loop {
            if !self.flush_session()? {
                return Ok(sent);
            }
            if self.stage != Stage::Open {
                return Ok(sent);
            }
            let Some(next) = self.outbound.next() else {
                return Ok(sent);
            };
            let written = match &mut self.session {
                Some(session) => session.writer().write(next),
                None => self.stream.write(next),
            };
            match written {
                Ok(count) => sent += u64::from(self.outbound.on_written(count)),
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => return Ok(sent),
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(CloseReason::Lost),
            }
        }
    }

    /// Writes what the TLS session has to say. `false`: the system takes no more now.
    fn flush_session(&mut self) -> Result<bool, CloseReason> {
        let Some(session) = &mut self.session else {
            return Ok(true);
        };
        while session.wants_write() {
            match session.write_tls(&mut self.stream) {
                Ok(0) => return Err(CloseReason::Lost),
                Ok(_) => {}
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(CloseReason::Lost),
            }
        }
        Ok(true)
    }

    /// Says goodbye as far as the system takes it at once.
    pub(super) fn say_goodbye(&mut self) {
        if let Some(session) = &mut self.session {
            session.send_close_notify();
        }
        let _ = self.flush_session();
    }

    /// Whether the peer must have proved a SIP identity.
    pub(super) fn needs_identity(&self) -> bool {
        self.source.side == Side::Outside
    }

    /// Asks the session whom the peer proved to be.
    pub(super) fn learn_identity(&mut self) {
        self.source.peer = self.session.as_deref().and_then(tls::identity_of);
    }
}

/// One read.
enum Step {
    Blocked,
    Read { raw: usize, plain: usize },
}

fn read_plain<F: Framer>(
    stream: &mut TcpStream,
    framer: &mut F,
    scratch: &mut [u8],
) -> Result<Step, (usize, CloseReason)> {
    match stream.read(scratch) {
        Ok(0) => Err((0, CloseReason::Ended)),
        Ok(len) => {
            framer.push(scratch.get(..len).unwrap_or_default());
            Ok(Step::Read { raw: len, plain: len })
        }
        Err(why) if why.kind() == io::ErrorKind::WouldBlock => Ok(Step::Blocked),
        Err(why) if why.kind() == io::ErrorKind::Interrupted => Ok(Step::Read { raw: 0, plain: 0 }),
        Err(_) => Err((0, CloseReason::Lost)),
    }
}

fn read_tls<F: Framer>(
    session: &mut Connection,
    stream: &mut TcpStream,
    framer: &mut F,
    scratch: &mut [u8],
) -> Result<Step, (usize, CloseReason)> {
    let raw = match session.read_tls(stream) {
        Ok(0) => return Err((0, CloseReason::Ended)),
        Ok(raw) => raw,
        Err(why) if why.kind() == io::ErrorKind::WouldBlock => return Ok(Step::Blocked),
        Err(why) if why.kind() == io::ErrorKind::Interrupted => return Ok(Step::Read { raw: 0, plain: 0 }),
        Err(_) => return Err((0, CloseReason::Lost)),
    };
    let processed = session.process_new_packets();
    let mut plain = 0;
    let ended = loop {
        match session.reader().read(scratch) {
            Ok(0) => break true,
            Ok(len) => {
                framer.push(scratch.get(..len).unwrap_or_default());
                plain += len;
            }
            Err(why) => break why.kind() != io::ErrorKind::WouldBlock,
        }
    };
    match processed {
        Err(why) => Err((plain, CloseReason::Tls(tls::failure_of(&why)))),
        Ok(_) if ended => Err((plain, CloseReason::Ended)),
        Ok(_) => Ok(Step::Read { raw, plain }),
    }
}
