//! The packets: G.711 frames whose every byte the receiver can foretell.
//!
//! 12 bytes of RTP header and 160 of payload: when it was sent, which stream, phase and number, then a piece of a random
//! pattern that differs by stream and number. RFC 3550 §5.1, RFC 3551 §4.5.14.

/// Bytes of a plain packet: header and 20 ms of G.711.
pub(crate) const PACKET_LEN: usize = HEADER_LEN + 160;

/// What a packet says.
pub(super) struct Written {
    pub(super) ssrc: u32,
    pub(super) sequence: u16,
    /// The place of the sending leg.
    pub(super) stream: u32,
    pub(super) phase: u16,
    pub(super) sent_ns: u64,
}

/// What was read of an unchanged packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) sequence: u16,
    pub(super) phase: u16,
    pub(super) sent_ns: u64,
}

/// The random bytes all payloads are cut from.
pub(crate) struct Pattern(Box<[u8; PATTERN_LEN]>);

impl Pattern {
    /// A new pattern.
    pub(crate) fn new() -> Self {
        let mut bytes = Box::new([0; PATTERN_LEN]);
        bytes.fill_with(rand::random);
        Self(bytes)
    }

    /// Writes a packet to the first [`PACKET_LEN`] bytes.
    pub(super) fn write(&self, written: &Written, out: &mut [u8]) {
        let (sequence, stream) = (written.sequence, written.stream);
        out[..2].copy_from_slice(&[VERSION, PCMU]);
        out[2..4].copy_from_slice(&sequence.to_be_bytes());
        out[4..8].copy_from_slice(&timestamp(sequence).to_be_bytes());
        out[8..12].copy_from_slice(&written.ssrc.to_be_bytes());
        out[12..20].copy_from_slice(&written.sent_ns.to_be_bytes());
        out[20..24].copy_from_slice(&stream.to_be_bytes());
        out[24..26].copy_from_slice(&written.phase.to_be_bytes());
        out[26..28].copy_from_slice(&sequence.to_be_bytes());
        out[PIECE_AT..PACKET_LEN].copy_from_slice(self.piece(stream, sequence));
    }

    /// Reads a packet of this source and stream; `None` if any byte is not as it was written.
    pub(super) fn check(&self, packet: &[u8], ssrc: u32, stream: u32) -> Option<Received> {
        let packet: &[u8; PACKET_LEN] = packet.try_into().ok()?;
        let sequence = u16::from_be_bytes([packet[2], packet[3]]);
        let is_unchanged = packet[..2] == [VERSION, PCMU]
            && packet[4..8] == timestamp(sequence).to_be_bytes()
            && packet[8..12] == ssrc.to_be_bytes()
            && packet[20..24] == stream.to_be_bytes()
            && packet[26..28] == sequence.to_be_bytes()
            && packet[PIECE_AT..] == *self.piece(stream, sequence);
        let sent_ns = packet[12..].first_chunk().map(|bytes| u64::from_be_bytes(*bytes))?;
        is_unchanged.then_some(Received {
            sequence,
            phase: u16::from_be_bytes([packet[24], packet[25]]),
            sent_ns,
        })
    }

    fn piece(&self, stream: u32, sequence: u16) -> &[u8] {
        let from = (stream as usize * 7 + usize::from(sequence) * 3) % (PATTERN_LEN - PIECE_LEN);
        &self.0[from..from + PIECE_LEN]
    }
}

/// The clock of a stream follows its numbers, since none pauses.
fn timestamp(sequence: u16) -> u32 {
    u32::from(sequence) * 160
}

/// Bytes of an RTP header without CSRC and extension.
const HEADER_LEN: usize = 12;

/// Where the piece of the pattern begins.
const PIECE_AT: usize = 28;

const PIECE_LEN: usize = PACKET_LEN - PIECE_AT;

const PATTERN_LEN: usize = 4_096;

/// Version 2, no padding, extension or CSRC.
const VERSION: u8 = 0x80;

/// Payload type 0.
const PCMU: u8 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packet_reads_back_and_no_byte_but_the_stamps_may_change() {
        let pattern = Pattern::new();
        let mut packet = [0; PACKET_LEN];
        let written = Written {
            ssrc: 9,
            sequence: 65_535,
            stream: 3,
            phase: 7,
            sent_ns: 11,
        };
        pattern.write(&written, &mut packet);
        let read = Received {
            sequence: 65_535,
            phase: 7,
            sent_ns: 11,
        };
        assert_eq!(pattern.check(&packet, 9, 3), Some(read));
        assert_eq!(pattern.check(&packet, 8, 3), None);
        assert_eq!(pattern.check(&packet, 9, 2), None);
        assert_eq!(pattern.check(&packet[..PACKET_LEN - 1], 9, 3), None);
        for at in (0..PACKET_LEN).filter(|at| !(12..20).contains(at) && !(24..26).contains(at)) {
            packet[at] ^= 1;
            assert_eq!(pattern.check(&packet, 9, 3), None, "byte {at}");
            packet[at] ^= 1;
        }
    }
}
