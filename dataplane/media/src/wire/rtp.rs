//! The RTP header (RFC 3550 §5.1).

use super::{be16, be32};

/// The fields of an RTP header that a relay needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpHeader {
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp, in units of the codec's clock.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
    /// Bytes of the header: fixed part, CSRCs and extension. The payload follows.
    pub len: usize,
}

impl RtpHeader {
    /// Length of the fixed part.
    pub const FIXED_LEN: usize = 12;

    /// Reads the header of a packet; `None` if it is not version 2 or does not fit.
    #[must_use]
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let first = *packet.first()?;
        if packet.len() < Self::FIXED_LEN || first >> 6 != 2 {
            return None;
        }
        let mut len = Self::FIXED_LEN + 4 * usize::from(first & 0x0f);
        if first & 0x10 != 0 {
            // §5.3.1: the length counts words after the extension's own four bytes, whatever stands in them.
            packet.get(len..len + 4)?;
            len += 4 + 4 * usize::from(be16(packet, len + 2));
        }
        packet.get(..len)?;
        Some(Self {
            payload_type: packet.get(1)? & 0x7f,
            sequence: be16(packet, 2),
            timestamp: be32(packet, 4),
            ssrc: be32(packet, 8),
            len,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csrcs_and_an_extension_belong_to_the_header() {
        let mut packet = vec![0x92, 0x80 | 8, 0x12, 0x34, 0, 0, 0, 1, 0xde, 0xad, 0xbe, 0xef];
        packet.extend([0; 8]);
        packet.extend([0xbe, 0xde, 0, 1, 0xf0, 0, 0, 0]);
        packet.push(0xaa);
        let header = RtpHeader::parse(&packet).unwrap();
        assert_eq!((header.payload_type, header.sequence, header.ssrc), (8, 0x1234, 0xdead_beef));
        assert_eq!(header.len, packet.len() - 1);
    }

    #[test]
    fn what_does_not_fit_is_none() {
        assert_eq!(RtpHeader::parse(&[0x80; 11]), None);
        assert_eq!(RtpHeader::parse(&[0x8f; 20]), None);
        assert_eq!(RtpHeader::parse(&[0x90; 12]), None);
        assert_eq!(RtpHeader::parse(&[0x40; 12]), None);
    }
}
