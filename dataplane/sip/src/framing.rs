//! Bytes to one message: datagrams and streams (RFC 3261 §18.3, RFC 5626 §4.4.1).
//!
//! It finds where a message ends and nothing more; what stands in it is for the index.

use crate::headers::Header;
use crate::message::MAX_MESSAGE;
use crate::scan::{trim, trim_name};

/// Longest header part of a message on a stream before its end is seen.
const MAX_HEAD: usize = 32_768;

/// Why a stream cannot be cut into messages; the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FramingError {
    /// No end of header within [`MAX_HEAD`] bytes, or a body over [`MAX_MESSAGE`].
    TooLarge,
    /// No Content-Length, or one that is no number, or two (RFC 3261 §18.3, §20.14).
    ContentLength,
    /// What came does not begin like SIP.
    NotSip,
}

/// Cuts a byte stream into messages. Holds at most one message's bytes and what was read with it.
#[derive(Debug, Default)]
pub struct StreamFramer {
    buffer: Vec<u8>,
    scanned: usize,
    pings: u32,
}

impl StreamFramer {
    /// Adds bytes as they were read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, if there is one.
    ///
    /// # Errors
    /// [`FramingError`]: the stream cannot be read further.
    pub fn next_message(&mut self) -> Result<Option<Vec<u8>>, FramingError> {
        self.skip_keep_alives();
        if let Some(first) = self.buffer.first()
            && !first.is_ascii_alphabetic()
            && !matches!(first, b'\r' | b'\n')
        {
            return Err(FramingError::NotSip);
        }
        let Some(head) = self.head_end() else {
            return if self.buffer.len() > MAX_HEAD {
                Err(FramingError::TooLarge)
            } else {
                Ok(None)
            };
        };
        if head > MAX_HEAD {
            return Err(FramingError::TooLarge);
        }
        let length = content_length(self.buffer.get(..head).unwrap_or_default())?;
        let end = head + length;
        if end > MAX_MESSAGE {
            return Err(FramingError::TooLarge);
        }
        if self.buffer.len() < end {
            return Ok(None);
        }
        let rest = self.buffer.split_off(end);
        self.scanned = 0;
        Ok(Some(std::mem::replace(&mut self.buffer, rest)))
    }

    /// Number of keep-alive pings (CR LF CR LF) since the last call; each wants one CR LF back.
    pub fn take_pings(&mut self) -> u32 {
        std::mem::take(&mut self.pings)
    }

    /// Bytes held.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    fn skip_keep_alives(&mut self) {
        let blank = self
            .buffer
            .iter()
            .take_while(|byte| matches!(byte, b'\r' | b'\n'))
            .count();
        let whole = blank - blank % 2;
        if whole == 0 {
            return;
        }
        self.pings = self.pings.saturating_add((whole / 4) as u32);
        self.buffer.drain(..whole);
        self.scanned = 0;
    }

    /// Position after the empty line; bytes already searched are not searched again.
    fn head_end(&mut self) -> Option<usize> {
        let from = self.scanned.saturating_sub(3);
        let found = self.buffer.get(from..)?.windows(4).position(|four| four == b"\r\n\r\n");
        self.scanned = self.buffer.len();
        found.map(|at| {
            self.scanned = from + at;
            from + at + 4
        })
    }
}

/// Cuts a datagram to the message it holds (RFC 3261 §18.3): leading line ends are skipped, bytes after
/// Content-Length are ignored, and a length beyond the datagram is left for the check to refuse.
#[must_use]
pub fn datagram(bytes: &[u8]) -> Option<&[u8]> {
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let message = bytes.get(start..)?;
    let Some(head) = message.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4) else {
        return Some(message);
    };
    let length = message.get(..head).map(content_length);
    match length {
        Some(Ok(length)) if head + length <= message.len() => message.get(..head + length),
        _ => Some(message),
    }
}

fn content_length(head: &[u8]) -> Result<usize, FramingError> {
    let mut found = None;
    for line in head.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = line.split_at(colon);
        if Header::from_name(trim_name(name)) != Header::ContentLength {
            continue;
        }
        let value = trim(value.get(1..).unwrap_or_default());
        let number = crate::scan::number(value).ok_or(FramingError::ContentLength)? as usize;
        if found.replace(number).is_some() {
            return Err(FramingError::ContentLength);
        }
    }
    found.ok_or(FramingError::ContentLength)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 3\r\n\r\nabc";

    #[test]
    fn messages_come_out_whole_however_the_bytes_are_split() {
        for step in [1, 2, 7, 64, 200] {
            let stream = [ONE, b"\r\n\r\n", ONE].concat();
            let mut framer = StreamFramer::default();
            let mut out = Vec::new();
            for piece in stream.chunks(step) {
                framer.push(piece);
                while let Some(message) = framer.next_message().unwrap() {
                    out.push(message);
                }
            }
            assert_eq!(out, [ONE, ONE], "step {step}");
            assert_eq!(framer.buffered(), 0);
        }
    }

    #[test]
    fn a_ping_between_messages_is_counted() {
        let mut framer = StreamFramer::default();
        framer.push(b"\r\n\r\n");
        assert_eq!(framer.next_message(), Ok(None));
        assert_eq!(framer.take_pings(), 1);
        assert_eq!(framer.take_pings(), 0);
    }

    #[test]
    fn missing_repeated_negative_and_huge_lengths_end_the_stream() {
        let frame = |head: &str| {
            let mut framer = StreamFramer::default();
            framer.push(format!("OPTIONS sip:a SIP/2.0\r\n{head}\r\n\r\n").as_bytes());
            framer.next_message()
        };
        assert_eq!(frame("X: 1"), Err(FramingError::ContentLength));
        assert_eq!(frame("l: 1\r\nContent-Length: 1"), Err(FramingError::ContentLength));
        assert_eq!(frame("l: -1"), Err(FramingError::ContentLength));
        assert_eq!(frame("l: 70000"), Err(FramingError::TooLarge));
    }

    #[test]
    fn a_header_without_end_and_binary_noise_end_the_stream() {
        let mut framer = StreamFramer::default();
        framer.push(&[b'a'; MAX_HEAD + 1]);
        assert_eq!(framer.next_message(), Err(FramingError::TooLarge));
        let mut framer = StreamFramer::default();
        framer.push(&[0x80, 0, 1]);
        assert_eq!(framer.next_message(), Err(FramingError::NotSip));
    }

    #[test]
    fn a_datagram_is_cut_at_its_content_length() {
        assert_eq!(datagram(&[b"\r\n", ONE, b"INVITE"].concat()), Some(ONE));
        assert_eq!(datagram(b"\r\n\r\n"), None);
        let short = ONE.get(..ONE.len() - 1).unwrap();
        assert_eq!(datagram(short), Some(short));
    }
}
