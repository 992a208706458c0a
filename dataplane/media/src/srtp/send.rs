//! The sending end of a key.

use super::key::{InvalidKey, MasterKey};
use super::replay::{Window, estimate};
use super::{Layout, MAX_RTCP_INDEX, MAX_SSRCS, Transform};
use crate::drop_reason::DropReason;
use crate::wire::{RtcpHeader, RtpHeader};

/// Most packets of one SSRC under one key (RFC 3711 §9.2).
const MAX_RTP_INDEX: u64 = (1 << 48) - 1;

#[derive(Clone, Copy, Debug)]
struct Stream {
    ssrc: u32,
    sent: Window,
    rtcp_index: u32,
}

/// Protects what we send with one master key.
///
/// Sequence numbers come from the relayed packets; the rollover counter follows them. An index is never used twice: a
/// second packet with the index of an earlier one is refused, as under GCM and counter mode two payloads under one index
/// give both away.
#[derive(Debug)]
pub struct SendContext {
    transform: Transform,
    mki: Vec<u8>,
    streams: Vec<Stream>,
}

impl SendContext {
    /// A context at rollover counter 0.
    ///
    /// # Errors
    /// [`InvalidKey`] never for a [`MasterKey`] made by its constructor.
    pub fn new(master: &MasterKey) -> Result<Self, InvalidKey> {
        let transform = Transform::new(master)?;
        Ok(Self { transform, mki: master.mki().to_vec(), streams: Vec::with_capacity(2) })
    }

    /// Starts an SSRC at a rollover counter other than 0.
    #[must_use]
    pub fn with_roc(mut self, ssrc: u32, roc: u32, sequence: u16) -> Self {
        let mut sent = Window::default();
        let index = u64::from(roc) << 16 | u64::from(sequence);
        if let Some(before) = index.checked_sub(1) {
            sent.note(before);
        }
        self.streams.push(Stream { ssrc, sent, rtcp_index: 0 });
        self
    }

    /// Encrypts the RTP packet of `len` bytes at the front of `buffer` in place. Returns its new length.
    ///
    /// # Errors
    /// [`DropReason::IndexReused`], [`TooOld`](DropReason::TooOld), [`TooManySsrcs`](DropReason::TooManySsrcs),
    /// [`KeyExhausted`](DropReason::KeyExhausted), [`PayloadTooLarge`](DropReason::PayloadTooLarge),
    /// [`MalformedRtp`](DropReason::MalformedRtp).
    pub fn protect_rtp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, DropReason> {
        let header = buffer.get(..len).and_then(RtpHeader::parse).ok_or(DropReason::MalformedRtp)?;
        let at = stream_of(&mut self.streams, header.ssrc)?;
        let stream = &mut self.streams[at];
        let index = match stream.sent.highest() {
            None => u64::from(header.sequence),
            Some(highest) => estimate(highest, header.sequence).ok_or(DropReason::TooOld)?,
        };
        if index > MAX_RTP_INDEX {
            return Err(DropReason::KeyExhausted);
        }
        stream.sent.check(index).map_err(|why| match why {
            DropReason::Replayed => DropReason::IndexReused,
            other => other,
        })?;
        let ids = (header.ssrc, (index >> 16) as u32, header.sequence);
        let layout = Layout { clear: header.len, len };
        let end = match &self.transform {
            Transform::CounterMode(cm) => cm.protect_rtp(buffer, layout, ids, &self.mki),
            Transform::Aead(aead) => aead.protect_rtp(buffer, layout, ids, &self.mki),
        }?;
        stream.sent.note(index);
        Ok(end)
    }

    /// Encrypts the RTCP packet of `len` bytes at the front of `buffer` in place. Returns its new length. The index is
    /// ours and rises by one, beginning with 1.
    ///
    /// # Errors
    /// [`DropReason::KeyExhausted`] after 2^31 packets, [`TooManySsrcs`](DropReason::TooManySsrcs),
    /// [`PayloadTooLarge`](DropReason::PayloadTooLarge), [`MalformedRtcp`](DropReason::MalformedRtcp).
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, DropReason> {
        let header = buffer.get(..len).and_then(RtcpHeader::parse).ok_or(DropReason::MalformedRtcp)?;
        let at = stream_of(&mut self.streams, header.ssrc)?;
        let stream = &mut self.streams[at];
        if stream.rtcp_index >= MAX_RTCP_INDEX {
            return Err(DropReason::KeyExhausted);
        }
        let index = stream.rtcp_index + 1;
        let layout = Layout { clear: RtcpHeader::LEN, len };
        let end = match &self.transform {
            Transform::CounterMode(cm) => cm.protect_rtcp(buffer, layout, (header.ssrc, index), &self.mki),
            Transform::Aead(aead) => aead.protect_rtcp(buffer, layout, (header.ssrc, index), &self.mki),
        }?;
        stream.rtcp_index = index;
        Ok(end)
    }

    /// Sets the index the next SRTCP packet of an SSRC gets.
    ///
    /// # Errors
    /// [`DropReason::TooManySsrcs`].
    pub fn set_next_rtcp_index(&mut self, ssrc: u32, index: u32) -> Result<(), DropReason> {
        let at = stream_of(&mut self.streams, ssrc)?;
        self.streams[at].rtcp_index = index.saturating_sub(1).min(MAX_RTCP_INDEX);
        Ok(())
    }

    /// Whether this SSRC has been sent with this key.
    pub(crate) fn knows(&self, ssrc: u32) -> bool {
        self.streams.iter().any(|stream| stream.ssrc == ssrc)
    }
}

/// The stream of an SSRC, made if there is room. What we send was authenticated before, so nobody can spray it.
fn stream_of(streams: &mut Vec<Stream>, ssrc: u32) -> Result<usize, DropReason> {
    if let Some(at) = streams.iter().position(|stream| stream.ssrc == ssrc) {
        return Ok(at);
    }
    if streams.len() >= MAX_SSRCS {
        return Err(DropReason::TooManySsrcs);
    }
    streams.push(Stream { ssrc, sent: Window::default(), rtcp_index: 0 });
    Ok(streams.len() - 1)
}
