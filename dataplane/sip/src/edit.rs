//! Ordered edits of a message; what is not edited leaves byte for byte as it came.

use std::borrow::Cow;

use crate::headers::Header;
use crate::message::SipMessage;
use crate::scan::push_field;

#[derive(Clone, Debug)]
enum Change {
    Keep,
    Drop,
    Value(Vec<u8>),
}

/// A message being rewritten: a list of changes applied once, in [`finish`](Self::finish).
#[derive(Debug)]
pub struct Rewrite<'m> {
    message: &'m SipMessage,
    start_line: Cow<'m, [u8]>,
    changes: Vec<Change>,
    front: Vec<(&'static str, Vec<u8>)>,
    back: Vec<(&'static str, Vec<u8>)>,
    body: Option<Vec<u8>>,
}

impl<'m> Rewrite<'m> {
    /// Starts with no change.
    #[must_use]
    pub fn new(message: &'m SipMessage) -> Self {
        let changes = message.fields().map(|_| Change::Keep).collect();
        let start_line = Cow::Borrowed(message.start_line());
        Self {
            message,
            start_line,
            changes,
            front: Vec::new(),
            back: Vec::new(),
            body: None,
        }
    }

    /// Replaces the first line, given without its line end.
    pub fn start_line(&mut self, line: Vec<u8>) {
        self.start_line = Cow::Owned(line);
    }

    /// Removes every field of a header.
    pub fn remove(&mut self, header: Header) {
        self.change(header, |_| Some(Change::Drop));
    }

    /// Gives the first field of a header this value where it stands and removes the others; adds it at the end if
    /// there is none.
    pub fn set(&mut self, header: Header, value: Vec<u8>) {
        let mut value = Some(value);
        self.change(header, |_| Some(value.take().map_or(Change::Drop, Change::Value)));
        if let Some(value) = value {
            self.back.push((header.name(), value));
        }
    }

    /// Puts a field in front of all others; the last one pushed stands first.
    pub fn push_front(&mut self, name: &'static str, value: Vec<u8>) {
        self.front.push((name, value));
    }

    /// Adds a field after all others.
    pub fn push_back(&mut self, name: &'static str, value: Vec<u8>) {
        self.back.push((name, value));
    }

    /// Rewrites the value of every kept field that `edit` answers for.
    pub fn map(&mut self, mut edit: impl FnMut(Header, &[u8]) -> Option<Vec<u8>>) {
        for (change, field) in self.changes.iter_mut().zip(self.message.fields()) {
            if matches!(change, Change::Keep)
                && let Some(value) = edit(field.header, field.value)
            {
                *change = Change::Value(value);
            }
        }
    }

    /// Removes every kept field for which `unwanted` holds, which is given the whole field: its name may speak too.
    pub fn remove_where(&mut self, mut unwanted: impl FnMut(Header, &[u8]) -> bool) {
        for (change, field) in self.changes.iter_mut().zip(self.message.fields()) {
            if matches!(change, Change::Keep) && unwanted(field.header, field.line) {
                *change = Change::Drop;
            }
        }
    }

    /// Replaces the body; an empty one takes Content-Type away.
    pub fn body(&mut self, body: Vec<u8>) {
        if body.is_empty() {
            self.remove(Header::ContentType);
        }
        self.body = Some(body);
    }

    /// Writes the message. Content-Length is there and right.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        let body = self.body.take();
        let length_missing = self.message.first(Header::ContentLength).is_none();
        if body.is_some() || length_missing {
            let length = body.as_deref().unwrap_or_else(|| self.message.body()).len();
            self.set(Header::ContentLength, length.to_string().into_bytes());
        }
        let body = body.as_deref().unwrap_or_else(|| self.message.body());
        let mut out = Vec::with_capacity(self.message.raw().len() + 512);
        out.extend_from_slice(&self.start_line);
        out.extend_from_slice(b"\r\n");
        for (name, value) in self.front.iter().rev() {
            push_field(&mut out, name.as_bytes(), value);
        }
        for (change, field) in self.changes.iter().zip(self.message.fields()) {
            match change {
                Change::Keep => out.extend_from_slice(field.line),
                Change::Drop => {}
                Change::Value(value) => push_field(&mut out, field.name, value),
            }
        }
        for (name, value) in &self.back {
            push_field(&mut out, name.as_bytes(), value);
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
        out
    }

    fn change(&mut self, header: Header, mut with: impl FnMut(&[u8]) -> Option<Change>) {
        for (change, field) in self.changes.iter_mut().zip(self.message.fields()) {
            if field.header == header
                && let Some(new) = with(field.value)
            {
                *change = new;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"BYE sip:a SIP/2.0\r\nv:SIP/2.0/UDP h\r\nX-Odd :  kept  as is\r\nCall-ID: 1\r\nl: 2\r\n\r\nhi";

    #[test]
    fn without_edits_the_bytes_are_the_same() {
        let message = SipMessage::index(TEXT.to_vec()).unwrap();
        assert_eq!(Rewrite::new(&message).finish(), TEXT);
    }

    #[test]
    fn edits_touch_their_field_alone_and_lengths_follow_the_body() {
        let message = SipMessage::index(TEXT.to_vec()).unwrap();
        let mut rewrite = Rewrite::new(&message);
        rewrite.remove(Header::Via);
        rewrite.push_front("Via", b"new".to_vec());
        rewrite.set(Header::CallId, b"2".to_vec());
        rewrite.body(b"longer".to_vec());
        let expected = b"BYE sip:a SIP/2.0\r\nVia: new\r\nX-Odd :  kept  as is\r\nCall-ID: 2\r\nl: 6\r\n\r\nlonger";
        assert_eq!(rewrite.finish(), expected);
    }

    #[test]
    fn an_absent_header_is_added_and_an_absent_length_too() {
        let message = SipMessage::index(b"BYE sip:a SIP/2.0\r\nCall-ID: 1\r\n\r\n".to_vec()).unwrap();
        let mut rewrite = Rewrite::new(&message);
        rewrite.set(Header::Contact, b"<sip:x>".to_vec());
        let out = rewrite.finish();
        assert_eq!(
            out,
            b"BYE sip:a SIP/2.0\r\nCall-ID: 1\r\nContact: <sip:x>\r\nContent-Length: 0\r\n\r\n"
        );
    }
}
