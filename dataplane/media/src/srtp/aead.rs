//! AES-GCM as SRTP uses it (RFC 7714 §8, §9), by aws-lc-rs.
//!
//! It does the arithmetic on bytes it is given; packet layout and indices are decided above.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::key::StreamKeys;

/// Bytes of a GCM tag.
pub(super) const TAG_LEN: usize = 16;

/// IV of an SRTP packet: (0 ‖ SSRC ‖ ROC ‖ SEQ) XOR salt (RFC 7714 §8.1). The index is ROC · 2^16 + SEQ.
#[must_use]
pub fn gcm_rtp_iv(salt: &[u8; 12], ssrc: u32, index: u64) -> [u8; 12] {
    let mut iv = [0; 12];
    iv[2..6].copy_from_slice(&ssrc.to_be_bytes());
    iv[6..].copy_from_slice(&index.to_be_bytes()[2..]);
    xor(&mut iv, salt);
    iv
}

/// IV of an SRTCP packet: (0 ‖ SSRC ‖ 0 ‖ index) XOR salt (RFC 7714 §9.1).
#[must_use]
pub fn gcm_rtcp_iv(salt: &[u8; 12], ssrc: u32, index: u32) -> [u8; 12] {
    let mut iv = [0; 12];
    iv[2..6].copy_from_slice(&ssrc.to_be_bytes());
    iv[8..].copy_from_slice(&index.to_be_bytes());
    xor(&mut iv, salt);
    iv
}

/// Encrypts `data` in place under a session key of 16 or 32 bytes and returns the tag; `None` for another key length.
#[must_use]
pub fn gcm_seal(session_key: &[u8], iv: [u8; 12], aad: &[u8], data: &mut [u8]) -> Option<[u8; 16]> {
    Some(seal(&gcm_key(session_key)?, iv, aad, data))
}

/// Verifies `tag` and decrypts `data` in place; `false` if it is wrong, and `data` must then not be used.
#[must_use]
pub fn gcm_open(session_key: &[u8], iv: [u8; 12], aad: &[u8], data: &mut [u8], tag: &[u8]) -> bool {
    gcm_key(session_key).is_some_and(|key| open(&key, iv, aad, data, tag))
}

/// Cipher and salt of RTP or of RTCP.
pub(super) struct AeadStream {
    key: LessSafeKey,
    salt: [u8; 12],
}

impl AeadStream {
    pub(super) fn new(keys: &StreamKeys) -> Self {
        Self {
            key: gcm_key(&keys.cipher_key).expect("derived with the suite's key length"),
            salt: keys.salt.as_slice().try_into().expect("derived with 12 bytes for AEAD"),
        }
    }

    pub(super) const fn salt(&self) -> &[u8; 12] {
        &self.salt
    }

    pub(super) fn seal(&self, iv: [u8; 12], aad: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
        seal(&self.key, iv, aad, data)
    }

    pub(super) fn open(&self, iv: [u8; 12], aad: &[u8], data: &mut [u8], tag: &[u8]) -> bool {
        open(&self.key, iv, aad, data, tag)
    }
}

fn gcm_key(key: &[u8]) -> Option<LessSafeKey> {
    let algorithm = match key.len() {
        16 => &AES_128_GCM,
        32 => &AES_256_GCM,
        _ => return None,
    };
    UnboundKey::new(algorithm, key).ok().map(LessSafeKey::new)
}

fn seal(key: &LessSafeKey, iv: [u8; 12], aad: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
    let tag = key
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(iv), Aad::from(aad), data)
        .expect("a packet is far below the limits of GCM");
    tag.as_ref().try_into().expect("a GCM tag has 16 bytes")
}

fn open(key: &LessSafeKey, iv: [u8; 12], aad: &[u8], data: &mut [u8], tag: &[u8]) -> bool {
    key.open_in_place_separate_tag(Nonce::assume_unique_for_key(iv), Aad::from(aad), tag, data)
        .is_ok()
}

fn xor(iv: &mut [u8; 12], salt: &[u8; 12]) {
    for (byte, salt) in iv.iter_mut().zip(salt) {
        *byte ^= salt;
    }
}
