//! AES counter mode with HMAC-SHA1 (RFC 3711 §4.1.1, §4.2; RFC 6188).

use aes::cipher::{InnerIvInit, KeyInit, StreamCipher, StreamCipherCoreWrapper};
use aes::{Aes128, Aes256};
use ctr::CtrCore;
use ctr::flavors::Ctr128BE;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;
use tollgate_contract::SrtpSuite;

use super::key::{InvalidKey, MasterKey, SessionKeys, derive_session_keys};
use super::{E_FLAG, Layout, room};
use crate::drop_reason::DropReason;

/// SRTCP keeps the long tag in every suite (RFC 4568 §6.2).
pub(super) const RTCP_TAG: usize = 10;

#[derive(Debug)]
enum Cipher {
    Aes128(Aes128),
    Aes256(Aes256),
}

/// The keyed transform of one direction.
#[derive(Debug)]
pub(crate) struct CounterMode {
    ciphers: [Cipher; 2],
    macs: [Hmac<Sha1>; 2],
    salts: [[u8; 14]; 2],
    rtp_tag: usize,
}

impl CounterMode {
    pub(super) fn new(master: &MasterKey) -> Result<Self, InvalidKey> {
        let keys = derive_session_keys(master)?;
        let [rtp, rtcp] = &keys;
        let rtp_tag = match master.suite() {
            SrtpSuite::AesCm128HmacSha1_32 | SrtpSuite::AesCm256HmacSha1_32 => 4,
            _ => 10,
        };
        Ok(Self {
            ciphers: [Cipher::new(rtp)?, Cipher::new(rtcp)?],
            macs: [mac_of(rtp)?, mac_of(rtcp)?],
            salts: [salt_of(rtp)?, salt_of(rtcp)?],
            rtp_tag,
        })
    }

    pub(super) fn rtp_tag(&self) -> usize {
        self.rtp_tag
    }

    /// Encrypts the payload and puts MKI and tag after it. Returns the new length.
    pub(super) fn protect_rtp(
        &self,
        buffer: &mut [u8],
        at: Layout,
        (ssrc, roc, sequence): (u32, u32, u16),
        mki: &[u8],
    ) -> Result<usize, DropReason> {
        let end = at.len + mki.len() + self.rtp_tag;
        let packet = room(buffer, end)?;
        let index = u64::from(roc) << 16 | u64::from(sequence);
        let (plain, tail) = packet.split_at_mut(at.len);
        self.ciphers[0].apply(&iv(&self.salts[0], ssrc, index), plain.get_mut(at.clear..).unwrap_or_default());
        let tag = self.tag(0, plain, &roc.to_be_bytes());
        write_tail(tail, mki, &tag[..self.rtp_tag]);
        Ok(end)
    }

    /// Checks the tag over the packet and its rollover counter.
    pub(super) fn verify_rtp(&self, authenticated: &[u8], roc: u32, tag: &[u8]) -> bool {
        self.tag(0, authenticated, &roc.to_be_bytes())[..self.rtp_tag].ct_eq(tag).into()
    }

    /// Decrypts a payload whose tag was right.
    pub(super) fn decrypt_rtp(&self, payload: &mut [u8], (ssrc, roc, sequence): (u32, u32, u16)) {
        let index = u64::from(roc) << 16 | u64::from(sequence);
        self.ciphers[0].apply(&iv(&self.salts[0], ssrc, index), payload);
    }

    /// Encrypts RTCP after its first eight bytes and puts E flag with index, MKI and tag after it.
    pub(super) fn protect_rtcp(
        &self,
        buffer: &mut [u8],
        at: Layout,
        (ssrc, index): (u32, u32),
        mki: &[u8],
    ) -> Result<usize, DropReason> {
        let end = at.len + 4 + mki.len() + RTCP_TAG;
        let packet = room(buffer, end)?;
        let (plain, tail) = packet.split_at_mut(at.len);
        let payload = plain.get_mut(at.clear..).unwrap_or_default();
        self.ciphers[1].apply(&iv(&self.salts[1], ssrc, u64::from(index)), payload);
        let word = (E_FLAG | index).to_be_bytes();
        let tag = self.tag(1, plain, &word);
        let (word_at, tail) = tail.split_at_mut(4);
        word_at.copy_from_slice(&word);
        write_tail(tail, mki, &tag[..RTCP_TAG]);
        Ok(end)
    }

    /// Checks the tag over everything up to and with the index word.
    pub(super) fn verify_rtcp(&self, authenticated: &[u8], tag: &[u8]) -> bool {
        self.tag(1, authenticated, &[])[..RTCP_TAG].ct_eq(tag).into()
    }

    /// Decrypts RTCP whose tag was right.
    pub(super) fn decrypt_rtcp(&self, payload: &mut [u8], (ssrc, index): (u32, u32)) {
        self.ciphers[1].apply(&iv(&self.salts[1], ssrc, u64::from(index)), payload);
    }

    fn tag(&self, which: usize, bytes: &[u8], more: &[u8]) -> [u8; 20] {
        let mut mac = self.macs[which].clone();
        mac.update(bytes);
        mac.update(more);
        mac.finalize().into_bytes().into()
    }
}

impl Cipher {
    fn new(keys: &SessionKeys) -> Result<Self, InvalidKey> {
        let key = keys.cipher.expose();
        match key.len() {
            16 => Aes128::new_from_slice(key).map(Self::Aes128).map_err(|_| InvalidKey),
            _ => Aes256::new_from_slice(key).map(Self::Aes256).map_err(|_| InvalidKey),
        }
    }

    /// Xors the keystream of a counter block onto bytes. The key schedule is the context's own, not made anew.
    fn apply(&self, iv: &[u8; 16], bytes: &mut [u8]) {
        match self {
            Self::Aes128(cipher) => {
                let core = CtrCore::<&Aes128, Ctr128BE>::inner_iv_init(cipher, iv.into());
                StreamCipherCoreWrapper::from_core(core).apply_keystream(bytes);
            }
            Self::Aes256(cipher) => {
                let core = CtrCore::<&Aes256, Ctr128BE>::inner_iv_init(cipher, iv.into());
                StreamCipherCoreWrapper::from_core(core).apply_keystream(bytes);
            }
        }
    }
}

/// A block of keystream of a session key and salt, for a block number (RFC 3711 §4.1.1).
///
/// # Errors
/// [`InvalidKey`] if the key is not 16 or 32 bytes or the salt not 14.
pub fn keystream(
    key: &[u8],
    salt: &[u8],
    (ssrc, roc, sequence): (u32, u32, u16),
    block: u16,
) -> Result<[u8; 16], InvalidKey> {
    let salt: [u8; 14] = salt.try_into().map_err(|_| InvalidKey)?;
    let cipher = match key.len() {
        16 => Cipher::Aes128(Aes128::new_from_slice(key).map_err(|_| InvalidKey)?),
        32 => Cipher::Aes256(Aes256::new_from_slice(key).map_err(|_| InvalidKey)?),
        _ => return Err(InvalidKey),
    };
    let mut counter = iv(&salt, ssrc, u64::from(roc) << 16 | u64::from(sequence));
    counter[14..].copy_from_slice(&block.to_be_bytes());
    let mut out = [0; 16];
    cipher.apply(&counter, &mut out);
    Ok(out)
}

/// RFC 3711 §4.1.1: salt · 2^16 xor SSRC · 2^64 xor index · 2^16.
fn iv(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 16] {
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(salt);
    iv[4..8].iter_mut().zip(ssrc.to_be_bytes()).for_each(|(to, from)| *to ^= from);
    iv[8..14].iter_mut().zip(&index.to_be_bytes()[2..]).for_each(|(to, from)| *to ^= from);
    iv
}

fn mac_of(keys: &SessionKeys) -> Result<Hmac<Sha1>, InvalidKey> {
    Hmac::new_from_slice(keys.auth.expose()).map_err(|_| InvalidKey)
}

fn salt_of(keys: &SessionKeys) -> Result<[u8; 14], InvalidKey> {
    keys.salt.expose().try_into().map_err(|_| InvalidKey)
}

fn write_tail(tail: &mut [u8], mki: &[u8], tag: &[u8]) {
    let (mki_at, tag_at) = tail.split_at_mut(mki.len());
    mki_at.copy_from_slice(mki);
    tag_at.copy_from_slice(tag);
}
