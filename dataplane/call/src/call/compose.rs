//! Messages of a call on their way out: requests and responses passed on, and requests of our own.

use rand::RngCore;
use tollgate_contract::{Side, Transport, Way};
use tollgate_sip::edit::Rewrite;
use tollgate_sip::transaction::ClientTransaction;
use tollgate_sip::{Header, Method, NameAddr, SipMessage, SipUri, Via, response};

use super::begin::datagram_listener;
use super::{Call, Cx};
use crate::alg;
use crate::dialog::{Party, tagged};
use crate::output::Output;
use crate::transport::{Dial, SendToken, Target, Transmit};
use crate::txn::{CancelState, Client, Purpose, Server, kind_of};

/// What a request passed on gets in place of what it had.
pub(super) struct Passage<'c> {
    pub(super) to: Side,
    pub(super) dialog: Option<usize>,
    pub(super) branch: &'c str,
    pub(super) cseq: u32,
    pub(super) body: Option<Vec<u8>>,
}

impl Call {
    /// A request as the other leg gets it.
    pub(super) fn rewrite_request(&self, cx: &Cx<'_>, request: &SipMessage, passage: Passage<'_>) -> Option<Vec<u8>> {
        let Passage {
            to,
            dialog,
            branch,
            cseq,
            body,
        } = passage;
        let method = request.method()?;
        let leg = self.leg(to);
        let party = self.party(to, dialog);
        let uri = match party.filter(|party| !party.contact.is_empty()) {
            Some(party) => party.contact.clone(),
            None => self.initial_request_uri(request),
        };
        let mut rewrite = Rewrite::new(request);
        rewrite.start_line([method.as_bytes(), b" ", &uri, b" SIP/2.0"].concat());
        alg::strip_hop(&mut rewrite);
        for route in party.map(|party| party.routes.iter().rev()).into_iter().flatten() {
            rewrite.push_front("Route", route.clone());
        }
        rewrite.push_front("Via", leg.via(branch));
        let (from, to_value) = self.identities(to, dialog);
        rewrite.set(Header::From, from);
        rewrite.set(Header::To, to_value);
        rewrite.set(Header::CallId, leg.call_id.clone());
        rewrite.set(
            Header::CSeq,
            [cseq.to_string().as_bytes(), b" ", method.as_bytes()].concat(),
        );
        // RFC 3261 §16.6 step 3: one less, or 70 where there was none.
        let hops = match request.first(Header::MaxForwards) {
            Some(_) => request.max_forwards().saturating_sub(1),
            None => request.max_forwards(),
        };
        rewrite.set(Header::MaxForwards, hops.to_string().into_bytes());
        if alg::rewrites_contact(method) {
            rewrite.set(Header::Contact, alg::contact_value(&leg.contact, request));
        } else if to == Side::Outside && !(*method == Method::Register && self.settings.hiding.may_show(request)) {
            rewrite.remove(Header::Contact);
        }
        if let Some(rack) = self.mapped_rack(to.other(), request) {
            rewrite.set(Header::RAck, rack);
        }
        if to == Side::Outside {
            self.settings.hiding.apply(&mut rewrite);
            if dialog.is_none() {
                self.set_ticket(cx, request, &mut rewrite);
            }
        } else {
            self.settings.hiding.restore(&mut rewrite);
        }
        self.put_body(&mut rewrite, request, to, body);
        Some(rewrite.finish())
    }

    /// A response as the side that asked gets it.
    pub(super) fn rewrite_response(
        &self,
        server: &Server,
        message: &SipMessage,
        status_line: Option<u16>,
        body: Option<Vec<u8>>,
    ) -> Vec<u8> {
        let to = server.source.side;
        let mut rewrite = Rewrite::new(message);
        let status = status_line.or_else(|| message.status()).unwrap_or(500);
        if let Some(mapped) = status_line {
            rewrite.start_line(format!("SIP/2.0 {mapped} {}", response::reason_phrase(mapped)).into_bytes());
        }
        alg::strip_hop(&mut rewrite);
        for via in response::vias_with_source(&server.request, server.source.remote)
            .into_iter()
            .rev()
        {
            rewrite.push_front("Via", via);
        }
        let copy = |header: Header| server.request.first(header).unwrap_or_default().to_vec();
        for header in [Header::From, Header::CallId, Header::CSeq] {
            rewrite.set(header, copy(header));
        }
        let tag = message
            .to()
            .and_then(|to| to.tag().map(<[u8]>::to_vec))
            .unwrap_or_default();
        let to_value = match server.to_tag() {
            Some(_) => copy(Header::To),
            None => tagged(&copy(Header::To), &tag),
        };
        rewrite.set(Header::To, to_value);
        let makes_target = (101..300).contains(&status) && !tag.is_empty() && message.contact().is_some();
        if alg::rewrites_contact(&server.method) && makes_target {
            rewrite.set(Header::Contact, alg::contact_value(&self.leg(to).contact, message));
        } else if to == Side::Outside {
            rewrite.remove(Header::Contact);
        }
        if to == Side::Outside {
            self.settings.hiding.apply(&mut rewrite);
        } else {
            self.settings.hiding.restore(&mut rewrite);
        }
        self.put_body(&mut rewrite, message, to, body);
        rewrite.finish()
    }

    /// Puts the description that the other side gets in place of the message's own; none at all takes the body away. What
    /// stands beside a description stays, unless the outside would see the inside in it: then the description goes alone.
    fn put_body(&self, rewrite: &mut Rewrite<'_>, message: &SipMessage, to: Side, sdp: Option<Vec<u8>>) {
        let hiding = Some(&self.settings.hiding).filter(|_| to == Side::Outside);
        let sdp = sdp.map(|sdp| match hiding {
            Some(hiding) => hiding.description(sdp),
            None => sdp,
        });
        let body = match sdp {
            None => hiding.and_then(|hiding| hiding.body(message)),
            Some(sdp) if sdp.is_empty() || !message.is_multipart() => Some(sdp),
            Some(sdp) => {
                let whole = message.with_sdp(sdp.clone());
                if hiding.is_some_and(|hiding| hiding.shows_inside(&whole)) {
                    rewrite.set(Header::ContentType, b"application/sdp".to_vec());
                    Some(sdp)
                } else {
                    Some(whole)
                }
            }
        };
        if let Some(body) = body {
            rewrite.body(body);
        }
    }

    /// A request of our own within a dialog, as if the other party had sent it.
    pub(super) fn compose_request(
        &self,
        to: Side,
        dialog: usize,
        (method, cseq, branch): (&str, u32, &str),
        extra: &[(&str, String)],
    ) -> Vec<u8> {
        let leg = self.leg(to);
        let party = self.party(to, Some(dialog)).cloned().unwrap_or_default();
        let (from, to_value) = self.identities(to, Some(dialog));
        let mut out = Vec::with_capacity(640);
        out.extend_from_slice(&[method.as_bytes(), b" ", &party.contact, b" SIP/2.0\r\n"].concat());
        let mut field = |name: &str, value: &[u8]| {
            out.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        };
        field("Via", &leg.via(branch));
        for route in &party.routes {
            field("Route", route);
        }
        field("Max-Forwards", b"70");
        field("From", &from);
        field("To", &to_value);
        field("Call-ID", &leg.call_id);
        field("CSeq", format!("{cseq} {method}").as_bytes());
        for (name, value) in extra {
            field(name, value.as_bytes());
        }
        field("Content-Length", b"0");
        out.extend_from_slice(b"\r\n");
        out
    }

    /// From and To of what we send to a leg's party: the other party is the sender.
    fn identities(&self, to: Side, dialog: Option<usize>) -> (Vec<u8>, Vec<u8>) {
        let leg = self.leg(to);
        let callee_tag = dialog
            .and_then(|at| self.dialogs.get(at))
            .map_or(&b""[..], |dialog| &dialog.callee_tag);
        let (caller, callee) = (tagged(&leg.caller, &self.caller_tag), tagged(&leg.callee, callee_tag));
        if to == self.caller_side() {
            (callee, caller)
        } else {
            (caller, callee)
        }
    }

    /// The ticket of a new call: the agent's own token under the configured name, else the route's (ticket.md 2).
    fn set_ticket(&self, cx: &Cx<'_>, request: &SipMessage, rewrite: &mut Rewrite<'_>) {
        if self.way != Way::Outbound {
            return;
        }
        let brought = request
            .fields()
            .find(|field| field.header.is_ticket())
            .map(|field| field.value.to_vec());
        rewrite.remove_where(|header, _| header.is_ticket());
        let learned = || {
            let (routes, now) = (&cx.snapshot.routes, cx.res.now.unix);
            let route = match self.called {
                Some(number) => routes.lookup(number, now)?,
                None => routes.catch_all(now)?,
            };
            route.ticket.as_ref().map(|ticket| ticket.0.clone().into_bytes())
        };
        if let Some(ticket) = brought.or_else(learned) {
            rewrite.push_back(cx.snapshot.tickets.header.name(), ticket);
        }
    }

    /// RAck names its INVITE's number as the other leg knows it.
    fn mapped_rack(&self, from: Side, request: &SipMessage) -> Option<Vec<u8>> {
        let rack = std::str::from_utf8(request.first(Header::RAck)?).ok()?;
        let mut parts = rack.split_ascii_whitespace();
        let (rseq, number, method) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
        Some(format!("{rseq} {} {method}", self.sent_invite_number(from, number)?).into_bytes())
    }

    /// The number an INVITE of a side was passed on with.
    pub(super) fn sent_invite_number(&self, from: Side, received: u32) -> Option<u32> {
        let found = self
            .invite_numbers
            .iter()
            .rev()
            .find(|one| one.from == from && one.received == received);
        found.map(|one| one.sent)
    }

    /// Sends a request as a new client transaction.
    pub(super) fn send_request(
        &mut self,
        cx: &mut Cx<'_>,
        (side, dialog): (Side, Option<usize>),
        (bytes, branch): (Vec<u8>, String),
        purpose: Purpose,
    ) -> Option<u64> {
        let target = self.target(cx, side, dialog)?;
        self.send_request_to(cx, side, target, (bytes, branch), purpose)
    }

    /// Sends a request to a target as a new client transaction.
    pub(super) fn send_request_to(
        &mut self,
        cx: &mut Cx<'_>,
        side: Side,
        target: Target,
        (bytes, branch): (Vec<u8>, String),
        purpose: Purpose,
    ) -> Option<u64> {
        let request = SipMessage::index(bytes.clone()).ok()?;
        let cseq = request.cseq()?;
        let id = self.transaction_id();
        let reliable = !matches!(target, Target::Datagram { .. });
        let machine = ClientTransaction::new(kind_of(&cseq.method), reliable, cx.now().instant);
        let token = Some(SendToken {
            call: self.key,
            transaction: id,
        });
        cx.outputs.push_back(Output::Transmit(Transmit {
            target: target.clone(),
            bytes,
            token,
        }));
        self.clients.push(Client {
            id,
            side,
            machine,
            method: cseq.method,
            branch,
            cseq: cseq.number,
            target,
            request,
            purpose,
            provisional_seen: false,
            cancel: CancelState::No,
        });
        Some(id)
    }

    /// Where requests to a leg's party go.
    pub(super) fn target(&self, cx: &Cx<'_>, side: Side, dialog: Option<usize>) -> Option<Target> {
        let party = self.party(side, dialog);
        match side {
            Side::Outside => Some(self.outside_target(party)),
            Side::Inside => self.inside_target(cx, party),
        }
    }

    fn outside_target(&self, party: Option<&Party>) -> Target {
        let mut addresses = self.settings.peer.targets.clone();
        if addresses.is_empty() {
            addresses.extend(party.and_then(|party| socket_address(&party.contact, 5061)));
        }
        let dial = Dial {
            side: Side::Outside,
            transport: Transport::Tls,
            addresses,
            server_name: Some(self.settings.peer.domain.clone()),
            timeout: self.settings.rules.connect_timeout,
        };
        match self.leg(Side::Outside).conn {
            Some(conn) => Target::Connection {
                conn,
                otherwise: (!dial.addresses.is_empty()).then_some(dial),
            },
            None => Target::Dial(dial),
        }
    }

    fn inside_target(&self, cx: &Cx<'_>, party: Option<&Party>) -> Option<Target> {
        let (leg, agent) = (self.leg(Side::Inside), &self.settings.agent);
        let next = party.and_then(|party| {
            let route = party
                .routes
                .first()
                .and_then(|route| NameAddr::parse(route))
                .map(|route| route.uri.to_vec());
            route.or_else(|| (!party.contact.is_empty()).then(|| party.contact.clone()))
        });
        let uri = next.as_deref().and_then(SipUri::parse);
        let named = uri.and_then(|uri| std::str::from_utf8(uri.param("transport")?).ok()?.parse().ok());
        let transport: Transport = if next.is_some() {
            named.unwrap_or(leg.transport)
        } else {
            agent.transport
        };
        let default_port = if transport == Transport::Tls { 5061 } else { 5060 };
        let address = next
            .as_deref()
            .and_then(|uri| socket_address(uri, default_port))
            .unwrap_or(agent.address);
        if transport == Transport::Udp {
            let from = datagram_listener(cx.local, Side::Inside, address)?;
            return Some(Target::Datagram { from, to: address });
        }
        let dial = Dial {
            side: Side::Inside,
            transport,
            addresses: vec![address],
            server_name: (transport == Transport::Tls).then(|| agent.tls_name.clone()).flatten(),
            timeout: self.settings.rules.connect_timeout,
        };
        Some(match leg.conn.filter(|_| transport == leg.transport) {
            Some(conn) => Target::Connection {
                conn,
                otherwise: Some(dial),
            },
            None => Target::Dial(dial),
        })
    }

    /// Answers a request ourselves, through its transaction.
    pub(super) fn reply(&mut self, cx: &mut Cx<'_>, id: u64, status: u16, extra: &[(&str, &str)]) {
        let Some(at) = self.server(id) else { return };
        // A 100 makes no dialog and so bears no tag of ours (RFC 3261 §8.2.6.2).
        let tag = if status == 100 {
            String::new()
        } else {
            self.own_tag.clone()
        };
        let bytes = match tag.as_str() {
            "" => response::respond(
                &self.servers[at].request,
                self.servers[at].source.remote,
                status,
                None,
                extra,
            ),
            tag => self.servers[at].respond(status, tag, extra),
        };
        self.send_response(cx, at, status, bytes);
    }

    /// Sends a response through its transaction; one that may no longer be sent is dropped.
    pub(super) fn send_response(&mut self, cx: &mut Cx<'_>, at: usize, status: u16, bytes: Vec<u8>) -> bool {
        let now = cx.now().instant;
        let Some(server) = self.servers.get_mut(at) else {
            return false;
        };
        if !server.machine.on_send(now, status) {
            return false;
        }
        server.last = Some(bytes.clone());
        let target = response_target(&server.source, &server.request);
        cx.counters.response_sent(server.source.side, status);
        cx.outputs.push_back(Output::Transmit(Transmit {
            target,
            bytes,
            token: None,
        }));
        true
    }
}

/// Where responses to a request go (RFC 3261 §18.2.2, RFC 3581): the connection it came by, or for datagrams its
/// source address, at the port of sent-by unless `rport` was asked for.
pub(crate) fn response_target(source: &crate::transport::Source, request: &SipMessage) -> Target {
    match source.conn {
        Some(conn) => Target::Connection { conn, otherwise: None },
        None => {
            let mut to = source.remote;
            if let Some(via) = request.top_via().filter(|via| !via.has_rport()) {
                to.set_port(via.port.unwrap_or(5060));
            }
            Target::Datagram {
                from: source.listener,
                to,
            }
        }
    }
}

/// Answers a request for which there is no room, without a transaction.
pub(super) fn answer_statelessly(cx: &mut Cx<'_>, server: &Server, status: u16) {
    let bytes = response::respond(&server.request, server.source.remote, status, None, &[]);
    let target = response_target(&server.source, &server.request);
    cx.counters.response_sent(server.source.side, status);
    cx.outputs.push_back(Output::Transmit(Transmit {
        target,
        bytes,
        token: None,
    }));
}

/// A new branch, not to be guessed.
pub(crate) fn new_branch(rng: &mut impl RngCore) -> String {
    format!("{}{:016x}", Via::MAGIC, rng.next_u64())
}

/// The method's text for a composed request.
pub(super) fn method_text(method: &Method) -> String {
    String::from_utf8_lossy(method.as_bytes()).into_owned()
}

fn socket_address(uri: &[u8], default_port: u16) -> Option<std::net::SocketAddr> {
    let uri = SipUri::parse(uri)?;
    Some(std::net::SocketAddr::new(uri.ip()?, uri.port.unwrap_or(default_port)))
}
