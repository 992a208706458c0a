//! The dialogs of a call and how each leg sees them (RFC 3261 §12; calls.md 2).

use tollgate_contract::Transport;
use tollgate_sip::{Header, NameAddr, SipMessage};

use crate::cseq::CseqBook;
use crate::transport::ConnId;

/// Most early dialogs of one call.
pub(crate) const MAX_DIALOGS: usize = 8;

/// Most Record-Routes kept as a route set.
const MAX_ROUTES: usize = 16;

/// The party at the far end of a leg: its remote target and route set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Party {
    pub(crate) contact: Vec<u8>,
    pub(crate) routes: Vec<Vec<u8>>,
}

impl Party {
    /// Takes the remote target of a message, and its Record-Routes when it makes a dialog.
    pub(crate) fn learn(&mut self, message: &SipMessage, takes_routes: bool) {
        if let Some(contact) = message.contact() {
            self.contact = contact.uri.to_vec();
        }
        if takes_routes {
            self.routes = message
                .values(Header::RecordRoute)
                .take(MAX_ROUTES)
                .map(<[u8]>::to_vec)
                .collect();
            if message.status().is_some() {
                // §12.1.2: as the client, in reverse order.
                self.routes.reverse();
            }
        }
    }
}

/// One dialog: the callee's tag and target. The caller's tag is the call's.
#[derive(Clone, Debug)]
pub(crate) struct Dialog {
    pub(crate) callee_tag: Vec<u8>,
    pub(crate) is_confirmed: bool,
    pub(crate) callee: Party,
}

/// One leg: how the parties are called on it, and how it is spoken to.
#[derive(Clone, Debug)]
pub(crate) struct Leg {
    pub(crate) call_id: Vec<u8>,
    /// From of the caller and To of the callee as this leg shows them, without tags.
    pub(crate) caller: Vec<u8>,
    pub(crate) callee: Vec<u8>,
    /// Our Contact URI on this leg.
    pub(crate) contact: Vec<u8>,
    /// Our sent-by.
    pub(crate) sent_by: String,
    pub(crate) transport: Transport,
    pub(crate) conn: Option<ConnId>,
    /// The highest CSeq the party of this leg has used.
    pub(crate) highest_cseq: Option<u32>,
    /// Numbers of what we send on this leg.
    pub(crate) book: CseqBook,
    /// Whether the party's Allow lists REFER; without an Allow it is taken to.
    pub(crate) takes_refer: bool,
}

impl Leg {
    /// Reads from a message of the party whether it takes REFER.
    pub(crate) fn learn_allow(&mut self, message: &SipMessage) {
        if message.first(Header::Allow).is_some() {
            self.takes_refer = message.lists(Header::Allow, "REFER");
        }
    }

    /// Our Via value with a branch.
    pub(crate) fn via(&self, branch: &str) -> Vec<u8> {
        let rport = if self.transport == Transport::Udp { ";rport" } else { "" };
        format!(
            "SIP/2.0/{} {};branch={branch}{rport}",
            self.transport.via_name(),
            self.sent_by
        )
        .into_bytes()
    }
}

/// A name-addr with a tag.
pub(crate) fn tagged(value: &[u8], tag: &[u8]) -> Vec<u8> {
    let mut out = value.to_vec();
    if !tag.is_empty() {
        out.extend_from_slice(b";tag=");
        out.extend_from_slice(tag);
    }
    out
}

/// A From or To value without its tag, in name-addr form.
pub(crate) fn untagged(value: &NameAddr<'_>) -> Vec<u8> {
    let host = value
        .sip_uri()
        .map(|uri| String::from_utf8_lossy(uri.host).into_owned());
    match (host, value.sip_uri().and_then(|uri| uri.port)) {
        (Some(host), Some(port)) => value.at_host(&format!("{host}:{port}")),
        (Some(host), None) => value.at_host(&host),
        (None, _) => value.at_host(""),
    }
}
