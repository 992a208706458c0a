//! What payload types mean to the quality monitor: codec, clock rate, and which packets announce silence.
//!
//! It knows names as `a=rtpmap` carries them (RFC 3551 §6) and reads no media.

/// Entries a [`CodecHint`] holds; further payload types have the values of RFC 3551 or those of the unknown codec.
pub const MAX_CODECS: usize = 16;

/// A codec as the E-model sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CodecModel {
    /// G.711 without loss concealment.
    G711,
    /// G.711 with loss concealment.
    G711Plc,
    /// G.729 and annexes.
    G729A,
    /// G.723.1 at 6.3 kbit/s.
    G7231,
    /// G.722.
    G722,
    /// Opus.
    Opus,
    /// Anything else.
    #[default]
    Unknown,
}

impl CodecModel {
    /// The name in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::G711 => "G.711 without PLC",
            Self::G711Plc => "G.711",
            Self::G729A => "G.729A",
            Self::G7231 => "G.723.1",
            Self::G722 => "G.722",
            Self::Opus => "Opus",
            Self::Unknown => "unknown",
        }
    }
}

/// What packets of a payload type are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PayloadKind {
    /// Audio or video.
    Media,
    /// Comfort noise (RFC 3389).
    ComfortNoise,
    /// Telephone events, whose timestamp stands still during an event (RFC 4733 §2.5.1).
    TelephoneEvent,
}

/// One payload type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Codec {
    /// 0 to 127.
    pub payload_type: u8,
    /// Codec model.
    pub model: CodecModel,
    /// Clock rate, in Hz, never 0.
    pub clock_rate_hz: u32,
    /// What its packets are.
    pub kind: PayloadKind,
}

/// The payload types of a flow: a small fixed table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodecHint {
    entries: [Option<Codec>; MAX_CODECS],
}

impl CodecHint {
    /// Makes the table from the formats of an m= line, each with its `a=rtpmap` encoding (`PCMU/8000`) if there is one.
    ///
    /// Formats beyond [`MAX_CODECS`] are left out.
    #[must_use]
    pub fn new<'a>(formats: impl IntoIterator<Item = (u8, Option<&'a str>)>) -> Self {
        let mut hint = Self::default();
        let codecs = formats.into_iter().map(|(payload_type, encoding)| {
            encoding.map_or_else(
                || static_codec(payload_type),
                |encoding| named_codec(payload_type, encoding),
            )
        });
        for (entry, codec) in hint.entries.iter_mut().zip(codecs) {
            *entry = Some(codec);
        }
        hint
    }

    /// What a payload type means: as negotiated, else by RFC 3551.
    #[must_use]
    pub fn codec(&self, payload_type: u8) -> Codec {
        let known = self
            .entries
            .iter()
            .flatten()
            .find(|codec| codec.payload_type == payload_type);
        known.copied().unwrap_or_else(|| static_codec(payload_type))
    }
}

/// RFC 3551 §6, tables 4 and 5.
fn static_codec(payload_type: u8) -> Codec {
    let (model, clock_rate_hz, kind) = match payload_type {
        0 | 8 => (CodecModel::G711Plc, 8000, PayloadKind::Media),
        4 => (CodecModel::G7231, 8000, PayloadKind::Media),
        9 => (CodecModel::G722, 8000, PayloadKind::Media),
        18 => (CodecModel::G729A, 8000, PayloadKind::Media),
        13 | 19 => (CodecModel::Unknown, 8000, PayloadKind::ComfortNoise),
        6 => (CodecModel::Unknown, 16_000, PayloadKind::Media),
        10 | 11 => (CodecModel::Unknown, 44_100, PayloadKind::Media),
        14 | 25..=34 => (CodecModel::Unknown, 90_000, PayloadKind::Media),
        _ => (CodecModel::Unknown, 8000, PayloadKind::Media),
    };
    Codec {
        payload_type,
        model,
        clock_rate_hz,
        kind,
    }
}

fn named_codec(payload_type: u8, encoding: &str) -> Codec {
    let mut parts = encoding.trim().split('/');
    let name = parts.next().unwrap_or_default();
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    let model = if is("PCMU") || is("PCMA") {
        CodecModel::G711Plc
    } else if is("G729") || is("G729A") {
        CodecModel::G729A
    } else if is("G723") {
        CodecModel::G7231
    } else if is("G722") {
        CodecModel::G722
    } else if is("opus") {
        CodecModel::Opus
    } else {
        CodecModel::Unknown
    };
    let kind = if is("CN") {
        PayloadKind::ComfortNoise
    } else if is("telephone-event") || is("tone") {
        PayloadKind::TelephoneEvent
    } else {
        PayloadKind::Media
    };
    let rate = parts.next().and_then(|rate| rate.parse().ok()).filter(|rate| *rate > 0);
    Codec {
        payload_type,
        model,
        clock_rate_hz: rate.unwrap_or(8000),
        kind,
    }
}

impl Codec {
    /// Whether a packet with this payload announces silence: comfort noise, a G.729 SID of 2 bytes, an Opus packet of at
    /// most 2 bytes.
    #[must_use]
    pub fn is_silence(&self, payload_len: usize) -> bool {
        match (self.kind, self.model) {
            (PayloadKind::ComfortNoise, _) => true,
            (PayloadKind::TelephoneEvent, _) => false,
            (PayloadKind::Media, CodecModel::G729A) => payload_len == 2,
            (PayloadKind::Media, CodecModel::Opus) => payload_len <= 2,
            (
                PayloadKind::Media,
                CodecModel::G711 | CodecModel::G711Plc | CodecModel::G7231 | CodecModel::G722 | CodecModel::Unknown,
            ) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rtpmap_beats_the_static_table() {
        let hint = CodecHint::new([
            (0, None),
            (96, Some("opus/48000/2")),
            (97, Some("CN/16000")),
            (9, Some("G722/8000")),
        ]);
        assert_eq!(hint.codec(0).model, CodecModel::G711Plc);
        assert_eq!(
            (hint.codec(96).model, hint.codec(96).clock_rate_hz),
            (CodecModel::Opus, 48_000)
        );
        assert!(hint.codec(97).is_silence(1));
        assert_eq!(hint.codec(18).model, CodecModel::G729A, "not negotiated");
        assert_eq!(
            CodecHint::new([(98, Some("x/0"))]).codec(98).clock_rate_hz,
            8000,
            "never 0"
        );
    }

    #[test]
    fn silence_is_comfort_noise_sid_and_tiny_opus() {
        let hint = CodecHint::new([(96, Some("opus/48000/2")), (101, Some("telephone-event/8000"))]);
        assert!(hint.codec(13).is_silence(1) && hint.codec(19).is_silence(9));
        assert!(hint.codec(18).is_silence(2) && !hint.codec(18).is_silence(10) && !hint.codec(18).is_silence(20));
        assert!(hint.codec(96).is_silence(2) && hint.codec(96).is_silence(1) && !hint.codec(96).is_silence(3));
        assert!(!hint.codec(0).is_silence(2) && !hint.codec(101).is_silence(2));
    }

    #[test]
    fn formats_beyond_the_table_are_left_out() {
        let hint = CodecHint::new((0..100).map(|pt| (pt, Some("opus/48000"))));
        assert_eq!(hint.codec(15).model, CodecModel::Opus);
        assert_eq!(hint.codec(99).model, CodecModel::Unknown);
    }
}
