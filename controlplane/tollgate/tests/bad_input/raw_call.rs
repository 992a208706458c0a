//! SIP written by hand, towards the edge of alpha as the edge of beta would send it.

use std::net::SocketAddr;

use tollgate_peers::certs::Identity;
use tollgate_peers::raw::{RawClient, RawTarget};

use crate::company::{Pair, Papers, ticket};

/// The number alpha granted beta.
pub(crate) const NUMBER: &str = "+12125550123";

/// A good ticket of alpha for beta.
pub(crate) fn good_ticket() -> String {
    ticket(NUMBER, "alpha", "beta")
}

/// An INVITE with a ticket and a description, under a Call-ID of its own.
pub(crate) fn invite(call_id: &str, from: SocketAddr, ticket: &str, sdp: &str) -> String {
    format!(
        "INVITE sip:{NUMBER}@alpha.example SIP/2.0\r\n\
         Via: SIP/2.0/TLS {from};branch=z9hG4bK{call_id}\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:+14085550199@beta.example>;tag=f{call_id}\r\n\
         To: <sip:{NUMBER}@alpha.example>\r\n\
         Call-ID: {call_id}\r\n\
         CSeq: 1 INVITE\r\n\
         Contact: <sip:beta@{from};transport=tls>\r\n\
         X-Cisco-UC-IME-Ticket: {ticket}\r\n\
         Content-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
}

/// Connects to the edge of alpha, or says why that cannot be.
pub(crate) async fn knock(pair: &Pair, identity: Option<&Identity>) -> std::io::Result<RawClient> {
    let papers = pair.papers();
    let target = RawTarget {
        address: outside(papers),
        server_name: "alpha.example",
        ca_pem: papers.authority.ca_pem(),
        source: None,
    };
    RawClient::connect(target, identity).await
}

/// Where the edge of alpha listens for peers.
pub(crate) fn outside(papers: &Papers) -> SocketAddr {
    papers.address("alpha", 3, 5061)
}
