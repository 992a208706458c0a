//! Responses to what a call sent, on their way back to who asked (calls.md 1, 4, 5).

use tollgate_contract::{CallOutcome, CallPhase, Side, Way};
use tollgate_sip::transaction::ClientVerdict;
use tollgate_sip::{Method, SipMessage};

use super::compose::method_text;
use super::request::remember;
use super::{Call, Cx, Forwarded2xx};
use crate::alg;
use crate::dialog::{Dialog, MAX_DIALOGS, Party};
use crate::negotiate::{Carrier, SdpRefusal};
use crate::output::Output;
use crate::transport::{SendFailure, Source, Target, Transmit};
use crate::txn::{CancelState, Purpose};

impl Call {
    /// A response on one of the call's legs. Returns whether it belonged to a transaction.
    pub(crate) fn handle_response(&mut self, cx: &mut Cx<'_>, source: &Source, message: &SipMessage) -> bool {
        let Some(at) = self
            .client_for(source.side, message)
            .filter(|_| source.side == Side::Inside || self.is_of_peer(source))
        else {
            return false;
        };
        let Some(status) = message.status() else {
            return false;
        };
        if source.conn.is_some() {
            self.leg_mut(source.side).conn = source.conn;
            if let Some(conn) = source.conn
                && let Target::Dial(dial) = self.clients[at].target.clone()
            {
                self.clients[at].target = Target::Connection {
                    conn,
                    otherwise: Some(dial),
                };
            }
        }
        let client = &mut self.clients[at];
        match client.machine.on_response(cx.now().instant, status) {
            ClientVerdict::Absorb => {}
            ClientVerdict::Ack => self.acknowledge(cx, at, message),
            ClientVerdict::AckAndPassUp => {
                self.acknowledge(cx, at, message);
                self.on_response(cx, at, message, status);
            }
            ClientVerdict::PassUp => self.on_response(cx, at, message, status),
        }
        true
    }

    /// A request could not be sent (TransportEvent::SendFailed).
    pub(crate) fn handle_send_failure(&mut self, cx: &mut Cx<'_>, transaction: u64, why: SendFailure) {
        let Some(at) = self.clients.iter().position(|client| client.id == transaction) else {
            return;
        };
        self.clients[at].machine.on_transport_error();
        let client = self.clients.remove(at);
        if let Purpose::Relay { server } = client.purpose {
            self.on_no_answer(cx, server, why.name(), 503);
        }
    }

    /// What was passed on will not be answered: who asked gets an answer of ours.
    pub(super) fn on_no_answer(&mut self, cx: &mut Cx<'_>, server: u64, reason: &'static str, status: u16) {
        let Some(at) = self.server(server) else {
            return;
        };
        self.negotiation.roll_back(&mut cx.res, server);
        if self.is_initial(at) && self.outcome.is_none() {
            let detail = format!("no answer from the {} side", self.caller_side().other().name());
            self.refuse_setup(cx, server, reason, status, detail);
        } else {
            self.reply(cx, server, if status == 503 { 503 } else { 408 }, &[]);
        }
    }

    /// Ends a set-up with the answer that makes the caller act at once (calls.md 4): the fallback code inside with the
    /// real cause, the cause itself outside.
    pub(super) fn refuse_setup(
        &mut self,
        cx: &mut Cx<'_>,
        server: u64,
        reason: &'static str,
        status: u16,
        detail: String,
    ) {
        let cancelled = self.server(server).is_some_and(|at| self.servers[at].cancelled);
        let (code, outcome) = match (cancelled, self.way) {
            (true, _) => (487, CallOutcome::Cancelled),
            (false, Way::Outbound) => (self.settings.rules.fallback_code, CallOutcome::FellBackAtSetup),
            (false, Way::Inbound) => (status, CallOutcome::Rejected),
        };
        let cause = format!("SIP;cause={status};text=\"{reason}\"");
        let extra = if code == 487 {
            vec![]
        } else {
            vec![("Reason", cause.as_str())]
        };
        self.reply(cx, server, code, &extra);
        self.final_status = code;
        if outcome != CallOutcome::Cancelled {
            self.report_setup_failure(cx, reason, code, detail);
        }
        self.finish(cx, outcome, reason);
    }

    fn acknowledge(&mut self, cx: &mut Cx<'_>, at: usize, message: &SipMessage) {
        let client = &self.clients[at];
        let to = message.first(tollgate_sip::Header::To);
        let transmit = Transmit {
            target: client.target.clone(),
            bytes: client.hop_request("ACK", to),
            token: None,
        };
        cx.outputs.push_back(Output::Transmit(transmit));
    }

    fn on_response(&mut self, cx: &mut Cx<'_>, at: usize, message: &SipMessage, status: u16) {
        let client = &mut self.clients[at];
        let (id, purpose) = (client.id, client.purpose);
        if status < 200 {
            client.provisional_seen = true;
            if client.cancel == CancelState::Wanted {
                self.send_cancel(cx, id);
            }
        }
        match purpose {
            Purpose::Relay { server } if status != 100 => self.relay_response(cx, server, at, message, status),
            Purpose::Refer if status >= 200 => {
                let accepted = status < 300;
                self.fallback.on_refer_answered(accepted);
                self.report_fallback(cx, if accepted { "refer_accepted" } else { "refer_refused" });
                if !accepted && self.phase == CallPhase::FallingBack {
                    self.phase = CallPhase::Established;
                }
            }
            Purpose::Relay { .. } | Purpose::Refer | Purpose::Bye | Purpose::Cancel => {}
        }
    }

    fn relay_response(&mut self, cx: &mut Cx<'_>, server: u64, client: usize, message: &SipMessage, status: u16) {
        let Some(at) = self.server(server) else {
            self.end_late_2xx(cx, client, message, status);
            return;
        };
        let is_invite = self.servers[at].method == Method::Invite;
        if !is_invite {
            self.relay_plain_response(cx, at, message, status);
        } else if status >= 300 {
            self.on_invite_refused(cx, server, message, status);
        } else {
            self.on_invite_progress(cx, server, client, message, status);
        }
    }

    fn relay_plain_response(&mut self, cx: &mut Cx<'_>, at: usize, message: &SipMessage, status: u16) {
        let (id, from) = (self.servers[at].id, self.servers[at].source.side.other());
        let dialog = self.dialog_of(from, message);
        if status >= 300 {
            self.negotiation.roll_back(&mut cx.res, id);
        }
        let Ok(body) = self.negotiate_response(cx, id, from, message) else {
            self.negotiation.roll_back(&mut cx.res, id);
            self.reply(cx, id, 488, &[]);
            return;
        };
        if status < 300
            && matches!(self.servers[at].method, Method::Update)
            && let Some(party) = dialog.and_then(|dialog| self.party_mut(from, dialog))
        {
            party.learn(message, false);
        }
        let bytes = self.rewrite_response(&self.servers[at], message, None, body);
        self.send_response(cx, at, status, bytes);
    }

    /// 300-699 to an INVITE: an initial one ends the call, a later one leaves it as it was.
    fn on_invite_refused(&mut self, cx: &mut Cx<'_>, server: u64, message: &SipMessage, status: u16) {
        let Some(at) = self.server(server) else {
            return;
        };
        self.negotiation.roll_back(&mut cx.res, server);
        // A description in a refusal negotiates nothing and would show where its writer is.
        let body = (message.has_sdp() || message.hides_sdp()).then(Vec::new);
        if !self.is_initial(at) {
            let mapped = (300..400).contains(&status).then_some(480);
            let bytes = self.rewrite_response(&self.servers[at], message, mapped, body);
            self.send_response(cx, at, mapped.unwrap_or(status), bytes);
            return;
        }
        if self.outcome.is_some() {
            return;
        }
        let rang = self.times.ringing.is_some();
        let cancelled = self.servers[at].cancelled;
        let use_pstn = match self.way {
            Way::Outbound => !cancelled && ((alg::is_fallback_status(status) && !rang) || (300..400).contains(&status)),
            Way::Inbound => false,
        };
        if use_pstn {
            let detail = format!("the peer edge answered {status}");
            self.peer_status = Some(status);
            self.refuse_setup(cx, server, "refused_by_peer", status, detail);
            return;
        }
        // A redirection by our agent would show the inside and is not followed outside.
        let mapped = (300..400).contains(&status).then_some(480);
        let bytes = self.rewrite_response(&self.servers[at], message, mapped, body);
        self.final_status = mapped.unwrap_or(status);
        self.send_response(cx, at, self.final_status, bytes);
        let outcome = if cancelled {
            CallOutcome::Cancelled
        } else {
            CallOutcome::Rejected
        };
        self.finish(cx, outcome, if cancelled { "cancelled" } else { "refused" });
    }

    /// 101-299 to an INVITE.
    fn on_invite_progress(&mut self, cx: &mut Cx<'_>, server: u64, client: usize, message: &SipMessage, status: u16) {
        let Some(at) = self.server(server) else {
            return;
        };
        let from = self.servers[at].source.side.other();
        let tag = message
            .to()
            .and_then(|to| to.tag().map(<[u8]>::to_vec))
            .unwrap_or_default();
        if status >= 200 && self.repeat_2xx(cx, server, &tag, client) {
            return;
        }
        let dialog = self.note_dialog(from, at, &tag, message, status);
        self.leg_mut(from).learn_allow(message);
        if self.outcome.is_some() {
            self.end_late_2xx(cx, client, message, status);
            return;
        }
        let body = match self.negotiate_response(cx, server, from, message) {
            Ok(body) => body,
            Err(refusal) => {
                self.on_bad_sdp_in_progress(cx, (server, client), message, status, refusal);
                return;
            }
        };
        self.note_progress(cx, status);
        if status >= 200 {
            if let Some(dialog) = dialog.and_then(|dialog| self.dialogs.get_mut(dialog)) {
                dialog.is_confirmed = true;
            }
            let awaits_ack = self.negotiation.is_offer_open();
            if !awaits_ack {
                self.negotiation.on_answered(&mut cx.res);
            }
        }
        let Some(at) = self.server(server) else {
            return;
        };
        let bytes = self.rewrite_response(&self.servers[at], message, None, body);
        if status >= 200 {
            remember(
                &mut self.forwarded_2xx,
                Forwarded2xx {
                    server,
                    tag,
                    bytes: bytes.clone(),
                },
            );
        }
        if !self.send_response(cx, at, status, bytes) && status >= 200 {
            self.end_late_2xx(cx, client, message, status);
        }
    }

    /// Times and phase of the first INVITE's progress.
    fn note_progress(&mut self, cx: &Cx<'_>, status: u16) {
        let now = cx.now().instant;
        if status >= 180 {
            self.times.setup_deadline = None;
            self.times.ringing.get_or_insert(now);
        }
        if self.phase == CallPhase::Inviting && status >= 180 {
            self.phase = CallPhase::Early;
        }
        if status >= 200 && matches!(self.phase, CallPhase::Inviting | CallPhase::Early) {
            self.phase = CallPhase::Established;
            self.times.answered = Some(now);
            self.times.invite_deadline = None;
            self.final_status = status;
        }
    }

    /// Each To tag of a 101-299 makes a dialog (calls.md 2); a re-INVITE's 2xx refreshes the target.
    fn note_dialog(&mut self, from: Side, at: usize, tag: &[u8], message: &SipMessage, status: u16) -> Option<usize> {
        if tag.is_empty() || status < 101 {
            return None;
        }
        if !self.is_initial(at) {
            let dialog = self.dialog_of(from, message)?;
            if status >= 200
                && let Some(party) = self.party_mut(from, dialog)
            {
                party.learn(message, false);
            }
            return Some(dialog);
        }
        let known = self.dialogs.iter().position(|dialog| dialog.callee_tag == tag);
        if known.is_none() && self.dialogs.len() >= MAX_DIALOGS {
            return None;
        }
        let at = known.unwrap_or_else(|| {
            let callee = Party::default();
            self.dialogs.push(Dialog {
                callee_tag: tag.to_vec(),
                is_confirmed: false,
                callee,
            });
            self.dialogs.len() - 1
        });
        self.dialogs[at].callee.learn(message, true);
        Some(at)
    }

    /// A retransmitted 2xx: with its ACK already seen it gets that again, else it is forwarded again (calls.md 1).
    fn repeat_2xx(&mut self, cx: &mut Cx<'_>, server: u64, tag: &[u8], client: usize) -> bool {
        let (side, cseq) = (self.clients[client].side, self.clients[client].cseq);
        let known = self
            .forwarded_2xx
            .iter()
            .find(|one| one.server == server && one.tag == tag);
        let Some(bytes) = known.map(|one| one.bytes.clone()) else {
            return false;
        };
        let ack = self
            .forwarded_acks
            .iter()
            .find(|ack| (ack.side, ack.cseq) == (side, cseq) && ack.tag == tag);
        if let Some(ack) = ack {
            let transmit = Transmit {
                target: ack.target.clone(),
                bytes: ack.bytes.clone(),
                token: None,
            };
            cx.outputs.push_back(Output::Transmit(transmit));
        } else if let Some(at) = self.server(server) {
            self.send_response(cx, at, 200, bytes);
        }
        true
    }

    /// What the other side gets as body; `None` leaves the body as it is.
    fn negotiate_response(
        &mut self,
        cx: &mut Cx<'_>,
        server: u64,
        from: Side,
        message: &SipMessage,
    ) -> Result<Option<Vec<u8>>, SdpRefusal> {
        if message.hides_sdp() {
            return Err(SdpRefusal::NothingLeft);
        }
        let status = message.status().unwrap_or_default();
        let is_invite = self
            .server(server)
            .is_some_and(|at| self.servers[at].method == Method::Invite);
        let is_awaited = is_invite || self.negotiation.is_offer_of(server);
        let Some(sdp) = message.sdp() else {
            return Ok(None);
        };
        if status >= 300 || !is_awaited || self.outcome.is_some() {
            return Ok(Some(Vec::new()));
        }
        let tag = message
            .to()
            .and_then(|to| to.tag().map(<[u8]>::to_vec))
            .unwrap_or_default();
        let body = self
            .negotiation
            .handle(&mut cx.res, from, Carrier::Response(server, &tag), sdp);
        self.after_negotiation(cx);
        body
    }

    /// calls.md 5, "Bad SDP": a provisional one is cancelled, a 2xx is acknowledged and ended; who asked is refused.
    fn on_bad_sdp_in_progress(
        &mut self,
        cx: &mut Cx<'_>,
        (server, client): (u64, usize),
        message: &SipMessage,
        status: u16,
        refusal: SdpRefusal,
    ) {
        let Some(at) = self.server(server) else {
            return;
        };
        if !self.is_initial(at) {
            self.acknowledge_2xx(cx, client, message);
            self.reply(cx, server, 488, &[]);
            self.end_both_legs(cx, refusal.name());
            return;
        }
        if status < 200 {
            self.cancel_clients_of(cx, server);
        } else {
            self.end_late_2xx(cx, client, message, status);
        }
        self.refuse_setup(
            cx,
            server,
            refusal.name(),
            488,
            "the answer's description is not acceptable".into(),
        );
    }

    /// A 2xx nobody waits for any more: it is acknowledged and its leg ended (RFC 3261 §13.2.2.4).
    fn end_late_2xx(&mut self, cx: &mut Cx<'_>, client: usize, message: &SipMessage, status: u16) {
        let is_invite = self
            .clients
            .get(client)
            .is_some_and(|client| client.method == Method::Invite);
        if !is_invite || !(200..300).contains(&status) {
            return;
        }
        let side = self.clients[client].side;
        self.acknowledge_2xx(cx, client, message);
        let is_ending = self
            .clients
            .iter()
            .any(|client| client.purpose == Purpose::Bye && client.side == side);
        if let Some(dialog) = self.late_dialog(side, message).filter(|_| !is_ending) {
            self.send_bye(cx, side, dialog);
        }
    }

    fn late_dialog(&mut self, side: Side, message: &SipMessage) -> Option<usize> {
        if let Some(known) = self.dialog_of(side, message) {
            return Some(known);
        }
        if self.dialogs.len() >= MAX_DIALOGS {
            return None;
        }
        let mut callee = Party::default();
        callee.learn(message, true);
        let callee_tag = message.to()?.tag()?.to_vec();
        self.dialogs.push(Dialog {
            callee_tag,
            is_confirmed: false,
            callee,
        });
        Some(self.dialogs.len() - 1)
    }

    fn acknowledge_2xx(&mut self, cx: &mut Cx<'_>, client: usize, message: &SipMessage) {
        let (side, cseq) = (self.clients[client].side, self.clients[client].cseq);
        let Some(dialog) = self.late_dialog(side, message) else {
            return;
        };
        if side != self.caller_side()
            && let Some(dialog) = self.dialogs.get_mut(dialog)
        {
            dialog.callee.learn(message, true);
        }
        let branch = super::compose::new_branch(cx.res.rng);
        let bytes = self.compose_request(side, dialog, (&method_text(&Method::Ack), cseq, &branch), &[]);
        if let Some(target) = self.target(cx, side, Some(dialog)) {
            cx.outputs.push_back(Output::Transmit(Transmit {
                target,
                bytes,
                token: None,
            }));
        }
    }

    /// Whether a server transaction is the INVITE that began the call.
    pub(super) fn is_initial(&self, at: usize) -> bool {
        self.servers
            .get(at)
            .is_some_and(|server| server.method == Method::Invite && server.to_tag().is_none())
    }
}
