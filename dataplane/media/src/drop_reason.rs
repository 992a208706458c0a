//! Every reason for which a packet is dropped: a small index into an array of counters.
//!
//! It counts nothing itself; the shell owns the counters.

use std::fmt;

macro_rules! drop_reasons {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal,)+) => {
        /// Why a packet was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[$doc])+ $variant,)+
        }

        impl DropReason {
            /// Every reason, in the order of the enum: `ALL[reason.index()] == reason`.
            pub const ALL: [Self; [$(Self::$variant),+].len()] = [$(Self::$variant),+];

            /// The name in metrics, in snake case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

drop_reasons! {
    /// No flow owns the socket.
    NoFlow = "no_flow",
    /// The flow waits for its answer.
    BeforeAnswer = "before_answer",
    /// STUN, DTLS or anything else that is neither RTP nor RTCP, or one of them on the other's socket.
    NotMedia = "not_media",
    /// The RTP header, its extension or its padding does not fit the packet.
    MalformedRtp = "malformed_rtp",
    /// The RTCP packets do not fill the datagram (RFC 3550 A.2).
    MalformedRtcp = "malformed_rtcp",
    /// The offer and answer do not let this side send.
    WrongDirection = "wrong_direction",
    /// A plain packet from another address than the signalled one.
    SourceNotSignalled = "source_not_signalled",
    /// A protected packet from another address than the latched one.
    SourceNotLatched = "source_not_latched",
    /// There is no address to send it to.
    NoRemote = "no_remote",
    /// The SRTP tag is wrong or missing.
    AuthFailed = "auth_failed",
    /// The index was received before (RFC 3711 §3.3.2).
    Replayed = "replayed",
    /// The index lies behind the replay window.
    TooOld = "too_old",
    /// The index was sent before; another payload must not go out under it (RFC 3711 §9.1).
    IndexReused = "index_reused",
    /// The last index under this key was used (RFC 3711 §9.2).
    KeyExhausted = "key_exhausted",
    /// More sources at once than a context keeps.
    TooManySsrcs = "too_many_ssrcs",
    /// Authentic SRTCP with E=0, which was not negotiated.
    UnencryptedSrtcp = "unencrypted_srtcp",
    /// RTCP, which the policy does not relay.
    RtcpByPolicy = "rtcp_by_policy",
    /// There is no key for this direction; clear media never leaves or enters outside.
    NoKey = "no_key",
    /// The MKI is not that of the key.
    UnknownMki = "unknown_mki",
    /// The packet is too large, or its buffer has no room for the tag.
    PayloadTooLarge = "payload_too_large",
    /// Too many failed authentications in this second before the source is known.
    AuthBudget = "auth_budget",
}

impl DropReason {
    /// The position in [`ALL`](Self::ALL) and in an array of counters.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::error::Error for DropReason {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_names_the_same_reason_in_all() {
        for (position, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), position);
        }
    }

    #[test]
    fn names_are_distinct_snake_case() {
        let mut names: Vec<_> = DropReason::ALL.into_iter().map(DropReason::name).collect();
        assert!(
            names
                .iter()
                .all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
        );
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DropReason::ALL.len());
    }
}
