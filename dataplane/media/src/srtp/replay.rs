//! Packet indices: estimation, the window of those used, and the bounded set of sources (RFC 3711 §3.3.1, §3.3.2).
//!
//! The same window serves a receiver against replay and a sender against using an index twice.

use super::context::IndexRefused;

/// Packets behind the newest that are still told apart. RFC 3711 §3.3.2 asks for at least 64.
pub const WINDOW: u64 = 128;
/// Sources of one master key whose window is kept.
pub const MAX_SSRCS: usize = 8;
/// A source may lose its place to a new one after so many packets of other sources.
pub const IDLE_PACKETS: u64 = 250;
/// Sources that lost their place: their last index is remembered, so that nothing of theirs is taken twice.
pub const MAX_RETIRED: usize = 56;

/// The largest RTP packet index: 48 bits.
pub(super) const MAX_RTP_INDEX: u64 = (1 << 48) - 1;
/// The largest SRTCP index: 31 bits.
pub(super) const MAX_RTCP_INDEX: u64 = (1 << 31) - 1;

/// Estimates the index of a packet from the highest index so far (RFC 3711 §3.3.1).
///
/// `None` if it would lie before the first index of all.
pub(super) fn estimate(highest: u64, sequence: u16) -> Option<u64> {
    let (roc, last) = (highest >> 16, (highest & 0xffff) as u16);
    let roc = if last < 0x8000 {
        if i32::from(sequence) - i32::from(last) > 0x8000 {
            roc.checked_sub(1)?
        } else {
            roc
        }
    } else if i32::from(last) - 0x8000 > i32::from(sequence) {
        roc + 1
    } else {
        roc
    };
    Some(roc << 16 | u64::from(sequence))
}

/// The highest index used and which of those before it were.
#[derive(Clone, Copy, Debug)]
pub(super) struct IndexWindow {
    highest: u64,
    /// Bit n is set if `highest - n` was used.
    used: u128,
}

impl IndexWindow {
    /// A window whose first index was just used; those right before it are free.
    pub(super) const fn starting_at(index: u64) -> Self {
        Self {
            highest: index,
            used: 1,
        }
    }

    /// A window in which everything up to `highest` counts as used.
    pub(super) const fn closed_at(highest: u64) -> Self {
        Self {
            highest,
            used: u128::MAX,
        }
    }

    pub(super) const fn highest(&self) -> u64 {
        self.highest
    }

    pub(super) fn check(&self, index: u64) -> Result<(), IndexRefused> {
        let Some(behind) = self.highest.checked_sub(index) else {
            return Ok(());
        };
        if behind >= WINDOW {
            return Err(IndexRefused::TooOld);
        }
        if self.used >> behind & 1 == 1 {
            Err(IndexRefused::Used)
        } else {
            Ok(())
        }
    }

    /// Marks an index that [`check`](Self::check) let pass.
    pub(super) fn commit(&mut self, index: u64) {
        if let Some(behind) = self.highest.checked_sub(index) {
            self.used |= 1_u128
                .checked_shl(u32::try_from(behind).unwrap_or(u32::MAX))
                .unwrap_or(0);
            return;
        }
        let ahead = u32::try_from(index - self.highest).unwrap_or(u32::MAX);
        self.used = self.used.checked_shl(ahead).unwrap_or(0) | 1;
        self.highest = index;
    }
}

/// What is kept of one source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) ssrc: u32,
    pub(super) window: IndexWindow,
    pub(super) epoch: Epoch,
    last_use: u64,
}

/// How a plain sender's sequence numbers map to those sent, and the signs of a restart (RFC 3550 A.1).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Epoch {
    /// Added to the sender's sequence numbers.
    pub(super) offset: u16,
    /// The number that would confirm a restart.
    pub(super) awaited: u16,
    /// Refused packets in order so far.
    pub(super) run: u8,
}

/// The sources of one master key. At the bound a source idle for [`IDLE_PACKETS`] is retired, else the new one refused.
#[derive(Default)]
pub(super) struct SourceTable {
    live: [Option<Source>; MAX_SSRCS],
    retired: Vec<(u32, u64)>,
    clock: u64,
}

impl SourceTable {
    pub(super) fn get(&self, ssrc: u32) -> Option<&Source> {
        self.live.iter().flatten().find(|source| source.ssrc == ssrc)
    }

    pub(super) fn get_mut(&mut self, ssrc: u32) -> Option<&mut Source> {
        self.live.iter_mut().flatten().find(|source| source.ssrc == ssrc)
    }

    /// The window to check a packet of `ssrc` against; `None` for a source never seen.
    pub(super) fn window(&self, ssrc: u32) -> Option<IndexWindow> {
        self.get(ssrc).map(|source| source.window).or_else(|| {
            let (_, highest) = self.retired.iter().find(|(retired, _)| *retired == ssrc)?;
            Some(IndexWindow::closed_at(*highest))
        })
    }

    /// Whether [`commit`](Self::commit) would find a place for `ssrc`.
    pub(super) fn has_place(&self, ssrc: u32) -> bool {
        self.get(ssrc).is_some() || self.place().is_some()
    }

    /// Marks `index` as used, and makes place for the source if it is new. Nothing happens without a place.
    pub(super) fn commit(&mut self, ssrc: u32, index: u64) {
        self.clock += 1;
        let clock = self.clock;
        if let Some(source) = self.get_mut(ssrc) {
            source.window.commit(index);
            source.last_use = clock;
            return;
        }
        let Some(at) = self.place() else { return };
        let mut window = self.window(ssrc).unwrap_or_else(|| IndexWindow::starting_at(index));
        window.commit(index);
        self.retired.retain(|(retired, _)| *retired != ssrc);
        let source = Source {
            ssrc,
            window,
            epoch: Epoch::default(),
            last_use: clock,
        };
        if let Some(old) = self.live[at].replace(source) {
            self.retired.push((old.ssrc, old.window.highest));
        }
    }

    /// The highest index of every source known.
    pub(super) fn highest(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        let live = self
            .live
            .iter()
            .flatten()
            .map(|source| (source.ssrc, source.window.highest));
        live.chain(self.retired.iter().copied())
    }

    /// A free place, or that of the source longest silent.
    fn place(&self) -> Option<usize> {
        if let Some(free) = self.live.iter().position(Option::is_none) {
            return Some(free);
        }
        let idle_since = |at: &usize| self.live[*at].map_or(0, |source| source.last_use);
        let oldest = (0..MAX_SSRCS).min_by_key(idle_since)?;
        let idle = self.clock - idle_since(&oldest) >= IDLE_PACKETS;
        (idle && self.retired.len() < MAX_RETIRED).then_some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimate_follows_rfc_3711_at_its_edges() {
        assert_eq!(estimate(0x1_0000, 0xffff), Some(0xffff));
        assert_eq!(estimate(0xffff, 0), Some(0x1_0000));
        assert_eq!(estimate(0, 0xffff), None, "before the first index");
        assert_eq!(estimate(0x1_0000, 0x8000), Some(0x1_8000), "exactly half ahead");
        assert_eq!(estimate(0x1_0000, 0x8001), Some(0x8001));
        assert_eq!(estimate(0x1_8000, 0), Some(0x1_0000), "exactly half behind");
        assert_eq!(estimate(0x1_8001, 0), Some(0x2_0000));
    }

    #[test]
    fn window_takes_each_index_once_and_nothing_behind_it() {
        let mut window = IndexWindow::starting_at(1000);
        assert_eq!(window.check(1000), Err(IndexRefused::Used));
        assert_eq!(window.check(1000 - WINDOW), Err(IndexRefused::TooOld));
        assert_eq!(window.check(1001 - WINDOW), Ok(()));
        window.commit(1001 - WINDOW);
        assert_eq!(window.check(1001 - WINDOW), Err(IndexRefused::Used));
        window.commit(1001);
        assert_eq!(window.check(1001 - WINDOW), Err(IndexRefused::TooOld));
        window.commit(5000);
        assert_eq!(window.check(4999), Ok(()));
        assert_eq!(window.check(1001), Err(IndexRefused::TooOld));
    }

    #[test]
    fn only_an_idle_source_loses_its_place_and_its_indices_stay_used() {
        let mut table = SourceTable::default();
        for ssrc in 0..8 {
            table.commit(ssrc, 100);
        }
        assert!(!table.has_place(8), "all were just used");
        for index in 0..IDLE_PACKETS {
            table.commit(1 + (index % 7) as u32, 101 + index);
        }
        assert!(table.has_place(8));
        table.commit(8, 5);
        assert!(table.get(0).is_none());
        assert_eq!(table.window(0).unwrap().check(100), Err(IndexRefused::Used));
        assert_eq!(table.window(0).unwrap().check(101), Ok(()));
    }
}
