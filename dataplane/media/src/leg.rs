//! One side of a flow: its sockets, its party's address, its protection.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tollgate_contract::SrtpSuite;

use crate::drop_reason::DropReason;
use crate::flow_table::SocketId;
use crate::latch::Latch;
use crate::monitor::Monitor;
use crate::srtp::{MasterKey, ReceiveContext, SendContext};

/// calls.md 5: the old receive key stays until the new one authenticates a packet or so long.
const OLD_KEY_GRACE: Duration = Duration::from_secs(5);

/// Longest packet that is tried with two keys; GCM destroys what it fails to open, so the first try has a copy.
const RETRY_MAX: usize = 2_048;

/// What a leg is to be.
#[derive(Clone, Debug)]
pub struct LegSpec {
    /// Our RTP socket.
    pub rtp: SocketId,
    /// Our RTCP socket.
    pub rtcp: SocketId,
    /// Where the party told us to send RTP; `None` while it holds.
    pub remote_rtp: Option<SocketAddr>,
    /// Where it told us to send RTCP.
    pub remote_rtcp: Option<SocketAddr>,
    /// Plain inside, SRTP outside.
    pub protection: Protection,
    /// Whether the party may send RTP to us.
    pub may_receive: bool,
    /// Whether the party is expected to send now (calls.md 6, what the description says of it).
    pub expects_media: bool,
}

/// How packets of a leg are protected.
#[derive(Clone, Debug)]
pub enum Protection {
    /// Not at all. Never outside.
    Plain,
    /// SRTP.
    Srtp {
        /// Our key; nothing is sent without one.
        send: Option<MasterKey>,
        /// The party's key; nothing is received without one.
        receive: Vec<MasterKey>,
    },
}

#[derive(Debug)]
struct Keyed<C> {
    key: MasterKey,
    context: C,
}

#[derive(Debug)]
enum Crypto {
    Plain,
    Srtp {
        send: Option<Keyed<SendContext>>,
        retired_send: Vec<Keyed<SendContext>>,
        receive: Option<Keyed<ReceiveContext>>,
        old_receive: Option<(Keyed<ReceiveContext>, Instant)>,
    },
}

/// Most sending keys of a leg that are kept, so that one which comes back goes on where it was (calls.md 5).
const MAX_RETIRED: usize = 4;

/// A leg in force.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) rtp: SocketId,
    pub(crate) rtcp: SocketId,
    pub(crate) latches: [Latch; 2],
    pub(crate) may_receive: bool,
    pub(crate) expects_media: bool,
    pub(crate) expects_since: Option<Instant>,
    pub(crate) monitor: Monitor,
    pub(crate) forwarded: u64,
    refused: Option<u16>,
    crypto: Crypto,
}

impl Leg {
    pub(crate) fn new(now: Instant, spec: &LegSpec) -> Self {
        let mut leg = Self {
            rtp: spec.rtp,
            rtcp: spec.rtcp,
            latches: [Latch::new(spec.remote_rtp), Latch::new(spec.remote_rtcp)],
            may_receive: spec.may_receive,
            expects_media: false,
            expects_since: None,
            monitor: Monitor::default(),
            forwarded: 0,
            refused: None,
            crypto: Crypto::Plain,
        };
        leg.update(now, spec);
        leg
    }

    /// Takes what signalling says now. Contexts whose key is unchanged go on.
    pub(crate) fn update(&mut self, now: Instant, spec: &LegSpec) {
        let has_new_key = self.rekey(now, &spec.protection);
        self.latches[0].signal(spec.remote_rtp, has_new_key);
        self.latches[1].signal(spec.remote_rtcp, has_new_key);
        self.may_receive = spec.may_receive;
        if spec.expects_media != self.expects_media {
            self.expects_media = spec.expects_media;
            self.expects_since = spec.expects_media.then_some(now);
            self.monitor.on_media_changed(now);
        }
    }

    /// The suite packets are received with.
    pub(crate) fn suite(&self) -> Option<SrtpSuite> {
        match &self.crypto {
            Crypto::Srtp { receive: Some(keyed), .. } => Some(keyed.key.suite()),
            Crypto::Srtp { send: Some(keyed), .. } => Some(keyed.key.suite()),
            Crypto::Srtp { .. } | Crypto::Plain => None,
        }
    }

    /// Judges the source of a packet before any crypto.
    pub(crate) fn admit(&mut self, now: Instant, which: usize, from: SocketAddr) -> Result<(), DropReason> {
        match self.crypto {
            Crypto::Plain => self.latches[which].admit_plain(from),
            Crypto::Srtp { .. } => self.latches[which].admit_protected(now, from),
        }
    }

    /// Authenticates and decrypts; on success the source is learned. Returns the plain length.
    pub(crate) fn open(
        &mut self,
        now: Instant,
        which: usize,
        from: SocketAddr,
        buffer: &mut [u8],
        len: usize,
    ) -> Result<usize, DropReason> {
        let Crypto::Srtp { receive, old_receive, .. } = &mut self.crypto else { return Ok(len) };
        if old_receive.as_ref().is_some_and(|(_, until)| *until <= now) {
            *old_receive = None;
        }
        let keyed = receive.as_mut().ok_or(DropReason::NoKey)?;
        let opened = match old_receive {
            None => unprotect(&mut keyed.context, which, buffer, len),
            Some((old, _)) => {
                let mut copy = [0; RETRY_MAX];
                let kept = copy.get_mut(..len).ok_or(DropReason::PayloadTooLarge)?;
                kept.copy_from_slice(buffer.get(..len).ok_or(DropReason::PayloadTooLarge)?);
                match unprotect(&mut keyed.context, which, buffer, len) {
                    Ok(plain) => {
                        *old_receive = None;
                        Ok(plain)
                    }
                    Err(_) => {
                        buffer[..len].copy_from_slice(kept);
                        unprotect(&mut old.context, which, buffer, len)
                    }
                }
            }
        };
        match opened {
            Ok(plain) => {
                self.latches[which].commit(from);
                Ok(plain)
            }
            Err(why) => {
                self.latches[which].on_failure();
                Err(why)
            }
        }
    }

    /// Protects a packet for this leg's party. Returns the length on the wire.
    pub(crate) fn seal(&mut self, which: usize, buffer: &mut [u8], len: usize) -> Result<usize, DropReason> {
        match &mut self.crypto {
            Crypto::Plain => Ok(len),
            Crypto::Srtp { send, .. } => {
                let context = &mut send.as_mut().ok_or(DropReason::NoKey)?.context;
                if which == 0 { context.protect_rtp(buffer, len) } else { context.protect_rtcp(buffer, len) }
            }
        }
    }

    /// Whether packets that would use an index twice come in a row, so that their sender must have restarted.
    pub(crate) fn notices_restart(&mut self, which: usize, packet: &[u8]) -> bool {
        let sequence = crate::wire::be16(packet, 2);
        let follows = self.refused.is_some_and(|last| sequence == last.wrapping_add(1));
        self.refused = Some(sequence);
        which == 0 && follows
    }

    /// Whether this leg is plain.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self.crypto, Crypto::Plain)
    }

    /// Puts keys in force; says whether a new receive key came.
    fn rekey(&mut self, now: Instant, protection: &Protection) -> bool {
        let Protection::Srtp { send: new_send, receive: new_receive } = protection else {
            self.crypto = Crypto::Plain;
            return false;
        };
        if matches!(self.crypto, Crypto::Plain) {
            self.crypto = Crypto::Srtp { send: None, retired_send: Vec::new(), receive: None, old_receive: None };
        }
        let Crypto::Srtp { send, retired_send, receive, old_receive } = &mut self.crypto else { return false };
        if send.as_ref().map(|keyed| &keyed.key) != new_send.as_ref() {
            put_send_key(send, retired_send, new_send.as_ref());
        }
        let wanted = new_receive.first();
        if receive.as_ref().map(|keyed| &keyed.key) == wanted {
            return false;
        }
        let before = receive.take();
        *receive = wanted.and_then(|key| {
            // An old key that comes back within its grace goes on with its window: nothing of it can be replayed.
            match old_receive.take() {
                Some((old, _)) if old.key == *key => Some(old),
                Some(_) | None => {
                    ReceiveContext::new(key).ok().map(|context| Keyed { key: key.clone(), context })
                }
            }
        });
        *old_receive = before.map(|keyed| (keyed, now + OLD_KEY_GRACE));
        true
    }
}

/// A sending context never returns to rollover counter 0 under a key already used: one that comes back is the old one.
fn put_send_key(
    send: &mut Option<Keyed<SendContext>>,
    retired: &mut Vec<Keyed<SendContext>>,
    wanted: Option<&MasterKey>,
) {
    if let Some(before) = send.take() {
        if retired.len() >= MAX_RETIRED {
            retired.remove(0);
        }
        retired.push(before);
    }
    *send = wanted.and_then(|key| match retired.iter().position(|keyed| keyed.key == *key) {
        Some(at) => Some(retired.remove(at)),
        None => SendContext::new(key).ok().map(|context| Keyed { key: key.clone(), context }),
    });
}

fn unprotect(context: &mut ReceiveContext, which: usize, buffer: &mut [u8], len: usize) -> Result<usize, DropReason> {
    if which == 0 { context.unprotect_rtp(buffer, len) } else { context.unprotect_rtcp(buffer, len) }
}
