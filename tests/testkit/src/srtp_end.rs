//! The far end of SRTP: protects with its own key, opens with the edge's, as the descriptions told them.

use tollgate_contract::{Secret, SrtpSuite};
use tollgate_media::srtp::{ReceiveContext, SendContext};
use tollgate_media::{DropReason, MasterKey};

/// Room for any tag.
const TAIL: usize = 64;

/// One party's pair of contexts.
pub struct SrtpEnd {
    send: SendContext,
    receive: ReceiveContext,
}

impl std::fmt::Debug for SrtpEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SrtpEnd(*****)")
    }
}

impl SrtpEnd {
    /// An end that sends with `own` and receives with `theirs`, both key and salt of a suite.
    ///
    /// # Panics
    /// If a key is not of the suite's length.
    #[must_use]
    pub fn new(suite: SrtpSuite, own: &Secret, theirs: &Secret) -> Self {
        let master = |key: &Secret| MasterKey::new(suite, key.expose()).expect("a key of the suite's length");
        Self {
            send: SendContext::new(&master(own)),
            receive: ReceiveContext::new(&master(theirs)),
        }
    }

    /// Takes a new key of the other party; what this end sends with goes on.
    ///
    /// # Panics
    /// If the key is not of the suite's length.
    pub fn hear_with(&mut self, suite: SrtpSuite, theirs: &Secret) {
        let master = MasterKey::new(suite, theirs.expose()).expect("a key of the suite's length");
        self.receive = ReceiveContext::new(&master);
    }

    /// Sends with a new key from now on.
    ///
    /// # Panics
    /// If the key is not of the suite's length.
    pub fn speak_with(&mut self, suite: SrtpSuite, own: &Secret) {
        let master = MasterKey::new(suite, own.expose()).expect("a key of the suite's length");
        self.send = SendContext::new(&master);
    }

    /// An RTP packet as SRTP.
    ///
    /// # Panics
    /// If it cannot be protected, as when a sequence number is used twice.
    pub fn protect(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut buffer = with_tail(packet);
        let len = self.send.protect_rtp(&mut buffer, packet.len()).expect("protectable");
        buffer.truncate(len);
        buffer
    }

    /// An RTCP packet as SRTCP.
    ///
    /// # Panics
    /// If it cannot be protected.
    pub fn protect_rtcp(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut buffer = with_tail(packet);
        let len = self.send.protect_rtcp(&mut buffer, packet.len()).expect("protectable");
        buffer.truncate(len);
        buffer
    }

    /// An SRTP packet as RTP.
    ///
    /// # Errors
    /// [`DropReason`] as the media crate gives it.
    pub fn open(&mut self, packet: &[u8]) -> Result<Vec<u8>, DropReason> {
        let mut buffer = packet.to_vec();
        let len = self.receive.unprotect_rtp(&mut buffer, packet.len())?;
        buffer.truncate(len);
        Ok(buffer)
    }

    /// An SRTCP packet as RTCP.
    ///
    /// # Errors
    /// [`DropReason`] as the media crate gives it.
    pub fn open_rtcp(&mut self, packet: &[u8]) -> Result<Vec<u8>, DropReason> {
        let mut buffer = packet.to_vec();
        let len = self.receive.unprotect_rtcp(&mut buffer, packet.len())?;
        buffer.truncate(len);
        Ok(buffer)
    }
}

/// A key and salt of a suite, another for each `number`.
#[must_use]
pub fn key(suite: SrtpSuite, number: u8) -> Secret {
    let len = suite.key_len() + suite.salt_len();
    Secret::new((0..len).map(|at| (at as u8).wrapping_mul(31) ^ number).collect())
}

fn with_tail(packet: &[u8]) -> Vec<u8> {
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + TAIL, 0);
    buffer
}
