//! Master keys and the session keys derived from them (RFC 3711 §4.3, RFC 6188 §3, RFC 7714 §11).
//!
//! The key derivation rate is always 0: keys are derived once.

use std::fmt;

use subtle::ConstantTimeEq;
use tollgate_contract::SrtpSuite;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::cm::AesKey;

/// RFC 3711 §3.1 leaves the length open, RFC 4568 §6.1 allows 1 to 128 bytes.
pub const MAX_MKI: usize = 128;

const LABEL_RTP_CIPHER: u8 = 0;
const LABEL_RTP_AUTH: u8 = 1;
const LABEL_RTP_SALT: u8 = 2;
const LABEL_RTCP_CIPHER: u8 = 3;
const LABEL_RTCP_AUTH: u8 = 4;
const LABEL_RTCP_SALT: u8 = 5;

/// Bytes of an HMAC-SHA1 key (RFC 3711 §8.2).
const AUTH_KEY_LEN: usize = 20;
/// Bytes of a salt as the derivation sees it.
const PRF_SALT_LEN: usize = 14;

/// The key has not the length its suite asks for, or the MKI is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidKey;

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the key does not fit its suite")
    }
}

impl std::error::Error for InvalidKey {}

/// An SRTP master key and salt with their suite: wiped on drop, compared in constant time, never shown.
#[derive(Clone)]
pub struct MasterKey {
    suite: SrtpSuite,
    material: KeyMaterial,
    mki: Box<[u8]>,
}

#[derive(Clone, Zeroize, ZeroizeOnDrop)]
struct KeyMaterial {
    key: Vec<u8>,
    salt: Vec<u8>,
}

impl MasterKey {
    /// Takes the concatenation of key and salt, as `inline:` carries it (RFC 4568 §6.1).
    ///
    /// # Errors
    /// [`InvalidKey`] if the length is not that of the suite.
    pub fn new(suite: SrtpSuite, key_and_salt: &[u8]) -> Result<Self, InvalidKey> {
        if key_and_salt.len() != suite.key_len() + suite.salt_len() {
            return Err(InvalidKey);
        }
        let (key, salt) = key_and_salt.split_at(suite.key_len());
        let material = KeyMaterial {
            key: key.to_vec(),
            salt: salt.to_vec(),
        };
        Ok(Self {
            suite,
            material,
            mki: Box::default(),
        })
    }

    /// Cuts the output of the DTLS exporter: client key, server key, client salt, server salt (RFC 5764 §4.2).
    ///
    /// Returns the client's and the server's sending key.
    ///
    /// # Errors
    /// [`InvalidKey`] if the length is not twice that of the suite.
    pub fn pair_from_dtls(suite: SrtpSuite, exported: &[u8]) -> Result<[Self; 2], InvalidKey> {
        let (key_len, salt_len) = (suite.key_len(), suite.salt_len());
        if exported.len() != 2 * (key_len + salt_len) {
            return Err(InvalidKey);
        }
        let (keys, salts) = exported.split_at(2 * key_len);
        let cut = |at: usize| Self {
            suite,
            material: KeyMaterial {
                key: keys[at * key_len..(at + 1) * key_len].to_vec(),
                salt: salts[at * salt_len..(at + 1) * salt_len].to_vec(),
            },
            mki: Box::default(),
        };
        Ok([cut(0), cut(1)])
    }

    /// The same key, named in every packet by `mki`; empty for none.
    ///
    /// # Errors
    /// [`InvalidKey`] above [`MAX_MKI`] bytes.
    pub fn with_mki(mut self, mki: &[u8]) -> Result<Self, InvalidKey> {
        if mki.len() > MAX_MKI {
            return Err(InvalidKey);
        }
        self.mki = mki.into();
        Ok(self)
    }

    /// The suite.
    #[must_use]
    pub const fn suite(&self) -> SrtpSuite {
        self.suite
    }

    /// The master key: secret.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.material.key
    }

    /// The master salt.
    #[must_use]
    pub fn salt(&self) -> &[u8] {
        &self.material.salt
    }

    /// The MKI, empty if none.
    #[must_use]
    pub fn mki(&self) -> &[u8] {
        &self.mki
    }
}

impl PartialEq for MasterKey {
    fn eq(&self, other: &Self) -> bool {
        let same = self.key().ct_eq(other.key()) & self.salt().ct_eq(other.salt());
        self.suite == other.suite && self.mki == other.mki && bool::from(same)
    }
}

impl Eq for MasterKey {}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey")
            .field("suite", &self.suite)
            .finish_non_exhaustive()
    }
}

/// The session keys of RTP or of RTCP.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct StreamKeys {
    /// Encryption key: 16 or 32 bytes.
    pub cipher_key: Vec<u8>,
    /// HMAC-SHA1 key: 20 bytes, empty for AEAD suites.
    pub auth_key: Vec<u8>,
    /// Salt: 14 bytes, 12 for AEAD suites.
    pub salt: Vec<u8>,
}

impl fmt::Debug for StreamKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamKeys(*****)")
    }
}

/// All session keys of one master key.
#[derive(Clone, Debug)]
pub struct SessionKeys {
    /// For RTP packets.
    pub rtp: StreamKeys,
    /// For RTCP packets.
    pub rtcp: StreamKeys,
}

/// Derives all session keys at a key derivation rate of 0 (RFC 3711 §4.3.2).
#[must_use]
pub fn derive_session_keys(master: &MasterKey) -> SessionKeys {
    SessionKeys {
        rtp: stream_keys(master, LABEL_RTP_CIPHER, LABEL_RTP_AUTH, LABEL_RTP_SALT),
        rtcp: stream_keys(master, LABEL_RTCP_CIPHER, LABEL_RTCP_AUTH, LABEL_RTCP_SALT),
    }
}

fn stream_keys(master: &MasterKey, cipher: u8, auth: u8, salt: u8) -> StreamKeys {
    let suite = master.suite();
    let auth_len = match suite {
        SrtpSuite::AeadAes128Gcm | SrtpSuite::AeadAes256Gcm => 0,
        SrtpSuite::AesCm128HmacSha1_80
        | SrtpSuite::AesCm128HmacSha1_32
        | SrtpSuite::AesCm256HmacSha1_80
        | SrtpSuite::AesCm256HmacSha1_32 => AUTH_KEY_LEN,
    };
    let make = |label: u8, len: usize| {
        let mut out = vec![0; len];
        derive(master.key(), master.salt(), label, &mut out).expect("MasterKey::new checked the lengths");
        out
    };
    StreamKeys {
        cipher_key: make(cipher, suite.key_len()),
        auth_key: make(auth, auth_len),
        salt: make(salt, suite.salt_len()),
    }
}

/// The AES-CM pseudo-random function with a key derivation rate of 0 (RFC 3711 §4.3.3), any output length to 1 MiB.
///
/// A salt of 12 bytes is used as if two zero bytes followed (RFC 7714 §11).
///
/// # Errors
/// [`InvalidKey`] if the key has not 16 or 32 bytes or the salt more than 14.
pub fn derive(master_key: &[u8], master_salt: &[u8], label: u8, out: &mut [u8]) -> Result<(), InvalidKey> {
    let cipher = AesKey::new(master_key).ok_or(InvalidKey)?;
    let mut iv = [0; 16];
    iv[..PRF_SALT_LEN]
        .get_mut(..master_salt.len())
        .ok_or(InvalidKey)?
        .copy_from_slice(master_salt);
    iv[7] ^= label;
    out.fill(0);
    cipher.apply_keystream(&iv, out);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_of_another_length_is_refused() {
        for suite in SrtpSuite::ALL {
            let len = suite.key_len() + suite.salt_len();
            assert!(MasterKey::new(suite, &vec![0; len]).is_ok());
            assert_eq!(MasterKey::new(suite, &vec![0; len + 1]), Err(InvalidKey));
            assert_eq!(MasterKey::new(suite, &vec![0; len - 1]), Err(InvalidKey));
        }
    }

    #[test]
    fn keys_differ_by_suite_bytes_and_mki() {
        let key = |suite, byte| MasterKey::new(suite, &[byte; 30]).unwrap();
        let one = key(SrtpSuite::AesCm128HmacSha1_80, 1);
        assert_eq!(one, one.clone());
        assert_ne!(one, key(SrtpSuite::AesCm128HmacSha1_80, 2));
        assert_ne!(one, key(SrtpSuite::AesCm128HmacSha1_32, 1));
        assert_ne!(one, one.clone().with_mki(&[1]).unwrap());
        assert!(one.with_mki(&[0; 129]).is_err());
    }

    #[test]
    fn debug_output_shows_no_key() {
        let key = MasterKey::new(SrtpSuite::AesCm128HmacSha1_80, &[0xab; 30]).unwrap();
        let shown = format!("{key:?} {:?}", derive_session_keys(&key));
        assert!(
            !shown.contains("171") && !shown.to_lowercase().contains("ab, ab"),
            "{shown}"
        );
    }
}
