//! A compound or reduced-size RTCP packet (RFC 3550 §6.1, RFC 5506).
//!
//! Only the common headers are read; reports are relayed as they are.

use super::{MalformedPacket, u16_at, u32_at};

/// A datagram of plain RTCP packets whose lengths add up (RFC 3550 A.2).
#[derive(Clone, Copy, Debug)]
pub struct RtcpView<'a> {
    packet: &'a [u8],
    sender_ssrc: u32,
}

impl<'a> RtcpView<'a> {
    /// Bytes of the shortest RTCP packet: common header and SSRC.
    pub const MIN_LEN: usize = 8;

    /// Checks the versions and lengths of all packets; the first must carry an SSRC.
    ///
    /// Reduced-size packets are taken (RFC 5506), so the first need not be a report.
    ///
    /// # Errors
    /// [`MalformedPacket`] if a version is not 2, a length leads past the end, or padding is not in the last packet.
    pub fn new_checked(packet: &'a [u8]) -> Result<Self, MalformedPacket> {
        let sender_ssrc = rtcp_sender(packet)?;
        let mut rest = packet;
        while !rest.is_empty() {
            let words = u16_at(rest, 2).ok_or(MalformedPacket)?;
            let len = 4 + 4 * usize::from(words);
            let (this, behind) = rest.split_at_checked(len).ok_or(MalformedPacket)?;
            let first = this[0];
            if first >> 6 != 2 || (first & 0x20 != 0 && !behind.is_empty()) {
                return Err(MalformedPacket);
            }
            rest = behind;
        }
        Ok(Self { packet, sender_ssrc })
    }

    /// The SSRC of the first packet's sender.
    #[must_use]
    pub const fn sender_ssrc(&self) -> u32 {
        self.sender_ssrc
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.packet
    }
}

/// The sender's SSRC of an RTCP or SRTCP packet, which is always clear (RFC 3711 §3.4).
///
/// # Errors
/// [`MalformedPacket`] if the version is not 2 or the packet has less than 8 bytes.
pub fn rtcp_sender(packet: &[u8]) -> Result<u32, MalformedPacket> {
    let ssrc = u32_at(packet, 4).ok_or(MalformedPacket)?;
    if packet[0] >> 6 != 2 {
        return Err(MalformedPacket);
    }
    Ok(ssrc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_a_compound_packet_must_add_up() {
        let mut packet = vec![0x80, 201, 0, 1, 0, 0, 0, 5];
        assert_eq!(RtcpView::new_checked(&packet).unwrap().sender_ssrc(), 5);
        packet.extend([0x81, 203, 0, 1, 0, 0, 0, 5]);
        assert_eq!(RtcpView::new_checked(&packet).unwrap().as_bytes().len(), 16);
        packet.push(0);
        assert!(RtcpView::new_checked(&packet).is_err(), "a byte too many");
        packet.truncate(15);
        assert!(RtcpView::new_checked(&packet).is_err(), "a byte short");
    }

    #[test]
    fn wrong_version_early_padding_and_short_packets_are_refused() {
        assert!(RtcpView::new_checked(&[0x40, 201, 0, 1, 0, 0, 0, 5]).is_err());
        assert!(RtcpView::new_checked(&[0xa0, 201, 0, 1, 0, 0, 0, 5, 0x81, 203, 0, 1, 0, 0, 0, 5]).is_err());
        for len in 0..8 {
            assert!(RtcpView::new_checked(&[0x80, 201, 0, 1, 0, 0, 0, 5][..len]).is_err());
        }
    }
}
