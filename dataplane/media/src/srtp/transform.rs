//! Where header, payload, index, MKI and tag stand, for both families of suites.
//!
//! Counter mode: packet ‖ \[E, index\] ‖ MKI ‖ tag (RFC 3711 §3.1, §3.4). AEAD: packet with tag ‖ \[E, index\] ‖ MKI
//! (RFC 7714 §8, §9). It keeps no state between packets.

use subtle::ConstantTimeEq;
use tollgate_contract::SrtpSuite;

use super::aead::{AeadStream, TAG_LEN, gcm_rtcp_iv, gcm_rtp_iv};
use super::cm::CmStream;
use super::key::{MasterKey, derive_session_keys};
use crate::DropReason;

/// RTCP header and SSRC, always clear.
const RTCP_CLEAR: usize = 8;
/// The E flag and the SRTCP index.
const INDEX_LEN: usize = 4;
/// The E flag: the packet is encrypted.
const E_FLAG: u32 = 1 << 31;
/// RFC 3711 §5.2, RFC 4568 §6.2: SRTCP has the 80-bit tag in the `_32` suites too.
const RTCP_MAC_LEN: usize = 10;

/// The session keys of one master key, ready for use.
pub(super) struct Transform {
    streams: Streams,
    mki: Box<[u8]>,
}

#[expect(
    clippy::large_enum_variant,
    reason = "a context is one flat object and is boxed as a whole"
)]
enum Streams {
    Cm {
        rtp: CmStream,
        rtcp: CmStream,
        tag_len: usize,
    },
    Aead {
        rtp: AeadStream,
        rtcp: AeadStream,
    },
}

/// What the index word of an SRTCP packet says.
#[derive(Clone, Copy)]
pub(super) struct RtcpIndex {
    pub(super) index: u32,
    pub(super) is_encrypted: bool,
}

impl Transform {
    pub(super) fn new(master: &MasterKey) -> Self {
        let keys = derive_session_keys(master);
        let cm = |tag_len| Streams::Cm {
            rtp: CmStream::new(&keys.rtp),
            rtcp: CmStream::new(&keys.rtcp),
            tag_len,
        };
        let streams = match master.suite() {
            SrtpSuite::AesCm128HmacSha1_80 | SrtpSuite::AesCm256HmacSha1_80 => cm(10),
            SrtpSuite::AesCm128HmacSha1_32 | SrtpSuite::AesCm256HmacSha1_32 => cm(4),
            SrtpSuite::AeadAes128Gcm | SrtpSuite::AeadAes256Gcm => Streams::Aead {
                rtp: AeadStream::new(&keys.rtp),
                rtcp: AeadStream::new(&keys.rtcp),
            },
        };
        Self {
            streams,
            mki: master.mki().into(),
        }
    }

    /// Bytes that protection adds to an RTP packet.
    pub(super) fn rtp_overhead(&self) -> usize {
        self.mki.len()
            + match &self.streams {
                Streams::Cm { tag_len, .. } => *tag_len,
                Streams::Aead { .. } => TAG_LEN,
            }
    }

    /// Bytes that protection adds to an RTCP packet.
    pub(super) fn rtcp_overhead(&self) -> usize {
        INDEX_LEN
            + self.mki.len()
            + match &self.streams {
                Streams::Cm { .. } => RTCP_MAC_LEN,
                Streams::Aead { .. } => TAG_LEN,
            }
    }

    /// Protects the `len` bytes of an RTP packet in place.
    pub(super) fn protect_rtp(
        &self,
        buf: &mut [u8],
        len: usize,
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<usize, DropReason> {
        let total = len + self.rtp_overhead();
        let packet = buf.get_mut(..total).ok_or(DropReason::PayloadTooLarge)?;
        let (body, trailer) = packet.split_at_mut(len);
        let (header, payload) = body.split_at_mut(header_len);
        match &self.streams {
            Streams::Cm { rtp, tag_len, .. } => {
                rtp.apply(ssrc, index, payload);
                let mac = rtp.mac(body, &roc_bytes(index));
                let (mki, tag) = trailer.split_at_mut(self.mki.len());
                mki.copy_from_slice(&self.mki);
                tag.copy_from_slice(&mac[..*tag_len]);
            }
            Streams::Aead { rtp, .. } => {
                let tag = rtp.seal(gcm_rtp_iv(rtp.salt(), ssrc, index), header, payload);
                let (tag_at, mki) = trailer.split_at_mut(TAG_LEN);
                tag_at.copy_from_slice(&tag);
                mki.copy_from_slice(&self.mki);
            }
        }
        Ok(total)
    }

    /// Checks the MKI of an RTP packet and returns the packet's length without what protection added.
    pub(super) fn rtp_len(&self, packet: &[u8]) -> Result<usize, DropReason> {
        let len = packet
            .len()
            .checked_sub(self.rtp_overhead())
            .ok_or(DropReason::AuthFailed)?;
        let at = match &self.streams {
            Streams::Cm { .. } => len,
            Streams::Aead { .. } => len + TAG_LEN,
        };
        self.check_mki(packet, at)?;
        Ok(len)
    }

    /// Verifies and then decrypts an RTP packet in place; `len` is what [`rtp_len`](Self::rtp_len) returned.
    ///
    /// After a failure the bytes are as before in counter mode and unspecified in GCM.
    pub(super) fn unprotect_rtp(
        &self,
        packet: &mut [u8],
        len: usize,
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<(), DropReason> {
        let (body, trailer) = packet.split_at_mut(len);
        if header_len > len {
            return Err(DropReason::AuthFailed);
        }
        match &self.streams {
            Streams::Cm { rtp, .. } => {
                if !rtp.verify(body, &roc_bytes(index), &trailer[self.mki.len()..]) {
                    return Err(DropReason::AuthFailed);
                }
                rtp.apply(ssrc, index, &mut body[header_len..]);
                Ok(())
            }
            Streams::Aead { rtp, .. } => {
                let (header, payload) = body.split_at_mut(header_len);
                let iv = gcm_rtp_iv(rtp.salt(), ssrc, index);
                let is_good = rtp.open(iv, header, payload, &trailer[..TAG_LEN]);
                if is_good { Ok(()) } else { Err(DropReason::AuthFailed) }
            }
        }
    }

    /// Protects the `len` bytes of an RTCP packet in place; at least 8 bytes.
    pub(super) fn protect_rtcp(
        &self,
        buf: &mut [u8],
        len: usize,
        ssrc: u32,
        at: RtcpIndex,
    ) -> Result<usize, DropReason> {
        let total = len + self.rtcp_overhead();
        let packet = buf.get_mut(..total).ok_or(DropReason::PayloadTooLarge)?;
        let word = (at.index | if at.is_encrypted { E_FLAG } else { 0 }).to_be_bytes();
        match &self.streams {
            Streams::Cm { rtcp, .. } => {
                if at.is_encrypted {
                    rtcp.apply(ssrc, u64::from(at.index), &mut packet[RTCP_CLEAR..len]);
                }
                packet[len..len + INDEX_LEN].copy_from_slice(&word);
                let mac = rtcp.mac(&packet[..len + INDEX_LEN], &[]);
                let (mki, tag) = packet[len + INDEX_LEN..].split_at_mut(self.mki.len());
                mki.copy_from_slice(&self.mki);
                tag.copy_from_slice(&mac[..RTCP_MAC_LEN]);
            }
            Streams::Aead { rtcp, .. } => {
                let iv = gcm_rtcp_iv(rtcp.salt(), ssrc, at.index);
                let tag = if at.is_encrypted {
                    let (clear, body) = packet[..len].split_at_mut(RTCP_CLEAR);
                    rtcp.seal(iv, &encrypted_aad(clear, word), body)
                } else {
                    packet[len..len + INDEX_LEN].copy_from_slice(&word);
                    rtcp.seal(iv, &packet[..len + INDEX_LEN], &mut [])
                };
                packet[len..len + TAG_LEN].copy_from_slice(&tag);
                packet[len + TAG_LEN..][..INDEX_LEN].copy_from_slice(&word);
                packet[len + TAG_LEN + INDEX_LEN..].copy_from_slice(&self.mki);
            }
        }
        Ok(total)
    }

    /// Checks the MKI of an RTCP packet and returns its plain length and its index word, not yet authenticated.
    pub(super) fn rtcp_len(&self, packet: &[u8]) -> Result<(usize, RtcpIndex), DropReason> {
        let len = packet
            .len()
            .checked_sub(self.rtcp_overhead())
            .ok_or(DropReason::AuthFailed)?;
        if len < RTCP_CLEAR {
            return Err(DropReason::AuthFailed);
        }
        let word_at = match &self.streams {
            Streams::Cm { .. } => len,
            Streams::Aead { .. } => len + TAG_LEN,
        };
        self.check_mki(packet, word_at + INDEX_LEN)?;
        let word = crate::wire::u32_at(packet, word_at).ok_or(DropReason::AuthFailed)?;
        Ok((
            len,
            RtcpIndex {
                index: word & !E_FLAG,
                is_encrypted: word & E_FLAG != 0,
            },
        ))
    }

    /// Verifies and then decrypts an RTCP packet in place; `len` and `at` are what [`rtcp_len`](Self::rtcp_len) returned.
    pub(super) fn unprotect_rtcp(
        &self,
        packet: &mut [u8],
        len: usize,
        ssrc: u32,
        at: RtcpIndex,
    ) -> Result<(), DropReason> {
        let is_good = match &self.streams {
            Streams::Cm { rtcp, .. } => {
                let (signed, trailer) = packet.split_at_mut(len + INDEX_LEN);
                let is_good = rtcp.verify(signed, &[], &trailer[self.mki.len()..]);
                if is_good && at.is_encrypted {
                    rtcp.apply(ssrc, u64::from(at.index), &mut signed[RTCP_CLEAR..len]);
                }
                is_good
            }
            Streams::Aead { rtcp, .. } => {
                let iv = gcm_rtcp_iv(rtcp.salt(), ssrc, at.index);
                let mut tag = [0; TAG_LEN];
                tag.copy_from_slice(&packet[len..len + TAG_LEN]);
                if at.is_encrypted {
                    let word = at.index | E_FLAG;
                    let (clear, body) = packet[..len].split_at_mut(RTCP_CLEAR);
                    rtcp.open(iv, &encrypted_aad(clear, word.to_be_bytes()), body, &tag)
                } else {
                    open_clear(rtcp, iv, packet, len, &tag)
                }
            }
        };
        if is_good { Ok(()) } else { Err(DropReason::AuthFailed) }
    }

    fn check_mki(&self, packet: &[u8], at: usize) -> Result<(), DropReason> {
        let mki = packet.get(at..at + self.mki.len()).ok_or(DropReason::AuthFailed)?;
        if mki.ct_eq(&self.mki).into() {
            Ok(())
        } else {
            Err(DropReason::UnknownMki)
        }
    }
}

/// The clear header and the index word, which are not adjacent in the packet (RFC 7714 §9.2).
fn encrypted_aad(clear: &[u8], word: [u8; INDEX_LEN]) -> [u8; RTCP_CLEAR + INDEX_LEN] {
    let mut aad = [0; RTCP_CLEAR + INDEX_LEN];
    aad[..RTCP_CLEAR].copy_from_slice(clear);
    aad[RTCP_CLEAR..].copy_from_slice(&word);
    aad
}

/// Verifies SRTCP with E=0: packet and index word are signed, but the tag stands between them (RFC 7714 §9.3).
fn open_clear(rtcp: &AeadStream, iv: [u8; 12], packet: &mut [u8], len: usize, tag: &[u8; TAG_LEN]) -> bool {
    packet[len..len + TAG_LEN + INDEX_LEN].rotate_left(TAG_LEN);
    let is_good = rtcp.open(iv, &packet[..len + INDEX_LEN], &mut [], tag);
    packet[len..len + TAG_LEN + INDEX_LEN].rotate_right(TAG_LEN);
    is_good
}

/// The ROC as the MAC covers it (RFC 3711 §4.2).
fn roc_bytes(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}
