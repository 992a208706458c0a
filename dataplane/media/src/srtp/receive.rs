//! The receiving end of a key.

use super::key::{InvalidKey, MasterKey};
use super::replay::{Window, estimate};
use super::{E_FLAG, MAX_SSRCS, Transform};
use crate::drop_reason::DropReason;
use crate::wire::{RtcpHeader, RtpHeader, be32};

#[derive(Clone, Copy, Debug)]
struct Stream {
    ssrc: u32,
    rtp: Window,
    rtcp: Window,
}

/// Checks and decrypts what was protected with one master key.
///
/// State for an SSRC is made by its first authentic packet, never before; when [`MAX_SSRCS`] are known a further one is
/// refused, so that a stream under way cannot be pushed out.
#[derive(Debug)]
pub struct ReceiveContext {
    transform: Transform,
    mki: Vec<u8>,
    start_roc: u32,
    allow_unencrypted_srtcp: bool,
    streams: Vec<Stream>,
}

impl ReceiveContext {
    /// A context that expects rollover counter 0.
    ///
    /// # Errors
    /// [`InvalidKey`] never for a [`MasterKey`] made by its constructor.
    pub fn new(master: &MasterKey) -> Result<Self, InvalidKey> {
        Ok(Self {
            transform: Transform::new(master)?,
            mki: master.mki().to_vec(),
            start_roc: 0,
            allow_unencrypted_srtcp: false,
            streams: Vec::with_capacity(2),
        })
    }

    /// Expects another rollover counter of streams not seen yet.
    #[must_use]
    pub fn with_roc(mut self, roc: u32) -> Self {
        self.start_roc = roc;
        self
    }

    /// Whether authenticated but unencrypted SRTCP is taken (UNENCRYPTED_SRTCP, RFC 4568 §6.3.2). Default: no.
    #[must_use]
    pub fn allow_unencrypted_srtcp(mut self, allow: bool) -> Self {
        self.allow_unencrypted_srtcp = allow;
        self
    }

    /// Checks and decrypts the SRTP packet of `len` bytes at the front of `buffer`. Returns the plain length.
    ///
    /// # Errors
    /// [`DropReason::AuthFailed`], [`Replayed`](DropReason::Replayed), [`TooOld`](DropReason::TooOld),
    /// [`TooManySsrcs`](DropReason::TooManySsrcs), [`MalformedRtp`](DropReason::MalformedRtp). State is unchanged then.
    pub fn unprotect_rtp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, DropReason> {
        let packet = buffer.get_mut(..len).ok_or(DropReason::MalformedRtp)?;
        let header = RtpHeader::parse(packet).ok_or(DropReason::MalformedRtp)?;
        let tag_len = self.transform.rtp_tag();
        let plain_len = len.checked_sub(tag_len + self.mki.len()).filter(|plain| *plain >= header.len);
        let plain_len = plain_len.ok_or(DropReason::MalformedRtp)?;
        let known = self.streams.iter().position(|stream| stream.ssrc == header.ssrc);
        let window = known.map_or_else(Window::default, |at| self.streams[at].rtp);
        let index = match window.highest() {
            None => u64::from(self.start_roc) << 16 | u64::from(header.sequence),
            Some(highest) => estimate(highest, header.sequence).ok_or(DropReason::TooOld)?,
        };
        window.check(index)?;
        let ids = (header.ssrc, (index >> 16) as u32, header.sequence);
        self.open_rtp(packet, header.len, plain_len, ids)?;
        let at = self.stream_of(known, header.ssrc)?;
        self.streams[at].rtp.note(index);
        Ok(plain_len)
    }

    /// Checks and decrypts the SRTCP packet of `len` bytes at the front of `buffer`. Returns the plain length.
    ///
    /// # Errors
    /// As [`unprotect_rtp`](Self::unprotect_rtp), and [`DropReason::UnencryptedSrtcp`] for an authentic packet without
    /// encryption where that is not allowed.
    pub fn unprotect_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, DropReason> {
        let packet = buffer.get_mut(..len).ok_or(DropReason::MalformedRtcp)?;
        let header = RtcpHeader::parse(packet).ok_or(DropReason::MalformedRtcp)?;
        let tag_len = self.transform.rtcp_tag();
        let plain_len = len.checked_sub(tag_len + 4 + self.mki.len()).filter(|plain| *plain >= RtcpHeader::LEN);
        let plain_len = plain_len.ok_or(DropReason::MalformedRtcp)?;
        let word_at = match &self.transform {
            Transform::CounterMode(_) => plain_len,
            Transform::Aead(_) => plain_len + tag_len,
        };
        let word = be32(packet, word_at);
        let known = self.streams.iter().position(|stream| stream.ssrc == header.ssrc);
        let window = known.map_or_else(Window::default, |at| self.streams[at].rtcp);
        let index = u64::from(word & !E_FLAG);
        window.check(index)?;
        self.open_rtcp(packet, plain_len, word, header.ssrc)?;
        if word & E_FLAG == 0 && !self.allow_unencrypted_srtcp {
            return Err(DropReason::UnencryptedSrtcp);
        }
        let at = self.stream_of(known, header.ssrc)?;
        self.streams[at].rtcp.note(index);
        Ok(plain_len)
    }

    fn open_rtp(
        &self,
        packet: &mut [u8],
        clear: usize,
        plain_len: usize,
        ids: (u32, u32, u16),
    ) -> Result<(), DropReason> {
        match &self.transform {
            Transform::CounterMode(cm) => {
                let (plain, tail) = packet.split_at_mut(plain_len);
                let (mki, tag) = tail.split_at(self.mki.len());
                if mki != self.mki || !cm.verify_rtp(plain, ids.1, tag) {
                    return Err(DropReason::AuthFailed);
                }
                cm.decrypt_rtp(plain.get_mut(clear..).unwrap_or_default(), ids);
            }
            Transform::Aead(aead) => {
                let (sealed, mki) = packet.split_at_mut(plain_len + self.transform.rtp_tag());
                let (header, payload) = sealed.split_at_mut(clear);
                if *mki != self.mki[..] || !aead.open_rtp(header, payload, ids) {
                    return Err(DropReason::AuthFailed);
                }
            }
        }
        Ok(())
    }

    fn open_rtcp(&self, packet: &mut [u8], plain_len: usize, word: u32, ssrc: u32) -> Result<(), DropReason> {
        let is_encrypted = word & E_FLAG != 0;
        let is_good = match &self.transform {
            Transform::CounterMode(cm) => {
                let (authenticated, tail) = packet.split_at_mut(plain_len + 4);
                let (mki, tag) = tail.split_at(self.mki.len());
                // The tag is checked whatever the E flag says (RFC 3711 §3.4: authentication is mandatory).
                let is_good = mki == self.mki && cm.verify_rtcp(authenticated, tag);
                if is_good && is_encrypted {
                    let payload = authenticated.get_mut(RtcpHeader::LEN..plain_len).unwrap_or_default();
                    cm.decrypt_rtcp(payload, (ssrc, word & !E_FLAG));
                }
                is_good
            }
            Transform::Aead(aead) => {
                let tag_end = plain_len + self.transform.rtcp_tag();
                let (sealed, tail) = packet.split_at_mut(tag_end);
                tail.get(4..).is_some_and(|mki| mki == self.mki)
                    && match is_encrypted {
                        true => aead.open_rtcp(sealed, RtcpHeader::LEN, word, ssrc),
                        false => aead.check_rtcp(sealed, plain_len, word, ssrc),
                    }
            }
        };
        if is_good { Ok(()) } else { Err(DropReason::AuthFailed) }
    }

    fn stream_of(&mut self, known: Option<usize>, ssrc: u32) -> Result<usize, DropReason> {
        if let Some(at) = known {
            return Ok(at);
        }
        if self.streams.len() >= MAX_SSRCS {
            return Err(DropReason::TooManySsrcs);
        }
        self.streams.push(Stream { ssrc, rtp: Window::default(), rtcp: Window::default() });
        Ok(self.streams.len() - 1)
    }
}
