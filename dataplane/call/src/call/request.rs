//! Requests of a call: retransmissions, ACK, CANCEL, and everything inside its dialogs (calls.md 1, 2, 7).

use tollgate_contract::counters::Violation;
use tollgate_contract::{CallOutcome, CallPhase, Side};
use tollgate_sip::transaction::{ClientState, ServerState};
use tollgate_sip::{Header, Method, SipMessage, trim};

use super::compose::{Passage, new_branch};
use super::{Call, Cx, ForwardedAck, InviteNumber};
use crate::negotiate::{Carrier, SdpRefusal};
use crate::output::Output;
use crate::transport::{Source, Transmit};
use crate::txn::{CancelState, Purpose, RequestKey, Server};

/// Most INVITE numbers and forwarded 2xx or ACKs remembered.
const MAX_REMEMBERED: usize = 8;

impl Call {
    /// A request that carries one of the call's Call-IDs and belongs to it. Returns whether it did.
    pub(crate) fn handle_request(&mut self, cx: &mut Cx<'_>, source: &Source, request: SipMessage) -> bool {
        let Some(key) = RequestKey::of(&request) else {
            return false;
        };
        let Some(method) = request.method().cloned() else {
            return false;
        };
        if method == Method::Ack {
            return self.handle_ack(cx, source, &request);
        }
        if method == Method::Cancel {
            return self.handle_cancel(cx, source, request);
        }
        let known = self
            .servers
            .iter()
            .position(|server| server.is_for(source.side, &key, &method));
        match known {
            Some(at) => {
                self.repeat_response(cx, at);
                true
            }
            None => self.handle_in_dialog(cx, source, request),
        }
    }

    /// A retransmitted request gets the last response again and nothing else happens.
    fn repeat_response(&mut self, cx: &mut Cx<'_>, at: usize) {
        let Some(server) = self.servers.get(at) else {
            return;
        };
        if let Some(bytes) = server.last.clone().filter(|_| server.machine.repeats_response()) {
            let target = super::compose::response_target(&server.source, &server.request);
            cx.outputs.push_back(Output::Transmit(Transmit {
                target,
                bytes,
                token: None,
            }));
        }
    }

    fn handle_ack(&mut self, cx: &mut Cx<'_>, source: &Source, ack: &SipMessage) -> bool {
        let now = cx.now().instant;
        let Some(key) = RequestKey::of(ack) else {
            return false;
        };
        let refused = self
            .servers
            .iter_mut()
            .find(|server| server.is_for(source.side, &key, &Method::Invite));
        if let Some(server) = refused
            && server.machine.on_ack(now)
        {
            return true;
        }
        let Some(dialog) = self.dialog_of(source.side, ack).filter(|_| self.is_of_peer(source)) else {
            return false;
        };
        if self.phase == CallPhase::Ending {
            return true;
        }
        self.relay_ack(cx, source.side, dialog, ack);
        true
    }

    /// The ACK to a 2xx: passed on with a branch of its own and its INVITE's number.
    fn relay_ack(&mut self, cx: &mut Cx<'_>, from: Side, dialog: usize, ack: &SipMessage) {
        let Some(received) = ack.cseq().map(|cseq| cseq.number) else {
            return;
        };
        let Some(cseq) = self.sent_invite_number(from, received) else {
            cx.counters.violation(Violation::Unmatched);
            return;
        };
        let answer = match ack.sdp() {
            Some(sdp) => self.negotiation.handle(&mut cx.res, from, Carrier::Ack, sdp),
            None if self.negotiation.offered_by() == Some(from.other()) => {
                Err(SdpRefusal::Answer("the ACK has no answer"))
            }
            None => Ok(None),
        };
        if let Ok(None) = answer
            && ack.has_sdp()
        {
            cx.counters.violation(Violation::SdpInAck);
        }
        self.after_negotiation(cx);
        let is_bad = answer.is_err();
        let body = answer.ok().flatten().or_else(|| ack.has_sdp().then(Vec::new));
        let branch = new_branch(cx.res.rng);
        let passage = Passage {
            to: from.other(),
            dialog: Some(dialog),
            branch: &branch,
            cseq,
            body,
        };
        let (Some(bytes), Some(target)) = (
            self.rewrite_request(cx, ack, passage),
            self.target(cx, from.other(), Some(dialog)),
        ) else {
            return;
        };
        let tag = self
            .dialogs
            .get(dialog)
            .map(|dialog| dialog.callee_tag.clone())
            .unwrap_or_default();
        remember(
            &mut self.forwarded_acks,
            ForwardedAck {
                side: from.other(),
                tag,
                cseq,
                target: target.clone(),
                bytes: bytes.clone(),
            },
        );
        cx.outputs.push_back(Output::Transmit(Transmit {
            target,
            bytes,
            token: None,
        }));
        self.negotiation.on_answered(&mut cx.res);
        if is_bad {
            self.end_both_legs(cx, "bad_answer_in_ack");
        }
    }

    /// RFC 3261 §9: 200 at once; the other leg is cancelled once it has said something.
    fn handle_cancel(&mut self, cx: &mut Cx<'_>, source: &Source, cancel: SipMessage) -> bool {
        if !self.is_of_peer(source) {
            return false;
        }
        let Some(key) = RequestKey::of(&cancel) else {
            return false;
        };
        if let Some(at) = self
            .servers
            .iter()
            .position(|server| server.is_for(source.side, &key, &Method::Cancel))
        {
            self.repeat_response(cx, at);
            return true;
        }
        let invite = self
            .servers
            .iter_mut()
            .find(|server| server.is_for(source.side, &key, &Method::Invite));
        let Some(invite) = invite else { return false };
        invite.cancelled |= invite.machine.state() == ServerState::Proceeding;
        let of = invite.id;
        let id = self.transaction_id();
        if let Some(server) = Server::new(id, source.clone(), cancel).filter(|_| !self.is_at_transaction_limit()) {
            self.servers.push(server);
            self.reply(cx, id, 200, &[]);
        }
        self.cancel_clients_of(cx, of);
        true
    }

    /// Cancels the INVITE we sent for a server transaction, now or once it has been answered provisionally.
    pub(super) fn cancel_clients_of(&mut self, cx: &mut Cx<'_>, server: u64) {
        let mut due = Vec::new();
        for client in &mut self.clients {
            // §9.1: a CANCEL has no effect once there is a final response.
            let is_open = matches!(client.machine.state(), ClientState::Calling | ClientState::Proceeding);
            if client.purpose != (Purpose::Relay { server }) || client.cancel != CancelState::No || !is_open {
                continue;
            }
            client.cancel = CancelState::Wanted;
            if client.provisional_seen {
                due.push(client.id);
            }
        }
        due.into_iter().for_each(|id| self.send_cancel(cx, id));
    }

    /// Sends the CANCEL of an INVITE of ours; after it the final response has 64 × T1 to come (RFC 3261 §9.1).
    pub(super) fn send_cancel(&mut self, cx: &mut Cx<'_>, client: u64) {
        let now = cx.now().instant;
        let Some(client) = self.clients.iter_mut().find(|one| one.id == client) else {
            return;
        };
        if client.cancel == CancelState::Sent {
            return;
        }
        client.cancel = CancelState::Sent;
        client.machine.give_up_within(now, tollgate_sip::transaction::TIMEOUT);
        let (bytes, branch) = (client.hop_request("CANCEL", None), client.branch.clone());
        let (side, target) = (client.side, client.target.clone());
        self.send_request_to(cx, side, target, (bytes, branch), Purpose::Cancel);
    }

    fn handle_in_dialog(&mut self, cx: &mut Cx<'_>, source: &Source, request: SipMessage) -> bool {
        let Some(dialog) = self.dialog_of(source.side, &request) else {
            return false;
        };
        if !self.is_of_peer(source) {
            cx.counters.violation(match source.side {
                Side::Inside => Violation::SourceNotAllowed,
                Side::Outside => Violation::ForeignPeer,
            });
            return false;
        }
        let id = self.transaction_id();
        let Some(server) = Server::new(id, source.clone(), request) else {
            return false;
        };
        let is_ending = self.phase == CallPhase::Ending;
        if is_ending && (server.method != Method::Bye || self.bye_from[source.side.index()]) {
            return false;
        }
        self.leg_mut(source.side).conn = source.conn;
        let (method, cseq, hops) = (server.method.clone(), server.cseq, server.request.max_forwards());
        if self.is_at_transaction_limit() {
            super::compose::answer_statelessly(cx, &server, 503);
            return true;
        }
        self.servers.push(server);
        let highest = self.leg(source.side).highest_cseq;
        if highest.is_some_and(|highest| cseq <= highest) {
            cx.counters.violation(Violation::CSeq);
            self.reply(cx, id, 500, &[]);
            return true;
        }
        self.leg_mut(source.side).highest_cseq = Some(cseq);
        if is_ending {
            self.bye_from[source.side.index()] = true;
            self.reply(cx, id, 200, &[]);
        } else if hops == 0 {
            cx.counters.violation(Violation::MaxForwards);
            self.reply(cx, id, 483, &[]);
        } else {
            self.dispatch(cx, id, &method, dialog, source.side);
        }
        true
    }

    fn dispatch(&mut self, cx: &mut Cx<'_>, id: u64, method: &Method, dialog: usize, side: Side) {
        match method {
            Method::Refer if side == Side::Outside => {
                cx.counters.violation(Violation::ReferFromOutside);
                self.reply(cx, id, 403, &[]);
            }
            Method::Notify if side == Side::Inside && self.is_about_our_refer(id) => self.on_refer_progress(cx, id),
            Method::Invite if self.is_invite_pending(id) => {
                cx.counters.violation(Violation::Glare);
                self.reply(cx, id, 491, &[]);
            }
            Method::Bye => {
                self.bye_from[side.index()] = true;
                self.relay_or_refuse(cx, id, dialog);
                self.finish(cx, CallOutcome::Completed, "bye");
            }
            Method::Invite | Method::Update => {
                if method == &Method::Invite {
                    self.reply(cx, id, 100, &[]);
                }
                self.relay_or_refuse(cx, id, dialog);
            }
            Method::Ack
            | Method::Cancel
            | Method::Options
            | Method::Info
            | Method::Prack
            | Method::Refer
            | Method::Notify
            | Method::Subscribe
            | Method::Message
            | Method::Register
            | Method::Other(_) => self.relay_or_refuse(cx, id, dialog),
        }
    }

    fn relay_or_refuse(&mut self, cx: &mut Cx<'_>, id: u64, dialog: usize) {
        let Some(at) = self.server(id) else { return };
        if let Err(refusal) = self.relay_request(cx, at, Some(dialog)) {
            self.reply(cx, id, refusal.status(), &[]);
            return;
        }
        // Target refresh (RFC 3261 §12.2.1.1): where the sender now wants to be reached.
        let Some(server) = self.servers.get(at) else {
            return;
        };
        if matches!(server.method, Method::Invite | Method::Update) {
            let (side, request) = (server.source.side, server.request.clone());
            self.leg_mut(side).learn_allow(&request);
            if let Some(party) = self.party_mut(side, dialog) {
                party.learn(&request, false);
            }
        }
    }

    /// Passes a request on as a client transaction of the other leg.
    pub(super) fn relay_request(
        &mut self,
        cx: &mut Cx<'_>,
        at: usize,
        dialog: Option<usize>,
    ) -> Result<(), SdpRefusal> {
        let Some(server) = self.servers.get(at) else {
            return Ok(());
        };
        let (id, from, received) = (server.id, server.source.side, server.cseq);
        let is_invite = server.method == Method::Invite;
        let request = server.request.clone();
        if request.hides_sdp() {
            return Err(SdpRefusal::NothingLeft);
        }
        let body = match (request.sdp(), self.carrier_of(id, from)) {
            (Some(sdp), Some(carrier)) => self.negotiation.handle(&mut cx.res, from, carrier, sdp)?,
            (Some(_), None) => return Err(SdpRefusal::NothingLeft),
            (None, _) => None,
        };
        self.after_negotiation(cx);
        let to = from.other();
        let cseq = self.leg_mut(to).book.forward(received);
        if is_invite {
            remember(
                &mut self.invite_numbers,
                InviteNumber {
                    from,
                    received,
                    sent: cseq,
                },
            );
        }
        let branch = new_branch(cx.res.rng);
        let passage = Passage {
            to,
            dialog,
            branch: &branch,
            cseq,
            body,
        };
        if let Some(bytes) = self.rewrite_request(cx, &request, passage) {
            self.send_request(cx, (to, dialog), (bytes, branch), Purpose::Relay { server: id });
        }
        Ok(())
    }

    /// What a description in a request is: an offer in INVITE, UPDATE and PRACK, or in PRACK the answer to an offer in a
    /// reliable provisional response (RFC 3262 §5); in any other it has no place.
    fn carrier_of(&self, id: u64, from: Side) -> Option<Carrier<'static>> {
        let method = &self.servers.get(self.server(id)?)?.method;
        match method {
            Method::Prack if self.negotiation.offered_by() == Some(from.other()) => Some(Carrier::Ack),
            Method::Invite | Method::Update | Method::Prack => Some(Carrier::Request(id)),
            Method::Ack
            | Method::Cancel
            | Method::Bye
            | Method::Options
            | Method::Info
            | Method::Refer
            | Method::Notify
            | Method::Subscribe
            | Method::Message
            | Method::Register
            | Method::Other(_) => None,
        }
    }

    /// Whether a request comes from a party of this call: inside from an address that may send any, outside on a
    /// connection of the call's peer domain.
    pub(super) fn is_of_peer(&self, source: &Source) -> bool {
        match source.side {
            Side::Inside => self.settings.agent.allowed_sources.contains(&source.remote.ip()),
            Side::Outside => source
                .peer
                .as_ref()
                .is_some_and(|peer| peer.domains.contains(&self.settings.peer.domain)),
        }
    }

    /// What a description brought besides media: a key kept over a move is counted, a hold resets the hold-down.
    pub(super) fn after_negotiation(&mut self, cx: &mut Cx<'_>) {
        for _ in 0..self.negotiation.take_keys_kept_on_move() {
            cx.counters.violation(Violation::KeyKeptOnMove);
        }
        if self.negotiation.take_direction_changed()
            && let Some(step) = self.fallback.on_media_changed()
        {
            self.on_fallback_step(cx, step);
        }
    }

    /// Whether another INVITE waits for its final response, in either direction (RFC 3261 §14).
    fn is_invite_pending(&self, but: u64) -> bool {
        self.servers.iter().any(|server| {
            server.id != but && server.method == Method::Invite && server.machine.state() == ServerState::Proceeding
        })
    }

    /// calls.md 7: a NOTIFY about the REFER we sent, by its id or without one.
    fn is_about_our_refer(&self, id: u64) -> bool {
        let Some(expected) = self.refer_cseq else {
            return false;
        };
        let event = self
            .server(id)
            .and_then(|at| self.servers[at].request.first(Header::Event).map(<[u8]>::to_vec));
        let Some(event) = event else { return false };
        let name = event.split(|byte| *byte == b';').next().map(trim).unwrap_or_default();
        let named = tollgate_sip::param(&event, "id");
        name.eq_ignore_ascii_case(b"refer") && named.is_none_or(|named| named == expected.to_string().as_bytes())
    }

    fn on_refer_progress(&mut self, cx: &mut Cx<'_>, id: u64) {
        self.reply(cx, id, 200, &[]);
        let Some(at) = self.server(id) else { return };
        if let Some(status) = sipfrag_status(self.servers[at].request.body()) {
            self.fallback.on_progress(cx.now().instant, status);
            if (200..300).contains(&status) {
                self.report_fallback(cx, "moved");
            } else if status >= 300 {
                self.report_fallback(cx, "refer_refused");
                self.phase = CallPhase::Established;
            }
        }
    }
}

/// The status of a `message/sipfrag` body (RFC 3420).
fn sipfrag_status(body: &[u8]) -> Option<u16> {
    let rest = body
        .get(8..11)
        .filter(|_| body.get(..8).is_some_and(|head| head.eq_ignore_ascii_case(b"SIP/2.0 ")))?;
    std::str::from_utf8(rest).ok()?.parse().ok()
}

pub(super) fn remember<T>(list: &mut std::collections::VecDeque<T>, one: T) {
    if list.len() >= MAX_REMEMBERED {
        list.pop_front();
    }
    list.push_back(one);
}
