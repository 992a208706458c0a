//! Bodies of several parts (RFC 2046 §5.1, RFC 5621): where the one session description is, and a body with another in
//! its place.
//!
//! It reads no part but to know its type; every byte outside the description stays as it came.

use std::ops::Range;

use crate::scan::{param, trim, trim_name};

/// Most parts of a body.
const MAX_PARTS: usize = 16;

/// Longest boundary (RFC 2046 §5.1.1).
const MAX_BOUNDARY: usize = 70;

/// One part: its header lines and its content, as positions in the body.
#[derive(Clone, Debug)]
struct Part {
    head: Range<usize>,
    content: Range<usize>,
}

/// Where the description is in a body with these Content-Type parameters; `None` unless exactly one part is one, and
/// plainly so: not encoded, and with nothing elsewhere that some reader could take for another.
pub(crate) fn find_sdp(params: &[u8], body: &[u8]) -> Option<Range<usize>> {
    let parts = parts(boundary(params)?, body)?;
    let mut found = None;
    for part in parts {
        let (head, content) = (body.get(part.head)?, body.get(part.content.clone())?);
        if !is_sdp(head) {
            if names_sdp(head) || names_sdp(content) {
                return None;
            }
        } else if is_encoded(head) || found.replace(part.content).is_some() {
            return None;
        }
    }
    found
}

/// Whether a text could be taken for a description, or for a part that is one.
pub(crate) fn names_sdp(text: &[u8]) -> bool {
    has(text, b"/sdp") || has(text, b"/ sdp") || has(text, b"\nv=0") || looks_like_sdp(text)
}

/// Whether a text begins like a description or has an address like one, by whatever name it goes.
pub(crate) fn looks_like_sdp(text: &[u8]) -> bool {
    text.starts_with(b"v=0") || text.starts_with(b"c=IN IP") || has(text, b"\nc=IN IP")
}

fn has(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len())
        .any(|window| window.eq_ignore_ascii_case(wanted))
}

/// The body with other bytes in a part's place, and the part's own Content-Length right where it has one.
pub(crate) fn splice(body: &[u8], part: Range<usize>, with: &[u8]) -> Vec<u8> {
    let (before, after) = (
        body.get(..part.start).unwrap_or_default(),
        body.get(part.end..).unwrap_or_default(),
    );
    let mut out = with_length(before, with.len());
    out.extend_from_slice(with);
    out.extend_from_slice(after);
    out
}

/// What stands before a part's content, its last Content-Length set where it belongs to that part's header lines.
fn with_length(before: &[u8], len: usize) -> Vec<u8> {
    let head_at = header_start(before);
    let (others, head) = before.split_at(head_at);
    let mut out = others.to_vec();
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        if is_field(line, b"Content-Length") {
            out.extend_from_slice(format!("Content-Length: {len}\r\n").as_bytes());
        } else {
            out.extend_from_slice(line);
        }
    }
    out
}

/// Where the header lines begin that end at the end of `before`: behind the last line that begins like a delimiter.
fn header_start(before: &[u8]) -> usize {
    let delimiter = before.windows(4).rposition(|four| four == b"\r\n--");
    let from = delimiter.map_or(0, |at| at + 2);
    let line = before.get(from..).unwrap_or_default();
    let end = line.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    from + end
}

fn boundary(params: &[u8]) -> Option<Vec<u8>> {
    let value = param(params, "boundary")?;
    let inner = value
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""))
        .unwrap_or(value);
    let may_stand = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(byte);
    let is_whole =
        (1..=MAX_BOUNDARY).contains(&inner.len()) && inner.iter().all(may_stand) && inner.last() != Some(&b' ');
    is_whole.then(|| inner.to_vec())
}

/// The parts between the delimiters of a body, which must be closed.
fn parts(boundary: Vec<u8>, body: &[u8]) -> Option<Vec<Part>> {
    let mark = [b"--", &boundary[..]].concat();
    let mut found = Vec::new();
    let (mut at, mut open) = (0, None);
    loop {
        let line_end = find(body, at, b"\r\n");
        let line = body.get(at..line_end.unwrap_or(body.len()))?;
        if let Some(rest) = line.strip_prefix(&mark[..]) {
            if let Some(start) = open {
                // The line end before a delimiter belongs to it.
                found.push(part(body, start..at.checked_sub(2)?)?);
            }
            let is_last = rest.starts_with(b"--");
            if is_last {
                return trim(rest.get(2..)?).is_empty().then_some(found);
            }
            if !trim(rest).is_empty() || found.len() >= MAX_PARTS {
                return None;
            }
            open = Some(line_end? + 2);
        }
        at = line_end? + 2;
    }
}

fn part(body: &[u8], whole: Range<usize>) -> Option<Part> {
    let text = body.get(whole.clone())?;
    let head = if text.starts_with(b"\r\n") {
        0
    } else {
        find(text, 0, b"\r\n\r\n")? + 2
    };
    Some(Part {
        head: whole.start..whole.start + head,
        content: whole.start + head + 2..whole.end,
    })
}

fn find(text: &[u8], from: usize, wanted: &[u8]) -> Option<usize> {
    let rest = text.get(from..)?;
    Some(rest.windows(wanted.len()).position(|window| window == wanted)? + from)
}

fn is_sdp(head: &[u8]) -> bool {
    let mut types = field(head, b"Content-Type");
    let Some(value) = types.next().filter(|_| types.next().is_none()) else {
        return false;
    };
    let kind = value.split(|byte| *byte == b';').next().unwrap_or_default();
    let mut names = kind.split(|byte| *byte == b'/').map(trim);
    let is = |name: Option<&[u8]>, wanted: &[u8]| name.is_some_and(|name| name.eq_ignore_ascii_case(wanted));
    is(names.next(), b"application") && is(names.next(), b"sdp") && names.next().is_none()
}

/// Whether a part's bytes are not what they say: then nothing here can rewrite them.
fn is_encoded(head: &[u8]) -> bool {
    let is_plain = |value: &[u8]| {
        [&b"7bit"[..], b"8bit", b"binary"]
            .iter()
            .any(|name| value.eq_ignore_ascii_case(name))
    };
    !field(head, b"Content-Transfer-Encoding").all(is_plain) || field(head, b"Content-Encoding").next().is_some()
}

fn is_field(line: &[u8], name: &[u8]) -> bool {
    let colon = line.iter().position(|byte| *byte == b':');
    colon
        .and_then(|colon| line.get(..colon))
        .is_some_and(|found| trim_name(found).eq_ignore_ascii_case(name))
}

fn field<'h>(head: &'h [u8], name: &'h [u8]) -> impl Iterator<Item = &'h [u8]> {
    let lines = head
        .split(|byte| *byte == b'\n')
        .filter(move |line| is_field(line, name));
    lines.filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        line.get(colon + 1..).map(trim)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "preamble\r\n--b1\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b1\r\nContent-Type: Application/SDP\r\n\
        Content-Length: 5\r\n\r\nv=0\r\n\r\n--b1--\r\nepilogue";

    fn found(body: &str) -> Option<&str> {
        find_sdp(b";boundary=b1", body.as_bytes()).and_then(|range| body.get(range))
    }

    #[test]
    fn the_description_is_found_and_nothing_else_is_touched() {
        assert_eq!(found(BODY), Some("v=0\r\n"));
        let range = find_sdp(b"; boundary=\"b1\"", BODY.as_bytes()).unwrap();
        let out = String::from_utf8(splice(BODY.as_bytes(), range, b"v=0\r\nnew\r\n")).unwrap();
        let expected = BODY
            .replace("Content-Length: 5", "Content-Length: 10")
            .replace("v=0\r\n", "v=0\r\nnew\r\n");
        assert_eq!(out, expected);
        let bare = "--b1\r\n\r\nplain\r\n--b1\r\nContent-Type:application/sdp\r\n\r\nv=0\r\n--b1--";
        assert_eq!(found(bare), Some("v=0"));
    }

    #[test]
    fn what_is_not_plainly_one_description_is_none() {
        for (from, to) in [
            ("text/plain", "application/sdp"),
            ("text/plain", "multipart/mixed;boundary=c\r\nX: application/sdp"),
            ("\r\nhi\r\n", "\r\nv=0\r\n"),
            ("\r\nhi\r\n", "\r\nv=1\r\nc=IN IP4 10.0.0.1\r\n"),
            ("Content-Length: 5", "Content-Transfer-Encoding: base64"),
            ("Content-Length: 5", "Content-Encoding: gzip"),
            ("Content-Length: 5", "Content-Type: text/plain"),
            ("--b1--", ""),
            ("--b1--", "--b1--x"),
            ("Application/SDP", "application/sdp-x"),
        ] {
            assert_eq!(found(&BODY.replacen(from, to, 1)), None, "{to}");
        }
        let long = format!(";boundary={}", "x".repeat(MAX_BOUNDARY + 1));
        assert_eq!(find_sdp(long.as_bytes(), BODY.as_bytes()), None);
        assert_eq!(find_sdp(b"", BODY.as_bytes()), None);
        let many = "--b1\r\n\r\nx\r\n".repeat(MAX_PARTS + 1) + "--b1--";
        assert_eq!(found(&many), None);
    }
}
