//! The RTP header and the payload behind it (RFC 3550 §5.1, §5.3.1).
//!
//! Header extensions are skipped as a whole and never read.

use super::{MalformedPacket, u16_at, u32_at};

/// The fields of an RTP header that a relay needs, and the header's length.
///
/// It can be read from an SRTP packet too, as the header stays clear (RFC 3711 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpHeader {
    /// Bytes before the payload: fixed header, CSRC list, header extension.
    pub len: usize,
    /// Whether padding stands at the payload's end.
    pub has_padding: bool,
    /// The marker bit.
    pub is_marked: bool,
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp, in units of the clock rate.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
}

impl RtpHeader {
    /// Bytes of the fixed header.
    pub const MIN_LEN: usize = 12;
    /// Where the sequence number stands.
    pub(crate) const SEQUENCE_AT: usize = 2;

    /// Reads the header.
    ///
    /// # Errors
    /// [`MalformedPacket`] if the version is not 2, or the fixed header, the CSRC list or the extension does not fit.
    pub fn parse(packet: &[u8]) -> Result<Self, MalformedPacket> {
        Self::read(packet).ok_or(MalformedPacket)
    }

    fn read(packet: &[u8]) -> Option<Self> {
        let fixed: &[u8; Self::MIN_LEN] = packet.first_chunk()?;
        if fixed[0] >> 6 != 2 {
            return None;
        }
        let mut len = Self::MIN_LEN + 4 * usize::from(fixed[0] & 0x0f);
        if fixed[0] & 0x10 != 0 {
            len += 4 + 4 * usize::from(u16_at(packet, len + 2)?);
        }
        if len > packet.len() {
            return None;
        }
        Some(Self {
            len,
            has_padding: fixed[0] & 0x20 != 0,
            is_marked: fixed[1] & 0x80 != 0,
            payload_type: fixed[1] & 0x7f,
            sequence: u16_at(fixed, Self::SEQUENCE_AT)?,
            timestamp: u32_at(fixed, 4)?,
            ssrc: u32_at(fixed, 8)?,
        })
    }
}

/// A whole plain RTP packet.
#[derive(Clone, Copy, Debug)]
pub struct RtpView<'a> {
    header: RtpHeader,
    payload: &'a [u8],
}

impl<'a> RtpView<'a> {
    /// Checks header and padding.
    ///
    /// # Errors
    /// [`MalformedPacket`] as [`RtpHeader::parse`], or if the padding count is 0 or above the payload's length.
    pub fn new_checked(packet: &'a [u8]) -> Result<Self, MalformedPacket> {
        let header = RtpHeader::parse(packet)?;
        let body = packet.get(header.len..).ok_or(MalformedPacket)?;
        if !header.has_padding {
            return Ok(Self { header, payload: body });
        }
        let padding = usize::from(*body.last().ok_or(MalformedPacket)?);
        if padding == 0 {
            return Err(MalformedPacket);
        }
        let end = body.len().checked_sub(padding).ok_or(MalformedPacket)?;
        Ok(Self {
            header,
            payload: &body[..end],
        })
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &RtpHeader {
        &self.header
    }

    /// The payload without padding.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csrc_extension_and_padding_are_cut_off() {
        let mut packet = vec![0xb1, 0x88, 0, 7, 0, 0, 0, 9, 1, 2, 3, 4];
        packet.extend([9; 4]);
        packet.extend([0xbe, 0xde, 0, 1, 1, 2, 3, 4]);
        packet.extend([0xaa, 0xbb, 0, 2]);
        let view = RtpView::new_checked(&packet).unwrap();
        assert_eq!(view.header().len, 24);
        assert!(view.header().is_marked);
        assert_eq!((view.header().payload_type, view.header().sequence), (8, 7));
        assert_eq!((view.header().timestamp, view.header().ssrc), (9, 0x0102_0304));
        assert_eq!(view.payload(), [0xaa, 0xbb]);
    }

    #[test]
    fn header_that_does_not_fit_is_refused() {
        let good = [0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
        for cut in 0..good.len() {
            assert_eq!(RtpHeader::parse(&good[..cut]), Err(MalformedPacket));
        }
        let mut packet = good;
        packet[0] = 0x40;
        assert_eq!(RtpHeader::parse(&packet), Err(MalformedPacket), "version 1");
        packet[0] = 0x81;
        assert_eq!(RtpHeader::parse(&packet), Err(MalformedPacket), "CSRC missing");
        packet[0] = 0x90;
        assert_eq!(RtpHeader::parse(&packet), Err(MalformedPacket), "extension missing");
    }

    #[test]
    fn padding_of_zero_or_beyond_the_payload_is_refused() {
        let mut packet = vec![0xa0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
        assert!(RtpView::new_checked(&packet).is_err());
        packet.push(0);
        assert!(RtpView::new_checked(&packet).is_err());
        packet[12] = 2;
        assert!(RtpView::new_checked(&packet).is_err());
        packet[12] = 1;
        assert!(RtpView::new_checked(&packet).unwrap().payload().is_empty());
    }
}
