//! The one buffer a worker receives and sends media packets in.
//!
//! It holds one packet at a time and is never grown.

use crate::config::{PACKET_MAX, PACKET_TAIL_ROOM};

/// Room for a packet, one byte that tells a longer one, and a tag.
pub(super) struct PacketBuffer(Box<[u8; SIZE]>);

impl PacketBuffer {
    pub(super) fn new() -> Self {
        Self(Box::new([0; SIZE]))
    }

    /// Where a packet is received: one byte longer than the longest that is relayed.
    pub(super) fn receive_room(&mut self) -> &mut [u8] {
        self.0.get_mut(..=PACKET_MAX).expect("SIZE is larger")
    }

    /// The packet with the room after it.
    pub(super) fn whole(&mut self) -> &mut [u8] {
        self.0.as_mut_slice()
    }

    /// The first `len` bytes, if there are so many.
    pub(super) fn packet(&self, len: usize) -> Option<&[u8]> {
        self.0.get(..len)
    }
}

/// A power of two above what is needed.
const SIZE: usize = 2_048;

const _: () = assert!(SIZE > PACKET_MAX + PACKET_TAIL_ROOM);
