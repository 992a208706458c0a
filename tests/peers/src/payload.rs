//! The book of every payload sent: what the far agent compares bit for bit and what the relay must never see.
//!
//! It knows no key and no packet format beyond the payload. A payload is 160 bytes (20 ms of G.711) made of twenty
//! pseudorandom 8-byte blocks, unique by stream and index.
//!
//! Any 16-byte run of a payload holds at least one of its aligned 8-byte blocks whole. So the book indexes only the
//! blocks; a packet is searched at every offset for a known block, and a hit counts when the match grows to 16 bytes.
//! That finds every 16-byte run and, since the bytes are compared in the end, nothing else.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

/// Bytes of a payload: 20 ms of G.711.
pub const PAYLOAD_LEN: usize = 160;

/// The shortest run of payload that counts as clear text.
pub const CLEAR_RUN_LEN: usize = 16;

/// One direction of one call's media in the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(u32);

/// A payload that the book recognises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recognised {
    /// The stream it was sent on.
    pub stream: StreamId,
    /// Its index in the stream, from 0.
    pub index: u32,
    /// When it was sent; `None` once the book has forgotten.
    pub sent_at: Option<Instant>,
    /// Whether all bytes are as sent.
    pub is_identical: bool,
}

/// The shared book. Clones share one book.
#[derive(Clone, Debug, Default)]
pub struct PayloadBook(Arc<RwLock<Book>>);

#[derive(Debug, Default)]
struct Book {
    streams: Vec<StreamRecord>,
    blocks: HashMap<u64, BlockRef, BlockHashing>,
    oldest_first: VecDeque<(u32, u32)>,
}

#[derive(Debug)]
struct StreamRecord {
    seed: u64,
    sent: u32,
    first_remembered: u32,
    sent_at: VecDeque<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct BlockRef {
    stream: u32,
    index: u32,
    block: u8,
}

impl PayloadBook {
    /// An empty book.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens a stream whose payloads follow from `seed`.
    #[must_use]
    pub fn open_stream(&self, seed: u64) -> StreamId {
        let mut book = self.write();
        book.streams.push(StreamRecord {
            seed,
            sent: 0,
            first_remembered: 0,
            sent_at: VecDeque::new(),
        });
        StreamId(u32::try_from(book.streams.len() - 1).expect("fewer than 2^32 streams are opened"))
    }

    /// Makes the stream's next payload and enters it as sent at this instant.
    #[must_use]
    pub fn send_next(&self, stream: StreamId) -> [u8; PAYLOAD_LEN] {
        self.write().send_next(stream)
    }

    /// How many payloads were made for the stream.
    #[must_use]
    pub fn sent_count(&self, stream: StreamId) -> u32 {
        self.read().record(stream.0).sent
    }

    /// Finds which payload a received one is, by any of its blocks.
    #[must_use]
    pub fn recognise(&self, payload: &[u8]) -> Option<Recognised> {
        let book = self.read();
        let found = payload
            .chunks_exact(BLOCK_LEN)
            .zip(0_u8..)
            .find_map(|(bytes, at)| book.block(bytes).filter(|found| found.block == at))?;
        let record = book.record(found.stream);
        let age_index = found.index.checked_sub(record.first_remembered).map(|at| at as usize);
        Some(Recognised {
            stream: StreamId(found.stream),
            index: found.index,
            sent_at: age_index.and_then(|at| record.sent_at.get(at)).copied(),
            is_identical: payload == payload_bytes(record.seed, found.index),
        })
    }

    /// Whether any 16-byte run of a payload in the book occurs in the packet.
    #[must_use]
    pub fn occurs_in(&self, packet: &[u8]) -> bool {
        let book = self.read();
        packet.windows(BLOCK_LEN).enumerate().any(|(at, bytes)| {
            book.block(bytes)
                .is_some_and(|found| book.run_len_around(packet, at, found) >= CLEAR_RUN_LEN)
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, Book> {
        self.0.read().expect("no holder of the lock panics")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Book> {
        self.0.write().expect("no holder of the lock panics")
    }
}

impl Book {
    fn send_next(&mut self, stream: StreamId) -> [u8; PAYLOAD_LEN] {
        let record = self
            .streams
            .get_mut(stream.0 as usize)
            .expect("ids come from open_stream");
        let index = record.sent;
        record.sent += 1;
        record.sent_at.push_back(Instant::now());
        if record.sent_at.len() > MAX_INSTANTS {
            record.sent_at.pop_front();
            record.first_remembered += 1;
        }
        let payload = payload_bytes(record.seed, index);
        for (bytes, block) in payload.chunks_exact(BLOCK_LEN).zip(0_u8..) {
            let stream = stream.0;
            self.blocks.insert(block_key(bytes), BlockRef { stream, index, block });
        }
        self.oldest_first.push_back((stream.0, index));
        self.forget_oldest();
        payload
    }

    fn forget_oldest(&mut self) {
        if self.oldest_first.len() <= MAX_PAYLOADS {
            return;
        }
        let Some((stream, index)) = self.oldest_first.pop_front() else {
            return;
        };
        for bytes in payload_bytes(self.record(stream).seed, index).chunks_exact(BLOCK_LEN) {
            self.blocks.remove(&block_key(bytes));
        }
    }

    fn record(&self, stream: u32) -> &StreamRecord {
        self.streams.get(stream as usize).expect("ids come from open_stream")
    }

    fn block(&self, bytes: &[u8]) -> Option<BlockRef> {
        self.blocks.get(&block_key(bytes)).copied()
    }

    /// How long the run is that packet and payload share around a block found at `at`.
    fn run_len_around(&self, packet: &[u8], at: usize, found: BlockRef) -> usize {
        let payload = payload_bytes(self.record(found.stream).seed, found.index);
        let block_at = usize::from(found.block) * BLOCK_LEN;
        let before = packet[..at].iter().rev().zip(payload[..block_at].iter().rev());
        let after = packet[at..].iter().zip(&payload[block_at..]);
        let is_same = |pair: &(&u8, &u8)| pair.0 == pair.1;
        before.take_while(is_same).count() + after.take_while(is_same).count()
    }
}

/// Twenty SplitMix64 outputs: the state never repeats within a stream, so no block does.
fn payload_bytes(seed: u64, index: u32) -> [u8; PAYLOAD_LEN] {
    let mut payload = [0; PAYLOAD_LEN];
    let first = u64::from(index) * (PAYLOAD_LEN / BLOCK_LEN) as u64;
    for (chunk, step) in payload.chunks_exact_mut(BLOCK_LEN).zip(first + 1..) {
        chunk.copy_from_slice(&split_mix(seed.wrapping_add(step.wrapping_mul(GOLDEN))).to_be_bytes());
    }
    payload
}

/// The output function of the SplitMix64 generator.
const fn split_mix(state: u64) -> u64 {
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn block_key(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_be_bytes)
}

/// Blocks are already random: one multiplication spreads them enough.
#[derive(Clone, Copy, Debug, Default)]
struct BlockHashing;

#[derive(Debug)]
struct BlockHasher(u64);

impl BuildHasher for BlockHashing {
    type Hasher = BlockHasher;

    fn build_hasher(&self) -> BlockHasher {
        BlockHasher(0)
    }
}

impl Hasher for BlockHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.write_u64(block_key(bytes));
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key.wrapping_mul(GOLDEN);
    }
}

/// Bytes of an indexed block: half of a clear run, so that every run holds a block whole.
const BLOCK_LEN: usize = CLEAR_RUN_LEN / 2;

/// Payloads remembered, the oldest forgotten first: 25 s of 20 calls, some 50 MB.
const MAX_PAYLOADS: usize = 50_000;

/// Send times remembered for each stream: more than 20 minutes.
const MAX_INSTANTS: usize = 65_536;

/// 2^64 divided by the golden ratio, the increment of SplitMix64.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_of_sixteen_bytes_is_found_and_none_of_fifteen() {
        let book = PayloadBook::new();
        let stream = book.open_stream(7);
        let payload = book.send_next(stream);
        for start in 0..=PAYLOAD_LEN - CLEAR_RUN_LEN {
            let mut packet = vec![0xaa; 5];
            packet.extend_from_slice(&payload[start..start + CLEAR_RUN_LEN]);
            packet.extend_from_slice(&[0x55; 3]);
            assert!(book.occurs_in(&packet), "run at {start}");
            packet[5] ^= 0xff;
            assert!(!book.occurs_in(&packet), "broken run at {start}");
        }
    }

    #[test]
    fn random_bytes_are_not_flagged() {
        let book = PayloadBook::new();
        let stream = book.open_stream(1);
        for _ in 0..500 {
            let _ = book.send_next(stream);
        }
        for index in 0..2_000 {
            assert!(!book.occurs_in(&payload_bytes(2, index)));
        }
    }

    #[test]
    fn recognised_payload_names_stream_and_index() {
        let book = PayloadBook::new();
        let (one, other) = (book.open_stream(1), book.open_stream(2));
        let _ = book.send_next(one);
        let _ = book.send_next(other);
        let mut payload = book.send_next(other);
        let found = book.recognise(&payload).unwrap();
        assert_eq!((found.stream, found.index, found.is_identical), (other, 1, true));
        payload[3] ^= 1;
        assert!(!book.recognise(&payload).unwrap().is_identical);
        assert_eq!(book.recognise(&[1; PAYLOAD_LEN]), None);
    }

    #[test]
    fn memory_stays_bounded() {
        let book = PayloadBook::new();
        let stream = book.open_stream(9);
        let first = book.send_next(stream);
        for _ in 0..MAX_PAYLOADS {
            let _ = book.send_next(stream);
        }
        assert_eq!(book.recognise(&first), None);
        assert_eq!(book.read().blocks.len(), MAX_PAYLOADS * PAYLOAD_LEN / BLOCK_LEN);
    }
}
