//! Messages of VAP as bytes, and a stream cut into them.
//!
//! STUN's shape, otherwise unrelated to STUN. It knows no state. Source: draft-jennings-vipr-vap-02 §4, §10.

use super::attribute::{Attribute, ErrorCode, ServiceIdentity, pick};
use super::auth::{Key, MAC_LEN};

/// Bytes of the header.
const HEADER_LEN: usize = 20;

/// Longest message, header included, in bytes: room for one ServiceContent and the rest.
pub const MAX_MESSAGE_LEN: usize = 40_960;

/// Most attributes of a message.
const MAX_ATTRIBUTES: usize = 32;

/// §4: the word that tells VAP from everything else.
const MAGIC: u32 = 0x4166_6679;

/// The type of MESSAGE-INTEGRITY.
const MESSAGE_INTEGRITY: u16 = 0x0008;

/// Names a request and its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId(pub [u8; 12]);

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names of the draft, §10.2")]
pub enum Method {
    Register,
    Unregister,
    Publish,
    Unpublish,
    PublishRevoke,
    Subscribe,
    Unsubscribe,
    Notify,
    UploadVcr,
    ValExchange,
    /// Any other one, of 12 bits.
    Unknown(u16),
}

impl Method {
    const KNOWN: [Self; 10] = [
        Self::Register,
        Self::Unregister,
        Self::Publish,
        Self::Unpublish,
        Self::PublishRevoke,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::Notify,
        Self::UploadVcr,
        Self::ValExchange,
    ];

    /// The 12-bit value.
    #[must_use]
    pub const fn value(self) -> u16 {
        match self {
            Self::Register => 0x001,
            Self::Unregister => 0x002,
            Self::Publish => 0x004,
            Self::Unpublish => 0x005,
            Self::PublishRevoke => 0x006,
            Self::Subscribe => 0x007,
            Self::Unsubscribe => 0x008,
            Self::Notify => 0x00a,
            Self::UploadVcr => 0x00b,
            Self::ValExchange => 0x00d,
            Self::Unknown(value) => value,
        }
    }

    fn of(value: u16) -> Self {
        let known = Self::KNOWN.into_iter().find(|method| method.value() == value);
        known.unwrap_or(Self::Unknown(value))
    }
}

/// Request or response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Wants a response.
    Request,
    /// Not used by VAP; dropped.
    Indication,
    /// A response.
    Success,
    /// A response with ERROR-CODE.
    Error,
}

/// A message without its MAC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is about.
    pub method: Method,
    /// Request or response.
    pub class: Class,
    /// Which transaction.
    pub transaction: TransactionId,
    /// The attributes known to us, in their order.
    pub attributes: Vec<Attribute>,
}

/// A message as read, with what is needed to check its MAC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The message.
    pub message: Message,
    integrity: Option<(Vec<u8>, [u8; MAC_LEN])>,
}

/// Bytes that are no VAP stream: the connection has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameFault {
    /// The first two bits are not zero.
    TopBits,
    /// The magic word is another one.
    Magic,
    /// The length is no multiple of 4.
    Alignment,
    /// The message is over [`MAX_MESSAGE_LEN`].
    TooLong,
}

impl FrameFault {
    /// The name in metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TopBits => "top_bits",
            Self::Magic => "magic",
            Self::Alignment => "alignment",
            Self::TooLong => "too_long",
        }
    }
}

/// A message that is malformed inside: a request is answered with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParseFault {
    /// An attribute runs over the end.
    Truncated,
    /// More than 32 attributes.
    TooMany,
    /// MESSAGE-INTEGRITY is not the last attribute, or not of 20 bytes.
    Integrity,
    /// An attribute of this type has a value it cannot have.
    Attribute(u16),
}

impl Message {
    /// A message without attributes.
    #[must_use]
    pub const fn new(method: Method, class: Class, transaction: TransactionId) -> Self {
        Self {
            method,
            class,
            transaction,
            attributes: Vec::new(),
        }
    }

    /// The same with a further attribute.
    #[must_use]
    pub fn with(mut self, attribute: Attribute) -> Self {
        self.attributes.push(attribute);
        self
    }

    /// The bytes, with MESSAGE-INTEGRITY where there is a key.
    ///
    /// `None` if they would be more than [`MAX_MESSAGE_LEN`].
    #[must_use]
    pub fn encode(&self, key: Option<&Key>) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(&type_of(self.method, self.class).to_be_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&MAGIC.to_be_bytes());
        out.extend_from_slice(&self.transaction.0);
        for attribute in &self.attributes {
            let start = out.len();
            out.extend_from_slice(&attribute.kind().to_be_bytes());
            out.extend_from_slice(&[0; 2]);
            attribute.write(&mut out);
            let length = u16::try_from(out.len() - start - 4).ok()?;
            out.get_mut(start + 2..start + 4)?
                .copy_from_slice(&length.to_be_bytes());
            out.resize(out.len().next_multiple_of(4), 0);
        }
        let integrity_len = key.map_or(0, |_| 4 + MAC_LEN);
        if out.len() + integrity_len > MAX_MESSAGE_LEN {
            return None;
        }
        let length = u16::try_from(out.len() + integrity_len - HEADER_LEN).ok()?;
        out.get_mut(2..4)?.copy_from_slice(&length.to_be_bytes());
        if let Some(key) = key {
            let mac = key.mac(&out);
            out.extend_from_slice(&MESSAGE_INTEGRITY.to_be_bytes());
            out.extend_from_slice(&(MAC_LEN as u16).to_be_bytes());
            out.extend_from_slice(&mac);
        }
        Some(out)
    }

    /// USERNAME.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        pick!(self, Attribute::Username(name) => name.as_str())
    }

    /// Client-Handle.
    #[must_use]
    pub fn handle(&self) -> Option<u32> {
        pick!(self, Attribute::ClientHandle(handle) => *handle)
    }

    /// ServiceIdentity.
    #[must_use]
    pub fn service(&self) -> Option<ServiceIdentity> {
        pick!(self, Attribute::ServiceIdentity(identity) => *identity)
    }

    /// SubscriptionID.
    #[must_use]
    pub fn subscription(&self) -> Option<u32> {
        pick!(self, Attribute::SubscriptionId(id) => *id)
    }

    /// ServiceContent.
    #[must_use]
    pub fn content(&self) -> Option<&[u8]> {
        pick!(self, Attribute::ServiceContent(content) => content.as_slice())
    }

    /// ERROR-CODE.
    #[must_use]
    pub fn error(&self) -> Option<&ErrorCode> {
        pick!(self, Attribute::ErrorCode(error) => error)
    }
}

impl Parsed {
    /// Whether there is a MAC and it is right.
    #[must_use]
    pub fn is_authentic(&self, key: &Key) -> bool {
        let integrity = self.integrity.as_ref();
        integrity.is_some_and(|(text, mac)| key.verifies(text, mac))
    }

    /// Whether there is a MAC at all.
    #[must_use]
    pub const fn has_mac(&self) -> bool {
        self.integrity.is_some()
    }
}

/// Reads the first 20 bytes of a message: its type and its whole length.
fn header(bytes: &[u8]) -> Result<Option<(u16, usize)>, FrameFault> {
    let Some(([t0, t1, l0, l1, m0, m1, m2, m3], _)) = bytes.split_first_chunk() else {
        return Ok(None);
    };
    if u32::from_be_bytes([*m0, *m1, *m2, *m3]) != MAGIC {
        return Err(FrameFault::Magic);
    }
    if t0 & 0xc0 != 0 {
        return Err(FrameFault::TopBits);
    }
    let length = usize::from(u16::from_be_bytes([*l0, *l1]));
    if !length.is_multiple_of(4) {
        return Err(FrameFault::Alignment);
    }
    if HEADER_LEN + length > MAX_MESSAGE_LEN {
        return Err(FrameFault::TooLong);
    }
    Ok(Some((u16::from_be_bytes([*t0, *t1]), HEADER_LEN + length)))
}

/// The type of a message: the method's bits with the class's two between (§4).
fn type_of(method: Method, class: Class) -> u16 {
    let method = method.value();
    let class = match class {
        Class::Request => 0,
        Class::Indication => 0x010,
        Class::Success => 0x100,
        Class::Error => 0x110,
    };
    (method & 0x00f) | (method & 0x070) << 1 | (method & 0xf80) << 2 | class
}

fn method_and_class(kind: u16) -> (Method, Class) {
    let method = (kind & 0x000f) | (kind & 0x00e0) >> 1 | (kind & 0x3e00) >> 2;
    let class = match kind & 0x110 {
        0 => Class::Request,
        0x010 => Class::Indication,
        0x100 => Class::Success,
        _ => Class::Error,
    };
    (Method::of(method), class)
}

/// A stream cut into messages. Holds at most one.
#[derive(Debug, Default)]
pub struct Decoder {
    held: Vec<u8>,
    is_whole: bool,
}

/// What was read of one message: method, class and transaction always, the rest if it is well formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The method.
    pub method: Method,
    /// The class.
    pub class: Class,
    /// The transaction.
    pub transaction: TransactionId,
    /// The message, or what is wrong inside.
    pub parsed: Result<Parsed, ParseFault>,
}

impl Decoder {
    /// Takes bytes until one message is whole: how many were taken, and the message if it is.
    ///
    /// # Errors
    /// [`FrameFault`] as soon as it shows; the stream cannot be read on.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(usize, Option<Read>), FrameFault> {
        if self.is_whole {
            self.clear();
        }
        let mut taken = self.fill(HEADER_LEN, bytes);
        let Some((kind, length)) = header(&self.held)? else {
            return Ok((taken, None));
        };
        taken += self.fill(length, bytes.get(taken..).unwrap_or_default());
        if self.held.len() < length {
            return Ok((taken, None));
        }
        self.is_whole = true;
        Ok((taken, read(kind, &self.held)))
    }

    /// Forgets what is held: for a new connection.
    pub fn clear(&mut self) {
        self.held.clear();
        self.is_whole = false;
    }

    fn fill(&mut self, wanted: usize, bytes: &[u8]) -> usize {
        let missing = wanted.saturating_sub(self.held.len());
        let part = bytes.get(..missing).unwrap_or(bytes);
        self.held.extend_from_slice(part);
        part.len()
    }
}

/// Reads one whole message.
fn read(kind: u16, bytes: &[u8]) -> Option<Read> {
    let (method, class) = method_and_class(kind);
    let transaction = TransactionId(*bytes.get(8..)?.first_chunk()?);
    let mut message = Message::new(method, class, transaction);
    let parsed = attributes(bytes, &mut message.attributes).map(|integrity| Parsed { message, integrity });
    Some(Read {
        method,
        class,
        transaction,
        parsed,
    })
}

type Integrity = Option<(Vec<u8>, [u8; MAC_LEN])>;

/// Reads the attributes; returns what MESSAGE-INTEGRITY covers, and the MAC, if there is one.
fn attributes(bytes: &[u8], found: &mut Vec<Attribute>) -> Result<Integrity, ParseFault> {
    let mut rest = bytes.get(HEADER_LEN..).unwrap_or_default();
    let mut count = 0;
    while !rest.is_empty() {
        count += 1;
        if count > MAX_ATTRIBUTES {
            return Err(ParseFault::TooMany);
        }
        let offset = bytes.len() - rest.len();
        let ([k0, k1, l0, l1], after) = rest.split_first_chunk().ok_or(ParseFault::Truncated)?;
        let kind = u16::from_be_bytes([*k0, *k1]);
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        let value = after.get(..length).ok_or(ParseFault::Truncated)?;
        rest = after.get(length.next_multiple_of(4)..).ok_or(ParseFault::Truncated)?;
        if kind == MESSAGE_INTEGRITY {
            let mac = value.try_into().map_err(|_| ParseFault::Integrity)?;
            let covered = bytes.get(..offset).unwrap_or_default();
            return if rest.is_empty() {
                Ok(Some((covered.to_vec(), mac)))
            } else {
                Err(ParseFault::Integrity)
            };
        }
        found.extend(Attribute::parse(kind, value)?);
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
