//! Judges the bytes an edge sends, by nobody's parser but its own small one: is this a message that any receiver may be
//! given (RFC 3261 §7, §8.1.1, §25.1)?
//!
//! It shares no code with the edge and knows no call: whether a message fits its dialog is for scenarios.

/// A message taken apart at its line ends.
#[derive(Clone, Debug)]
pub struct Judged<'m> {
    start: &'m str,
    /// Name in its long form and lower case, and the whole field without its last line end.
    fields: Vec<(String, &'m [u8])>,
    body: &'m [u8],
}

/// Compact names (RFC 3261 §7.3.3 and the registry).
const COMPACT: [(&str, &str); 12] = [
    ("v", "via"),
    ("f", "from"),
    ("t", "to"),
    ("i", "call-id"),
    ("m", "contact"),
    ("l", "content-length"),
    ("c", "content-type"),
    ("k", "supported"),
    ("s", "subject"),
    ("e", "content-encoding"),
    ("o", "event"),
    ("r", "refer-to"),
];

/// Fields that must be there exactly once in every message.
const ONCE: [&str; 5] = ["from", "to", "call-id", "cseq", "content-length"];

/// Fields the edge writes or removes itself, so that they are no one's to keep byte for byte (edge.md 3 and 4).
const REWRITTEN: [&str; 26] = [
    "via",
    "route",
    "record-route",
    "from",
    "to",
    "call-id",
    "cseq",
    "max-forwards",
    "contact",
    "content-length",
    "server",
    "user-agent",
    "warning",
    "alert-info",
    "call-info",
    "error-info",
    "in-reply-to",
    "replaces",
    "join",
    "target-dialog",
    "rack",
    "p-asserted-identity",
    "p-preferred-identity",
    "remote-party-id",
    "diversion",
    "history-info",
];

impl<'m> Judged<'m> {
    /// Takes a message apart; `None` if it has no head.
    #[must_use]
    pub fn of(message: &'m [u8]) -> Option<Self> {
        let end = message.windows(4).position(|four| four == b"\r\n\r\n")?;
        let (head, body) = (&message[..end], &message[end + 4..]);
        let mut lines = Vec::new();
        let mut from = 0;
        for at in 0..=head.len() {
            let ends = at == head.len() || head[at..].starts_with(b"\r\n");
            let is_folded = matches!(head.get(at + 2), Some(b' ' | b'\t')) && !lines.is_empty();
            if ends && !is_folded && at >= from {
                lines.push(&head[from..at]);
                from = at + 2;
            }
        }
        let (start, fields) = lines.split_first()?;
        let named = |line: &&'m [u8]| {
            let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
            (long_name(name), *line)
        };
        Some(Self {
            start: std::str::from_utf8(start).ok()?,
            fields: fields.iter().map(named).collect(),
            body,
        })
    }

    /// The method of a request, the status of a response.
    #[must_use]
    pub fn name(&self) -> &'m str {
        match self.start.split_once(' ') {
            Some(("SIP/2.0", rest)) => rest.split(' ').next().unwrap_or_default(),
            Some((method, _)) => method,
            None => "",
        }
    }

    /// The first value of a field by its long name in lower case, folds and all.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&'m [u8]> {
        self.values(name).next()
    }

    /// What follows the head.
    #[must_use]
    pub const fn body(&self) -> &'m [u8] {
        self.body
    }

    /// Every value of a field by its long name in lower case.
    pub fn values<'n>(&'n self, name: &'n str) -> impl Iterator<Item = &'m [u8]> + 'n {
        let of_name = self.fields.iter().filter(move |(known, _)| known == name);
        of_name.map(|(_, line)| {
            let colon = line.iter().position(|byte| *byte == b':').map_or(0, |at| at + 1);
            line[colon..].trim_ascii()
        })
    }

    fn text(&self, name: &str) -> String {
        String::from_utf8_lossy(self.value(name).unwrap_or_default()).replace("\r\n", " ")
    }
}

/// Everything wrong with a message that an edge sent, one line each; none for a good one. `inside` are addresses that
/// must not be in it.
#[must_use]
pub fn defects(message: &[u8], inside: &[String]) -> Vec<String> {
    let Some(judged) = Judged::of(message) else {
        return vec!["no head".to_owned()];
    };
    let mut found = Vec::new();
    let is_request = !judged.start.starts_with("SIP/2.0 ");
    start_line(&judged, is_request, &mut found);
    letters(&judged, &message[..message.len() - judged.body.len()], &mut found);
    counts(&judged, is_request, &mut found);
    numbers(&judged, is_request, &mut found);
    parties(&judged, &mut found);
    body(&judged, &mut found);
    for address in inside {
        if contains(message, address.as_bytes()) {
            found.push(format!("shows {address}"));
        }
    }
    found
}

/// The message in what was sent: without line ends before it and, where Content-Length says so, without what follows.
#[must_use]
pub fn framed(sent: &[u8]) -> &[u8] {
    let start = sent.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let message = &sent[start..];
    let Some(judged) = Judged::of(message) else {
        return message;
    };
    let head = message.len() - judged.body.len();
    let length = digits(judged.text("content-length").trim()).and_then(|length| usize::try_from(length).ok());
    let end = length.and_then(|length| head.checked_add(length));
    end.and_then(|end| message.get(..end)).unwrap_or(message)
}

/// What of a message that was passed on is not as it was sent: fields that are nobody's to touch and changed, and fields
/// that nobody sent. `sent` is the message alone, without what came behind it in its datagram.
#[must_use]
pub fn meddling(sent: &[u8], passed: &[u8], hidden: &[String]) -> Vec<String> {
    let (Some(sent), Some(passed)) = (Judged::of(sent), Judged::of(passed)) else {
        return vec!["no head".to_owned()];
    };
    let shows = |part: &[u8]| hidden.iter().any(|address| contains(part, address.as_bytes()));
    // A body that must not be shown goes with its type.
    let is_body_hidden = shows(sent.body);
    let is_kept = |(name, line): &&(String, &[u8])| {
        let is_registration = name == "contact" && sent.name() == "REGISTER";
        let is_of_hidden = name == "content-type" && is_body_hidden;
        (!REWRITTEN.contains(&name.as_str()) || is_registration) && !shows(line) && !is_of_hidden
    };
    let mut found = Vec::new();
    let mut left = passed.fields.iter();
    for (name, line) in sent.fields.iter().filter(is_kept) {
        if !left.any(|(_, other)| other == line) {
            found.push(format!("{name} is not there byte for byte, or not in its order"));
            left = passed.fields.iter();
        }
    }
    for (name, _) in &passed.fields {
        let is_ours = ["via", "max-forwards", "content-length", "contact"].contains(&name.as_str());
        if !is_ours && !sent.fields.iter().any(|(known, _)| known == name) {
            found.push(format!("{name} was not sent"));
        }
    }
    if tag(&sent) != tag(&passed) {
        found.push("another From tag".to_owned());
    }
    let is_sdp = kind(&sent) == "application/sdp";
    if !is_sdp && !is_body_hidden && without_descriptions(&sent) != without_descriptions(&passed) {
        found.push("the body changed".to_owned());
    }
    found
}

fn long_name(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name.trim_ascii_end()).to_ascii_lowercase();
    let long = COMPACT.iter().find(|(short, _)| *short == name);
    long.map_or(name, |(_, long)| (*long).to_owned())
}

fn start_line(judged: &Judged<'_>, is_request: bool, found: &mut Vec<String>) {
    let parts: Vec<&str> = judged.start.split(' ').collect();
    let is_good = match (is_request, parts.as_slice()) {
        (true, [method, uri, "SIP/2.0"]) => is_token(method) && is_uri(uri),
        (false, ["SIP/2.0", status, ..]) => status.len() == 3 && status.parse().is_ok_and(|n| (100..700).contains(&n)),
        _ => false,
    };
    if !is_good {
        found.push(format!("start line {:?}", judged.start));
    }
}

/// CRLF everywhere, a name and a colon on each line, and no control letter outside a quoted pair.
fn letters(judged: &Judged<'_>, head: &[u8], found: &mut Vec<String>) {
    for (at, byte) in head.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|before| head.get(before));
        let is_bad = match byte {
            b'\r' => head.get(at + 1) != Some(&b'\n'),
            b'\n' => before != Some(&b'\r'),
            b'\t' => false,
            0..=31 | 127 => before != Some(&b'\\'),
            _ => false,
        };
        if is_bad {
            found.push(format!("control letter {byte} at {at}"));
        }
    }
    for (name, line) in &judged.fields {
        if !is_token(name) || !line.contains(&b':') {
            found.push(format!("field {:?}", String::from_utf8_lossy(line)));
        }
    }
}

fn counts(judged: &Judged<'_>, is_request: bool, found: &mut Vec<String>) {
    let count = |name: &str| judged.values(name).count();
    for name in ONCE {
        if count(name) != 1 {
            found.push(format!("{name} is there {} times", count(name)));
        }
    }
    if count("via") == 0 {
        found.push("no via".to_owned());
    }
    for name in ["max-forwards", "content-type", "event", "rack", "refer-to", "replaces"] {
        if count(name) > 1 || (is_request && name == "max-forwards" && count(name) != 1) {
            found.push(format!("{name} is there {} times", count(name)));
        }
    }
}

fn numbers(judged: &Judged<'_>, is_request: bool, found: &mut Vec<String>) {
    let text = judged.text("cseq");
    let mut cseq = text.split_ascii_whitespace();
    let number = cseq.next().and_then(digits);
    let method = cseq.next().unwrap_or_default();
    let is_same = !is_request || method == judged.name();
    if number.is_none_or(|number| number >= 1 << 31) || !is_same || !is_token(method) || cseq.next().is_some() {
        found.push(format!("CSeq {text:?}"));
    }
    if is_request && digits(judged.text("max-forwards").trim()).is_none_or(|hops| hops > 255) {
        found.push("Max-Forwards".to_owned());
    }
    if digits(judged.text("content-length").trim()) != Some(judged.body.len() as u64) {
        found.push(format!("Content-Length is not {}", judged.body.len()));
    }
    let via = judged.text("via");
    let branch = via.split(";branch=").nth(1).unwrap_or_default();
    let branch = branch.split([';', ',', ' ']).next().unwrap_or_default();
    if is_request && (!branch.starts_with("z9hG4bK") || branch.len() < 8) {
        found.push(format!("branch of {via:?}"));
    }
}

fn parties(judged: &Judged<'_>, found: &mut Vec<String>) {
    for name in [
        "from",
        "to",
        "contact",
        "refer-to",
        "route",
        "record-route",
        "p-asserted-identity",
    ] {
        for value in judged.values(name) {
            let value = String::from_utf8_lossy(value).replace("\r\n", " ");
            let is_good = match unquoted(&value) {
                Some(outside) => is_party_list(name, &outside),
                None => false,
            };
            if !is_good {
                found.push(format!("{name} {value:?}"));
            }
        }
    }
    if tag(judged).is_none() {
        found.push("no From tag".to_owned());
    }
}

/// The pieces of a body between its boundaries, those left out that are descriptions; of any other body the whole.
fn without_descriptions(judged: &Judged<'_>) -> Vec<Vec<u8>> {
    let kind = judged.text("content-type");
    let mut params = kind.split(';').filter_map(|param| param.split_once('='));
    let boundary = params.find(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"));
    let boundary = boundary.map(|(_, boundary)| boundary.trim().trim_matches('"'));
    let (Some(boundary), true) = (boundary, kind.to_ascii_lowercase().starts_with("multipart/")) else {
        return vec![judged.body.to_vec()];
    };
    let mark = format!("--{boundary}");
    let (mut pieces, mut rest) = (Vec::new(), judged.body);
    while let Some(at) = rest.windows(mark.len()).position(|window| window == mark.as_bytes()) {
        pieces.push(rest[..at].to_vec());
        rest = &rest[at + mark.len()..];
    }
    pieces.push(rest.to_vec());
    let is_description = |piece: &Vec<u8>| {
        let letters: Vec<u8> = piece.iter().copied().filter(|byte| !b" \t".contains(byte)).collect();
        contains(&letters.to_ascii_lowercase(), b"application/sdp")
    };
    pieces.retain(|piece| !is_description(piece));
    pieces
}

/// The type of the body in lower case, without parameters and blanks.
fn kind(judged: &Judged<'_>) -> String {
    let text = judged.text("content-type").to_ascii_lowercase();
    text.split(';').next().unwrap_or_default().replace([' ', '\t'], "")
}

/// The From tag: a parameter behind the URI, never one in it.
fn tag(judged: &Judged<'_>) -> Option<String> {
    let from = unquoted(&judged.text("from"))?.replace([' ', '\t'], "");
    let behind = from.rsplit_once('>').map_or(from.as_str(), |(_, behind)| behind);
    let params = behind.split(';').skip(1);
    let tag = params
        .filter_map(|param| param.split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("tag"));
    tag.map(|(_, tag)| tag.to_owned())
}

/// The text with what is in quotes left out; `None` if a quote does not end.
fn unquoted(text: &str) -> Option<String> {
    let (mut out, mut is_quoted, mut is_escaped) = (String::new(), false, false);
    for letter in text.chars() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            _ => out.push(letter),
        }
    }
    (!is_quoted).then_some(out)
}

/// A list of parties, quotes left out: brackets in pairs around a URI, and no parameter that is empty.
fn is_party_list(name: &str, text: &str) -> bool {
    if text == "*" {
        return name == "contact";
    }
    let mut rest = text;
    let mut outside = String::new();
    while let Some((before, after)) = rest.split_once('<') {
        let Some((uri, after)) = after.split_once('>') else {
            return false;
        };
        if !is_uri(uri) {
            return false;
        }
        outside.push_str(before);
        outside.push('@');
        rest = after;
    }
    outside.push_str(rest);
    let has_brackets = outside.contains('@') && text.contains('<');
    let parts_are_named = outside.split(',').all(|one| {
        let mut params = one.split(';');
        let party = params.next().unwrap_or_default().trim();
        !party.is_empty() && params.all(|param| is_named(param.trim()))
    });
    !outside.contains('>')
        && parts_are_named
        && (has_brackets || is_uri(text.split(';').next().unwrap_or_default().trim()))
}

fn is_named(param: &str) -> bool {
    let name = param.split('=').next().unwrap_or_default().trim();
    is_token(name)
}

fn body(judged: &Judged<'_>, found: &mut Vec<String>) {
    let kind = kind(judged);
    if !judged.body.is_empty() && kind.is_empty() {
        found.push("a body without Content-Type".to_owned());
    }
    if judged.body.is_empty() || kind != "application/sdp" {
        return;
    }
    let Some(text) = std::str::from_utf8(judged.body)
        .ok()
        .filter(|text| text.ends_with("\r\n"))
    else {
        found.push("SDP without a last line end, or not UTF-8".to_owned());
        return;
    };
    if !text.starts_with("v=0\r\n") {
        found.push("SDP without v=0".to_owned());
    }
    for line in text.split("\r\n").filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.get(2..).unwrap_or_default().split(' ').collect();
        let is_good = match (line.as_bytes(), words.as_slice()) {
            ([b'c', b'=', ..], ["IN", "IP4", address]) => address.parse::<std::net::Ipv4Addr>().is_ok(),
            ([b'c', b'=', ..], ["IN", "IP6", address]) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            ([b'm', b'=', ..], [_, port, _, _, ..]) => port
                .split('/')
                .next()
                .and_then(digits)
                .is_some_and(|port| port <= 65_535),
            ([b'c' | b'm', ..], _) => false,
            ([letter, b'=', ..], _) => letter.is_ascii_lowercase() && !line.contains(['\r', '\n', '\0']),
            _ => false,
        };
        if !is_good {
            found.push(format!("SDP line {line:?}"));
        }
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn digits(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte))
}

/// A scheme, and printable letters without brackets, quotes or broken escapes; a SIP URI has a host and a port that is
/// one.
fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let mut escapes = rest.split('%').skip(1);
    let is_printable = rest
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"<>\"\\^`{}|".contains(&byte));
    let escapes_are_whole = escapes.all(|part| part.get(..2).is_some_and(|two| u8::from_str_radix(two, 16).is_ok()));
    if !is_token(scheme) || rest.is_empty() || !is_printable || !escapes_are_whole {
        return false;
    }
    if !scheme.eq_ignore_ascii_case("sip") && !scheme.eq_ignore_ascii_case("sips") {
        return true;
    }
    let host = rest.split_once('@').map_or(rest, |(_, host)| host);
    let host = host.split([';', '?']).next().unwrap_or_default();
    let (host, port) = match host.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((inner, port)) if inner.parse::<std::net::Ipv6Addr>().is_ok() => ("v6", port.strip_prefix(':')),
        Some(_) => return false,
        None => host
            .split_once(':')
            .map_or((host, None), |(host, port)| (host, Some(port))),
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    !host.is_empty()
        && host.bytes().all(is_name)
        && port.is_none_or(|port| digits(port).is_some_and(|port| (1..=65_535).contains(&port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "INVITE sip:+14085550123@b.example SIP/2.0\r\nVia: SIP/2.0/TLS 192.0.2.1;branch=z9hG4bK1\r\n\
        From: \"A, <b>\" <sip:a@a.example>;tag=1\r\nTo: <sip:b@b.example>\r\nCall-ID: c1\r\nCSeq: 7 INVITE\r\n\
        Max-Forwards: 70\r\nSubject: folded\r\n here\r\nContact: <sip:a@192.0.2.1;lr>;q=0.3\r\n\
        Content-Type: application/sdp\r\nContent-Length: 84\r\n\r\n\
        v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4 RTP/AVP 0\r\n";

    #[test]
    fn good_message_has_no_defect() {
        assert_eq!(defects(GOOD.as_bytes(), &["10.0.0.5".to_owned()]), Vec::<String>::new());
        assert_eq!(meddling(GOOD.as_bytes(), GOOD.as_bytes(), &[]), Vec::<String>::new());
    }

    #[test]
    fn every_kind_of_defect_is_seen() {
        for (from, to) in [
            ("INVITE sip", "INVITE  sip"),
            ("INVITE sip", "INVITE <sip"),
            (" SIP/2.0\r\nVia", " SIP/2.0 \r\nVia"),
            ("sip:+14085550123@b", "sip:%zz@b"),
            ("@b.example SIP", "@b.example:65536 SIP"),
            ("@b.example SIP", "@[::1 SIP"),
            ("Call-ID: c1\r\n", ""),
            ("Call-ID: c1\r\n", "Call-ID: c1\r\ni: c2\r\n"),
            ("Max-Forwards: 70\r\n", ""),
            ("Max-Forwards: 70", "Max-Forwards: 256"),
            ("CSeq: 7 INVITE", "CSeq: 7 BYE"),
            ("CSeq: 7 INVITE", "CSeq: 2147483648 INVITE"),
            ("CSeq: 7 INVITE", "CSeq: -7 INVITE"),
            (";branch=z9hG4bK1", ";branch=z9hG4bK"),
            (";tag=1", ""),
            ("<sip:a@a.example>", "<sip:a@a.example"),
            ("<sip:a@a.example>", "< sip:a@a.example >"),
            ("\"A, <b>\"", "\"A, <b>"),
            (";q=0.3", ";;;"),
            ("Subject: folded\r\n here", "Subject: a\nb"),
            ("Subject: folded\r\n here", "Subject: a\0b"),
            ("Subject: folded\r\n here", "Subject"),
            ("Content-Length: 84", "Content-Length: 83"),
            ("Content-Type: application/sdp\r\n", ""),
            ("v=0", "v=1"),
            ("c=IN IP4 192", "c=IN IP6 192"),
            ("m=audio 4 ", "m=audio 70000 "),
            ("t=0 0\r\n", "t=0 0\n\n"),
            ("192.0.2.1;lr", "10.0.0.5;lr"),
        ] {
            let bad = GOOD.replacen(from, to, 1);
            assert_ne!(bad, GOOD, "{from}");
            assert_ne!(
                defects(bad.as_bytes(), &["10.0.0.5".to_owned()]),
                Vec::<String>::new(),
                "{bad}"
            );
        }
    }

    #[test]
    fn touched_and_added_fields_are_seen() {
        for (from, to) in [
            ("Subject: folded\r\n here", "Subject: folded here"),
            ("Subject: folded\r\n here\r\n", ""),
            ("Subject: folded", "Route: <sip:evil.example>\r\nSubject: folded"),
        ] {
            let passed = GOOD.replacen(from, to, 1);
            assert_ne!(
                meddling(GOOD.as_bytes(), passed.as_bytes(), &[]),
                Vec::<String>::new(),
                "{to}"
            );
        }
    }
}
