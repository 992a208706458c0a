//! Why a packet goes nowhere. Each reason is one counter.

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)*) => {
        /// Why a packet was dropped; the position is its counter's index.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[doc = $doc])+ $variant,)*
        }

        impl DropReason {
            /// Every reason, in order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The names in metrics, in order.
            pub const NAMES: &[&str] = &[$($name,)*];

            /// The name in metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                Self::NAMES[self.index()]
            }

            /// The counter's index.
            #[must_use]
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

drop_reasons! {
    /// No call uses this port now; perhaps it is in quarantine.
    NoFlow = "no_flow",
    /// The call's offer has no answer yet.
    BeforeAnswer = "before_answer",
    /// Neither RTP nor RTCP: STUN, DTLS or noise (RFC 7983).
    NotMedia = "not_media",
    /// An RTP header that does not fit the packet.
    MalformedRtp = "malformed_rtp",
    /// An RTCP header that does not fit the packet.
    MalformedRtcp = "malformed_rtcp",
    /// The sender agreed not to send.
    WrongDirection = "wrong_direction",
    /// Inside, not from the signalled address.
    SourceNotSignalled = "source_not_signalled",
    /// Outside, not from the address that authenticated first.
    SourceNotLatched = "source_not_latched",
    /// The other side has no address for media (hold).
    NoRemote = "no_remote",
    /// The authentication tag is wrong.
    AuthFailed = "auth_failed",
    /// Received before.
    Replayed = "replayed",
    /// Older than the replay window.
    TooOld = "too_old",
    /// Protecting it would use an index twice.
    IndexReused = "index_reused",
    /// The key has protected as many packets as it may.
    KeyExhausted = "key_exhausted",
    /// More streams than a leg may have.
    TooManySsrcs = "too_many_ssrcs",
    /// SRTCP without encryption, which policy does not allow.
    UnencryptedSrtcp = "unencrypted_srtcp",
    /// RTCP, which policy drops.
    RtcpByPolicy = "rtcp_by_policy",
    /// The leg has no key to protect or read with.
    NoKey = "no_key",
    /// No room in the buffer for the tag.
    PayloadTooLarge = "payload_too_large",
    /// Too many failed authentications in this second.
    AuthBudget = "auth_budget",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_name_and_index() {
        for (at, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), at);
            assert_eq!(DropReason::NAMES.iter().filter(|name| **name == reason.name()).count(), 1);
        }
    }
}
