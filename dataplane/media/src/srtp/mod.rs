//! SRTP and SRTCP (RFC 3711, RFC 6188, RFC 7714) as in-place transforms.
//!
//! A context holds one master key and the state of a few SSRCs. Tags are checked before anything is decrypted and before
//! any state changes. Our own rather than webrtc-srtp's, which returns SRTCP with E=0 unauthenticated, panics on short
//! SRTCP, and keeps state for every forged SSRC.

mod aead;
mod cm;
mod key;
mod receive;
mod replay;
mod send;

pub use aead::gcm_iv_rtp;
pub use cm::keystream;
pub use key::{InvalidKey, MasterKey, SessionKeys, derive_session_keys};
pub use receive::ReceiveContext;
pub use send::SendContext;

use tollgate_contract::SrtpSuite;

use self::aead::Aead;
use self::cm::CounterMode;
use crate::drop_reason::DropReason;

/// Most SSRCs of one context.
pub const MAX_SSRCS: usize = 64;

/// Packets one key may protect (RFC 3711 §9.2): RTP 2^48, RTCP 2^31.
pub(crate) const MAX_RTCP_INDEX: u32 = 0x7fff_ffff;

/// Set in the last word of SRTCP when the packet is encrypted (RFC 3711 §3.4).
pub(crate) const E_FLAG: u32 = 0x8000_0000;

/// The transform of a suite, keyed.
#[derive(Debug)]
pub(crate) enum Transform {
    CounterMode(Box<CounterMode>),
    Aead(Box<Aead>),
}

/// Where the parts of a packet to be transformed are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Bytes that stay in clear.
    pub(crate) clear: usize,
    /// Bytes of the plain packet.
    pub(crate) len: usize,
}

impl Transform {
    pub(crate) fn new(master: &MasterKey) -> Result<Self, InvalidKey> {
        match master.suite() {
            SrtpSuite::AeadAes128Gcm | SrtpSuite::AeadAes256Gcm => Ok(Self::Aead(Box::new(Aead::new(master)?))),
            SrtpSuite::AesCm128HmacSha1_80
            | SrtpSuite::AesCm128HmacSha1_32
            | SrtpSuite::AesCm256HmacSha1_80
            | SrtpSuite::AesCm256HmacSha1_32 => Ok(Self::CounterMode(Box::new(CounterMode::new(master)?))),
        }
    }

    /// Bytes that protecting RTP adds, MKI apart.
    pub(crate) fn rtp_tag(&self) -> usize {
        match self {
            Self::CounterMode(cm) => cm.rtp_tag(),
            Self::Aead(_) => aead::TAG,
        }
    }

    /// Bytes of the SRTCP tag.
    pub(crate) fn rtcp_tag(&self) -> usize {
        match self {
            Self::CounterMode(_) => cm::RTCP_TAG,
            Self::Aead(_) => aead::TAG,
        }
    }
}

/// The bytes of a packet and the room after them, or the reason there is not enough.
pub(crate) fn room(buffer: &mut [u8], needed: usize) -> Result<&mut [u8], DropReason> {
    buffer.get_mut(..needed).ok_or(DropReason::PayloadTooLarge)
}
