//! The key and the MAC of VAP.
//!
//! RFC 3489's form, not RFC 5389's: MD5 and HMAC-SHA1 without a nonce, so the whole belongs inside TLS. Source:
//! draft-jennings-vipr-vap-02 §5.2, §10.3.3.

use hmac::{Hmac, KeyInit, Mac as _};
use md5::{Digest as _, Md5};
use sha1::Sha1;
use subtle::ConstantTimeEq;
use tollgate_contract::Secret;
use zeroize::Zeroizing;

/// The realm as it is sent, quotes included.
pub const REALM: &str = "\"ViPR\"";

/// Bytes of a MAC.
pub(super) const MAC_LEN: usize = 20;

/// The text is padded with zeros to a multiple of this.
const BLOCK_LEN: usize = 64;

/// The key of a user, from name and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(Secret);

impl Key {
    /// MD5 of `username:ViPR:password`; the password's trailing NULs do not count.
    #[must_use]
    pub fn derive(username: &str, password: &Secret) -> Self {
        let password = password.expose();
        let len = password.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let mut md5 = Md5::new();
        md5.update(username.as_bytes());
        md5.update(b":");
        md5.update(REALM.trim_matches('"').as_bytes());
        md5.update(b":");
        md5.update(password.get(..len).unwrap_or_default());
        let digest = Zeroizing::new(<[u8; 16]>::from(md5.finalize()));
        Self(Secret::new(digest.to_vec()))
    }

    /// The MAC over a message's bytes before MESSAGE-INTEGRITY, whose header counts MESSAGE-INTEGRITY already.
    pub(super) fn mac(&self, text: &[u8]) -> [u8; MAC_LEN] {
        let mut hmac = Hmac::<Sha1>::new_from_slice(self.0.expose()).expect("HMAC takes keys of any length");
        hmac.update(text);
        let missing = text.len().next_multiple_of(BLOCK_LEN) - text.len();
        hmac.update([0; BLOCK_LEN].get(..missing).unwrap_or_default());
        hmac.finalize().into_bytes().into()
    }

    /// Whether the MAC is right, in a time that does not depend on where it is wrong.
    pub(super) fn verifies(&self, text: &[u8], mac: &[u8; MAC_LEN]) -> bool {
        self.mac(text).ct_eq(mac).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;

    #[test]
    fn the_key_has_its_known_value() {
        let key = Key::derive("edge1", &Secret::new(b"tollgate-test".to_vec()));
        assert_eq!(hex::encode(key.0.expose()), "d715eec43c61bc558db956f8bfee3223");
        assert_eq!(key, Key::derive("edge1", &Secret::new(b"tollgate-test\0\0".to_vec())));
        assert!(!format!("{key:?}").contains("d7"));
    }
}
