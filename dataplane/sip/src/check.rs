//! What every message must have and be before anything acts on it (RFC 3261 §8.1.1, §16.3; edge.md 3).
//!
//! It answers for one message alone: whether it fits a transaction or dialog is decided where those are.

use crate::error::InvalidMessage;
use crate::headers::Header;
use crate::message::{Method, SipMessage, StartLine};
use crate::name_addr::NameAddr;
use crate::scan::{number, split_commas};
use crate::syntax::is_uri;
use crate::uri::SipUri;
use crate::via::Via;

/// Headers that must be there, once (§8.1.1).
const MANDATORY: [Header; 4] = [Header::From, Header::To, Header::CallId, Header::CSeq];

/// Headers that may be there once (§7.3.1 and the grammar of each).
const AT_MOST_ONCE: [Header; 11] = [
    Header::MaxForwards,
    Header::ContentLength,
    Header::ContentType,
    Header::RAck,
    Header::RSeq,
    Header::Event,
    Header::ReferTo,
    Header::ReferredBy,
    Header::Replaces,
    Header::Join,
    Header::TargetDialog,
];

/// Headers whose values are parties or places: a name-addr each, in a list of which no element is empty (§20.10).
const PARTIES: [Header; 11] = [
    Header::Contact,
    Header::Route,
    Header::RecordRoute,
    Header::ReferTo,
    Header::ReferredBy,
    Header::PAssertedIdentity,
    Header::PPreferredIdentity,
    Header::RemotePartyId,
    Header::Diversion,
    Header::HistoryInfo,
    Header::From,
];

impl SipMessage {
    /// Checks what every message must have (RFC 3261 §8.1.1): From, To, Call-ID, CSeq and Via, once where it must be
    /// once; a Request-URI and addresses of the grammar; and a Content-Length that fits.
    ///
    /// # Errors
    /// The first [`InvalidMessage`] found.
    pub fn check(&self) -> Result<(), InvalidMessage> {
        if let Some(defect) = self.defect() {
            return Err(defect);
        }
        self.check_counts()?;
        self.check_request_uri()?;
        self.check_identities()?;
        self.check_vias()?;
        for header in PARTIES {
            self.check_parties(header)?;
        }
        if let Some(hops) = self.first(Header::MaxForwards) {
            number(hops)
                .filter(|hops| *hops <= 255)
                .ok_or(InvalidMessage::Malformed("Max-Forwards"))?;
        }
        self.check_body()
    }

    /// Whether an answer can be built: it repeats Via, From, To, Call-ID and CSeq (§8.2.6.2).
    #[must_use]
    pub fn is_answerable(&self) -> bool {
        let has = |header: &Header| self.first(*header).is_some_and(|value| !value.is_empty());
        MANDATORY.iter().all(has) && has(&Header::Via)
    }

    fn check_counts(&self) -> Result<(), InvalidMessage> {
        for header in MANDATORY {
            match self.all(header).count() {
                0 => return Err(InvalidMessage::Missing(header.name())),
                1 => {}
                _ => return Err(InvalidMessage::Repeated(header.name())),
            }
        }
        match AT_MOST_ONCE.iter().find(|header| self.all(**header).count() > 1) {
            Some(header) => Err(InvalidMessage::Repeated(header.name())),
            None => Ok(()),
        }
    }

    /// A SIP URI is read whole and has no headers part, which would be turned into fields (§19.1.1, §19.1.5); of any other
    /// scheme only the letters are looked at.
    fn check_request_uri(&self) -> Result<(), InvalidMessage> {
        if self.method().is_none() {
            return Ok(());
        }
        let uri = self.request_uri();
        let scheme = uri.split(|byte| *byte == b':').next().unwrap_or_default();
        let is_good = if scheme.eq_ignore_ascii_case(b"sip") || scheme.eq_ignore_ascii_case(b"sips") {
            SipUri::parse(uri).is_some_and(|uri| uri.headers.is_none())
        } else {
            is_uri(uri)
        };
        is_good.then_some(()).ok_or(InvalidMessage::Malformed("Request-URI"))
    }

    fn check_identities(&self) -> Result<(), InvalidMessage> {
        let from = self.from().ok_or(InvalidMessage::Malformed("From"))?;
        from.tag().ok_or(InvalidMessage::Malformed("From"))?;
        self.to().ok_or(InvalidMessage::Malformed("To"))?;
        if self.call_id().is_empty() || !self.call_id().iter().all(u8::is_ascii_graphic) {
            return Err(InvalidMessage::Malformed("Call-ID"));
        }
        let cseq = self.cseq().ok_or(InvalidMessage::Malformed("CSeq"))?;
        match self.start() {
            StartLine::Request(method) if *method != cseq.method => Err(InvalidMessage::CSeqMethod),
            StartLine::Request(_) | StartLine::Response(_) => Ok(()),
        }
    }

    /// Every Via, not the top one alone: responses go back along them. A branch may be missing, as before RFC 3261.
    fn check_vias(&self) -> Result<(), InvalidMessage> {
        if self.first(Header::Via).is_none() {
            return Err(InvalidMessage::Missing("Via"));
        }
        let mut vias = self.all(Header::Via).flat_map(split_commas);
        vias.all(|via| Via::parse(via).is_some())
            .then_some(())
            .ok_or(InvalidMessage::Malformed("Via"))
    }

    fn check_parties(&self, header: Header) -> Result<(), InvalidMessage> {
        let is_star = |value: &[u8]| header == Header::Contact && value == b"*";
        let mut values = self.all(header).flat_map(split_commas);
        if !values.all(|value| is_star(value) || NameAddr::parse(value).is_some()) {
            return Err(InvalidMessage::Malformed(header.name()));
        }
        // §8.1.1.8: who makes a dialog is reached at one place.
        let makes_dialog = matches!(
            self.method(),
            Some(Method::Invite | Method::Subscribe | Method::Refer | Method::Update)
        );
        if header == Header::Contact && makes_dialog && self.values(header).count() > 1 {
            return Err(InvalidMessage::Repeated(header.name()));
        }
        Ok(())
    }

    fn check_body(&self) -> Result<(), InvalidMessage> {
        if let Some(length) = self.first(Header::ContentLength) {
            let length = number(length).ok_or(InvalidMessage::ContentLength)?;
            if length as usize != self.body().len() {
                return Err(InvalidMessage::ContentLength);
            }
        }
        if !self.body().is_empty() && self.first(Header::ContentType).is_none() {
            return Err(InvalidMessage::Missing("Content-Type"));
        }
        // A type nobody can read would carry a description past whoever rewrites descriptions.
        if self.first(Header::ContentType).is_some() && self.media_type().is_none() {
            return Err(InvalidMessage::Malformed("Content-Type"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MAX_MESSAGE;

    const INVITE: &str = "INVITE sip:+14085551234@b.example SIP/2.0\r\nv: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
        From: <sip:a@a.example>;tag=1\r\nTo: <sip:b@b.example>\r\nCall-ID: c1\r\nCSeq: 7 INVITE\r\n\
        Subject: folded\r\n here\r\nContent-Length: 0\r\n\r\n";

    fn check(text: &str) -> Result<(), InvalidMessage> {
        SipMessage::index(text.as_bytes().to_vec()).and_then(|message| message.check())
    }

    fn swap(from: &str, to: &str) -> Result<(), InvalidMessage> {
        check(&INVITE.replace(from, to))
    }

    #[test]
    fn defects_have_their_names() {
        assert_eq!(swap("Call-ID: c1\r\n", ""), Err(InvalidMessage::Missing("Call-ID")));
        let twice = "Call-ID: c1\r\ni: c2";
        assert_eq!(swap("Call-ID: c1", twice), Err(InvalidMessage::Repeated("Call-ID")));
        assert_eq!(swap("7 INVITE", "7 BYE"), Err(InvalidMessage::CSeqMethod));
        let too_high = "2147483648 INVITE";
        assert_eq!(swap("7 INVITE", too_high), Err(InvalidMessage::Malformed("CSeq")));
        assert_eq!(swap(";tag=1", ""), Err(InvalidMessage::Malformed("From")));
        assert_eq!(swap("Length: 0", "Length: 5"), Err(InvalidMessage::ContentLength));
        assert_eq!(swap("SIP/2.0\r\nv", "SIP/3.0\r\nv"), Err(InvalidMessage::Version));
        assert_eq!(swap("folded", "a\0b"), Err(InvalidMessage::HeaderLine));
        assert_eq!(swap("Subject:", "Subject\r:"), Err(InvalidMessage::HeaderLine));
        assert_eq!(swap("\r\n\r\n", "\r\n"), Err(InvalidMessage::Truncated));
        assert_eq!(check("GET / HTTP/1.1\r\n\r\n"), Err(InvalidMessage::NotSip));
        assert_eq!(check(&"x".repeat(MAX_MESSAGE + 1)), Err(InvalidMessage::TooLarge));
        let too_long = format!("Subject: {}", "x".repeat(9_000));
        assert_eq!(swap("Subject: folded", &too_long), Err(InvalidMessage::TooLarge));
        let long = format!("sip:{}@b.example", "u".repeat(8_000));
        assert_eq!(
            swap("sip:+14085551234@b.example", &long),
            Err(InvalidMessage::UriTooLong)
        );
    }

    #[test]
    fn request_line_with_a_defect_leaves_the_message_answerable() {
        for line in [
            "INVITE  sip:+1@b.example SIP/2.0",
            "INVITE <sip:+1@b.example> SIP/2.0",
            "INVITE sip:+1@b.example; lr SIP/2.0",
            "INVITE sip:+1@b.example SIP/2.0  ",
            "INVITE SIP/2.0",
        ] {
            let text = INVITE.replace("INVITE sip:+14085551234@b.example SIP/2.0", line);
            let message = SipMessage::index(text.into_bytes()).unwrap();
            assert_eq!(message.check(), Err(InvalidMessage::StartLine), "{line}");
            assert!(message.is_answerable());
        }
    }

    #[test]
    fn request_uri_is_read_whole_and_has_no_headers() {
        for uri in [
            "sip:2001:db8::10",
            "sip:bob@[2001:db8::1",
            "sip:b%zzob@b.example",
            "sip:bob@",
            "sip:bob@b.example:65536",
            "sip:user@b.example?Route=%3Csip:evil.example%3E",
            "nonsense",
        ] {
            let result = swap("sip:+14085551234@b.example", uri);
            assert_eq!(result, Err(InvalidMessage::Malformed("Request-URI")), "{uri}");
        }
        for uri in ["sip:[2001:db8::10:5070]", "soap.beep://192.0.2.103:3002", "tel:+1-408"] {
            assert_eq!(swap("sip:+14085551234@b.example", uri), Ok(()), "{uri}");
        }
    }

    #[test]
    fn every_via_and_every_party_is_looked_at() {
        let with = |field: &str| swap("Subject: folded", &format!("{field}\r\nSubject: folded"));
        for via in [
            "SIP/2.0/UDP",
            "SIP/2.0/UDP h;;,;,,",
            "SIP/2.0/UDP h,",
            "SIP/2.0/UDP h;branch=",
        ] {
            assert_eq!(
                with(&format!("Via: {via}")),
                Err(InvalidMessage::Malformed("Via")),
                "{via}"
            );
        }
        assert_eq!(with("Via: SIP/2.0/UDP old.example.org"), Ok(()));
        for contact in ["<sip:a@h>;;;;", "sip:a@h?x=y", "<sip:a@h", "", "<sip:a@h>,"] {
            let result = with(&format!("Contact: {contact}"));
            assert_eq!(result, Err(InvalidMessage::Malformed("Contact")), "{contact}");
        }
        assert_eq!(
            with("Contact: <sip:a@h>\r\nm: <sip:b@h>"),
            Err(InvalidMessage::Repeated("Contact"))
        );
        assert_eq!(with("Refer-To: <"), Err(InvalidMessage::Malformed("Refer-To")));
        assert_eq!(with("Contact: *"), Ok(()));
    }

    #[test]
    fn body_is_known_by_its_type_however_it_is_spaced() {
        let typed = |kind: &str| {
            let text = INVITE.replace("Content-Length: 0\r\n\r\n", "Content-Length: 3\r\n\r\nv=0");
            let message = SipMessage::index(text.replace("Subject: folded\r\n here", kind).into_bytes()).unwrap();
            (message.check(), message.has_sdp())
        };
        for kind in ["Content-Type: application/sdp", "c: Application / SDP ;charset=utf-8"] {
            assert_eq!(typed(kind), (Ok(()), true), "{kind}");
        }
        assert_eq!(typed("c: application/sdpx"), (Ok(()), false));
        for kind in [
            "Content-Type:",
            "Content-Type: sdp",
            "Content-Type: application/",
            "c: a/b;;",
        ] {
            let malformed = Err(InvalidMessage::Malformed("Content-Type"));
            assert_eq!(typed(kind), (malformed, false), "{kind}");
        }
        assert_eq!(typed("Subject: x").0, Err(InvalidMessage::Missing("Content-Type")));
    }

    #[test]
    fn control_letters_stand_behind_a_backslash_in_quotes_alone() {
        let from = |name: &str| swap("From: <", &format!("From: {name} <"));
        assert_eq!(from("\"BEL:\\\u{7} NUL:\\\0 DEL:\\\u{7f}\""), Ok(()));
        assert_eq!(from("\"NUL:\0\""), Err(InvalidMessage::HeaderLine));
        assert_eq!(swap("folded", "\\\0"), Err(InvalidMessage::HeaderLine));
    }
}
