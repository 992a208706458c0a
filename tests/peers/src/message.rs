//! SIP messages as the call agents read and write them, on top of `rsip`.
//!
//! It judges nothing: what `rsip` can read is taken. Three limits of `rsip` are worked around here: header lines are kept
//! untyped because its typed ones refuse much that is legal, requests whose URI it cannot hold (IPv6 hosts, parameters in
//! the user part) are written as plain text, and compact header names are looked up by hand. RFC 3261 §7.

use rsip::message::HasHeaders;
use rsip::{Header, Method, SipMessage, Version};

/// A message as received.
#[derive(Clone, Debug)]
pub struct SipText(SipMessage);

impl SipText {
    /// Reads one message; `None` if `rsip` cannot.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        SipMessage::try_from(bytes).ok().map(Self)
    }

    /// The method of a request, upper case; `None` for a response.
    #[must_use]
    pub fn method_name(&self) -> Option<String> {
        self.method().map(|method| method.to_string())
    }

    /// The status of a response, 100 to 699; `None` for a request.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match &self.0 {
            SipMessage::Request(_) => None,
            SipMessage::Response(response) => Some(response.status_code.code()),
        }
    }

    /// The Request-URI; `None` for a response.
    #[must_use]
    pub fn request_uri(&self) -> Option<String> {
        match &self.0 {
            SipMessage::Request(request) => Some(request.uri.to_string()),
            SipMessage::Response(_) => None,
        }
    }

    /// The first value of a header, whatever the case of its name; compact names are found by the long one.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.header_lines(name).into_iter().next()
    }

    /// The values of all lines of a header, in order.
    #[must_use]
    pub fn header_lines(&self, name: &str) -> Vec<String> {
        let compact = compact_name(name);
        let is_wanted = |found: &str| found.eq_ignore_ascii_case(name) || found.eq_ignore_ascii_case(compact);
        self.0
            .headers()
            .iter()
            .filter_map(|header| {
                let line = header.to_string();
                let (found, value) = line.split_once(':')?;
                is_wanted(found.trim()).then(|| value.trim().to_owned())
            })
            .collect()
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.0.body()
    }

    pub(crate) fn method(&self) -> Option<Method> {
        match &self.0 {
            SipMessage::Request(request) => Some(request.method),
            SipMessage::Response(_) => None,
        }
    }

    pub(crate) fn call_id(&self) -> String {
        self.header("Call-ID").unwrap_or_default()
    }

    /// The number and the method of CSeq.
    pub(crate) fn cseq(&self) -> Option<(u32, String)> {
        let value = self.header("CSeq")?;
        let (number, method) = value.split_once(' ')?;
        Some((number.parse().ok()?, method.trim().to_owned()))
    }

    pub(crate) fn top_branch(&self) -> String {
        self.header("Via")
            .and_then(|via| param(&via, "branch"))
            .unwrap_or_default()
    }

    pub(crate) fn to_tag(&self) -> Option<String> {
        self.header("To").and_then(|value| param(&value, "tag"))
    }

    pub(crate) fn contact_uri(&self) -> Option<String> {
        self.header("Contact").map(|value| uri_of(&value))
    }

    /// Record-Route entries in the order of the message.
    pub(crate) fn record_routes(&self) -> Vec<String> {
        let lines = self.header_lines("Record-Route");
        let entries = lines.iter().flat_map(|line| line.split(','));
        entries.map(|entry| entry.trim().to_owned()).collect()
    }
}

/// A request to be written.
#[derive(Clone, Debug)]
pub(crate) struct RequestDraft {
    pub(crate) method: Method,
    pub(crate) uri: String,
    pub(crate) via: String,
    pub(crate) branch: String,
    pub(crate) cseq: u32,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) call_id: String,
    pub(crate) routes: Vec<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Body,
}

/// A body and its type; empty is none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Body {
    pub(crate) content_type: &'static str,
    pub(crate) text: String,
}

impl Body {
    pub(crate) const fn sdp(text: String) -> Self {
        Self {
            content_type: "application/sdp",
            text,
        }
    }
}

impl RequestDraft {
    /// The CANCEL of this request, or its ACK to a final response other than 2xx (RFC 3261 §9.1, §17.1.1.3).
    pub(crate) fn sibling(&self, method: Method, to: String) -> Self {
        Self {
            method,
            to,
            headers: Vec::new(),
            body: Body::default(),
            ..self.clone()
        }
    }

    /// The bytes to send.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut headers = vec![
            other("Via", format!("{};branch={};rport", self.via, self.branch)),
            other("Max-Forwards", "70".to_owned()),
            other("From", self.from.clone()),
            other("To", self.to.clone()),
            other("Call-ID", self.call_id.clone()),
            other("CSeq", format!("{} {}", self.cseq, self.method)),
        ];
        headers.extend(self.routes.iter().map(|route| other("Route", route.clone())));
        headers.extend(self.headers.iter().map(|(name, value)| other(name, value.clone())));
        headers.extend(body_headers(&self.body));
        let headers = rsip::Headers::from(headers);
        let Ok(uri) = rsip::Uri::try_from(self.uri.as_str()) else {
            return format!(
                "{} {} SIP/2.0\r\n{headers}\r\n{}",
                self.method, self.uri, self.body.text
            )
            .into_bytes();
        };
        let (method, body) = (self.method, self.body.text.clone().into_bytes());
        SipMessage::from(rsip::Request {
            method,
            uri,
            version: Version::V2,
            headers,
            body,
        })
        .into()
    }
}

/// Writes a response to `request` with `to_tag` (RFC 3261 §8.2.6).
pub(crate) fn response_to(
    request: &SipText,
    status: u16,
    to_tag: &str,
    extra: &[(String, String)],
    body: &Body,
) -> Vec<u8> {
    let mut headers: Vec<Header> = request
        .header_lines("Via")
        .into_iter()
        .map(|via| other("Via", via))
        .collect();
    if (101..300).contains(&status) {
        headers.extend(
            request
                .header_lines("Record-Route")
                .into_iter()
                .map(|route| other("Record-Route", route)),
        );
    }
    let mut to = request.header("To").unwrap_or_default();
    if status > 100 && request.to_tag().is_none() {
        to += &format!(";tag={to_tag}");
    }
    headers.push(other("From", request.header("From").unwrap_or_default()));
    headers.push(other("To", to));
    headers.push(other("Call-ID", request.call_id()));
    headers.push(other("CSeq", request.header("CSeq").unwrap_or_default()));
    headers.extend(extra.iter().map(|(name, value)| other(name, value.clone())));
    headers.extend(body_headers(body));
    SipMessage::from(rsip::Response {
        status_code: status.into(),
        version: Version::V2,
        headers: headers.into(),
        body: body.text.clone().into_bytes(),
    })
    .into()
}

/// The URI of a name-addr or addr-spec header value.
pub(crate) fn uri_of(value: &str) -> String {
    let bracketed = value.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    let uri = bracketed.map_or_else(|| value.split(';').next().unwrap_or(value), |(uri, _)| uri);
    uri.trim().to_owned()
}

/// A parameter of a header value, outside the angle brackets.
pub(crate) fn param(value: &str, name: &str) -> Option<String> {
    let after_uri = value.rsplit_once('>').map_or(value, |(_, after)| after);
    after_uri.split(';').skip(1).find_map(|param| {
        let (found, value) = param.split_once('=')?;
        found.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

fn body_headers(body: &Body) -> Vec<Header> {
    let length = other("Content-Length", body.text.len().to_string());
    if body.text.is_empty() {
        return vec![length];
    }
    vec![other("Content-Type", body.content_type.to_owned()), length]
}

fn other(name: &str, value: String) -> Header {
    Header::Other(name.to_owned(), value)
}

fn compact_name(name: &str) -> &'static str {
    const COMPACT: [(&str, &str); 8] = [
        ("Via", "v"),
        ("From", "f"),
        ("To", "t"),
        ("Call-ID", "i"),
        ("Contact", "m"),
        ("Content-Length", "l"),
        ("Content-Type", "c"),
        ("Refer-To", "r"),
    ];
    let found = COMPACT.iter().find(|(long, _)| long.eq_ignore_ascii_case(name));
    found.map_or("", |(_, compact)| compact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_not_taken_from_inside_the_brackets() {
        let value = "\"A\" <sip:a@x;tag=no;transport=tcp>;tag=yes";
        assert_eq!(param(value, "tag").as_deref(), Some("yes"));
        assert_eq!(uri_of(value), "sip:a@x;tag=no;transport=tcp");
        assert_eq!(
            param("SIP/2.0/UDP h:1;branch=z9hG4bKx;rport", "branch").as_deref(),
            Some("z9hG4bKx")
        );
    }

    #[test]
    fn request_with_a_uri_rsip_refuses_is_still_written() {
        let draft = RequestDraft {
            method: Method::Invite,
            uri: "sip:+1@[::1]:5060".to_owned(),
            via: "SIP/2.0/UDP [::1]:5060".to_owned(),
            branch: "z9hG4bKa".to_owned(),
            cseq: 1,
            from: "<sip:a@x>;tag=1".to_owned(),
            to: "<sip:b@x>".to_owned(),
            call_id: "c".to_owned(),
            routes: Vec::new(),
            headers: Vec::new(),
            body: Body::default(),
        };
        assert!(draft.bytes().starts_with(b"INVITE sip:+1@[::1]:5060 SIP/2.0\r\nVia: "));
    }
}
