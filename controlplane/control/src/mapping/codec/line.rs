//! Lines out of a byte stream.
//!
//! Does not look into them.

use super::MAX_LINE;

/// Cuts a byte stream into lines, holding at most two lines' worth of bytes.
#[derive(Debug, Default)]
pub struct LineDecoder {
    buffer: Vec<u8>,
}

/// A line grew past [`MAX_LINE`]; where the next one starts is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line is longer than {MAX_LINE} bytes")]
pub struct TooLong;

impl LineDecoder {
    /// Most bytes held: what is left of one line, and a whole one behind it.
    const CAPACITY: usize = 2 * MAX_LINE;

    /// How many bytes [`extend`](Self::extend) takes; at least [`MAX_LINE`] whenever no complete line is held.
    #[must_use]
    pub fn room(&self) -> usize {
        Self::CAPACITY.saturating_sub(self.buffer.len())
    }

    /// Takes bytes in, as many as there is room for, and says how many.
    pub fn extend(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room());
        self.buffer.extend(bytes.iter().take(taken));
        taken
    }

    /// The next complete line, without its end.
    ///
    /// # Errors
    /// [`TooLong`] once a line has no end within [`MAX_LINE`] bytes, and from then on.
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        let end = self.buffer.iter().take(MAX_LINE).position(|byte| *byte == b'\n');
        match end {
            Some(end) => {
                let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
                line.pop();
                Ok(Some(line))
            }
            None if self.buffer.len() >= MAX_LINE => Err(TooLong),
            None => Ok(None),
        }
    }

    /// Whether bytes are held: after the last complete line, whether the next one has begun.
    #[must_use]
    pub fn is_mid_line(&self) -> bool {
        !self.buffer.is_empty()
    }
}
