//! What a payload type is, as far as quality needs it.

/// How a codec suffers from loss (ITU-T G.113 appendix I).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CodecModel {
    /// The name in records.
    pub name: &'static str,
    /// Equipment impairment factor Ie.
    pub ie: f64,
    /// Packet-loss robustness factor Bpl.
    pub bpl: f64,
}

impl CodecModel {
    /// G.711 with packet-loss concealment (appendix I of G.711).
    pub const G711: Self = Self { name: "G.711", ie: 0.0, bpl: 25.1 };
    /// G.711 without concealment.
    pub const G711_NO_PLC: Self = Self { name: "G.711 without PLC", ie: 0.0, bpl: 4.3 };
    /// G.729A with VAD.
    pub const G729A: Self = Self { name: "G.729A", ie: 11.0, bpl: 19.0 };
    /// G.723.1 at 6.3 kbit/s with VAD.
    pub const G723: Self = Self { name: "G.723.1", ie: 15.0, bpl: 16.1 };
    /// Any other codec is judged like G.711 with concealment; the name says so.
    pub const OTHER: Self = Self { name: "as G.711", ie: 0.0, bpl: 25.1 };
}

/// Most payload types of a stream that are told apart.
const MAX_TYPES: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Sort {
    #[default]
    Speech,
    ComfortNoise,
    G729,
    G723,
    G711,
    Opus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
struct Entry {
    payload_type: u8,
    sort: Sort,
    clock_khz_tenths: u16,
}

/// The payload types of a stream: clock rates, and which of them are silence. A fixed table, read without searching text.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CodecHint {
    entries: [Entry; MAX_TYPES],
    len: usize,
}

impl CodecHint {
    /// From the formats of an m= line, best first, each with its `a=rtpmap` (`PCMU/8000`) where there is one. Formats
    /// beyond the sixteenth are judged like unknown ones.
    #[must_use]
    pub fn new<'a>(formats: impl IntoIterator<Item = (u8, Option<&'a str>)>) -> Self {
        let mut hint = Self::default();
        for (payload_type, map) in formats.into_iter().take(MAX_TYPES) {
            hint.entries[hint.len] = entry(payload_type, map);
            hint.len += 1;
        }
        hint
    }

    /// The clock rate of a payload type, Hz; 8,000 when not known.
    #[must_use]
    pub fn clock_rate(&self, payload_type: u8) -> u32 {
        self.find(payload_type).map_or(8_000, |entry| u32::from(entry.clock_khz_tenths) * 100)
    }

    /// The loss model of a payload type.
    #[must_use]
    pub fn model(&self, payload_type: u8) -> CodecModel {
        match self.find(payload_type).map(|entry| entry.sort) {
            Some(Sort::G711) => CodecModel::G711,
            Some(Sort::G729) => CodecModel::G729A,
            Some(Sort::G723) => CodecModel::G723,
            Some(Sort::Speech | Sort::ComfortNoise | Sort::Opus) | None => CodecModel::OTHER,
        }
    }

    /// Whether a payload announces silence (calls.md 6): comfort noise, a G.729 SID, or an Opus payload of two bytes.
    #[must_use]
    pub fn is_silence(&self, payload_type: u8, payload_len: usize) -> bool {
        match self.find(payload_type).map(|entry| entry.sort) {
            Some(Sort::ComfortNoise) => true,
            Some(Sort::G729) => payload_len == 2,
            Some(Sort::Opus) => payload_len <= 2,
            Some(Sort::Speech | Sort::G711 | Sort::G723) => false,
            // RFC 3551 §6: 13 is comfort noise; 19 was before it.
            None => matches!(payload_type, 13 | 19),
        }
    }

    fn find(&self, payload_type: u8) -> Option<&Entry> {
        self.entries.iter().take(self.len).find(|entry| entry.payload_type == payload_type)
    }
}

fn entry(payload_type: u8, map: Option<&str>) -> Entry {
    let map = map.or(match payload_type {
        0 => Some("PCMU/8000"),
        4 => Some("G723/8000"),
        8 => Some("PCMA/8000"),
        13 | 19 => Some("CN/8000"),
        18 => Some("G729/8000"),
        _ => None,
    });
    let mut parts = map.unwrap_or("?/8000").split('/');
    let name = parts.next().unwrap_or_default();
    let clock: u32 = parts.next().and_then(|rate| rate.parse().ok()).filter(|rate| *rate > 0).unwrap_or(8_000);
    let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
    let sort = if is("CN") {
        Sort::ComfortNoise
    } else if is("G729") {
        Sort::G729
    } else if is("G723") {
        Sort::G723
    } else if is("PCMU") || is("PCMA") {
        Sort::G711
    } else if is("opus") {
        Sort::Opus
    } else {
        Sort::Speech
    };
    Entry { payload_type, sort, clock_khz_tenths: u16::try_from(clock / 100).unwrap_or(u16::MAX).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn static_and_mapped_types_have_clock_model_and_silence() {
        let hint = CodecHint::new([(0, None), (96, Some("opus/48000/2")), (97, Some("CN/16000")), (18, None)]);
        assert_eq!((hint.clock_rate(0), hint.clock_rate(96), hint.clock_rate(55)), (8_000, 48_000, 8_000));
        assert_eq!(hint.model(18), CodecModel::G729A);
        assert!(hint.is_silence(97, 10) && hint.is_silence(13, 1) && hint.is_silence(18, 2) && hint.is_silence(96, 2));
        assert!(!hint.is_silence(18, 20) && !hint.is_silence(0, 2) && !hint.is_silence(96, 3));
    }

    #[test]
    fn many_and_odd_formats_do_no_harm() {
        let hint = CodecHint::new((0..100).map(|format| (format, Some("x/0"))));
        assert_eq!(hint.clock_rate(3), 8_000);
    }
}
