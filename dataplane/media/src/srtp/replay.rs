//! Packet indices: rollover (RFC 3711 §3.3.1, appendix A) and the replay window (§3.3.2).

use crate::drop_reason::DropReason;

/// Packets behind the highest that are still told apart. §3.3.2 demands 64 at least.
pub const WINDOW: u64 = 128;

/// The highest index seen and which of the [`WINDOW`] below it were.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window {
    highest: Option<u64>,
    seen: u128,
}

impl Window {
    /// The highest index.
    pub(crate) fn highest(&self) -> Option<u64> {
        self.highest
    }

    /// Whether an index is new.
    pub(crate) fn check(&self, index: u64) -> Result<(), DropReason> {
        let Some(highest) = self.highest else { return Ok(()) };
        if index > highest {
            return Ok(());
        }
        let behind = highest - index;
        if behind >= WINDOW {
            return Err(DropReason::TooOld);
        }
        if self.seen >> behind & 1 == 1 { Err(DropReason::Replayed) } else { Ok(()) }
    }

    /// Notes an index that was checked and authenticated.
    pub(crate) fn note(&mut self, index: u64) {
        match self.highest {
            Some(highest) if index <= highest => self.seen |= 1u128.checked_shl((highest - index) as u32).unwrap_or(0),
            Some(highest) => {
                let ahead = index - highest;
                self.seen = if ahead >= WINDOW { 0 } else { self.seen << ahead } | 1;
                self.highest = Some(index);
            }
            None => {
                self.highest = Some(index);
                self.seen = 1;
            }
        }
    }
}

/// The index a sequence number most likely stands for, near the highest one seen (RFC 3711 appendix A). `None` if that
/// would lie before the first rollover counter.
pub(crate) fn estimate(highest: u64, sequence: u16) -> Option<u64> {
    let (roc, last) = (highest >> 16, (highest & 0xffff) as u16);
    let roc = if last < 0x8000 {
        if i32::from(sequence) - i32::from(last) > 0x8000 { roc.checked_sub(1)? } else { roc }
    } else if i32::from(last) - 0x8000 > i32::from(sequence) {
        roc + 1
    } else {
        roc
    };
    Some(roc << 16 | u64::from(sequence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_index_passes_once_within_the_window() {
        let mut window = Window::default();
        for index in [1000, 1002, 1001, 1100] {
            window.check(index).unwrap();
            window.note(index);
        }
        assert_eq!(window.check(1001), Err(DropReason::Replayed));
        assert_eq!(window.check(1003), Ok(()));
        assert_eq!(window.check(1100 - WINDOW), Err(DropReason::TooOld));
        window.note(5000);
        assert_eq!((window.check(4999), window.check(5000)), (Ok(()), Err(DropReason::Replayed)));
    }

    #[test]
    fn sequence_numbers_roll_over_forwards_and_backwards() {
        assert_eq!(estimate(0xffff, 0), Some(0x1_0000));
        assert_eq!(estimate(0x1_0002, 0xfffe), Some(0xfffe));
        assert_eq!(estimate(2, 0xfffe), None);
        assert_eq!(estimate(0x3_8000, 0x7fff), Some(0x3_7fff));
    }
}
