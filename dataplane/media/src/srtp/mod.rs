//! SRTP and SRTCP, transformed in place in the caller's buffer (RFC 3711, RFC 6188, RFC 7714).
//!
//! It negotiates no keys and does not encrypt header extensions (RFC 6904). A tag is verified before anything is
//! decrypted and before any state changes; nothing here allocates once a context is made, except that giving up the
//! state of a long silent source for a new one notes the old one's last index.

mod aead;
mod cm;
mod context;
mod key;
mod replay;
mod transform;

pub use aead::{gcm_open, gcm_rtcp_iv, gcm_rtp_iv, gcm_seal};
pub use cm::{cm_iv, keystream};
pub(crate) use context::Saved;
pub use context::{MAX_PACKET, ReceiveContext, SendContext};
pub use key::{InvalidKey, MAX_MKI, MasterKey, SessionKeys, StreamKeys, derive, derive_session_keys};
pub use replay::{IDLE_PACKETS, MAX_RETIRED, MAX_SSRCS, WINDOW};
