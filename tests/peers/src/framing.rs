//! Cuts a byte stream into SIP messages by Content-Length.
//!
//! It reads no header but that one and its compact form. RFC 3261 §18.3.

/// The bytes of a stream that do not yet make a message.
#[derive(Debug, Default)]
pub(crate) struct StreamFramer {
    buffer: Vec<u8>,
}

/// The stream cannot be cut any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no message within {MAX_MESSAGE_LEN} bytes")]
pub(crate) struct Unframeable;

impl StreamFramer {
    /// Adds received bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Takes the next whole message, skipping keep-alive line ends (RFC 5626 §4.4.1).
    pub(crate) fn next_message(&mut self) -> Result<Option<Vec<u8>>, Unframeable> {
        let blank = self
            .buffer
            .iter()
            .take_while(|byte| matches!(byte, b'\r' | b'\n'))
            .count();
        self.buffer.drain(..blank);
        let Some(head_len) = find(&self.buffer, b"\r\n\r\n").map(|at| at + 4) else {
            return self.check_len(self.buffer.len());
        };
        let total = head_len.saturating_add(content_length(&self.buffer[..head_len]));
        if self.buffer.len() < total {
            return self.check_len(total);
        }
        Ok(Some(self.buffer.drain(..total).collect()))
    }

    fn check_len(&self, needed: usize) -> Result<Option<Vec<u8>>, Unframeable> {
        if needed > MAX_MESSAGE_LEN {
            Err(Unframeable)
        } else {
            Ok(None)
        }
    }
}

/// Where `needle` begins in `haystack`.
pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn content_length(head: &[u8]) -> usize {
    String::from_utf8_lossy(head)
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| {
            let name = name.trim();
            name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("l")
        })
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}

/// No message a test sends or expects is longer.
const MAX_MESSAGE_LEN: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_messages_arriving_byte_by_byte_come_out_whole() {
        let stream = b"\r\nA\r\nl: 3\r\n\r\nxyzB\r\nContent-Length: 0\r\n\r\n";
        let mut framer = StreamFramer::default();
        let mut messages = Vec::new();
        for byte in stream {
            framer.push(&[*byte]);
            messages.extend(framer.next_message().unwrap());
        }
        assert_eq!(
            messages,
            [
                b"A\r\nl: 3\r\n\r\nxyz".to_vec(),
                b"B\r\nContent-Length: 0\r\n\r\n".to_vec()
            ]
        );
    }

    #[test]
    fn endless_head_is_an_error() {
        let mut framer = StreamFramer::default();
        framer.push(&vec![b'x'; MAX_MESSAGE_LEN + 1]);
        assert_eq!(framer.next_message(), Err(Unframeable));
    }
}
