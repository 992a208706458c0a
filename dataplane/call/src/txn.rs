//! The transactions of a call: the machines of `tollgate-sip` with the bytes they speak of.

use std::time::Instant;

use tollgate_contract::Side;
use tollgate_sip::transaction::{ClientTransaction, Kind, ServerTransaction};
use tollgate_sip::{Header, Method, SipMessage, response};

use crate::transport::{Source, Target};

/// A request somebody sent us.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) id: u64,
    pub(crate) machine: ServerTransaction,
    pub(crate) method: Method,
    pub(crate) cseq: u32,
    pub(crate) source: Source,
    pub(crate) request: SipMessage,
    pub(crate) last: Option<Vec<u8>>,
    pub(crate) cancelled: bool,
}

/// A request we sent.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) side: Side,
    pub(crate) machine: ClientTransaction,
    pub(crate) method: Method,
    pub(crate) branch: String,
    pub(crate) cseq: u32,
    pub(crate) target: Target,
    pub(crate) request: SipMessage,
    pub(crate) purpose: Purpose,
    pub(crate) provisional_seen: bool,
    pub(crate) cancel: CancelState,
}

/// Whether a CANCEL goes with an INVITE of ours (calls.md 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CancelState {
    /// Nobody wants one.
    No,
    /// One is wanted, but no provisional response has come yet (RFC 3261 §9.1).
    Wanted,
    /// It is sent.
    Sent,
}

/// Why we sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// For the request of this server transaction; its responses go back there.
    Relay { server: u64 },
    /// To cancel an INVITE.
    Cancel,
    /// To end a leg ourselves.
    Bye,
    /// To hand the call back to the PSTN.
    Refer,
}

/// What names a server transaction (RFC 3261 §17.2.3): top branch, sent-by, and the method, ACK standing for INVITE.
///
/// A branch that does not begin with the magic, or none, names nothing by itself: what else §17.2.3 tells such requests
/// apart by is compared too. Call-ID and side are the call's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestKey<'m> {
    branch: &'m [u8],
    host: &'m [u8],
    port: Option<u16>,
    without_magic: Option<Unbranched<'m>>,
}

/// What names a transaction of an implementation before RFC 3261.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unbranched<'m> {
    request_uri: &'m [u8],
    from_tag: &'m [u8],
    cseq: u32,
}

impl<'m> RequestKey<'m> {
    pub(crate) fn of(request: &'m SipMessage) -> Option<Self> {
        let via = request.top_via()?;
        let without_magic = match via.has_magic_branch() {
            true => None,
            false => Some(Unbranched {
                request_uri: request.request_uri(),
                from_tag: request.from()?.tag()?,
                cseq: request.cseq()?.number,
            }),
        };
        Some(Self {
            branch: via.branch().unwrap_or_default(),
            host: via.host,
            port: via.port,
            without_magic,
        })
    }

    fn matches(&self, other: &Self) -> bool {
        self.branch == other.branch
            && self.port == other.port
            && self.host.eq_ignore_ascii_case(other.host)
            && self.without_magic == other.without_magic
    }
}

impl Server {
    pub(crate) fn new(id: u64, source: Source, request: SipMessage) -> Option<Self> {
        let cseq = request.cseq()?;
        let kind = kind_of(&cseq.method);
        let machine = ServerTransaction::new(kind, source.transport.is_reliable());
        let (method, cseq) = (cseq.method, cseq.number);
        Some(Self {
            id,
            machine,
            method,
            cseq,
            source,
            request,
            last: None,
            cancelled: false,
        })
    }

    /// Whether a request from a side belongs to this transaction; `method` is INVITE for an ACK or CANCEL of one.
    pub(crate) fn is_for(&self, side: Side, key: &RequestKey<'_>, method: &Method) -> bool {
        self.source.side == side
            && self.method == *method
            && RequestKey::of(&self.request).is_some_and(|own| own.matches(key))
    }

    /// A response made here, not yet sent.
    pub(crate) fn respond(&self, status: u16, to_tag: &str, extra: &[(&str, &str)]) -> Vec<u8> {
        response::respond(&self.request, self.source.remote, status, Some(to_tag), extra)
    }

    /// The request's To tag.
    pub(crate) fn to_tag(&self) -> Option<Vec<u8>> {
        self.request.to().and_then(|to| to.tag().map(<[u8]>::to_vec))
    }
}

impl Client {
    /// Whether a response belongs to this transaction (RFC 3261 §17.1.3).
    pub(crate) fn is_for(&self, side: Side, branch: &[u8], method: &Method) -> bool {
        self.side == side && self.branch.as_bytes() == branch && self.method == *method
    }

    /// The ACK to a refusal of this INVITE, or the CANCEL of it: same branch, Request-URI, Route and CSeq number.
    pub(crate) fn hop_request(&self, method: &str, to: Option<&[u8]>) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        let line = |out: &mut Vec<u8>, name: &str, value: &[u8]| {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        };
        out.extend_from_slice(method.as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.request.request_uri());
        out.extend_from_slice(b" SIP/2.0\r\n");
        for header in [Header::Via, Header::Route, Header::From, Header::CallId] {
            for value in self.request.all(header) {
                line(&mut out, header.name(), value);
            }
        }
        line(
            &mut out,
            "To",
            to.or_else(|| self.request.first(Header::To)).unwrap_or_default(),
        );
        line(&mut out, "CSeq", format!("{} {method}", self.cseq).as_bytes());
        out.extend_from_slice(b"Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n");
        out
    }
}

/// The earliest timer of a set of transactions.
pub(crate) fn earliest(servers: &[Server], clients: &[Client]) -> Option<Instant> {
    let servers = servers.iter().filter_map(|server| server.machine.poll_timeout());
    servers
        .chain(clients.iter().filter_map(|client| client.machine.poll_timeout()))
        .min()
}

/// Which machine a method runs.
pub(crate) fn kind_of(method: &Method) -> Kind {
    if *method == Method::Invite {
        Kind::Invite
    } else {
        Kind::NonInvite
    }
}
