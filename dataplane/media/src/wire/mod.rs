//! Checked views over the bytes of RTP and RTCP packets (RFC 3550).
//!
//! A view is checked once by its `new_checked` and then cannot panic, whatever the bytes are. It copies nothing and
//! rewrites nothing.

mod rtcp;
mod rtp;

pub use rtcp::{RtcpView, rtcp_sender};
pub use rtp::{RtpHeader, RtpView};

/// The bytes are not a packet of the kind asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedPacket;

impl std::fmt::Display for MalformedPacket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not a well-formed packet")
    }
}

impl std::error::Error for MalformedPacket {}

/// Reads a big-endian 16-bit number.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(field.try_into().ok()?))
}

/// Reads a big-endian 32-bit number.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(field.try_into().ok()?))
}
