//! The first header of a compound RTCP packet (RFC 3550 §6.4).

use super::be32;

/// What a relay needs of an RTCP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtcpHeader {
    /// SSRC of its sender; SRTCP's keys go by it.
    pub ssrc: u32,
}

impl RtcpHeader {
    /// Length of what SRTCP leaves in clear.
    pub const LEN: usize = 8;

    /// Reads the header; `None` if the packet is not version 2 or shorter than [`LEN`](Self::LEN).
    #[must_use]
    pub fn parse(packet: &[u8]) -> Option<Self> {
        if packet.len() < Self::LEN || packet.first()? >> 6 != 2 {
            return None;
        }
        Some(Self { ssrc: be32(packet, 4) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_packets_and_other_versions_are_none() {
        assert_eq!(RtcpHeader::parse(&[0x80, 200, 0, 1, 0, 0, 0, 7]), Some(RtcpHeader { ssrc: 7 }));
        assert_eq!(RtcpHeader::parse(&[0x80, 200, 0, 1, 0, 0, 0]), None);
        assert_eq!(RtcpHeader::parse(&[0x40; 8]), None);
    }
}
