//! Checked views over packet bytes. A view is made once; after that no read can fail or panic.

mod rtcp;
mod rtp;

pub use rtcp::RtcpHeader;
pub use rtp::RtpHeader;

/// Reads a big-endian number at a place known to exist.
pub(crate) fn be16(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|two| two.try_into().ok()).map_or(0, u16::from_be_bytes)
}

/// Reads a big-endian number at a place known to exist.
pub(crate) fn be32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes)
}
