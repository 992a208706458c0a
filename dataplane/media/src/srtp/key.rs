//! Master keys and what is derived from them (RFC 3711 §4.3, RFC 6188 §3, RFC 7714 §11).

use std::fmt;

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes256};
use tollgate_contract::{Secret, SrtpSuite};

/// Longest MKI (RFC 4568 §6.1).
const MAX_MKI: usize = 128;

/// A master key with its salt, and an MKI if packets carry one.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    suite: SrtpSuite,
    key: Secret,
    salt: Secret,
    mki: Vec<u8>,
}

/// The bytes are not a key and salt of the suite's lengths, or the MKI is longer than 128 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidKey;

/// Session keys of RTP or RTCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionKeys {
    /// Encryption key, of the master key's length.
    pub cipher: Secret,
    /// HMAC-SHA1 key, 20 bytes; unused by GCM.
    pub auth: Secret,
    /// Salt, of the master salt's length.
    pub salt: Secret,
}

impl MasterKey {
    /// Splits key and salt, as they stand together in an `inline:` key.
    ///
    /// # Errors
    /// [`InvalidKey`] if the length is not the suite's.
    pub fn new(suite: SrtpSuite, key_and_salt: &[u8]) -> Result<Self, InvalidKey> {
        let (key, salt) = key_and_salt.split_at_checked(suite.key_len()).ok_or(InvalidKey)?;
        if salt.len() != suite.salt_len() {
            return Err(InvalidKey);
        }
        Ok(Self { suite, key: Secret::new(key.to_vec()), salt: Secret::new(salt.to_vec()), mki: Vec::new() })
    }

    /// The same key with an MKI after each packet.
    ///
    /// # Errors
    /// [`InvalidKey`] if it is longer than 128 bytes.
    pub fn with_mki(mut self, mki: &[u8]) -> Result<Self, InvalidKey> {
        if mki.len() > MAX_MKI {
            return Err(InvalidKey);
        }
        self.mki = mki.to_vec();
        Ok(self)
    }

    /// The suite.
    #[must_use]
    pub fn suite(&self) -> SrtpSuite {
        self.suite
    }

    /// The MKI, empty if there is none.
    #[must_use]
    pub fn mki(&self) -> &[u8] {
        &self.mki
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({}, *****)", self.suite)
    }
}

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("key and salt are not of the suite's lengths")
    }
}

impl std::error::Error for InvalidKey {}

/// Derives the session keys of RTP, then those of RTCP; the key derivation rate is 0 (RFC 3711 §4.3.1).
///
/// # Errors
/// [`InvalidKey`] never for a [`MasterKey`] made by its constructor.
pub fn derive_session_keys(master: &MasterKey) -> Result<[SessionKeys; 2], InvalidKey> {
    // §4.3.2: labels 0 to 2 for RTP, 3 to 5 for RTCP.
    let derive = |first_label: u8| {
        Ok(SessionKeys {
            cipher: prf(master, first_label, master.suite.key_len())?,
            auth: prf(master, first_label + 1, 20)?,
            salt: prf(master, first_label + 2, master.suite.salt_len())?,
        })
    };
    Ok([derive(0)?, derive(3)?])
}

/// AES counter mode keyed by the master key, its counter starting at (label xor salt) · 2^16.
fn prf(master: &MasterKey, label: u8, len: usize) -> Result<Secret, InvalidKey> {
    let mut block = [0; 16];
    // RFC 7714 §11: a 12-byte salt is used as 14 bytes with zeros at the end.
    block.iter_mut().zip(master.salt.expose()).for_each(|(to, from)| *to = *from);
    block[7] ^= label;
    let mut out = Vec::with_capacity(len + 16);
    for counter in 0..len.div_ceil(16) {
        let mut one = block;
        one[14..].copy_from_slice(&(counter as u16).to_be_bytes());
        encrypt_block(master.key.expose(), &mut one)?;
        out.extend_from_slice(&one);
    }
    out.truncate(len);
    Ok(Secret::new(out))
}

fn encrypt_block(key: &[u8], block: &mut [u8; 16]) -> Result<(), InvalidKey> {
    match key.len() {
        16 => Aes128::new_from_slice(key).map_err(|_| InvalidKey)?.encrypt_block(block.into()),
        32 => Aes256::new_from_slice(key).map_err(|_| InvalidKey)?.encrypt_block(block.into()),
        _ => return Err(InvalidKey),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_other_lengths_are_refused_and_never_shown() {
        assert!(MasterKey::new(SrtpSuite::AesCm128HmacSha1_80, &[0; 29]).is_err());
        assert!(MasterKey::new(SrtpSuite::AeadAes256Gcm, &[0; 30]).is_err());
        let key = MasterKey::new(SrtpSuite::AeadAes256Gcm, &[0xab; 44]).unwrap();
        assert!(!format!("{key:?}").contains("ab, "));
        assert!(key.with_mki(&[0; 129]).is_err());
    }
}
