//! AES-GCM (RFC 7714).

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::key::{InvalidKey, MasterKey, SessionKeys, derive_session_keys};
use super::{E_FLAG, Layout, room};
use crate::drop_reason::DropReason;

/// Both suites have the full tag.
pub(super) const TAG: usize = 16;

/// The keyed transform of one direction.
#[derive(Debug)]
pub(crate) struct Aead {
    keys: [LessSafeKey; 2],
    salts: [[u8; 12]; 2],
}

impl Aead {
    pub(super) fn new(master: &MasterKey) -> Result<Self, InvalidKey> {
        let [rtp, rtcp] = derive_session_keys(master)?;
        Ok(Self { keys: [key_of(&rtp)?, key_of(&rtcp)?], salts: [salt_of(&rtp)?, salt_of(&rtcp)?] })
    }

    /// Encrypts the payload and puts tag and MKI after it. Returns the new length.
    pub(super) fn protect_rtp(
        &self,
        buffer: &mut [u8],
        at: Layout,
        (ssrc, roc, sequence): (u32, u32, u16),
        mki: &[u8],
    ) -> Result<usize, DropReason> {
        let end = at.len + TAG + mki.len();
        let packet = room(buffer, end)?;
        let (header, rest) = packet.split_at_mut(at.clear);
        let (payload, tail) = rest.split_at_mut(at.len - at.clear);
        let nonce = Nonce::assume_unique_for_key(gcm_iv_rtp(&self.salts[0], ssrc, roc, sequence));
        let tag = self.keys[0].seal_in_place_separate_tag(nonce, Aad::from(&*header), payload);
        let tag = tag.map_err(|_| DropReason::PayloadTooLarge)?;
        tail[..TAG].copy_from_slice(tag.as_ref());
        tail[TAG..].copy_from_slice(mki);
        Ok(end)
    }

    /// Checks and decrypts a payload with its tag at the end. A wrong tag leaves the payload useless.
    pub(super) fn open_rtp(&self, header: &[u8], payload_and_tag: &mut [u8], (ssrc, roc, sequence): (u32, u32, u16)) -> bool {
        let nonce = Nonce::assume_unique_for_key(gcm_iv_rtp(&self.salts[0], ssrc, roc, sequence));
        self.keys[0].open_in_place(nonce, Aad::from(header), payload_and_tag).is_ok()
    }

    /// Encrypts RTCP after its first eight bytes; tag, index word and MKI follow (RFC 7714 §9.2).
    pub(super) fn protect_rtcp(
        &self,
        buffer: &mut [u8],
        at: Layout,
        (ssrc, index): (u32, u32),
        mki: &[u8],
    ) -> Result<usize, DropReason> {
        let end = at.len + TAG + 4 + mki.len();
        let packet = room(buffer, end)?;
        let word = (E_FLAG | index).to_be_bytes();
        let aad = rtcp_aad(packet.get(..at.clear).unwrap_or_default(), word);
        let (_, rest) = packet.split_at_mut(at.clear);
        let (payload, tail) = rest.split_at_mut(at.len - at.clear);
        let nonce = Nonce::assume_unique_for_key(iv_rtcp(&self.salts[1], ssrc, index));
        let tag = self.keys[1].seal_in_place_separate_tag(nonce, Aad::from(&aad), payload);
        let tag = tag.map_err(|_| DropReason::PayloadTooLarge)?;
        tail[..TAG].copy_from_slice(tag.as_ref());
        tail[TAG..TAG + 4].copy_from_slice(&word);
        tail[TAG + 4..].copy_from_slice(mki);
        Ok(end)
    }

    /// Checks and decrypts RTCP: `packet` is the clear eight bytes, the payload and its tag.
    pub(super) fn open_rtcp(&self, packet: &mut [u8], clear: usize, word: u32, ssrc: u32) -> bool {
        let nonce = Nonce::assume_unique_for_key(iv_rtcp(&self.salts[1], ssrc, word & !E_FLAG));
        let aad = rtcp_aad(packet.get(..clear).unwrap_or_default(), word.to_be_bytes());
        let payload = packet.get_mut(clear..).unwrap_or_default();
        self.keys[1].open_in_place(nonce, Aad::from(&aad), payload).is_ok()
    }

    /// Checks RTCP that is authenticated alone: the whole packet and the index word are associated data.
    pub(super) fn check_rtcp(&self, scratch: &mut [u8], len: usize, word: u32, ssrc: u32) -> bool {
        let nonce = Nonce::assume_unique_for_key(iv_rtcp(&self.salts[1], ssrc, word & !E_FLAG));
        let Some((plain, tag)) = scratch.get_mut(..len + TAG).map(|packet| packet.split_at_mut(len)) else { return false };
        let aad = [&*plain, &word.to_be_bytes()].concat();
        self.keys[1].open_in_place(nonce, Aad::from(&aad), tag).is_ok()
    }
}

/// RFC 7714 §8.1: 16 zero bits, SSRC, ROC and SEQ, xor the salt.
#[must_use]
pub fn gcm_iv_rtp(salt: &[u8; 12], ssrc: u32, roc: u32, sequence: u16) -> [u8; 12] {
    let mut iv = *salt;
    iv[2..6].iter_mut().zip(ssrc.to_be_bytes()).for_each(|(to, from)| *to ^= from);
    iv[6..10].iter_mut().zip(roc.to_be_bytes()).for_each(|(to, from)| *to ^= from);
    iv[10..].iter_mut().zip(sequence.to_be_bytes()).for_each(|(to, from)| *to ^= from);
    iv
}

/// RFC 7714 §9.1: 16 zero bits, SSRC, 16 zero bits, a zero bit and the index, xor the salt.
fn iv_rtcp(salt: &[u8; 12], ssrc: u32, index: u32) -> [u8; 12] {
    let mut iv = *salt;
    iv[2..6].iter_mut().zip(ssrc.to_be_bytes()).for_each(|(to, from)| *to ^= from);
    iv[8..].iter_mut().zip(index.to_be_bytes()).for_each(|(to, from)| *to ^= from);
    iv
}

fn rtcp_aad(clear: &[u8], word: [u8; 4]) -> [u8; 12] {
    let mut aad = [0; 12];
    aad.iter_mut().zip(clear.iter().chain(&word)).for_each(|(to, from)| *to = *from);
    aad
}

fn key_of(keys: &SessionKeys) -> Result<LessSafeKey, InvalidKey> {
    let bytes = keys.cipher.expose();
    let algorithm = if bytes.len() == 16 { &AES_128_GCM } else { &AES_256_GCM };
    UnboundKey::new(algorithm, bytes).map(LessSafeKey::new).map_err(|_| InvalidKey)
}

fn salt_of(keys: &SessionKeys) -> Result<[u8; 12], InvalidKey> {
    keys.salt.expose().try_into().map_err(|_| InvalidKey)
}
