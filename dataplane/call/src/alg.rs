//! What is rewritten in which direction (edge.md 4): identities, Contact, and headers that would show the inside.

use std::net::IpAddr;

use tollgate_sip::edit::Rewrite;
use tollgate_sip::{Header, Method, NameAddr, SipMessage, SipUri, split_commas};

use crate::peer::Alias;

/// What the outside must not see, and what it sees instead.
#[derive(Clone, Debug)]
pub(crate) struct Hiding {
    pub(crate) domain: String,
    pub(crate) inside_addresses: Vec<String>,
    pub(crate) alias: Option<Alias>,
}

impl Hiding {
    pub(crate) fn new(domain: &str, inside: impl IntoIterator<Item = IpAddr>) -> Self {
        let mut inside_addresses: Vec<String> = inside.into_iter().map(|ip| ip.to_string()).collect();
        inside_addresses.sort();
        inside_addresses.dedup();
        Self {
            domain: domain.to_owned(),
            inside_addresses,
            alias: None,
        }
    }

    /// Removes what speaks of the inside from a message that goes outward: software names, hop-by-hop remarks, and any
    /// field with an inside address; identities get our domain as host, or the peer's where they are at its mapped
    /// address.
    pub(crate) fn apply(&self, rewrite: &mut Rewrite<'_>) {
        rewrite.map(|header, value| {
            if header == Header::ReferTo {
                return self.referred(value);
            }
            is_identity(header).then(|| self.identities(value)).flatten()
        });
        rewrite.remove_where(|header, line| masks(header) || (!is_ours(header) && self.shows_inside(line)));
    }

    /// Gives identities in a message that goes inward their mapped address where they are at the global one.
    pub(crate) fn restore(&self, rewrite: &mut Rewrite<'_>) {
        let Some(alias) = &self.alias else { return };
        rewrite.map(|header, value| {
            let (restored, is_changed) = with_hosts(value, |uri| alias.is_outside(uri).then(|| alias.inside_host()));
            (is_identity(header) && is_changed).then_some(restored)
        });
    }

    fn identities(&self, value: &[u8]) -> Option<Vec<u8>> {
        let (shown, _) = with_hosts(value, |uri| {
            self.restored_host(uri)
                .or_else(|| uri.ip().map(|_| self.domain.clone()))
        });
        (!self.shows_inside(&shown)).then_some(shown)
    }

    /// A transfer to the peer's own address. One that names a dialog in its URI cannot be taken apart here.
    fn referred(&self, value: &[u8]) -> Option<Vec<u8>> {
        let (shown, is_changed) = with_hosts(value, |uri| self.restored_host(uri));
        (is_changed && !value.contains(&b'?')).then_some(shown)
    }

    fn restored_host(&self, uri: &SipUri<'_>) -> Option<String> {
        let alias = self.alias.as_ref().filter(|alias| alias.is_inside(uri))?;
        Some(alias.outside_host().to_owned())
    }

    /// What goes outward in place of a body that speaks of an inside address and is no description: of a `sipfrag` its
    /// first line, which is all that a transfer's progress needs (RFC 3515 §2.4.5), of anything else nothing.
    pub(crate) fn body(&self, message: &SipMessage) -> Option<Vec<u8>> {
        if message.has_sdp() || !self.shows_inside(message.body()) {
            return None;
        }
        let is_progress = message
            .media_type()
            .is_some_and(|(_, subname)| subname.eq_ignore_ascii_case(b"sipfrag"));
        let first = message.body().split_inclusive(|byte| *byte == b'\n').next();
        let first = first.filter(|line| is_progress && !self.shows_inside(line));
        Some(first.unwrap_or_default().to_vec())
    }

    /// A description of ours without the lines of its writer that speak of an inside address; a session name, which must
    /// be there, becomes none.
    pub(crate) fn description(&self, sdp: Vec<u8>) -> Vec<u8> {
        if !self.shows_inside(&sdp) {
            return sdp;
        }
        let lines = sdp.split_inclusive(|byte| *byte == b'\n');
        let kept = lines.filter_map(|line| match line.first() {
            _ if !self.shows_inside(line) => Some(line),
            Some(b's') => Some(&b"s=-\r\n"[..]),
            Some(_) | None => None,
        });
        kept.collect::<Vec<_>>().concat()
    }

    /// A party's name for the outside, if nothing of the inside is in it; else nobody's at a host that may be shown
    /// (RFC 3323 §4.1.1.3).
    pub(crate) fn party(&self, shown: Vec<u8>, host: &str) -> Vec<u8> {
        if self.shows_inside(&shown) {
            return format!("<sip:anonymous@{host}>").into_bytes();
        }
        shown
    }

    /// Whether the Contacts of a REGISTER, which are its content (calls.md 2), speak of no inside address.
    pub(crate) fn may_show(&self, request: &SipMessage) -> bool {
        !request.all(Header::Contact).any(|value| self.shows_inside(value))
    }

    /// Whether a text speaks of an inside address.
    pub(crate) fn shows_inside(&self, value: &[u8]) -> bool {
        self.inside_addresses
            .iter()
            .any(|address| holds_address(value, address.as_bytes()))
    }
}

/// Whether an address stands in a text, and not as a part of another: 10.0.0.1 is not in 10.0.0.10.
pub(crate) fn holds_address(text: &[u8], address: &[u8]) -> bool {
    let is_v6 = address.contains(&b':');
    let goes_on = |byte: &u8| match is_v6 {
        true => byte.is_ascii_hexdigit() || *byte == b':',
        false => byte.is_ascii_digit(),
    };
    let mut found = text.windows(address.len()).enumerate();
    found.any(|(at, window)| {
        let before = at.checked_sub(1).and_then(|before| text.get(before));
        let after = text.get(at + address.len());
        window.eq_ignore_ascii_case(address) && !before.is_some_and(goes_on) && !after.is_some_and(goes_on)
    })
}

/// A list of parties with other hosts where `host_for` names one, and whether it named any.
fn with_hosts(value: &[u8], host_for: impl Fn(&SipUri<'_>) -> Option<String>) -> (Vec<u8>, bool) {
    let mut is_changed = false;
    let shown: Vec<Vec<u8>> = split_commas(value)
        .map(|one| {
            let name = NameAddr::parse(one);
            let host = name.and_then(|name| host_for(&name.sip_uri()?));
            is_changed |= host.is_some();
            match (name, host) {
                (Some(name), Some(host)) => name.at_host(&host),
                (Some(_) | None, _) => one.to_vec(),
            }
        })
        .collect();
    (shown.join(&b", "[..]), is_changed)
}

/// Whether Contact is rewritten in messages of a method (calls.md 2).
pub(crate) fn rewrites_contact(method: &Method) -> bool {
    matches!(
        method,
        Method::Invite | Method::Update | Method::Subscribe | Method::Notify | Method::Refer
    )
}

/// Our Contact with the feature parameters of theirs.
pub(crate) fn contact_value(ours: &[u8], message: &SipMessage) -> Vec<u8> {
    let mut out = Vec::with_capacity(ours.len() + 32);
    out.push(b'<');
    out.extend_from_slice(ours);
    out.push(b'>');
    if let Some(theirs) = message.contact() {
        out.extend_from_slice(theirs.params);
    }
    out
}

/// Removes what belongs to the hop a message came by.
pub(crate) fn strip_hop(rewrite: &mut Rewrite<'_>) {
    rewrite.remove(Header::Via);
    rewrite.remove(Header::Route);
    rewrite.remove(Header::RecordRoute);
}

/// The host a side shows for a party that is not ours to name.
pub(crate) fn bracketed(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// Masked on the way outward: they name software, or point at places inside (edge.md 3).
fn masks(header: Header) -> bool {
    matches!(
        header,
        Header::Server
            | Header::UserAgent
            | Header::Warning
            | Header::AlertInfo
            | Header::CallInfo
            | Header::ErrorInfo
            | Header::InReplyTo
            | Header::Replaces
            | Header::Join
            | Header::TargetDialog
    )
}

fn is_identity(header: Header) -> bool {
    matches!(
        header,
        Header::PAssertedIdentity
            | Header::PPreferredIdentity
            | Header::RemotePartyId
            | Header::Diversion
            | Header::HistoryInfo
            | Header::ReferredBy
    )
}

/// Fields whose values are set by us in any case.
fn is_ours(header: Header) -> bool {
    matches!(
        header,
        Header::Via | Header::From | Header::To | Header::CallId | Header::CSeq | Header::Contact | Header::Route
    )
}

/// The statuses of a peer edge before ringing that make the agent use the PSTN (calls.md 4).
pub(crate) fn is_fallback_status(status: u16) -> bool {
    matches!(status, 300..=399 | 401 | 403 | 404 | 407 | 408 | 420 | 480 | 488 | 500..=599)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_inside_is_left_and_the_rest_is_untouched() {
        let message = SipMessage::index(
            b"INVITE sip:+1@b SIP/2.0\r\nP-Asserted-Identity: \"A\" <sip:+1408@10.0.0.5:5060>, <tel:+1408>\r\n\
              User-Agent: PBX 1\r\nX-Trace: via 10.0.0.5\r\nX-10.0.0.5: x\r\nX-Keep:  as  is\r\nContent-Length: 0\r\n\r\n"
                .to_vec(),
        )
        .unwrap();
        let hiding = Hiding::new("a.example", ["10.0.0.5".parse().unwrap()]);
        let mut rewrite = Rewrite::new(&message);
        hiding.apply(&mut rewrite);
        let out = String::from_utf8(rewrite.finish()).unwrap();
        assert_eq!(
            out,
            "INVITE sip:+1@b SIP/2.0\r\nP-Asserted-Identity: \"A\" <sip:+1408@a.example>, <tel:+1408>\r\n\
             X-Keep:  as  is\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn an_address_is_not_found_in_another() {
        for (text, address, is_there) in [
            ("via 10.0.0.1;x", "10.0.0.1", true),
            ("10.0.0.1:5060", "10.0.0.1", true),
            ("10.0.0.10", "10.0.0.1", false),
            ("110.0.0.1", "10.0.0.1", false),
            ("10.0.0.10 and 10.0.0.1", "10.0.0.1", true),
            ("[FD00::1]:5060", "fd00::1", true),
            ("[fd00::12]", "fd00::1", false),
            ("[2001:fd00::1]", "fd00::1", false),
        ] {
            assert_eq!(holds_address(text.as_bytes(), address.as_bytes()), is_there, "{text}");
        }
    }

    #[test]
    fn refusals_before_ringing_mean_the_pstn_and_a_persons_answer_does_not() {
        for status in [302, 401, 403, 404, 407, 408, 420, 480, 488, 500, 503, 599] {
            assert!(is_fallback_status(status), "{status}");
        }
        for status in [486, 600, 603, 484, 491] {
            assert!(!is_fallback_status(status), "{status}");
        }
    }
}
