//! RTP packets with a plain 12-byte header, and the two RTCP reports.
//!
//! It writes no header extension, padding or CSRC. RFC 3550 §5.1 and §6.4.

/// The fields of a received RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpView<'a> {
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp in clock units.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
    /// The payload.
    pub payload: &'a [u8],
}

impl<'a> RtpView<'a> {
    /// Reads a packet; `None` if it is no RTP version 2 packet. CSRCs and a header extension are skipped.
    #[must_use]
    pub fn parse(packet: &'a [u8]) -> Option<Self> {
        let header = packet.first_chunk::<12>()?;
        if header[0] >> 6 != 2 {
            return None;
        }
        let mut payload_at = 12 + 4 * usize::from(header[0] & 0x0f);
        if header[0] & 0x10 != 0 {
            let words = packet.get(payload_at + 2..payload_at + 4)?;
            payload_at += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
        }
        Some(Self {
            payload_type: header[1] & 0x7f,
            sequence: u16::from_be_bytes([header[2], header[3]]),
            timestamp: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            ssrc: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
            payload: packet.get(payload_at..)?,
        })
    }
}

/// Writes an RTP packet without CSRC or extension.
#[must_use]
pub fn rtp_packet(payload_type: u8, sequence: u16, timestamp: u32, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(12 + payload.len());
    packet.extend_from_slice(&[0x80, payload_type & 0x7f]);
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&timestamp.to_be_bytes());
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

/// Writes a sender report without report blocks, followed by an SDES packet with a CNAME (RFC 3550 §6.4.1, §6.5).
pub(crate) fn sender_report(ssrc: u32, timestamp: u32, packets: u32, octets: u32) -> Vec<u8> {
    let mut report = vec![0x80, 200, 0, 6];
    for word in [ssrc, 0, 0, timestamp, packets, octets] {
        report.extend_from_slice(&word.to_be_bytes());
    }
    report.extend_from_slice(&[0x81, 202, 0, 3]);
    report.extend_from_slice(&ssrc.to_be_bytes());
    report.extend_from_slice(b"\x01\x04peer\0\0");
    report
}

/// Writes a receiver report without report blocks (RFC 3550 §6.4.2).
pub(crate) fn receiver_report(ssrc: u32) -> Vec<u8> {
    let mut report = vec![0x80, 201, 0, 1];
    report.extend_from_slice(&ssrc.to_be_bytes());
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_packet_reads_back() {
        let packet = rtp_packet(8, 65_535, 7, 0xdead_beef, b"abc");
        let view = RtpView::parse(&packet).unwrap();
        assert_eq!((view.payload_type, view.sequence, view.timestamp), (8, 65_535, 7));
        assert_eq!((view.ssrc, view.payload), (0xdead_beef, &b"abc"[..]));
        assert_eq!(RtpView::parse(&packet[..11]), None);
    }

    #[test]
    fn extension_and_sources_are_skipped() {
        let mut packet = rtp_packet(0, 1, 2, 3, &[0, 0, 0, 9, 0xbe, 0xde, 0, 1, 1, 2, 3, 4, b'z']);
        packet[0] |= 0x11;
        assert_eq!(RtpView::parse(&packet).unwrap().payload, b"z");
    }

    #[test]
    fn report_lengths_are_what_their_headers_say() {
        let report = sender_report(1, 2, 3, 4);
        assert_eq!(report.len(), 28 + 16);
        assert_eq!(receiver_report(1).len(), 8);
    }
}
