//! Responses made here (RFC 3261 §8.2.6).

use std::net::SocketAddr;

use crate::headers::Header;
use crate::message::SipMessage;
use crate::scan::push_field;
use crate::via::Via;

/// The standard reason phrase of a status this edge sends.
#[must_use]
pub const fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        183 => "Session Progress",
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        414 => "Request-URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        491 => "Request Pending",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        603 => "Decline",
        _ => "Unspecified",
    }
}

/// Writes a response to a request: its Vias (the top one with where it came from), From, To with our tag where it has
/// none, Call-ID and CSeq, then the extra fields, and no body.
#[must_use]
pub fn respond(
    request: &SipMessage,
    from: SocketAddr,
    status: u16,
    to_tag: Option<&str>,
    extra: &[(&str, &str)],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(format!("SIP/2.0 {status} {}\r\n", reason_phrase(status)).as_bytes());
    for via in vias_with_source(request, from) {
        push_field(&mut out, b"Via", &via);
    }
    for header in [Header::From, Header::To, Header::CallId, Header::CSeq] {
        let Some(value) = request.first(header) else { continue };
        out.extend_from_slice(header.name().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        let untagged = header == Header::To && request.to().is_none_or(|to| to.tag().is_none());
        if let (true, Some(tag)) = (untagged, to_tag) {
            out.extend_from_slice(format!(";tag={tag}").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
    for (name, value) in extra {
        push_field(&mut out, name.as_bytes(), value.as_bytes());
    }
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    out
}

/// The request's Via values in order, the top one completed with the source (RFC 3261 §18.2.1).
#[must_use]
pub fn vias_with_source(request: &SipMessage, from: SocketAddr) -> Vec<Vec<u8>> {
    let mut vias: Vec<Vec<u8>> = request.values(Header::Via).map(<[u8]>::to_vec).collect();
    if let Some(top) = vias.first_mut()
        && let Some(via) = Via::parse(top)
    {
        *top = via.with_source(from);
    }
    vias
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_carries_all_vias_and_one_to_tag() {
        let request = SipMessage::index(
            b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1, SIP/2.0/UDP x;branch=z9hG4bK2\r\n\
              From: <sip:a@h>;tag=1\r\nt: <sip:b@h>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n"
                .to_vec(),
        )
        .unwrap();
        let out = respond(
            &request,
            "10.0.0.2:5060".parse().unwrap(),
            200,
            Some("zz"),
            &[("Allow", "INVITE")],
        );
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;received=10.0.0.2\r\n"));
        assert!(text.contains("Via: SIP/2.0/UDP x;branch=z9hG4bK2\r\n"));
        assert!(text.contains("To: <sip:b@h>;tag=zz\r\n") && text.contains("Allow: INVITE\r\n"));
    }
}
