//! `[media]`: ports, suites, timers.
//!
//! Binds nothing; whether an address exists on this host shows when it runs.

use std::net::IpAddr;
use std::time::Duration;

use crate::forms;
use crate::policy::{Media, MediaRange, Rtcp, Suite};
use crate::raw::Section;

pub(crate) fn build(root: &Section<'_>) -> Option<Media> {
    let section = root.section("media");
    let (inside, outside) = (ranges(&section, "inside"), ranges(&section, "outside"));
    let rtcp = section.choice("rtcp", &[("relay", Rtcp::Relay), ("drop", Rtcp::Drop)]);
    let suites = suites(&section);
    let (workers, max_calls) = (section.integer("workers") as u32, section.integer("max_calls") as u32);
    let port_quarantine = Duration::from_millis(section.integer("port_quarantine_ms"));
    let media_timeout_s = section.integer("media_timeout_s");
    let media = Media {
        workers,
        max_calls,
        suites,
        rtcp: rtcp?,
        port_quarantine,
        media_timeout: (media_timeout_s > 0).then(|| Duration::from_secs(media_timeout_s)),
        wait: Duration::from_micros(section.integer("wait_us")),
        inside: inside?,
        outside: outside?,
    };
    check_room(&section, &media);
    Some(media)
}

impl Suite {
    /// Every suite.
    pub const ALL: [Self; 6] = [
        Self::AeadAes256Gcm,
        Self::AeadAes128Gcm,
        Self::AesCm128HmacSha1_80,
        Self::AesCm128HmacSha1_32,
        Self::Aes256CmHmacSha1_80,
        Self::Aes256CmHmacSha1_32,
    ];

    /// The name in the policy and in SDES.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Self::Aes256CmHmacSha1_80 => "AES_256_CM_HMAC_SHA1_80",
            Self::Aes256CmHmacSha1_32 => "AES_256_CM_HMAC_SHA1_32",
        }
    }
}

fn suites(section: &Section<'_>) -> Vec<Suite> {
    let before = section.list("suites", |text| {
        Suite::ALL.into_iter().find(|suite| suite.name() == text)
    });
    let mut suites = Vec::new();
    for suite in before {
        if suites.contains(&suite) {
            section.fault(
                "suites",
                format!("{} stands twice", suite.name()),
                "keep the first of the two",
            );
        } else {
            suites.push(suite);
        }
    }
    if suites.is_empty() {
        section.fault(
            "suites",
            "names no suite",
            "name at least one, or leave the key out for the default",
        );
    }
    suites
}

fn ranges(media: &Section<'_>, side: &str) -> Option<Vec<MediaRange>> {
    let sections = media.sections(side);
    let ranges: Vec<Option<MediaRange>> = sections.iter().map(range).collect();
    let ranges = ranges.into_iter().collect::<Option<Vec<_>>>()?;
    if let [first, second] = &ranges[..]
        && first.bind.is_ipv4() == second.bind.is_ipv4()
    {
        let family = if first.bind.is_ipv4() { "IPv4" } else { "IPv6" };
        media.fault(
            side,
            format!("both are of {family}"),
            "keep one for each address family",
        );
    }
    Some(ranges)
}

fn range(section: &Section<'_>) -> Option<MediaRange> {
    let bind = section.parsed("bind", |text| text.parse::<IpAddr>().ok());
    let advertised = section.parsed("advertised", forms::host_ip);
    let ports = section.parsed("ports", forms::ports);
    let bind = bind?;
    if !section.has("advertised") && bind.is_unspecified() {
        let problem = format!("is missing, and {bind} cannot be told to others");
        section.fault("advertised", problem, "add the address that belongs into SDP");
    }
    let advertised = advertised.unwrap_or(bind);
    if advertised.is_ipv4() != bind.is_ipv4() {
        let problem = format!("{advertised} is of another address family than bind {bind}");
        section.fault("advertised", problem, "use IPv4 for both or IPv6 for both");
    }
    Some(MediaRange {
        bind,
        advertised,
        ports: ports?,
    })
}

/// A call takes a pair of ports on each side.
fn check_room(section: &Section<'_>, media: &Media) {
    let room = |ranges: &[MediaRange]| ranges.iter().map(MediaRange::pairs).sum::<u32>();
    let largest = room(&media.inside).min(room(&media.outside));
    if largest > 0 && media.max_calls > largest {
        let problem = format!(
            "{} calls do not fit the port ranges; the largest number that fits is {largest}",
            media.max_calls
        );
        section.fault(
            "max_calls",
            problem,
            format!("write max_calls = {largest} or widen `ports`: a call takes two on each side"),
        );
    }
}
