//! AES in counter mode with HMAC-SHA1 (RFC 3711 §4.1.1, §4.2.1; RFC 6188).
//!
//! It does the arithmetic on bytes it is given; packet layout and indices are decided above.

use aes::cipher::{InnerIvInit, KeyInit, StreamCipher};
use aes::{Aes128Enc, Aes256Enc};
use ctr::{Ctr128BE, CtrCore};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;

use super::key::StreamKeys;

/// An expanded AES key for counter mode.
pub(super) enum AesKey {
    Aes128(Aes128Enc),
    Aes256(Aes256Enc),
}

impl AesKey {
    /// Expands a key of 16 or 32 bytes.
    pub(super) fn new(key: &[u8]) -> Option<Self> {
        match key.len() {
            16 => Aes128Enc::new_from_slice(key).ok().map(Self::Aes128),
            32 => Aes256Enc::new_from_slice(key).ok().map(Self::Aes256),
            _ => None,
        }
    }

    /// XORs the keystream that starts at `iv` onto `data`.
    pub(super) fn apply_keystream(&self, iv: &[u8; 16], data: &mut [u8]) {
        match self {
            Self::Aes128(cipher) => {
                Ctr128BE::from_core(CtrCore::inner_iv_init(cipher, &(*iv).into())).apply_keystream(data);
            }
            Self::Aes256(cipher) => {
                Ctr128BE::from_core(CtrCore::inner_iv_init(cipher, &(*iv).into())).apply_keystream(data);
            }
        }
    }
}

/// The keystream of AES-CM from `iv` on, written over `out`.
///
/// Returns `false`, and writes nothing, if the key has not 16 or 32 bytes.
#[must_use]
pub fn keystream(session_key: &[u8], iv: &[u8; 16], out: &mut [u8]) -> bool {
    let Some(cipher) = AesKey::new(session_key) else {
        return false;
    };
    out.fill(0);
    cipher.apply_keystream(iv, out);
    true
}

/// IV = (salt · 2^16) XOR (SSRC · 2^64) XOR (index · 2^16) (RFC 3711 §4.1.1); the index has 48 bits for RTP, 31 for RTCP.
#[must_use]
pub fn cm_iv(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 16] {
    let mut value = u128::from(ssrc) << 64;
    value ^= u128::from(index) << 16;
    let mut iv = value.to_be_bytes();
    for (byte, salt) in iv.iter_mut().zip(salt) {
        *byte ^= salt;
    }
    iv
}

/// Cipher, HMAC and salt of RTP or of RTCP.
pub(super) struct CmStream {
    cipher: AesKey,
    hmac: Hmac<Sha1>,
    salt: [u8; 14],
}

/// A whole HMAC-SHA1 value; the wire carries its first 4 or 10 bytes.
pub(super) const MAC_LEN: usize = 20;

impl CmStream {
    pub(super) fn new(keys: &StreamKeys) -> Self {
        Self {
            cipher: AesKey::new(&keys.cipher_key).expect("derived with the suite's key length"),
            hmac: Hmac::new_from_slice(&keys.auth_key).expect("HMAC takes any key length"),
            salt: keys
                .salt
                .as_slice()
                .try_into()
                .expect("derived with 14 bytes for counter mode"),
        }
    }

    /// Encrypts or decrypts.
    pub(super) fn apply(&self, ssrc: u32, index: u64, data: &mut [u8]) {
        self.cipher.apply_keystream(&cm_iv(&self.salt, ssrc, index), data);
    }

    /// HMAC-SHA1 over both parts in turn.
    pub(super) fn mac(&self, packet: &[u8], trailer: &[u8]) -> [u8; MAC_LEN] {
        let mut hmac = self.hmac.clone();
        hmac.update(packet);
        hmac.update(trailer);
        hmac.finalize().into_bytes().into()
    }

    /// Compares a tag in constant time.
    pub(super) fn verify(&self, packet: &[u8], trailer: &[u8], tag: &[u8]) -> bool {
        let mac = self.mac(packet, trailer);
        mac.get(..tag.len()).is_some_and(|head| head.ct_eq(tag).into())
    }
}
