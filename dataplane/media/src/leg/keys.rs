//! The keys of one leg over the life of a call: which send, which receive, and which did so before (calls.md 5).
//!
//! A sending context never returns to ROC 0 under a key used before: contexts of former keys are kept and come back
//! with their key. Of more than the bounds below the oldest is forgotten.

use std::time::{Duration, Instant};

use tollgate_contract::SrtpSuite;

use super::Kind;
use crate::drop_reason::DropReason;
use crate::srtp::{MasterKey, ReceiveContext, Saved, SendContext};

/// A former receive key serves so long, unless a new one authenticates a packet before (calls.md 5).
const KEY_GRACE: Duration = Duration::from_secs(5);
/// Receive keys of one description.
const MAX_SIGNALLED: usize = 2;
/// Receive keys tried on a packet.
const MAX_RECEIVERS: usize = 4;
/// Former receive keys whose replay windows are kept.
const MAX_FORMER_RECEIVERS: usize = 4;
/// Former sending keys whose indices are kept. Ours are random, so only a refused offer brings one back.
const MAX_FORMER_SENDERS: usize = 16;

struct Sender {
    key: MasterKey,
    context: SendContext,
}

struct Receiver {
    key: MasterKey,
    context: ReceiveContext,
    /// It came with the last signalling, or with an earlier one and has not served since.
    is_new: bool,
    /// It authenticated a packet since it came.
    has_served: bool,
    /// It is a former key, and serves until then.
    until: Option<Instant>,
}

/// Contexts in use and former ones.
#[derive(Default)]
pub(super) struct LegKeys {
    sender: Option<Box<Sender>>,
    #[expect(clippy::vec_box, reason = "contexts move between the lists")]
    receivers: Vec<Box<Receiver>>,
    #[expect(clippy::vec_box, reason = "contexts move between the lists")]
    former_senders: Vec<Box<Sender>>,
    #[expect(clippy::vec_box, reason = "contexts move between the lists")]
    former_receivers: Vec<Box<Receiver>>,
}

impl LegKeys {
    /// Takes over the keys of new signalling; whether there is a receive key that did not serve before.
    pub(super) fn apply(&mut self, now: Instant, send: Option<MasterKey>, receive: Vec<MasterKey>) -> bool {
        self.apply_send(send);
        self.apply_receive(now, receive)
    }

    /// The suite in use.
    pub(super) fn suite(&self) -> Option<SrtpSuite> {
        let sending = self.sender.as_ref().map(|sender| sender.key.suite());
        sending.or_else(|| self.receivers.first().map(|receiver| receiver.key.suite()))
    }

    /// Protects a packet in place.
    pub(super) fn protect(&mut self, kind: Kind, buf: &mut [u8], len: usize) -> Result<usize, DropReason> {
        let sender = self.sender.as_mut().ok_or(DropReason::NoKey)?;
        match kind {
            Kind::Rtp => sender.context.relay_rtp(buf, len),
            Kind::Rtcp => sender.context.protect_rtcp(buf, len),
        }
    }

    /// Verifies and decrypts a packet in place; its plain length, and whether by a new key.
    ///
    /// Of several refusals the one of the key that served last counts.
    pub(super) fn unprotect(
        &mut self,
        now: Instant,
        kind: Kind,
        buf: &mut [u8],
        len: usize,
    ) -> Result<(usize, bool), DropReason> {
        self.retire_if(|receiver| receiver.until.is_some_and(|until| now >= until));
        let saved = (self.receivers.len() > 1).then(|| Saved::of(&buf[..len]));
        let mut refusal = None;
        for at in 0..self.receivers.len() {
            match unprotect_by(&mut self.receivers[at].context, kind, buf, len) {
                Ok(plain_len) => return Ok((plain_len, self.on_authenticated(at))),
                Err(reason) => {
                    refusal.get_or_insert(reason);
                    if let Some(saved) = &saved {
                        saved.restore(&mut buf[..len]);
                    }
                }
            }
        }
        Err(refusal.unwrap_or(DropReason::NoKey))
    }

    /// The key that served is tried first from here on, and a new one ends the grace of the former.
    fn on_authenticated(&mut self, at: usize) -> bool {
        let is_new = self.receivers[at].is_new;
        self.receivers[at].has_served = true;
        self.receivers.swap(0, at);
        if is_new && self.receivers.len() > 1 {
            self.retire_if(|receiver| receiver.until.is_some());
        }
        is_new
    }

    fn apply_send(&mut self, send: Option<MasterKey>) {
        if self.sender.as_ref().map(|sender| &sender.key) == send.as_ref() {
            return;
        }
        if let Some(former) = self.sender.take() {
            push_bounded(&mut self.former_senders, former, MAX_FORMER_SENDERS);
        }
        let Some(key) = send else { return };
        let known = self.former_senders.iter().position(|sender| sender.key == key);
        self.sender = Some(match known {
            Some(at) => self.former_senders.remove(at),
            None => Box::new(Sender {
                context: SendContext::new(&key),
                key,
            }),
        });
    }

    fn apply_receive(&mut self, now: Instant, keys: Vec<MasterKey>) -> bool {
        let mut before = std::mem::take(&mut self.receivers);
        let mut has_new = false;
        for key in keys.into_iter().take(MAX_SIGNALLED) {
            if let Some(at) = before.iter().position(|receiver| receiver.key == key) {
                let mut kept = before.remove(at);
                kept.until = None;
                kept.is_new &= !kept.has_served;
                self.receivers.push(kept);
                continue;
            }
            has_new = true;
            let former = self.former_receivers.iter().position(|receiver| receiver.key == key);
            self.receivers.push(match former {
                Some(at) => {
                    let mut back = self.former_receivers.remove(at);
                    (back.is_new, back.has_served, back.until) = (true, false, None);
                    back
                }
                None => new_receiver(key, before.first().map(|receiver| &receiver.context)),
            });
        }
        for mut former in before {
            former.is_new = false;
            former.until.get_or_insert(now + KEY_GRACE);
            if self.receivers.len() < MAX_RECEIVERS {
                self.receivers.push(former);
            } else {
                push_bounded(&mut self.former_receivers, former, MAX_FORMER_RECEIVERS);
            }
        }
        has_new
    }

    fn retire_if(&mut self, is_over: impl Fn(&Receiver) -> bool) {
        while let Some(at) = self.receivers.iter().position(|receiver| is_over(receiver)) {
            let former = self.receivers.remove(at);
            push_bounded(&mut self.former_receivers, former, MAX_FORMER_RECEIVERS);
        }
    }
}

fn new_receiver(key: MasterKey, before: Option<&ReceiveContext>) -> Box<Receiver> {
    let fresh = ReceiveContext::new(&key);
    let context = match before {
        Some(before) => fresh.carrying(before),
        None => fresh,
    };
    Box::new(Receiver {
        key,
        context,
        is_new: true,
        has_served: false,
        until: None,
    })
}

fn unprotect_by(context: &mut ReceiveContext, kind: Kind, buf: &mut [u8], len: usize) -> Result<usize, DropReason> {
    match kind {
        Kind::Rtp => context.unprotect_rtp(buf, len),
        Kind::Rtcp => context.unprotect_rtcp(buf, len),
    }
}

fn push_bounded<T>(list: &mut Vec<T>, item: T, bound: usize) {
    if list.len() == bound {
        list.remove(0);
    }
    list.push(item);
}
