//! Sending and receiving contexts: one master key, its sources and their indices (RFC 3711 §3.2).
//!
//! Sources are bounded as [`MAX_SSRCS`](super::MAX_SSRCS) says. No clock: idleness is counted in packets.

use super::key::MasterKey;
use super::replay::{Epoch, IndexWindow, MAX_RTCP_INDEX, MAX_RTP_INDEX, SourceTable, estimate};
use super::transform::{RtcpIndex, Transform};
use crate::DropReason;
use crate::wire::{RtpHeader, rtcp_sender};

/// Longest packet, in bytes, that is relayed.
pub const MAX_PACKET: usize = 2048;
/// After so many failed authentications in a row the next rollover counter is tried too.
const ROC_RETRY_AFTER: u32 = 8;
/// RFC 3550 A.1 `MIN_SEQUENTIAL`: packets in order, far behind, that are a restart.
const RESTART_FAR: u8 = 2;
/// The same within the window, where copies by the network look alike.
const RESTART_NEAR: u8 = 4;

/// Why an index may not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IndexRefused {
    /// It was used.
    Used,
    /// It is behind the window.
    TooOld,
}

/// Protects what is sent under one master key and never uses an index twice.
pub struct SendContext {
    transform: Transform,
    sources: SourceTable,
    start_roc: u32,
    /// One counter for all sources under the key: no source sees a number twice.
    next_rtcp_index: u64,
    encrypts_srtcp: bool,
}

impl SendContext {
    /// A context whose sources start at ROC 0 and whose first SRTCP index is 1.
    #[must_use]
    pub fn new(master: &MasterKey) -> Self {
        Self {
            transform: Transform::new(master),
            sources: SourceTable::default(),
            start_roc: 0,
            next_rtcp_index: 1,
            encrypts_srtcp: true,
        }
    }

    /// Sources not seen yet start at this ROC.
    #[must_use]
    pub fn with_roc(mut self, roc: u32) -> Self {
        self.start_roc = roc;
        self
    }

    /// The next SRTCP packet has this index (31 bits).
    #[must_use]
    pub fn with_srtcp_index(mut self, index: u32) -> Self {
        self.next_rtcp_index = u64::from(index);
        self
    }

    /// Whether SRTCP is encrypted (E=1, the default) or only authenticated.
    #[must_use]
    pub fn encrypt_srtcp(mut self, encrypts: bool) -> Self {
        self.encrypts_srtcp = encrypts;
        self
    }

    /// Bytes of tail room that the longer of RTP and RTCP needs.
    #[must_use]
    pub fn overhead(&self) -> usize {
        self.transform.rtp_overhead().max(self.transform.rtcp_overhead())
    }

    /// Protects the RTP packet in `buf[..len]` and returns its new length.
    ///
    /// # Errors
    /// [`DropReason::MalformedRtp`], [`IndexReused`](DropReason::IndexReused) for a sequence number used or too far
    /// behind, [`KeyExhausted`](DropReason::KeyExhausted), [`TooManySsrcs`](DropReason::TooManySsrcs),
    /// [`PayloadTooLarge`](DropReason::PayloadTooLarge) without tail room. No index is used up by a failure.
    pub fn protect_rtp(&mut self, buf: &mut [u8], len: usize) -> Result<usize, DropReason> {
        let header = parse_rtp(buf, len)?;
        let index = self.rtp_index(&header, header.sequence)?;
        self.seal_rtp(buf, len, &header, index)
    }

    /// As [`protect_rtp`](Self::protect_rtp), and a source that starts its sequence anew is carried on.
    ///
    /// A plain sender may restart its sequence on the same SSRC. Its first packet is refused as
    /// [`DropReason::IndexReused`]; when more follow in order, the sequence numbers sent are the sender's plus an
    /// offset that continues those sent before. So neither does a stream fall silent nor is an index used twice.
    ///
    /// # Errors
    /// As [`protect_rtp`](Self::protect_rtp).
    pub fn relay_rtp(&mut self, buf: &mut [u8], len: usize) -> Result<usize, DropReason> {
        let header = parse_rtp(buf, len)?;
        let epoch = self
            .sources
            .get(header.ssrc)
            .map_or_else(Epoch::default, |source| source.epoch);
        let index = match self.rtp_index(&header, header.sequence.wrapping_add(epoch.offset)) {
            Err(DropReason::IndexReused) => self.on_refused_sequence(&header)?,
            other => other?,
        };
        let sequence_at = RtpHeader::SEQUENCE_AT;
        buf[sequence_at..sequence_at + 2].copy_from_slice(&(index as u16).to_be_bytes());
        let total = self.seal_rtp(buf, len, &header, index)?;
        if let Some(source) = self.sources.get_mut(header.ssrc) {
            source.epoch.offset = (index as u16).wrapping_sub(header.sequence);
            source.epoch.run = 0;
        }
        Ok(total)
    }

    /// Protects the RTCP packet in `buf[..len]` and returns its new length.
    ///
    /// # Errors
    /// [`DropReason::MalformedRtcp`], [`KeyExhausted`](DropReason::KeyExhausted),
    /// [`PayloadTooLarge`](DropReason::PayloadTooLarge) without tail room.
    pub fn protect_rtcp(&mut self, buf: &mut [u8], len: usize) -> Result<usize, DropReason> {
        let packet = buf.get(..len).ok_or(DropReason::PayloadTooLarge)?;
        let ssrc = rtcp_sender(packet).map_err(|_| DropReason::MalformedRtcp)?;
        if self.next_rtcp_index > MAX_RTCP_INDEX {
            return Err(DropReason::KeyExhausted);
        }
        let index = u32::try_from(self.next_rtcp_index).expect("31 bits, compared above");
        let at = RtcpIndex {
            index,
            is_encrypted: self.encrypts_srtcp,
        };
        let total = self.transform.protect_rtcp(buf, len, ssrc, at)?;
        self.next_rtcp_index += 1;
        Ok(total)
    }

    fn seal_rtp(&mut self, buf: &mut [u8], len: usize, header: &RtpHeader, index: u64) -> Result<usize, DropReason> {
        let total = self.transform.protect_rtp(buf, len, header.len, header.ssrc, index)?;
        self.sources.commit(header.ssrc, index);
        Ok(total)
    }

    fn rtp_index(&self, header: &RtpHeader, sequence: u16) -> Result<u64, DropReason> {
        let Some(window) = self.sources.window(header.ssrc) else {
            let index = u64::from(self.start_roc) << 16 | u64::from(sequence);
            return if self.sources.has_place(header.ssrc) {
                Ok(index)
            } else {
                Err(DropReason::TooManySsrcs)
            };
        };
        let index = estimate(window.highest(), sequence).ok_or(DropReason::IndexReused)?;
        if index > MAX_RTP_INDEX {
            return Err(DropReason::KeyExhausted);
        }
        window.check(index).map_err(|_| DropReason::IndexReused)?;
        if self.sources.has_place(header.ssrc) {
            Ok(index)
        } else {
            Err(DropReason::TooManySsrcs)
        }
    }

    /// Counts refused packets that are in order among themselves; enough of them start a new epoch.
    fn on_refused_sequence(&mut self, header: &RtpHeader) -> Result<u64, DropReason> {
        let Some(source) = self.sources.get_mut(header.ssrc) else {
            return self.on_retired_source(header);
        };
        let epoch = &mut source.epoch;
        let is_in_order = epoch.run > 0 && epoch.awaited == header.sequence;
        epoch.run = if is_in_order { epoch.run + 1 } else { 1 };
        epoch.awaited = header.sequence.wrapping_add(1);
        let sent = header.sequence.wrapping_add(epoch.offset);
        let is_near = estimate(source.window.highest(), sent)
            .is_some_and(|index| source.window.check(index) == Err(IndexRefused::Used));
        if source.epoch.run < if is_near { RESTART_NEAR } else { RESTART_FAR } {
            return Err(DropReason::IndexReused);
        }
        next_index(&source.window)
    }

    /// A source that lost its place has no epoch to count in: its first packet starts a new one.
    fn on_retired_source(&self, header: &RtpHeader) -> Result<u64, DropReason> {
        if !self.sources.has_place(header.ssrc) {
            return Err(DropReason::TooManySsrcs);
        }
        let window = self.sources.window(header.ssrc).ok_or(DropReason::IndexReused)?;
        next_index(&window)
    }
}

fn next_index(window: &IndexWindow) -> Result<u64, DropReason> {
    let index = window.highest() + 1;
    if index > MAX_RTP_INDEX {
        Err(DropReason::KeyExhausted)
    } else {
        Ok(index)
    }
}

/// Verifies and decrypts what was sent under one master key.
pub struct ReceiveContext {
    transform: Transform,
    rtp: SourceTable,
    rtcp: SourceTable,
    start_roc: u32,
    allows_unencrypted_srtcp: bool,
    /// Highest indices under the key before: a new key does not reset the ROC by itself (RFC 3711 §3.3.1).
    carried: Vec<(u32, u64)>,
    failures_in_row: u32,
}

impl ReceiveContext {
    /// A context whose sources start at ROC 0.
    #[must_use]
    pub fn new(master: &MasterKey) -> Self {
        Self {
            transform: Transform::new(master),
            rtp: SourceTable::default(),
            rtcp: SourceTable::default(),
            start_roc: 0,
            allows_unencrypted_srtcp: false,
            carried: Vec::new(),
            failures_in_row: 0,
        }
    }

    /// Sources not seen yet start at this ROC.
    #[must_use]
    pub fn with_roc(mut self, roc: u32) -> Self {
        self.start_roc = roc;
        self
    }

    /// The successor of `old` under a key never used before: each source's ROC is first carried on, then ROC 0 is
    /// tried; what authenticates counts.
    #[must_use]
    pub fn carrying(mut self, old: &Self) -> Self {
        self.carried = old.rtp.highest().collect();
        self
    }

    /// Whether SRTCP with E=0 is taken (`UNENCRYPTED_SRTCP`, RFC 4568 §6.3.2). Default: no.
    #[must_use]
    pub fn allow_unencrypted_srtcp(mut self, allows: bool) -> Self {
        self.allows_unencrypted_srtcp = allows;
        self
    }

    /// Verifies and decrypts the RTP packet in `buf[..len]` and returns its plain length.
    ///
    /// # Errors
    /// [`DropReason::MalformedRtp`], [`AuthFailed`](DropReason::AuthFailed), [`UnknownMki`](DropReason::UnknownMki),
    /// [`Replayed`](DropReason::Replayed), [`TooOld`](DropReason::TooOld),
    /// [`KeyExhausted`](DropReason::KeyExhausted), [`TooManySsrcs`](DropReason::TooManySsrcs). After a failure the
    /// bytes are unspecified and no source changed.
    pub fn unprotect_rtp(&mut self, buf: &mut [u8], len: usize) -> Result<usize, DropReason> {
        let header = parse_rtp(buf, len)?;
        let packet = &mut buf[..len];
        let plain_len = self.transform.rtp_len(packet)?;
        let (first, second) = self.candidates(&header)?;
        let saved = second.map(|_| Saved::of(packet));
        let mut index = first;
        let mut result = self
            .transform
            .unprotect_rtp(packet, plain_len, header.len, header.ssrc, first);
        if let (Err(_), Some(other), Some(saved)) = (result, second, &saved) {
            saved.restore(packet);
            index = other;
            result = self
                .transform
                .unprotect_rtp(packet, plain_len, header.len, header.ssrc, other);
        }
        if let Err(reason) = result {
            self.failures_in_row = self.failures_in_row.saturating_add(1);
            return Err(reason);
        }
        self.failures_in_row = 0;
        if !self.rtp.has_place(header.ssrc) {
            return Err(DropReason::TooManySsrcs);
        }
        self.rtp.commit(header.ssrc, index);
        Ok(plain_len)
    }

    /// Verifies and decrypts the RTCP packet in `buf[..len]` and returns its plain length.
    ///
    /// # Errors
    /// As [`unprotect_rtp`](Self::unprotect_rtp), with [`DropReason::MalformedRtcp`], and
    /// [`UnencryptedSrtcp`](DropReason::UnencryptedSrtcp) for an authentic packet with E=0 that is not allowed.
    pub fn unprotect_rtcp(&mut self, buf: &mut [u8], len: usize) -> Result<usize, DropReason> {
        let packet = buf.get_mut(..len).ok_or(DropReason::PayloadTooLarge)?;
        let ssrc = rtcp_sender(packet).map_err(|_| DropReason::MalformedRtcp)?;
        let (plain_len, at) = self.transform.rtcp_len(packet)?;
        let index = u64::from(at.index);
        if let Some(window) = self.rtcp.window(ssrc) {
            window.check(index).map_err(on_receive)?;
        }
        self.transform.unprotect_rtcp(packet, plain_len, ssrc, at)?;
        if !at.is_encrypted && !self.allows_unencrypted_srtcp {
            return Err(DropReason::UnencryptedSrtcp);
        }
        if !self.rtcp.has_place(ssrc) {
            return Err(DropReason::TooManySsrcs);
        }
        self.rtcp.commit(ssrc, index);
        Ok(plain_len)
    }

    /// The index a packet should have, and another one worth trying.
    ///
    /// A receiver that missed the turn of the sequence number is one ROC behind; after some failures the next ROC is
    /// tried too. ROC 0 is never tried again under a key that already authenticated the source.
    fn candidates(&self, header: &RtpHeader) -> Result<(u64, Option<u64>), DropReason> {
        let sequence = header.sequence;
        let fresh = u64::from(self.start_roc) << 16 | u64::from(sequence);
        let first = match self.rtp.window(header.ssrc) {
            Some(window) => {
                let index = estimate(window.highest(), sequence).ok_or(DropReason::TooOld)?;
                window.check(index).map_err(on_receive)?;
                index
            }
            None => match self.carried.iter().find(|(ssrc, _)| *ssrc == header.ssrc) {
                Some((_, highest)) => {
                    let carried = estimate(*highest, sequence).unwrap_or(fresh);
                    return Ok((carried, (carried != fresh).then_some(fresh)));
                }
                None => fresh,
            },
        };
        if first > MAX_RTP_INDEX {
            return Err(DropReason::KeyExhausted);
        }
        let next_roc = first + (1 << 16);
        Ok((
            first,
            (self.failures_in_row >= ROC_RETRY_AFTER && next_roc <= MAX_RTP_INDEX).then_some(next_roc),
        ))
    }
}

/// A copy of a packet, since a failed GCM attempt leaves its bytes unspecified.
pub(crate) struct Saved {
    bytes: [u8; MAX_PACKET],
    len: usize,
}

impl Saved {
    /// Copies up to [`MAX_PACKET`] bytes.
    pub(crate) fn of(packet: &[u8]) -> Self {
        let len = packet.len().min(MAX_PACKET);
        let mut bytes = [0; MAX_PACKET];
        bytes[..len].copy_from_slice(&packet[..len]);
        Self { bytes, len }
    }

    /// Puts the bytes back.
    pub(crate) fn restore(&self, packet: &mut [u8]) {
        packet[..self.len].copy_from_slice(&self.bytes[..self.len]);
    }
}

fn parse_rtp(buf: &[u8], len: usize) -> Result<RtpHeader, DropReason> {
    let packet = buf.get(..len).ok_or(DropReason::PayloadTooLarge)?;
    RtpHeader::parse(packet).map_err(|_| DropReason::MalformedRtp)
}

fn on_receive(refused: IndexRefused) -> DropReason {
    match refused {
        IndexRefused::Used => DropReason::Replayed,
        IndexRefused::TooOld => DropReason::TooOld,
    }
}

#[cfg(test)]
mod tests {
    use tollgate_contract::SrtpSuite;

    use super::*;
    use crate::srtp::{IDLE_PACKETS, MAX_SSRCS};

    #[test]
    fn last_index_of_a_key_is_the_last() {
        let mut sender = SendContext::new(&key()).with_roc(u32::MAX);
        let mut receiver = ReceiveContext::new(&key()).with_roc(u32::MAX);
        let last = seal(&mut sender, 1, u16::MAX).unwrap();
        assert!(open(&mut receiver, &last).is_ok());
        assert_eq!(seal(&mut sender, 1, 0), Err(DropReason::KeyExhausted));
        let mut buf = [0_u8; 64];
        buf[0] = 0x80;
        assert_eq!(
            sender.relay_rtp(&mut buf, 12),
            Ok(28),
            "another source has its own indices"
        );
        let mut sender = SendContext::new(&key()).with_srtcp_index(0x7fff_ffff);
        let mut rtcp = [0_u8; 64];
        rtcp[..2].copy_from_slice(&[0x80, 201]);
        assert!(sender.protect_rtcp(&mut rtcp, 8).is_ok());
        assert_eq!(sender.protect_rtcp(&mut rtcp, 8), Err(DropReason::KeyExhausted));
    }

    #[test]
    fn too_many_ssrcs_at_once_are_refused_on_both_ends() {
        let (mut sender, mut receiver) = (SendContext::new(&key()), ReceiveContext::new(&key()));
        for ssrc in 0..MAX_SSRCS as u32 {
            let packet = seal(&mut sender, ssrc, 1).unwrap();
            assert!(open(&mut receiver, &packet).is_ok());
        }
        assert_eq!(seal(&mut sender, 99, 1), Err(DropReason::TooManySsrcs));
        let other = seal(&mut SendContext::new(&key()), 99, 1).unwrap();
        assert_eq!(open(&mut receiver, &other), Err(DropReason::TooManySsrcs));
    }

    #[test]
    fn source_that_lost_its_place_goes_on_with_unused_indices() {
        let (mut sender, mut receiver) = (SendContext::new(&key()), ReceiveContext::new(&key()));
        let first = relay(&mut sender, 0, 500).unwrap();
        open(&mut receiver, &first).unwrap();
        for at in 0..(IDLE_PACKETS as u32 + 8) * 2 {
            let packet = relay(&mut sender, 1 + at % 7, (at / 7) as u16).unwrap();
            open(&mut receiver, &packet).unwrap();
        }
        let newcomer = relay(&mut sender, 8, 1).unwrap();
        open(&mut receiver, &newcomer).unwrap();
        for at in 0..2 * IDLE_PACKETS as u32 {
            let packet = relay(&mut sender, 2 + at % 7, 1000 + (at / 7) as u16).unwrap();
            open(&mut receiver, &packet).unwrap();
        }
        assert_eq!(
            open(&mut receiver, &first),
            Err(DropReason::Replayed),
            "though it lost its place"
        );
        let back = relay(&mut sender, 0, 500).unwrap();
        assert!(open(&mut receiver, &back).is_ok(), "under the next index");
    }

    #[test]
    fn forged_sources_leave_no_state() {
        let mut receiver = ReceiveContext::new(&key());
        for ssrc in 0..100 {
            let mut forged = seal(&mut SendContext::new(&key()), ssrc, 1).unwrap();
            *forged.last_mut().unwrap() ^= 1;
            assert_eq!(open(&mut receiver, &forged), Err(DropReason::AuthFailed));
        }
        assert_eq!(receiver.rtp.highest().count(), 0);
    }

    #[test]
    fn receiver_that_missed_the_turn_finds_the_next_roc() {
        for suite in SrtpSuite::ALL {
            let key = MasterKey::new(suite, &vec![3; suite.key_len() + suite.salt_len()]).unwrap();
            let (mut sender, mut receiver) = (SendContext::new(&key), ReceiveContext::new(&key));
            seal(&mut sender, 1, u16::MAX).unwrap();
            let results: Vec<_> = (0..20)
                .map(|at| open(&mut receiver, &seal(&mut sender, 1, at).unwrap()))
                .collect();
            assert!(
                results[..8].iter().all(|result| *result == Err(DropReason::AuthFailed)),
                "{suite}"
            );
            assert!(results[8..].iter().all(Result::is_ok), "{suite}");
        }
    }

    #[test]
    fn missing_tail_room_uses_no_index_up() {
        let mut sender = SendContext::new(&key());
        let mut tight = vec![0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
        assert_eq!(sender.protect_rtp(&mut tight, 12), Err(DropReason::PayloadTooLarge));
        assert!(seal(&mut sender, 1, 1).is_ok());
    }

    fn key() -> MasterKey {
        MasterKey::new(SrtpSuite::AeadAes128Gcm, &[7; 28]).unwrap()
    }

    fn packet(ssrc: u32, sequence: u16) -> Vec<u8> {
        let mut packet = vec![0x80, 0];
        packet.extend(sequence.to_be_bytes());
        packet.extend([0; 4]);
        packet.extend(ssrc.to_be_bytes());
        packet.extend([0xd5; 20]);
        packet
    }

    fn seal(context: &mut SendContext, ssrc: u32, sequence: u16) -> Result<Vec<u8>, DropReason> {
        with(packet(ssrc, sequence), |buf, len| context.protect_rtp(buf, len))
    }

    fn relay(context: &mut SendContext, ssrc: u32, sequence: u16) -> Result<Vec<u8>, DropReason> {
        with(packet(ssrc, sequence), |buf, len| context.relay_rtp(buf, len))
    }

    fn open(context: &mut ReceiveContext, packet: &[u8]) -> Result<Vec<u8>, DropReason> {
        with(packet.to_vec(), |buf, len| context.unprotect_rtp(buf, len))
    }

    fn with(
        packet: Vec<u8>,
        transform: impl FnOnce(&mut [u8], usize) -> Result<usize, DropReason>,
    ) -> Result<Vec<u8>, DropReason> {
        let (mut buf, len) = (packet.clone(), packet.len());
        buf.resize(len + 64, 0);
        let len = transform(&mut buf, len)?;
        buf.truncate(len);
        Ok(buf)
    }
}
