//! Call-IDs: the key by which every message of a call finds its worker.
//!
//! A Call-ID of the inside may hold an inside address, so outward it is replaced by one of ours that carries the
//! steering hash of the inner one under a MAC; both legs of a call so reach the same worker without a table.

use std::hash::{BuildHasher, RandomState};

/// Marks a Call-ID that we made.
const PREFIX: &str = "tg1-";

/// Makes and reads our Call-IDs; the key is drawn at start and the same for all threads of a process.
#[derive(Clone, Debug, Default)]
pub struct CallIdCodec {
    keys: RandomState,
}

impl CallIdCodec {
    /// The steering hash of a Call-ID: that of the inner one if we made it.
    #[must_use]
    pub fn steer(&self, call_id: &[u8]) -> u64 {
        self.decode(call_id)
            .unwrap_or_else(|| self.keys.hash_one(("steer", call_id)))
    }

    /// A Call-ID for the outside of a call whose inner one is given; `nonce` makes it one of its own.
    #[must_use]
    pub fn encode(&self, inner: &[u8], nonce: u64, domain: &str) -> Vec<u8> {
        let steer = self.steer(inner);
        let mac = self.mac(steer, nonce);
        format!("{PREFIX}{steer:016x}{nonce:016x}{mac:016x}@{domain}").into_bytes()
    }

    fn decode(&self, call_id: &[u8]) -> Option<u64> {
        let text = std::str::from_utf8(call_id).ok()?.strip_prefix(PREFIX)?;
        let hex = |from: usize| u64::from_str_radix(text.get(from..from + 16)?, 16).ok();
        let (steer, nonce, mac) = (hex(0)?, hex(16)?, hex(32)?);
        (mac == self.mac(steer, nonce)).then_some(steer)
    }

    fn mac(&self, steer: u64, nonce: u64) -> u64 {
        self.keys.hash_one(("mac", steer, nonce))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outer_call_id_steers_like_its_inner_one_and_shows_nothing_of_it() {
        let codec = CallIdCodec::default();
        let outer = codec.encode(b"abc@10.1.2.3", 7, "a.example");
        assert_eq!(codec.steer(&outer), codec.steer(b"abc@10.1.2.3"));
        assert!(!String::from_utf8(outer).unwrap().contains("10.1.2.3"));
    }

    #[test]
    fn a_forged_outer_call_id_is_only_a_call_id() {
        let codec = CallIdCodec::default();
        let outer = String::from_utf8(codec.encode(b"abc", 7, "a.example")).unwrap();
        let forged = outer.replacen("tg1-", "tg1-0", 1);
        assert_ne!(codec.steer(forged.as_bytes()), codec.steer(b"abc"));
        assert_ne!(CallIdCodec::default().steer(outer.as_bytes()), codec.steer(b"abc"));
    }
}
