//! What stands around two real edges in the demo, the tests and the bench: call agents, the impairing relay, raw TLS
//! peers and certificates.
//!
//! It shares no code with the edge, so that an error in the edge is not repeated by what judges it. It is no product: it
//! speaks just enough SIP (RFC 3261), SDP (RFC 4566), RTP (RFC 3550) and SDES (RFC 4568) for that task.
#![forbid(unsafe_code)]

pub mod agent;
pub mod certs;
mod dialog;
mod framing;
mod media;
mod message;
pub mod payload;
pub mod raw;
pub mod relay;
mod rtp;
mod sdp;
mod tls;

pub use media::{FIRST_MEDIA_PORT, MediaReport, MediaScript};
pub use message::SipText;
pub use rtp::{RtpView, rtp_packet};
pub use sdp::{Codec, Direction, SdpView};
