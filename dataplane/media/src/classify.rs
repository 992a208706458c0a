//! Tells what a datagram on a media socket is by its first octets (RFC 7983 §7, RFC 5761 §4).
//!
//! It looks at two octets; whether the packet is well formed is for the wire views.

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PacketClass {
    /// RTP or SRTP.
    Rtp,
    /// RTCP or SRTCP.
    Rtcp,
    /// STUN (first octet 0 to 3).
    Stun,
    /// ZRTP (16 to 19).
    Zrtp,
    /// DTLS (20 to 63).
    Dtls,
    /// A TURN channel (64 to 79).
    TurnChannel,
    /// Anything else.
    Other,
}

/// Classifies a datagram. One that is too short for RTP and RTCP to differ is [`PacketClass::Other`].
#[must_use]
pub fn classify(datagram: &[u8]) -> PacketClass {
    let [first, second, ..] = *datagram else {
        return PacketClass::Other;
    };
    match first {
        0..=3 => PacketClass::Stun,
        16..=19 => PacketClass::Zrtp,
        20..=63 => PacketClass::Dtls,
        64..=79 => PacketClass::TurnChannel,
        128..=191 if RTCP_TYPES.contains(&second) => PacketClass::Rtcp,
        128..=191 => PacketClass::Rtp,
        _ => PacketClass::Other,
    }
}

/// RFC 5761 §4: RTP payload types 64 to 95 stay unused, so a second octet of 192 to 223 is RTCP.
const RTCP_TYPES: std::ops::RangeInclusive<u8> = 192..=223;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_first_octet_has_the_class_of_rfc_7983() {
        for first in 0..=255_u8 {
            let expected = match first {
                0..=3 => PacketClass::Stun,
                16..=19 => PacketClass::Zrtp,
                20..=63 => PacketClass::Dtls,
                64..=79 => PacketClass::TurnChannel,
                128..=191 => PacketClass::Rtp,
                _ => PacketClass::Other,
            };
            assert_eq!(classify(&[first, 0]), expected, "first octet {first}");
        }
    }

    #[test]
    fn second_octet_tells_rtcp_from_rtp() {
        assert_eq!(classify(&[0x80, 191]), PacketClass::Rtp);
        assert_eq!(classify(&[0x80, 192]), PacketClass::Rtcp);
        assert_eq!(classify(&[0x80, 200]), PacketClass::Rtcp);
        assert_eq!(classify(&[0x80, 223]), PacketClass::Rtcp);
        assert_eq!(classify(&[0x80, 224]), PacketClass::Rtp);
        assert_eq!(classify(&[0x80]), PacketClass::Other);
        assert_eq!(classify(&[]), PacketClass::Other);
    }
}
