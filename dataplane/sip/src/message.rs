//! One message: its bytes and an index of its header fields. Nothing is copied, unfolded or normalised.

use std::fmt;
use std::ops::Range;

use crate::error::InvalidMessage;
use crate::headers::Header;
use crate::multipart;
use crate::name_addr::NameAddr;
use crate::scan::{is_lws, is_token, number, split_commas, trim, trim_name};
use crate::syntax::{Values, are_params, is_token_text};
use crate::via::Via;

/// Most bytes of a message, header and body: a UDP datagram's worth, on streams too.
pub const MAX_MESSAGE: usize = 65_535;

/// Most header fields of a message.
pub const MAX_HEADERS: usize = 256;

/// Longest header line including its folds. Via, Route and identity headers of real calls stay far below.
const MAX_HEADER_LINE: usize = 8_192;

/// Longest Request-URI accepted.
const MAX_REQUEST_URI: usize = 4_096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn new(start: usize, end: usize) -> Self {
        Self {
            start: start as u32,
            end: end as u32,
        }
    }

    fn of(self, raw: &[u8]) -> &[u8] {
        raw.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// A method; those the edge treats apart have a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// INVITE.
    Invite,
    /// ACK.
    Ack,
    /// BYE.
    Bye,
    /// CANCEL.
    Cancel,
    /// OPTIONS.
    Options,
    /// INFO.
    Info,
    /// UPDATE.
    Update,
    /// PRACK.
    Prack,
    /// REFER.
    Refer,
    /// NOTIFY.
    Notify,
    /// SUBSCRIBE.
    Subscribe,
    /// MESSAGE.
    Message,
    /// REGISTER.
    Register,
    /// Any other token, as written: methods compare with case (RFC 3261 §7.1).
    Other(Vec<u8>),
}

impl Method {
    const KNOWN: [(Self, &'static str); 13] = [
        (Self::Invite, "INVITE"),
        (Self::Ack, "ACK"),
        (Self::Bye, "BYE"),
        (Self::Cancel, "CANCEL"),
        (Self::Options, "OPTIONS"),
        (Self::Info, "INFO"),
        (Self::Update, "UPDATE"),
        (Self::Prack, "PRACK"),
        (Self::Refer, "REFER"),
        (Self::Notify, "NOTIFY"),
        (Self::Subscribe, "SUBSCRIBE"),
        (Self::Message, "MESSAGE"),
        (Self::Register, "REGISTER"),
    ];

    /// The labels methods have in metrics; an unknown one counts as the last.
    pub const LABELS: [&'static str; 14] = [
        "INVITE",
        "ACK",
        "BYE",
        "CANCEL",
        "OPTIONS",
        "INFO",
        "UPDATE",
        "PRACK",
        "REFER",
        "NOTIFY",
        "SUBSCRIBE",
        "MESSAGE",
        "REGISTER",
        "other",
    ];

    fn parse(token: &[u8]) -> Option<Self> {
        if token.is_empty() || !token.iter().all(|byte| is_token(*byte)) {
            return None;
        }
        let known = Self::KNOWN.iter().find(|(_, name)| name.as_bytes() == token);
        Some(known.map_or_else(|| Self::Other(token.to_vec()), |(method, _)| method.clone()))
    }

    /// The method as it stands in a request line.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        if let Self::Other(name) = self {
            return name;
        }
        Self::LABELS[self.label_index()].as_bytes()
    }

    /// The position in [`LABELS`](Self::LABELS).
    #[must_use]
    pub fn label_index(&self) -> usize {
        Self::KNOWN
            .iter()
            .position(|(known, _)| known == self)
            .unwrap_or(Self::KNOWN.len())
    }
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartLine {
    /// A request's method; the URI is [`SipMessage::request_uri`].
    Request(Method),
    /// A response's status, 100 to 699.
    Response(u16),
}

/// A CSeq value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CSeq {
    /// Sequence number, below 2^31 (RFC 3261 §8.1.1.5).
    pub number: u32,
    /// Its method.
    pub method: Method,
}

#[derive(Clone, Copy, Debug)]
struct FieldSpan {
    header: Header,
    line: Span,
    name: Span,
    value: Span,
}

/// One header field as it stands in the message.
#[derive(Clone, Copy, Debug)]
pub struct Field<'m> {
    /// Which header.
    pub header: Header,
    /// The name as written.
    pub name: &'m [u8],
    /// The value, white space trimmed, folds kept.
    pub value: &'m [u8],
    /// The whole field with its line ends.
    pub line: &'m [u8],
}

/// A SIP message: its bytes and where its parts are.
#[derive(Clone)]
pub struct SipMessage {
    raw: Vec<u8>,
    start: StartLine,
    uri: Span,
    start_line: Span,
    fields: Vec<FieldSpan>,
    body: u32,
    /// What is wrong with the message although it could be read, and so can be answered.
    defect: Option<InvalidMessage>,
}

impl SipMessage {
    /// Indexes exactly one message. The structure is checked; [`check`](Self::check) looks at the mandatory headers, and
    /// names a defect found here that leaves the message answerable.
    ///
    /// # Errors
    /// [`InvalidMessage`] for what has no start line, no header end, or too many lines.
    pub fn index(raw: Vec<u8>) -> Result<Self, InvalidMessage> {
        if raw.len() > MAX_MESSAGE {
            return Err(InvalidMessage::TooLarge);
        }
        let line_end = find_crlf(&raw, 0).ok_or(InvalidMessage::NotSip)?;
        let (start, uri, defect) = parse_start_line(raw.get(..line_end).unwrap_or_default())?;
        let (fields, body, in_fields) = index_fields(&raw, line_end + 2)?;
        let defect = defect.or(in_fields);
        Ok(Self {
            start,
            uri,
            defect,
            start_line: Span::new(0, line_end),
            fields,
            body: body as u32,
            raw,
        })
    }

    /// The whole message.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// What is wrong with the request line or a header line, if anything.
    pub(crate) const fn defect(&self) -> Option<InvalidMessage> {
        self.defect
    }

    /// The first line.
    #[must_use]
    pub fn start(&self) -> &StartLine {
        &self.start
    }

    /// The first line without its line end.
    #[must_use]
    pub fn start_line(&self) -> &[u8] {
        self.start_line.of(&self.raw)
    }

    /// The method of a request.
    #[must_use]
    pub fn method(&self) -> Option<&Method> {
        match &self.start {
            StartLine::Request(method) => Some(method),
            StartLine::Response(_) => None,
        }
    }

    /// The status of a response.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match &self.start {
            StartLine::Request(_) => None,
            StartLine::Response(status) => Some(*status),
        }
    }

    /// The Request-URI of a request, the reason phrase of a response.
    #[must_use]
    pub fn request_uri(&self) -> &[u8] {
        self.uri.of(&self.raw)
    }

    /// Everything after the empty line.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.raw.get(self.body as usize..).unwrap_or_default()
    }

    /// Every field in order.
    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        self.fields.iter().map(|field| Field {
            header: field.header,
            name: field.name.of(&self.raw),
            value: field.value.of(&self.raw),
            line: field.line.of(&self.raw),
        })
    }

    /// The values of one header, in order.
    pub fn all(&self, header: Header) -> impl Iterator<Item = &[u8]> {
        self.fields
            .iter()
            .filter(move |field| field.header == header)
            .map(|field| field.value.of(&self.raw))
    }

    /// The first value of one header.
    #[must_use]
    pub fn first(&self, header: Header) -> Option<&[u8]> {
        self.all(header).next()
    }

    /// The comma-separated values of one header over all its fields, in order.
    pub fn values(&self, header: Header) -> impl Iterator<Item = &[u8]> {
        self.all(header)
            .flat_map(split_commas)
            .filter(|value| !value.is_empty())
    }

    /// Whether a comma-separated header lists a token, case ignored.
    #[must_use]
    pub fn lists(&self, header: Header, token: &str) -> bool {
        self.values(header)
            .any(|value| value.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Call-ID, empty if there is none.
    #[must_use]
    pub fn call_id(&self) -> &[u8] {
        self.first(Header::CallId).unwrap_or_default()
    }

    /// From.
    #[must_use]
    pub fn from(&self) -> Option<NameAddr<'_>> {
        NameAddr::parse(self.first(Header::From)?)
    }

    /// To.
    #[must_use]
    pub fn to(&self) -> Option<NameAddr<'_>> {
        NameAddr::parse(self.first(Header::To)?)
    }

    /// The first Contact.
    #[must_use]
    pub fn contact(&self) -> Option<NameAddr<'_>> {
        NameAddr::parse(self.values(Header::Contact).next()?)
    }

    /// CSeq.
    #[must_use]
    pub fn cseq(&self) -> Option<CSeq> {
        let value = self.first(Header::CSeq)?;
        let end = value.iter().position(|byte| is_lws(*byte))?;
        let number = number(value.get(..end)?).filter(|number| *number < 1 << 31)?;
        let method = Method::parse(trim(value.get(end..)?))?;
        Some(CSeq { number, method })
    }

    /// The topmost Via.
    #[must_use]
    pub fn top_via(&self) -> Option<Via<'_>> {
        Via::parse(self.values(Header::Via).next()?)
    }

    /// Max-Forwards, 70 where there is none (RFC 3261 §16.3).
    #[must_use]
    pub fn max_forwards(&self) -> u8 {
        self.first(Header::MaxForwards)
            .and_then(number)
            .and_then(|hops| u8::try_from(hops).ok())
            .unwrap_or(70)
    }

    /// Type and subtype of the body, whatever stands around the slash; `None` if Content-Type is missing or malformed
    /// (RFC 3261 §25.1, media-type).
    #[must_use]
    pub fn media_type(&self) -> Option<(&[u8], &[u8])> {
        let (kind, params) = self.content_type()?;
        let slash = kind.iter().position(|byte| *byte == b'/')?;
        let (name, subname) = (trim(kind.get(..slash)?), trim(kind.get(slash + 1..)?));
        let is_whole = is_token_text(name) && is_token_text(subname) && are_params(trim(params), Values::Header);
        is_whole.then_some((name, subname))
    }

    fn content_type(&self) -> Option<(&[u8], &[u8])> {
        let value = self.first(Header::ContentType)?;
        let end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
        Some(value.split_at(end))
    }

    /// Whether the body has several parts.
    #[must_use]
    pub fn is_multipart(&self) -> bool {
        self.media_type()
            .is_some_and(|(name, _)| name.eq_ignore_ascii_case(b"multipart"))
    }

    /// The session description: the body, or the one part of it that is one.
    #[must_use]
    pub fn sdp(&self) -> Option<&[u8]> {
        self.body().get(self.sdp_range()?)
    }

    fn sdp_range(&self) -> Option<Range<usize>> {
        let (name, subname) = self.media_type().filter(|_| !self.body().is_empty())?;
        if self.is_multipart() {
            let (_, params) = self.content_type()?;
            return multipart::find_sdp(params, self.body());
        }
        let is_sdp = name.eq_ignore_ascii_case(b"application") && subname.eq_ignore_ascii_case(b"sdp");
        is_sdp.then(|| 0..self.body().len())
    }

    /// The body with another description in place of its own.
    #[must_use]
    pub fn with_sdp(&self, sdp: Vec<u8>) -> Vec<u8> {
        match self.sdp_range().filter(|_| self.is_multipart()) {
            Some(range) => multipart::splice(self.body(), range, &sdp),
            None => sdp,
        }
    }

    /// Whether there is a session description.
    #[must_use]
    pub fn has_sdp(&self) -> bool {
        self.sdp_range().is_some()
    }

    /// Whether the body may hold a description that cannot be told, and would pass unread with all its addresses: of
    /// several parts two descriptions, an encoded one, one in a part of parts; or one under the name of something else.
    #[must_use]
    pub fn hides_sdp(&self) -> bool {
        let may_be_one = match self.is_multipart() {
            true => multipart::names_sdp(self.body()),
            false => multipart::looks_like_sdp(self.body()),
        };
        may_be_one && !self.has_sdp()
    }
}

impl fmt::Debug for SipMessage {
    /// Its kind and size: the text holds tickets, keys and people's numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SipMessage({:?}, {} bytes)", self.start, self.raw.len())
    }
}

/// Finds Call-ID without indexing the message; input to steering.
#[must_use]
pub fn peek_call_id(raw: &[u8]) -> Option<&[u8]> {
    let mut at = find_crlf(raw, 0)? + 2;
    while let Some(end) = find_crlf(raw, at) {
        let line = raw.get(at..end)?;
        if line.is_empty() {
            return None;
        }
        if let Some(colon) = line.iter().position(|byte| *byte == b':') {
            let (name, value) = line.split_at_checked(colon)?;
            if Header::from_name(trim_name(name)) == Header::CallId {
                return Some(trim(value.get(1..)?));
            }
        }
        at = end + 2;
    }
    None
}

fn find_crlf(raw: &[u8], from: usize) -> Option<usize> {
    raw.get(from..)?
        .windows(2)
        .position(|pair| pair == b"\r\n")
        .map(|at| at + from)
}

fn parse_start_line(line: &[u8]) -> Result<(StartLine, Span, Option<InvalidMessage>), InvalidMessage> {
    if line.len() >= 8 && line.get(..4).is_some_and(|head| head.eq_ignore_ascii_case(b"SIP/")) {
        let (start, reason) = parse_status_line(line)?;
        return Ok((start, reason, None));
    }
    let end = line.trim_ascii_end().len();
    let last = line
        .get(..end)
        .and_then(|line| line.iter().rposition(|byte| *byte == b' '))
        .ok_or(InvalidMessage::NotSip)?;
    let version = line.get(last + 1..end).unwrap_or_default();
    if !version.get(..4).is_some_and(|head| head.eq_ignore_ascii_case(b"SIP/")) {
        return Err(InvalidMessage::NotSip);
    }
    let first = line
        .iter()
        .position(|byte| *byte == b' ')
        .ok_or(InvalidMessage::NotSip)?;
    let method = line
        .get(..first)
        .and_then(Method::parse)
        .ok_or(InvalidMessage::StartLine)?;
    let uri = line.get(first + 1..last).unwrap_or_default();
    let printable = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'"');
    let defect = if !version.eq_ignore_ascii_case(b"SIP/2.0") {
        Some(InvalidMessage::Version)
    } else if uri.len() > MAX_REQUEST_URI {
        Some(InvalidMessage::UriTooLong)
    } else if uri.is_empty() || end != line.len() || !uri.iter().all(printable) {
        Some(InvalidMessage::StartLine)
    } else {
        None
    };
    Ok((
        StartLine::Request(method),
        Span::new(first + 1, (first + 1).max(last)),
        defect,
    ))
}

fn parse_status_line(line: &[u8]) -> Result<(StartLine, Span), InvalidMessage> {
    if !line.get(..8).is_some_and(|head| head.eq_ignore_ascii_case(b"SIP/2.0 ")) {
        return Err(InvalidMessage::Version);
    }
    let status = line
        .get(8..11)
        .and_then(number)
        .filter(|status| (100..700).contains(status));
    let status = status.ok_or(InvalidMessage::StartLine)?;
    match line.get(11) {
        None | Some(b' ') => Ok((
            StartLine::Response(status as u16),
            Span::new(line.len().min(12), line.len()),
        )),
        Some(_) => Err(InvalidMessage::StartLine),
    }
}

/// The fields, where the body begins, and what is wrong with some line. A malformed line is left out, so that nothing of
/// it is ever repeated.
fn index_fields(raw: &[u8], mut at: usize) -> Result<(Vec<FieldSpan>, usize, Option<InvalidMessage>), InvalidMessage> {
    let mut fields = Vec::with_capacity(24);
    let mut defect = None;
    loop {
        let mut end = find_crlf(raw, at).ok_or(InvalidMessage::Truncated)?;
        if end == at {
            return Ok((fields, at + 2, defect));
        }
        while matches!(raw.get(end + 2), Some(b' ' | b'\t')) {
            end = find_crlf(raw, end + 2).ok_or(InvalidMessage::Truncated)?;
        }
        if fields.len() >= MAX_HEADERS {
            return Err(InvalidMessage::TooLarge);
        }
        if end - at > MAX_HEADER_LINE {
            defect = Some(InvalidMessage::TooLarge);
        }
        match index_field(raw, at, end) {
            Ok(field) => fields.push(field),
            Err(why) => defect = Some(why),
        }
        at = end + 2;
    }
}

fn index_field(raw: &[u8], at: usize, end: usize) -> Result<FieldSpan, InvalidMessage> {
    let line = raw.get(at..end).unwrap_or_default();
    let colon = line
        .iter()
        .position(|byte| *byte == b':')
        .ok_or(InvalidMessage::HeaderLine)?;
    let (name, value) = line.split_at_checked(colon).ok_or(InvalidMessage::HeaderLine)?;
    let trimmed = trim_name(name);
    if trimmed.is_empty() || !trimmed.iter().all(|byte| is_token(*byte)) || has_stray_control(value) {
        return Err(InvalidMessage::HeaderLine);
    }
    let value = value.get(1..).unwrap_or_default();
    let lead = value.iter().take_while(|byte| is_lws(**byte)).count();
    let value_at = at + colon + 1 + lead;
    let value_end = (value_at + trim(value).len()).min(end);
    Ok(FieldSpan {
        header: Header::from_name(trimmed),
        line: Span::new(at, end + 2),
        name: Span::new(at, at + trimmed.len()),
        value: Span::new(value_at.min(end), value_end.max(value_at.min(end))),
    })
}

/// NUL, a bare CR or a bare LF in a value hides text from one parser or another. A quoted string may hold any control
/// but a line end behind a backslash (RFC 3261 §25.1, quoted-pair).
fn has_stray_control(value: &[u8]) -> bool {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, byte) in value.iter().enumerate() {
        let is_stray = match byte {
            b'\r' => value.get(at + 1) != Some(&b'\n'),
            b'\n' => at == 0 || value.get(at - 1) != Some(&b'\r'),
            0..=8 | 11 | 12 | 14..=31 | 127 => !is_escaped,
            _ => false,
        };
        if is_stray {
            return true;
        }
        (is_quoted, is_escaped) = match byte {
            _ if is_escaped => (is_quoted, false),
            b'\\' => (is_quoted, is_quoted),
            b'"' => (!is_quoted, false),
            _ => (is_quoted, false),
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INVITE: &str = "INVITE sip:+14085551234@b.example SIP/2.0\r\nv: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
        From: <sip:a@a.example>;tag=1\r\nTo: <sip:b@b.example>\r\nCall-ID: c1\r\nCSeq: 7 INVITE\r\n\
        Subject: folded\r\n here\r\nContent-Length: 0\r\n\r\n";

    #[test]
    fn a_plain_invite_is_indexed_and_passes_the_check() {
        let message = SipMessage::index(INVITE.into()).unwrap();
        message.check().unwrap();
        assert_eq!(message.method(), Some(&Method::Invite));
        assert_eq!(message.request_uri(), b"sip:+14085551234@b.example");
        assert_eq!(message.cseq().unwrap().number, 7);
        assert_eq!(
            message.fields().find(|field| field.name == b"Subject").unwrap().value,
            b"folded\r\n here"
        );
        assert_eq!(peek_call_id(INVITE.as_bytes()), Some(&b"c1"[..]));
    }

    #[test]
    fn debug_output_shows_no_header_and_no_body() {
        let shown = format!("{:?}", SipMessage::index(INVITE.into()).unwrap());
        assert!(!shown.contains("example") && !shown.contains("4085551234"), "{shown}");
    }

    proptest! {
        #[test]
        fn no_bytes_panic_the_index(noise in proptest::collection::vec(any::<u8>(), 0..400), cut in 0usize..300) {
            let _ = SipMessage::index(noise.clone());
            let mut mixed = INVITE.as_bytes().to_vec();
            mixed.truncate(cut);
            mixed.extend(noise);
            if let Ok(message) = SipMessage::index(mixed) {
                let _ = (message.check(), message.contact(), message.has_sdp(), message.max_forwards());
            }
        }
    }
}
