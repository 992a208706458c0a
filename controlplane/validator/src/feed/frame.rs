//! Frames: a big-endian u32 length, then that many bytes.
//!
//! Knows nothing of JSON. Frames can hold ticket keys, so their memory is wiped.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

/// Longest body of a frame, in bytes: 64 KiB.
pub const MAX_FRAME_LEN: usize = 65_536;

/// Bytes of the length in front.
const HEADER_LEN: usize = 4;

/// The peer announced a frame over [`MAX_FRAME_LEN`], or a message of ours would be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame has at most 65536 bytes")]
pub struct FrameTooLong;

/// One frame as it goes over the wire, length included. Wiped on drop, and shown by its length alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame(Zeroizing<Vec<u8>>);

impl Frame {
    /// Puts the length in front of a body.
    ///
    /// # Errors
    /// [`FrameTooLong`] if the body has over [`MAX_FRAME_LEN`] bytes.
    pub fn new(body: &[u8]) -> Result<Self, FrameTooLong> {
        let length = u32::try_from(body.len()).map_err(|_| FrameTooLong)?;
        if body.len() > MAX_FRAME_LEN {
            return Err(FrameTooLong);
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(HEADER_LEN + body.len()));
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(body);
        Ok(Self(bytes))
    }

    /// The bytes to send.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes after the length.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.0.get(HEADER_LEN..).unwrap_or_default()
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} bytes)", self.body().len())
    }
}

/// Cuts a stream into frames. Holds at most one frame, wiped before the next.
#[derive(Default)]
pub struct Decoder {
    held: Zeroizing<Vec<u8>>,
    is_whole: bool,
}

impl Decoder {
    /// Takes bytes until one frame is whole: how many were taken, and the frame's body if it is.
    ///
    /// Call again with the rest until all are taken. After an error the stream cannot be read on.
    ///
    /// # Errors
    /// [`FrameTooLong`] as soon as such a length is read.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(usize, Option<&[u8]>), FrameTooLong> {
        if self.is_whole {
            self.clear();
        }
        let mut taken = self.fill(HEADER_LEN, bytes);
        let Some(length) = self.announced()? else {
            return Ok((taken, None));
        };
        let rest = bytes.get(taken..).unwrap_or_default();
        taken += self.fill(HEADER_LEN + length, rest);
        if self.held.len() < HEADER_LEN + length {
            return Ok((taken, None));
        }
        self.is_whole = true;
        Ok((taken, self.held.get(HEADER_LEN..)))
    }

    /// Forgets what is held: for a new connection.
    pub fn clear(&mut self) {
        self.held.zeroize();
        self.is_whole = false;
    }

    /// The length in the header, once that is whole.
    fn announced(&self) -> Result<Option<usize>, FrameTooLong> {
        let Some(header) = self.held.first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes(*header)).map_err(|_| FrameTooLong)?;
        if length > MAX_FRAME_LEN {
            return Err(FrameTooLong);
        }
        Ok(Some(length))
    }

    /// Takes bytes until `wanted` are held; returns how many.
    fn fill(&mut self, wanted: usize, bytes: &[u8]) -> usize {
        let missing = wanted.saturating_sub(self.held.len());
        let part = bytes.get(..missing).unwrap_or(bytes);
        if self.held.len() + part.len() > self.held.capacity() {
            self.grow(self.held.len() + part.len());
        }
        self.held.extend_from_slice(part);
        part.len()
    }

    /// Moves to a larger buffer and wipes the old one, which `Vec` would leave behind.
    fn grow(&mut self, wanted: usize) {
        let capacity = wanted.next_power_of_two().min(HEADER_LEN + MAX_FRAME_LEN).max(wanted);
        let mut larger = Zeroizing::new(Vec::with_capacity(capacity));
        larger.extend_from_slice(&self.held);
        self.held = larger;
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Decoder({} bytes held)", self.held.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_however_the_stream_is_cut() {
        let stream = [
            Frame::new(b"{}").unwrap().bytes(),
            Frame::new(b"").unwrap().bytes(),
            Frame::new(&[b'x'; 300]).unwrap().bytes(),
        ]
        .concat();
        for step in 1..=stream.len() {
            let mut decoder = Decoder::default();
            let mut lengths = Vec::new();
            for mut part in stream.chunks(step) {
                while !part.is_empty() {
                    let (taken, frame) = decoder.push(part).unwrap();
                    lengths.extend(frame.map(<[u8]>::len));
                    part = &part[taken..];
                }
            }
            assert_eq!(lengths, [2, 0, 300], "step {step}");
        }
    }

    #[test]
    fn a_frame_over_64_kib_is_refused_by_its_length_alone() {
        assert!(Decoder::default().push(&65_536u32.to_be_bytes()).is_ok());
        assert_eq!(Decoder::default().push(&65_537u32.to_be_bytes()), Err(FrameTooLong));
        assert_eq!(Decoder::default().push(&u32::MAX.to_be_bytes()), Err(FrameTooLong));
        assert!(Frame::new(&[b'x'; 65_536]).is_ok());
        assert_eq!(Frame::new(&[b'x'; 65_537]), Err(FrameTooLong));
    }

    #[test]
    fn an_announced_length_reserves_no_memory() {
        let mut decoder = Decoder::default();
        decoder.push(&65_536u32.to_be_bytes()).unwrap();
        decoder.push(b"abc").unwrap();
        assert!(decoder.held.capacity() < 64);
    }

    #[test]
    fn debug_output_shows_no_content() {
        let frame = Frame::new(b"secret").unwrap();
        assert_eq!(format!("{frame:?}"), "Frame(6 bytes)");
    }
}
