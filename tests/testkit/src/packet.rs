//! RTP and RTCP packets of a test: plain bytes with a payload that tells them apart.

/// The SSRC of the inside party.
pub const INSIDE_SSRC: u32 = 0x1111_0001;

/// The SSRC of the outside party.
pub const OUTSIDE_SSRC: u32 = 0x2222_0002;

/// An RTP packet of 20 ms G.711 (payload type 0), its timestamp following its sequence number.
#[must_use]
pub fn rtp(ssrc: u32, sequence: u16) -> Vec<u8> {
    rtp_with(ssrc, sequence, 0, &[sequence as u8; 160])
}

/// An RTP packet of a payload type and payload.
#[must_use]
pub fn rtp_with(ssrc: u32, sequence: u16, payload_type: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type & 0x7f];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}

/// An RTCP receiver report without blocks, followed by an SDES CNAME (RFC 3550 §6).
#[must_use]
pub fn rtcp(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0x81, 202, 0, 2]);
    packet.extend(ssrc.to_be_bytes());
    packet.extend([1, 1, b'x', 0]);
    packet
}
