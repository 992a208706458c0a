//! Both parties of the calls through an edge: a peer's edge that calls over TLS, and a call agent that answers over UDP.
//!
//! One call at a time, no retransmission of ours and no teardown: an edge under measurement is ended with its calls.
//! RFC 3261, by the messages of `tollgate-peers`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, timeout_at};
use tollgate_peers::SipText;
use tollgate_peers::certs::Identity;
use tollgate_peers::raw::{RawClient, RawTarget, Reply};

use super::call::{Ends, Relayed};

/// Who calls whom through which edge.
pub(crate) struct Far<'a> {
    /// The edge's outside listener.
    pub(crate) edge: SocketAddr,
    /// The address of the call agent.
    pub(crate) agent: SocketAddr,
    /// The domain of the edge's certificate.
    pub(crate) edge_domain: &'a str,
    /// The domain of the peer's certificate.
    pub(crate) peer_domain: &'a str,
    /// The authority of both.
    pub(crate) ca_pem: &'a str,
    /// The peer's certificate.
    pub(crate) identity: &'a Identity,
    /// The number called.
    pub(crate) number: &'a str,
    /// The ticket for it.
    pub(crate) ticket: String,
}

/// Both parties. Dropping them closes their connections.
pub(crate) struct Both {
    runtime: Runtime,
    peer: RawClient,
    agent: Agent,
    names: Names,
    calls: u32,
}

struct Names {
    edge_domain: String,
    peer_domain: String,
    number: String,
    ticket: String,
    contact: String,
}

/// The call agent's socket, and what it answered to each Call-ID.
struct Agent {
    socket: UdpSocket,
    local: SocketAddr,
    answers: HashMap<String, Vec<u8>>,
}

impl Both {
    /// Binds the agent and connects the peer.
    ///
    /// # Errors
    /// In words, when either fails.
    pub(crate) fn connect(far: Far<'_>) -> Result<Self, String> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|why| why.to_string())?;
        let target = RawTarget {
            address: far.edge,
            server_name: far.edge_domain,
            ca_pem: far.ca_pem,
            source: None,
        };
        let (peer, socket) = runtime.block_on(async {
            let peer = RawClient::connect(target, Some(far.identity)).await;
            let peer = peer.map_err(|why| format!("TLS to the edge: {why}"))?;
            let socket = UdpSocket::bind(far.agent).await;
            let socket = socket.map_err(|why| format!("the call agent at {}: {why}", far.agent))?;
            Ok::<_, String>((peer, socket))
        })?;
        Ok(Self {
            runtime,
            peer,
            agent: Agent {
                socket,
                local: far.agent,
                answers: HashMap::new(),
            },
            names: Names {
                edge_domain: far.edge_domain.to_owned(),
                peer_domain: far.peer_domain.to_owned(),
                number: far.number.to_owned(),
                ticket: far.ticket,
                contact: format!("<sip:peer@{};transport=tls>", far.edge),
            },
            calls: 0,
        })
    }

    /// Sets one call up: INVITE, 200, ACK.
    ///
    /// # Errors
    /// In words, when it does not come up.
    pub(crate) fn place(&mut self, ends: &Ends) -> Result<Relayed, String> {
        self.calls += 1;
        let call = self.calls;
        let Self {
            runtime,
            peer,
            agent,
            names,
            ..
        } = self;
        runtime.block_on(async {
            let invite = names.invite(call, &ends.outside_sdp());
            peer.send(invite.as_bytes()).await.map_err(|why| why.to_string())?;
            let deadline = Instant::now() + PATIENCE;
            let (mut offered, answering) = (None, ends.inside_sdp());
            let answer = loop {
                tokio::select! {
                    sdp = agent.handle_next(&answering) => offered = sdp?.or(offered),
                    reply = timeout_at(deadline, peer.next_reply(PATIENCE)) => {
                        if let Some(answer) = final_answer(reply.unwrap_or(Reply::Silence), call)? {
                            break answer;
                        }
                    }
                }
            };
            let ack = names.ack(call, &answer);
            peer.send(ack.as_bytes()).await.map_err(|why| why.to_string())?;
            let offered = offered.ok_or("the call was answered without the call agent")?;
            ends.relayed(&offered, answer.body())
        })
    }
}

impl Names {
    fn invite(&self, call: u32, sdp: &str) -> String {
        let Self {
            edge_domain,
            number,
            ticket,
            contact,
            ..
        } = self;
        format!(
            "INVITE sip:{number}@{edge_domain} SIP/2.0\r\n{}Contact: {contact}\r\n\
             X-Cisco-UC-IME-Ticket: {ticket}\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
            self.head(call, "INVITE", &format!("<sip:{number}@{edge_domain}>")),
            sdp.len()
        )
    }

    /// The ACK of a 2xx: to its Contact, by its Record-Routes (RFC 3261 §13.2.2.4).
    fn ack(&self, call: u32, answer: &SipText) -> String {
        let contact = answer.header("Contact").unwrap_or_default();
        let uri = contact.split(['<', '>']).nth(1).unwrap_or(&contact).to_owned();
        let mut routes = answer.header_lines("Record-Route");
        routes.reverse();
        let routes: String = routes.iter().map(|route| format!("Route: {route}\r\n")).collect();
        let to = answer.header("To").unwrap_or_default();
        format!(
            "ACK {uri} SIP/2.0\r\n{}{routes}Content-Length: 0\r\n\r\n",
            self.head(call, "ACK", &to)
        )
    }

    fn head(&self, call: u32, method: &str, to: &str) -> String {
        let domain = &self.peer_domain;
        format!(
            "Via: SIP/2.0/TLS {domain};branch=z9hG4bK{method}{call}\r\nMax-Forwards: 70\r\n\
             From: <sip:+14085550199@{domain}>;tag=f{call}\r\nTo: {to}\r\nCall-ID: bench-{call}@{domain}\r\n\
             CSeq: 1 {method}\r\n"
        )
    }
}

impl Agent {
    /// Takes the next datagram. A new INVITE is answered with 200 and this session; its own session is returned.
    async fn handle_next(&mut self, sdp: &str) -> Result<Option<Vec<u8>>, String> {
        let mut buffer = vec![0; 65_536];
        let received = self.socket.recv_from(&mut buffer).await;
        let (len, from) = received.map_err(|why| format!("the call agent: {why}"))?;
        let Some(message) = SipText::parse(&buffer[..len]) else {
            return Ok(None);
        };
        if message.method_name().as_deref() != Some("INVITE") {
            return Ok(None);
        }
        let call_id = message.header("Call-ID").unwrap_or_default();
        let is_new = !self.answers.contains_key(&call_id);
        let answer = self
            .answers
            .entry(call_id)
            .or_insert_with(|| answer_to(&message, self.local, sdp));
        self.socket
            .send_to(answer, from)
            .await
            .map_err(|why| format!("the call agent: {why}"))?;
        Ok(is_new.then(|| message.body().to_vec()))
    }
}

/// 200 with a session (RFC 3261 §8.2.6).
fn answer_to(invite: &SipText, local: SocketAddr, sdp: &str) -> Vec<u8> {
    let copied = |name: &'static str| {
        let lines = invite.header_lines(name).into_iter();
        lines.map(move |value| format!("{name}: {value}\r\n"))
    };
    let head: String = ["Via", "Record-Route", "From", "Call-ID", "CSeq"]
        .into_iter()
        .flat_map(copied)
        .collect();
    let to = invite.header("To").unwrap_or_default();
    format!(
        "SIP/2.0 200 OK\r\n{head}To: {to};tag=agent\r\nContact: <sip:agent@{local}>\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
    .into_bytes()
}

/// The 2xx of this call; `None` for anything before it.
fn final_answer(reply: Reply, call: u32) -> Result<Option<SipText>, String> {
    let bytes = match reply {
        Reply::Message(bytes) => bytes,
        Reply::Closed => return Err(format!("the edge closed the connection at call {call}")),
        Reply::Silence => return Err(format!("call {call} is not answered")),
    };
    let message = SipText::parse(&bytes).ok_or("the edge sends what is no message")?;
    match message.status() {
        Some(200..300) => Ok(Some(message)),
        Some(status @ 300..) => Err(format!("call {call} is refused with {status}")),
        Some(_) | None => Ok(None),
    }
}

/// How long a call may take to come up.
const PATIENCE: Duration = Duration::from_secs(10);
