//! What media may look like, and when it is bad enough to hand a call back to the PSTN.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// An SRTP crypto suite as SDES names it (RFC 4568 §6.2, RFC 6188 §4, RFC 7714 §14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SrtpSuite {
    /// AES counter mode, 128-bit key, 80-bit tag.
    AesCm128HmacSha1_80,
    /// AES counter mode, 128-bit key, 32-bit tag on RTP and 80-bit on RTCP.
    AesCm128HmacSha1_32,
    /// AES counter mode, 256-bit key, 80-bit tag.
    AesCm256HmacSha1_80,
    /// AES counter mode, 256-bit key, 32-bit tag on RTP and 80-bit on RTCP.
    AesCm256HmacSha1_32,
    /// AES-GCM, 128-bit key, 128-bit tag.
    AeadAes128Gcm,
    /// AES-GCM, 256-bit key, 128-bit tag.
    AeadAes256Gcm,
}

/// Not a suite this edge speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownSuite;

impl SrtpSuite {
    /// Every suite, in the order of the enum.
    pub const ALL: [Self; 6] = [
        Self::AesCm128HmacSha1_80,
        Self::AesCm128HmacSha1_32,
        Self::AesCm256HmacSha1_80,
        Self::AesCm256HmacSha1_32,
        Self::AeadAes128Gcm,
        Self::AeadAes256Gcm,
    ];

    /// The name in an `a=crypto` line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Self::AesCm256HmacSha1_80 => "AES_256_CM_HMAC_SHA1_80",
            Self::AesCm256HmacSha1_32 => "AES_256_CM_HMAC_SHA1_32",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// Bytes of the master key: 16 or 32.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 | Self::AeadAes128Gcm => 16,
            Self::AesCm256HmacSha1_80 | Self::AesCm256HmacSha1_32 | Self::AeadAes256Gcm => 32,
        }
    }

    /// Bytes of the master salt: 14 for counter mode, 12 for GCM.
    #[must_use]
    pub const fn salt_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
            Self::AesCm128HmacSha1_80
            | Self::AesCm128HmacSha1_32
            | Self::AesCm256HmacSha1_80
            | Self::AesCm256HmacSha1_32 => 14,
        }
    }
}

impl FromStr for SrtpSuite {
    type Err = UnknownSuite;

    fn from_str(text: &str) -> Result<Self, UnknownSuite> {
        Self::ALL
            .into_iter()
            .find(|suite| suite.name().eq_ignore_ascii_case(text))
            .ok_or(UnknownSuite)
    }
}

impl fmt::Display for SrtpSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for UnknownSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a crypto suite this edge speaks")
    }
}

impl std::error::Error for UnknownSuite {}

/// What happens to RTCP between the sides. The ASA dropped it; relaying is our default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RtcpPolicy {
    /// RTCP becomes SRTCP and back.
    #[default]
    Relay,
    /// RTCP is dropped, with a counter.
    Drop,
}

/// Media rules for new calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaPolicy {
    /// Suites offered and accepted outside, best first. Never empty.
    pub suites: Vec<SrtpSuite>,
    /// RTCP between the sides.
    pub rtcp: RtcpPolicy,
    /// How long a pair of ports stays unused after a call.
    pub port_quarantine: Duration,
    /// A call silent both ways for so long while media is expected is ended; `None` never ends it.
    pub media_timeout: Option<Duration>,
}

impl Default for MediaPolicy {
    fn default() -> Self {
        Self {
            suites: vec![
                SrtpSuite::AeadAes256Gcm,
                SrtpSuite::AeadAes128Gcm,
                SrtpSuite::AesCm128HmacSha1_80,
                SrtpSuite::AesCm128HmacSha1_32,
            ],
            rtcp: RtcpPolicy::Relay,
            port_quarantine: Duration::from_secs(10),
            media_timeout: Some(Duration::from_secs(120)),
        }
    }
}

/// Where "poor" begins and where it ends again (hysteresis). Ratios are 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QualityThresholds {
    /// Length of the sliding window judged.
    pub window: Duration,
    /// Loss over the window at or above which the verdict becomes poor.
    pub loss_poor: f32,
    /// Loss under which a poor verdict becomes good again.
    pub loss_good: f32,
    /// Jitter (RFC 3550) at or above which the verdict becomes poor.
    pub jitter_poor: Duration,
    /// Jitter under which a poor verdict becomes good again.
    pub jitter_good: Duration,
    /// No packet for so long while media is expected: the verdict is dead.
    pub dead_after: Duration,
}

impl Default for QualityThresholds {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(5),
            loss_poor: 0.10,
            loss_good: 0.05,
            jitter_poor: Duration::from_millis(80),
            jitter_good: Duration::from_millis(50),
            dead_after: Duration::from_secs(2),
        }
    }
}

/// Fallback to the PSTN (edge.md 8, calls.md 7).
#[derive(Clone, Debug, PartialEq)]
pub struct FallbackSettings {
    /// Whether calls are handed back at all.
    pub enabled: bool,
    /// How often quality is read: 100 ms, 10 to 600.
    pub monitoring_interval: Duration,
    /// From the verdict "poor" to the REFER: 20 s, 10 to 360.
    pub hold_down: Duration,
    /// The same for media that stopped while expected: 4 s.
    pub dead_hold_down: Duration,
    /// Whether the called side's edge REFERs too; by default only the calling side's does.
    pub refer_when_called: bool,
    /// Where "poor" begins.
    pub thresholds: QualityThresholds,
}

impl Default for FallbackSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            monitoring_interval: Duration::from_millis(100),
            hold_down: Duration::from_secs(20),
            dead_hold_down: Duration::from_secs(4),
            refer_when_called: false,
            thresholds: QualityThresholds::default(),
        }
    }
}
