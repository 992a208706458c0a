//! The state of a dialog: tags, numbers, targets and the requests made from them.
//!
//! It sends nothing and holds no transaction. RFC 3261 §12.

use std::net::{IpAddr, SocketAddr};

use rsip::Method;

use crate::agent::SipTransport;
use crate::message::{Body, RequestDraft, SipText, uri_of};

/// One side's view of a dialog.
#[derive(Clone, Debug)]
pub(crate) struct Dialog {
    pub(crate) call_id: String,
    pub(crate) local_tag: String,
    pub(crate) local: String,
    pub(crate) remote: String,
    pub(crate) remote_target: String,
    pub(crate) routes: Vec<String>,
    pub(crate) local_cseq: u32,
    pub(crate) remote_cseq: Option<u32>,
    pub(crate) via: String,
    pub(crate) contact: String,
}

impl Dialog {
    /// Completes a caller's dialog from a response with a To tag (§12.1.2).
    pub(crate) fn on_answer(&mut self, response: &SipText) {
        self.remote = response.header("To").unwrap_or_default();
        self.remote_target = response.contact_uri().unwrap_or_else(|| self.remote_target.clone());
        self.routes = response.record_routes();
        self.routes.reverse();
    }

    /// Makes a called side's dialog from an INVITE (§12.1.1).
    pub(crate) fn from_invite(invite: &SipText, local_tag: String, via: String, contact: String) -> Self {
        Self {
            call_id: invite.call_id(),
            local: format!("{};tag={local_tag}", invite.header("To").unwrap_or_default()),
            local_tag,
            remote: invite.header("From").unwrap_or_default(),
            remote_target: invite.contact_uri().unwrap_or_default(),
            routes: invite.record_routes(),
            local_cseq: 0,
            remote_cseq: invite.cseq().map(|(number, _)| number),
            via,
            contact,
        }
    }

    /// The next request of this side, with a number of its own (§12.2.1.1).
    pub(crate) fn next_request(&mut self, method: Method, branch: String) -> RequestDraft {
        self.local_cseq += 1;
        self.request(method, self.local_cseq, branch)
    }

    /// A request with a given number, as ACK needs it.
    pub(crate) fn request(&self, method: Method, cseq: u32, branch: String) -> RequestDraft {
        RequestDraft {
            method,
            uri: self.remote_target.clone(),
            via: self.via.clone(),
            branch,
            cseq,
            from: self.local.clone(),
            to: self.remote.clone(),
            call_id: self.call_id.clone(),
            routes: self.routes.clone(),
            headers: vec![("Contact".to_owned(), self.contact.clone())],
            body: Body::default(),
        }
    }

    /// Notes the number of a request of the far side; false if it goes back (§12.2.2).
    pub(crate) fn accept_cseq(&mut self, number: u32) -> bool {
        if self.remote_cseq.is_some_and(|last| number <= last) {
            return false;
        }
        self.remote_cseq = Some(number);
        true
    }
}

/// Where a draft goes first: the topmost Route, else the Request-URI; `None` if that is no IP address.
pub(crate) fn next_hop(draft: &RequestDraft) -> Option<(SipTransport, SocketAddr)> {
    let uri = draft
        .routes
        .first()
        .map_or_else(|| draft.uri.clone(), |route| uri_of(route));
    let address = uri_address(&uri)?;
    let named = |transport: &str| uri.to_ascii_lowercase().contains(&format!(";transport={transport}"));
    let transport = match (named("tls"), named("tcp")) {
        (true, _) => SipTransport::Tls,
        (false, true) => SipTransport::Tcp,
        (false, false) => SipTransport::Udp,
    };
    Some((transport, address))
}

/// The address in a SIP URI, port 5060 if it names none.
pub(crate) fn uri_address(uri: &str) -> Option<SocketAddr> {
    let rest = uri.split_once(':').map(|(_, rest)| rest)?;
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let host = host.split([';', '?']).next()?;
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    host.parse()
        .ok()
        .or_else(|| Some(SocketAddr::new(plain.parse::<IpAddr>().ok()?, 5060)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_uris() {
        assert_eq!(
            uri_address("sip:a@127.0.0.1:5;transport=tcp"),
            "127.0.0.1:5".parse().ok()
        );
        assert_eq!(uri_address("sip:[::1]"), "[::1]:5060".parse().ok());
        assert_eq!(uri_address("sip:a@example.com"), None);
    }

    #[test]
    fn number_that_goes_back_is_refused() {
        let invite = SipText::parse(
            b"INVITE sip:a@x SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z\r\nFrom: <sip:b@x>;tag=1\r\nTo: <sip:a@x>\r\n\
              Call-ID: c\r\nCSeq: 7 INVITE\r\nContact: <sip:b@1.2.3.4>\r\n\r\n",
        );
        let mut dialog = Dialog::from_invite(&invite.unwrap(), "t".into(), "v".into(), "c".into());
        assert!(!dialog.accept_cseq(7));
        assert!(dialog.accept_cseq(8));
        assert_eq!(dialog.local, "<sip:a@x>;tag=t");
    }
}
