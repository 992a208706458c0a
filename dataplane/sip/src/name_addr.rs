//! From, To, Contact, Route: a URI with a display name and parameters (RFC 3261 §20.10).

use crate::scan::{find_outside, param, push_params, trim};
use crate::syntax::{Values, are_params, is_display_name, is_token_text, is_uri};
use crate::uri::SipUri;

/// A `name-addr` or `addr-spec` with header parameters, borrowed from its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr<'t> {
    /// Display name with its quotes, trimmed; empty if none.
    pub display: &'t [u8],
    /// The URI between the angle brackets, or up to the first `;` without them.
    pub uri: &'t [u8],
    /// Header parameters with their leading `;`.
    pub params: &'t [u8],
}

impl<'t> NameAddr<'t> {
    /// Splits one value; `None` if it is not of the grammar of RFC 3261 §20.10 and §25.1: brackets that do not close, no
    /// URI, a display name that is neither tokens nor one quoted string, an empty or repeated parameter.
    #[must_use]
    pub fn parse(text: &'t [u8]) -> Option<Self> {
        let text = trim(text);
        let found = match find_outside(text, b'<') {
            Some(open) => {
                let rest = text.get(open + 1..)?;
                let close = rest.iter().position(|byte| *byte == b'>')?;
                Self {
                    display: trim(text.get(..open)?),
                    uri: rest.get(..close)?,
                    params: trim(rest.get(close + 1..)?),
                }
            }
            None => {
                let end = text.iter().position(|byte| *byte == b';').unwrap_or(text.len());
                Self {
                    display: b"",
                    uri: trim(text.get(..end)?),
                    params: trim(text.get(end..)?),
                }
                .without_brackets()?
            }
        };
        found.is_whole().then_some(found)
    }

    /// §20.10: a URI with a comma, question mark or semicolon stands in brackets.
    fn without_brackets(self) -> Option<Self> {
        let is_unambiguous = !self.uri.iter().any(|byte| matches!(byte, b',' | b'?' | b'"'));
        is_unambiguous.then_some(self)
    }

    fn is_whole(&self) -> bool {
        let is_sip = |scheme: &[u8]| {
            self.uri
                .get(..scheme.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(scheme))
        };
        let has_uri = if is_sip(b"sip:") || is_sip(b"sips:") {
            self.sip_uri().is_some()
        } else {
            is_uri(self.uri)
        };
        has_uri
            && is_display_name(self.display)
            && are_params(self.params, Values::Header)
            && param(self.params, "tag").is_none_or(is_token_text)
    }

    /// The `tag` parameter.
    #[must_use]
    pub fn tag(&self) -> Option<&'t [u8]> {
        param(self.params, "tag").filter(|tag| !tag.is_empty())
    }

    /// The URI as a SIP URI, if it is one.
    #[must_use]
    pub fn sip_uri(&self) -> Option<SipUri<'t>> {
        SipUri::parse(self.uri)
    }

    /// The same party at another host and without a tag, for the other leg. A URI that is not SIP keeps its text.
    #[must_use]
    pub fn at_host(&self, host: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.display.len() + self.uri.len() + host.len() + 8);
        if !self.display.is_empty() {
            out.extend_from_slice(self.display);
            out.push(b' ');
        }
        out.push(b'<');
        match self.sip_uri() {
            Some(uri) => out.extend_from_slice(&uri.at_host(host)),
            None => out.extend_from_slice(self.uri),
        }
        out.push(b'>');
        push_params(&mut out, self.params, &["tag"]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_uri_and_tag_are_split() {
        let from = NameAddr::parse(br#""A, \"B\" <c>" <sip:a@h;x>;tag=88 ;y"#).unwrap();
        assert_eq!(from.uri, b"sip:a@h;x");
        assert_eq!(from.tag(), Some(&b"88"[..]));
        assert_eq!(from.at_host("z.example"), br#""A, \"B\" <c>" <sip:a@z.example;x>;y"#);
    }

    #[test]
    fn an_addr_spec_gives_its_parameters_to_the_header() {
        let to = NameAddr::parse(b"sip:a@h;tag=1").unwrap();
        assert_eq!((to.uri, to.tag()), (&b"sip:a@h"[..], Some(&b"1"[..])));
    }

    #[test]
    fn unclosed_brackets_and_missing_schemes_are_none() {
        for bad in [
            &b"<sip:a@h"[..],
            b"",
            b"Alice",
            b"<>",
            b"<sip:a@h> x",
            b"< sip:a@h >",
            b"\"A <sip:a@h>",
            b"Bell, A <sip:a@h>",
            b"<sip:a@h>;;;;",
            b"<sip:a@h>;tag=",
            b"<sip:a@h>;tag=1;tag=2",
            b"<sip:a@h>;tag=\"q\"",
            b"sip:a@h?Route=x",
            b"\"a\xc0\xaf\" <sip:a@h>",
            b"<<sip:a@h>>",
        ] {
            assert_eq!(NameAddr::parse(bad), None, "{bad:?}");
        }
    }
}
