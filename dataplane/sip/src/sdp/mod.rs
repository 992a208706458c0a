//! Session descriptions (RFC 8866) as an index over their lines, and SDES `a=crypto` lines (RFC 4568).
//!
//! It reads what an edge must know and keeps every other line as it came. Offer/answer is decided elsewhere.

mod crypto;
mod session;

pub use crypto::{CryptoLine, InlineKey, InvalidCrypto, crypto_line};
pub use session::{Direction, InvalidSdp, Line, MAX_MEDIA, Media, Session};
