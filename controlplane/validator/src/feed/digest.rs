//! The digest of a snapshot, and of a message that may come twice.
//!
//! A check against loss and mix-ups, not against forgery: that is TLS's. Source: FIPS 180-4.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::{InvalidId, hex};

/// SHA-256, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Of one text.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

/// The digest over the bodies of a snapshot's records, in their order, each with its length in front.
#[derive(Clone, Default)]
pub(super) struct RunningDigest(Sha256);

impl RunningDigest {
    /// Adds a frame's body with its length in front, as it goes over the wire.
    pub(super) fn add(&mut self, body: &[u8]) {
        let length = u32::try_from(body.len()).expect("a frame's length fits its header");
        self.0.update(length.to_be_bytes());
        self.0.update(body);
    }

    pub(super) fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl FromStr for Digest {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        hex::decode_exact(text).map(Self).ok_or(InvalidId)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_frames_on_the_wire() {
        let mut running = RunningDigest::default();
        running.add(b"{}");
        running.add(b"abc");
        assert_eq!(running.finish(), Digest::of(b"\0\0\0\x02{}\0\0\0\x03abc"));
    }
}
