//! What comes to an agent: responses to their transactions, requests to their calls, new calls to the behaviour set.
//!
//! It authenticates nobody. RFC 3261 §8.2, §12.2.2, §13.3, §17.2; RFC 3515 §2.4.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rsip::Method;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::call::{Call, CallEnd, CallState, Session};
use super::outbound::{ALLOW, request};
use super::transaction::key;
use super::transport::{Hop, Received};
use super::{AnswerBehaviour, InviteSeen, Outcome, PATIENCE, Shared, SipTransport, T1, T2, lock, new_branch, new_tag};
use crate::dialog::Dialog;
use crate::media::MediaStream;
use crate::message::{Body, SipText, response_to};
use crate::sdp::SdpView;

/// A request and how to answer it.
struct Incoming {
    shared: Arc<Shared>,
    message: SipText,
    hop: Hop,
    key: String,
    to_tag: String,
    cseq: u32,
}

/// Reads everything that comes until the agent is dropped.
pub(super) async fn dispatch(shared: Arc<Shared>, mut inbox: mpsc::Receiver<Received>) {
    while let Some(Received { bytes, hop }) = inbox.recv().await {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let Some(message) = SipText::parse(&bytes) else {
            shared.unreadable.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        match message.method() {
            None => on_response(&shared, message).await,
            Some(method) => on_request(&shared, method, message, hop).await,
        }
    }
}

async fn on_response(shared: &Arc<Shared>, response: SipText) {
    let Some((_, method)) = response.cseq() else { return };
    let branch = response.top_branch();
    let waiting = lock(&shared.transactions).get(&key(&branch, &method)).cloned();
    if let Some(waiting) = waiting {
        // A full queue loses a response, as the network may.
        let _ = waiting.try_send(response);
        return;
    }
    let ack = lock(&shared.acks).entries.get(&branch).cloned();
    if let Some((hop, bytes)) = ack.filter(|_| response.status().is_some_and(|status| status >= 200)) {
        let _ = shared.transport.send(&hop, &bytes).await;
    }
}

async fn on_request(shared: &Arc<Shared>, method: Method, message: SipText, hop: Hop) {
    let Some((cseq, _)) = message.cseq() else { return };
    if method == Method::Ack {
        let waiting = lock(&shared.awaiting_ack).remove(&(message.call_id(), cseq));
        if let Some(waiting) = waiting {
            // Who no longer waits needs no ACK.
            let _ = waiting.send(message);
        }
        return;
    }
    let key = key(&message.top_branch(), &method.to_string());
    let known = lock(&shared.answered).entries.get(&key).cloned();
    if let Some(last_response) = known {
        if let Some(bytes) = last_response {
            let _ = shared.transport.send(&hop, &bytes).await;
        }
        return;
    }
    lock(&shared.answered).insert(key.clone(), None);
    let incoming = Incoming {
        shared: Arc::clone(shared),
        message,
        hop,
        key,
        to_tag: new_tag(),
        cseq,
    };
    if method == Method::Cancel {
        incoming.on_cancel().await;
    } else if incoming.message.to_tag().is_some() {
        incoming.in_dialog(method).await;
    } else if method == Method::Invite {
        lock(&shared.invites).push(InviteSeen::new(&incoming.message));
        tokio::spawn(incoming.new_call());
    } else if method == Method::Options {
        incoming.respond(200, &Body::default()).await;
    } else {
        incoming.respond(405, &Body::default()).await;
    }
}

impl Incoming {
    async fn respond(&self, status: u16, body: &Body) {
        let extra = [
            ("Contact".to_owned(), self.shared.contact(self.hop.transport())),
            ("Allow".to_owned(), ALLOW.to_owned()),
        ];
        let bytes = response_to(&self.message, status, &self.to_tag, &extra, body);
        // What is lost is asked for again by a retransmission.
        let _ = self.shared.transport.send(&self.hop, &bytes).await;
        lock(&self.shared.answered).insert(self.key.clone(), Some(bytes));
    }

    /// Sends a final answer to an INVITE until its ACK comes: §13.3.1.4 for 2xx on every transport, §17.2.1 else.
    async fn respond_until_ack(&self, status: u16, body: &Body) -> Option<SipText> {
        let (sender, mut acknowledged) = oneshot::channel();
        let ack_key = (self.message.call_id(), self.cseq);
        lock(&self.shared.awaiting_ack).insert(ack_key.clone(), sender);
        let is_repeated = status < 300 || self.hop.transport() == SipTransport::Udp;
        let (started, mut pause) = (Instant::now(), T1);
        while started.elapsed() < PATIENCE {
            self.respond(status, body).await;
            let wait = if is_repeated { pause } else { PATIENCE };
            if let Ok(ack) = timeout(wait, &mut acknowledged).await {
                return ack.ok();
            }
            pause = (pause * 2).min(T2);
        }
        lock(&self.shared.awaiting_ack).remove(&ack_key);
        None
    }

    async fn on_cancel(self) {
        let waiting = lock(&self.shared.cancellable).remove(&self.message.top_branch());
        self.respond(if waiting.is_some() { 200 } else { 481 }, &Body::default())
            .await;
        if let Some(waiting) = waiting {
            // The INVITE was answered in the same instant.
            let _ = waiting.send(());
        }
    }

    async fn new_call(self) {
        let behaviour = lock(&self.shared.answer).clone();
        let (sender, cancelled) = oneshot::channel();
        let branch = self.message.top_branch();
        lock(&self.shared.cancellable).insert(branch.clone(), sender);
        self.respond(100, &Body::default()).await;
        let (ip, book) = (self.shared.config.media_ip, self.shared.config.book.clone());
        let Ok(media) = MediaStream::open(ip, &book, behaviour.media).await else {
            self.respond_until_ack(503, &Body::default()).await;
            return;
        };
        let mut session = Session::new(&behaviour.codecs, &self.shared);
        let body = match SdpView::parse(self.message.body()) {
            Some(offer) => session.answer(&offer, &media),
            None => Some(session.describe(&media)),
        };
        let Some(body) = body else {
            self.respond_until_ack(488, &Body::default()).await;
            return;
        };
        let ring = self.ring(&behaviour, &body, &media);
        let is_cancelled = tokio::select! {
            () = ring => false,
            _ = cancelled => true,
        };
        lock(&self.shared.cancellable).remove(&branch);
        let refusal = match behaviour.outcome {
            Outcome::Reject(status) if !is_cancelled => Some(status),
            Outcome::Reject(_) | Outcome::Answer | Outcome::RingForever => is_cancelled.then_some(487),
        };
        match refusal {
            Some(status) => drop(self.respond_until_ack(status, &Body::default()).await),
            None => self.answer_call(media, session, &body).await,
        }
    }

    async fn ring(&self, behaviour: &AnswerBehaviour, body: &Body, media: &MediaStream) {
        if behaviour.early_media {
            self.respond(183, body).await;
            media.start();
        } else if !behaviour.ring_for.is_zero() {
            self.respond(180, &Body::default()).await;
        }
        sleep(behaviour.ring_for).await;
        if behaviour.outcome == Outcome::RingForever {
            std::future::pending::<()>().await;
        }
    }

    async fn answer_call(self, media: MediaStream, session: Session, body: &Body) {
        let started = Instant::now();
        let transport = self.hop.transport();
        let (via, contact) = (self.shared.via(transport), self.shared.contact(transport));
        let dialog = Dialog::from_invite(&self.message, self.to_tag.clone(), via, contact);
        let state = Arc::new(CallState::new(&self.shared, dialog, media, session));
        // In the map before the 200, so that a BYE close on its heels finds the call.
        lock(&self.shared.calls).insert(self.message.call_id(), Arc::clone(&state));
        // Media begins with the ACK: a packet sent with the 200 may overtake it, and an edge passes none before the
        // answer.
        let Some(ack) = self.respond_until_ack(200, body).await else {
            // §13.3.1.4: never acknowledged, so the dialog is ended.
            let _ = state.bye().await;
            return;
        };
        if let Some(answer) = SdpView::parse(ack.body()).filter(|_| self.message.body().is_empty()) {
            lock(&state.session).accept(&answer, &state.media);
        }
        state.media.start();
        let number = InviteSeen::new(&self.message).number;
        let call = Call {
            state,
            number,
            provisionals: Vec::new(),
            setup: started.elapsed(),
        };
        // Nobody asks for the call: it goes on without a holder.
        let _ = self.shared.incoming.try_send(call);
    }

    async fn in_dialog(self, method: Method) {
        let call = self.shared.call(&self.message.call_id());
        let local_tag = self.message.to_tag();
        let call = call.filter(|call| Some(&lock(&call.dialog).local_tag) == local_tag.as_ref());
        let Some(call) = call else {
            self.respond(481, &Body::default()).await;
            return;
        };
        if !lock(&call.dialog).accept_cseq(self.cseq) {
            self.respond(500, &Body::default()).await;
            return;
        }
        call.record(method, self.cseq, &self.message);
        if method == Method::Invite {
            tokio::spawn(self.reinvite(call));
        } else if method == Method::Bye {
            self.respond(200, &Body::default()).await;
            call.end(CallEnd::FarSide);
        } else if method == Method::Refer {
            self.on_refer(call).await;
        } else if method == Method::Update {
            let answer =
                SdpView::parse(self.message.body()).and_then(|offer| lock(&call.session).answer(&offer, &call.media));
            self.respond(200, &answer.unwrap_or_default()).await;
        } else {
            self.respond(200, &Body::default()).await;
        }
    }

    async fn reinvite(self, call: Arc<CallState>) {
        if call.is_inviting.load(Ordering::Relaxed) {
            self.respond_until_ack(491, &Body::default()).await;
            return;
        }
        self.respond(100, &Body::default()).await;
        if let Some(target) = self.message.contact_uri() {
            lock(&call.dialog).remote_target = target;
        }
        let offer = SdpView::parse(self.message.body());
        let body = {
            let mut session = lock(&call.session);
            match &offer {
                Some(offer) => session.answer(offer, &call.media),
                None => Some(session.describe(&call.media)),
            }
        };
        let Some(body) = body else {
            self.respond_until_ack(488, &Body::default()).await;
            return;
        };
        let ack = self.respond_until_ack(200, &body).await;
        let answer = ack.and_then(|ack| SdpView::parse(ack.body()));
        if let Some(answer) = answer.filter(|_| offer.is_none()) {
            lock(&call.session).accept(&answer, &call.media);
        }
    }

    async fn on_refer(self, call: Arc<CallState>) {
        let behaviour = *lock(&self.shared.refer);
        self.respond(behaviour.status, &Body::default()).await;
        if behaviour.status >= 300 {
            return;
        }
        let wants_no_notify = self
            .message
            .header("Refer-Sub")
            .is_some_and(|value| value.to_ascii_lowercase().starts_with("false"));
        let notify_status = behaviour.notify_status.filter(|_| !wants_no_notify);
        tokio::spawn(after_refer(call, self.cseq, notify_status, behaviour.bye_after));
    }
}

/// Reports the outcome (RFC 3515 §2.4.5) and hangs up, as the behaviour asks.
async fn after_refer(call: Arc<CallState>, refer_cseq: u32, status: Option<u16>, bye_after: Option<Duration>) {
    if let Some(status) = status {
        let mut notify = lock(&call.dialog).next_request(Method::Notify, new_branch());
        notify
            .headers
            .push(("Event".to_owned(), format!("refer;id={refer_cseq}")));
        notify.headers.push((
            "Subscription-State".to_owned(),
            "terminated;reason=noresource".to_owned(),
        ));
        notify.body = Body {
            content_type: "message/sipfrag",
            text: format!("SIP/2.0 {status} Outcome\r\n"),
        };
        // A refused NOTIFY changes nothing for the agent.
        let _ = request(&call.shared, notify, PATIENCE).await;
    }
    if let Some(delay) = bye_after {
        sleep(delay).await;
        let _ = call.bye().await;
    }
}
