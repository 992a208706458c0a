//! From the configured secret P to the ticket's MAC, for both algorithms.
//!
//! Picks no key: the caller has looked the epoch up. Source: draft-petithuguenin-vipr-sip-antispam-02 §5, RFC 2104.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac as _};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use tollgate_contract::{Secret, TicketAlg};

/// A ticket's MAC: compared in constant time, never shown.
#[derive(Clone, Copy)]
pub enum Mac {
    /// HMAC-SHA1 of TLV 0x0009.
    ViprHmacSha1([u8; 20]),
    /// HMAC-SHA-256 of TLV 0x8009.
    V2HmacSha256([u8; 32]),
}

impl Mac {
    /// The MAC of `signed` under Km of this secret, salt and epoch.
    pub(crate) fn compute(alg: TicketAlg, secret: &Secret, salt: &[u8], epoch: u32, signed: &[u8]) -> Self {
        let km = derive(alg, secret, salt, epoch);
        match alg {
            TicketAlg::ViprHmacSha1 => Self::ViprHmacSha1(hmac_sha1(km.expose(), &[signed])),
            TicketAlg::V2HmacSha256 => Self::V2HmacSha256(hmac_sha256(km.expose(), &[signed])),
        }
    }

    /// Which algorithm it is of.
    #[must_use]
    pub const fn alg(&self) -> TicketAlg {
        match self {
            Self::ViprHmacSha1(_) => TicketAlg::ViprHmacSha1,
            Self::V2HmacSha256(_) => TicketAlg::V2HmacSha256,
        }
    }

    /// Its bytes, 20 or 32.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        match self {
            Self::ViprHmacSha1(bytes) => bytes,
            Self::V2HmacSha256(bytes) => bytes,
        }
    }

    /// Whether both are of one algorithm and equal, in a time that does not depend on where they differ.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl fmt::Debug for Mac {
    /// A computed MAC would make a forged ticket good, so the bytes are not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mac({:?}, *****)", self.alg())
    }
}

/// Km: the HMAC under P of the salt and the epoch in big-endian order.
///
/// The draft calls this PBKDF2 with one iteration. The epoch stands where PBKDF2 counts blocks, so a library's PBKDF2
/// agrees for epoch 1 alone.
fn derive(alg: TicketAlg, secret: &Secret, salt: &[u8], epoch: u32) -> Secret {
    let parts = [salt, &epoch.to_be_bytes()];
    match alg {
        TicketAlg::ViprHmacSha1 => Secret::new(hmac_sha1(secret.expose(), &parts).to_vec()),
        TicketAlg::V2HmacSha256 => Secret::new(hmac_sha256(secret.expose(), &parts).to_vec()),
    }
}

fn hmac_sha1(key: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    let mut hmac = Hmac::<Sha1>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| hmac.update(part));
    hmac.finalize().into_bytes().into()
}

fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut hmac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| hmac.update(part));
    hmac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{from_hex, hex};

    const P: &str = "000102030405060708090a0b0c0d0e0f";

    #[test]
    fn km_has_its_known_values() {
        let (secret, salt) = (Secret::new(from_hex(P)), from_hex("a1b2c3d4"));
        let km = |alg| hex(derive(alg, &secret, &salt, 1).expose());
        assert_eq!(km(TicketAlg::ViprHmacSha1), "cf4021a8fab134e7195117dcd39e12b610c32af8");
        assert_eq!(
            km(TicketAlg::V2HmacSha256),
            "058df63ff497feffbed195cf27a6b7b9bd762ab2c3910ebd0388b844d73971dc"
        );
    }

    #[test]
    fn macs_match_only_when_algorithm_and_bytes_are_equal() {
        let (one, other) = (Mac::ViprHmacSha1([1; 20]), Mac::ViprHmacSha1([2; 20]));
        assert!(one.matches(&one) && !one.matches(&other));
        assert!(!one.matches(&Mac::V2HmacSha256([1; 32])));
    }

    #[test]
    fn debug_output_never_shows_a_mac() {
        assert!(!format!("{:?}", Mac::ViprHmacSha1([77; 20])).contains("77"));
    }
}
