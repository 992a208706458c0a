//! What a datagram on a media port is, by its first octets (RFC 7983, RFC 5761 §4).

/// RTP or RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketKind {
    /// RTP, or SRTP.
    Rtp,
    /// RTCP, or SRTCP.
    Rtcp,
}

/// Tells RTP from RTCP; `None` for anything else.
#[must_use]
pub fn classify(packet: &[u8]) -> Option<PacketKind> {
    let (first, second) = (*packet.first()?, *packet.get(1)?);
    // RFC 7983 §7: 128 to 191 is RTP or RTCP; lower values are STUN, ZRTP, DTLS or TURN.
    if !(128..192).contains(&first) {
        return None;
    }
    // RFC 5761 §4: packet types 192 to 223 are RTCP.
    Some(if (192..224).contains(&second) { PacketKind::Rtcp } else { PacketKind::Rtp })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_octets_decide() {
        assert_eq!(classify(&[0x80, 0]), Some(PacketKind::Rtp));
        assert_eq!(classify(&[0x80, 0x80 | 111]), Some(PacketKind::Rtp));
        assert_eq!(classify(&[0x81, 200]), Some(PacketKind::Rtcp));
        for other in [&[0x00, 1][..], &[22, 254], &[0x40, 0], &[0x80], &[]] {
            assert_eq!(classify(other), None);
        }
    }
}
