//! Small forms that values have: domains, numbers, ports, times.
//!
//! Reads text alone; resolves no name and opens nothing.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::{DeInteger, DeValue};
use toml::value::{Datetime, Offset};

use crate::policy::HostPort;

/// A domain in lower case: LDH labels of at most 63 characters, 253 in all, no trailing dot (RFC 1035, RFC 5890).
pub(crate) fn domain(text: &str) -> Option<String> {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (text.len() <= 253 && text.split('.').all(is_label)).then(|| text.to_ascii_lowercase())
}

/// `+` and 1 to 15 digits (E.164).
pub(crate) fn e164(text: &str) -> Option<String> {
    let digits = text.strip_prefix('+')?;
    ((1..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.to_owned())
}

/// An address with a port other than 0.
pub(crate) fn address(text: &str) -> Option<SocketAddr> {
    text.parse().ok().filter(|address: &SocketAddr| address.port() != 0)
}

/// An address that others can send to.
pub(crate) fn reachable(text: &str) -> Option<SocketAddr> {
    address(text).filter(|address| !address.ip().is_unspecified())
}

/// An IP address other than 0.0.0.0 and [::].
pub(crate) fn host_ip(text: &str) -> Option<IpAddr> {
    text.parse().ok().filter(|ip: &IpAddr| !ip.is_unspecified())
}

/// `host:port`, the host an IP address (IPv6 in brackets) or a name.
pub(crate) fn host_port(text: &str) -> Option<HostPort> {
    if let Some(address) = reachable(text) {
        return Some(HostPort::Address(address));
    }
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let looks_like_an_address = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if looks_like_an_address {
        return None;
    }
    Some(HostPort::Name {
        host: domain(host)?,
        port,
    })
}

/// `16384-24383`: both ends included, even start, at least two ports, within 1024-65535.
pub(crate) fn ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-')?;
    let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first >= 1024 && first.is_multiple_of(2) && last > first).then_some(first..=last)
}

/// `5061` or `5060-5061`: ports of peers, both ends included.
pub(crate) fn peer_ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first != 0 && first <= last).then_some(first..=last)
}

/// The name of a network interface: 1 to 15 characters that need no quoting anywhere (IFNAMSIZ).
pub(crate) fn interface(text: &str) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.@".contains(&byte);
    ((1..=15).contains(&text.len()) && text.bytes().all(is_plain)).then(|| text.to_owned())
}

/// A user name of 1 to 255 printable characters.
pub(crate) fn user(text: &str) -> Option<String> {
    ((1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| text.to_owned())
}

/// 16 hexadecimal digits.
pub(crate) fn hex64(text: &str) -> Option<u64> {
    let is_hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

/// A UUID in its usual spelling or without hyphens.
pub(crate) fn uuid(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.chars().filter(|character| *character != '-').collect();
    if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(&digits, 16).ok().map(u128::to_be_bytes)
}

/// A ticket's text form: its alphabet and length alone, since only its issuer can judge more.
pub(crate) fn ticket(text: &str) -> Option<String> {
    let is_token = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    (is_token && (1..=1024).contains(&text.len())).then(|| text.to_owned())
}

/// A name that metrics bear; `other` is taken by the peers without one.
pub(crate) fn label(text: &str) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    ((1..=32).contains(&text.len()) && text.bytes().all(is_plain) && text != "other").then(|| text.to_owned())
}

/// An integer of any radix that fits 64 bits.
pub(crate) fn integer(value: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(value.as_str(), value.radix()).ok()
}

/// An integer or a decimal number.
pub(crate) fn number(value: &DeValue<'_>) -> Option<f64> {
    let text = value
        .as_float()
        .map(|float| float.as_str())
        .or_else(|| value.as_integer().map(DeInteger::as_str));
    text?.parse().ok()
}

/// The time since 1970 of a date and time with offset; `None` without one of the three, or before 1970.
pub(crate) fn unix_time(time: &Datetime) -> Option<Duration> {
    let (date, clock, offset) = (time.date?, time.time?, time.offset?);
    let east_minutes = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    let seconds = days_since_1970(i64::from(date.year), i64::from(date.month), i64::from(date.day)) * 86_400
        + i64::from(clock.hour) * 3_600
        + (i64::from(clock.minute) - east_minutes) * 60
        + i64::from(clock.second.unwrap_or(0));
    Some(Duration::new(
        u64::try_from(seconds).ok()?,
        clock.nanosecond.unwrap_or(0),
    ))
}

/// Days of the Gregorian calendar, counted from 1 March so that the leap day ends a year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_with_offset_become_seconds_since_1970() {
        let seconds = |text: &str| unix_time(&text.parse().unwrap()).map(|time| time.as_secs());
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2036-02-07T06:28:16Z"), Some(2_085_978_496));
        assert_eq!(seconds("2026-01-01T00:00:00Z"), Some(1_767_225_600));
        assert_eq!(seconds("2026-01-01T02:00:00+02:00"), Some(1_767_225_600));
        assert_eq!(
            seconds("2000-03-01T00:00:00Z").unwrap() - seconds("2000-02-28T00:00:00Z").unwrap(),
            2 * 86_400
        );
        for incomplete in ["2026-01-01", "2026-01-01T00:00:00", "00:00:00", "1969-12-31T23:59:59Z"] {
            assert_eq!(seconds(incomplete), None, "{incomplete}");
        }
    }

    #[test]
    fn port_ranges_start_even_above_1023_and_hold_a_pair() {
        assert_eq!(ports("16384-24383"), Some(16384..=24383));
        assert_eq!(ports("1024-1025"), Some(1024..=1025));
        for text in [
            "1023-2000",
            "1022-2000",
            "16385-24383",
            "16384-16384",
            "24384-16384",
            "16384-65536",
            "16384",
            "",
        ] {
            assert_eq!(ports(text), None, "{text}");
        }
    }

    #[test]
    fn ports_interfaces_users_and_ids_of_the_deployments_have_their_forms() {
        assert_eq!(peer_ports("5061"), Some(5061..=5061));
        assert_eq!(peer_ports("5060-5061"), Some(5060..=5061));
        for text in ["", "0", "5061-5060", "65536", "a-b"] {
            assert_eq!(peer_ports(text), None, "{text}");
        }
        assert!(interface("eth0.10").is_some() && interface("").is_none() && interface("eth0; drop").is_none());
        assert!(interface("sixteen-letters-").is_none());
        assert!(user("edge1").is_some() && user("two words").is_none() && user("").is_none());
        assert_eq!(hex64("00000000c0ffee00"), Some(0xc0ff_ee00));
        assert!(hex64("c0ffee").is_none() && hex64("+000000000000000").is_none());
    }

    #[test]
    fn peers_are_addresses_or_names_with_a_port() {
        assert!(matches!(host_port("192.0.2.1:5061"), Some(HostPort::Address(_))));
        assert!(matches!(host_port("[2001:db8::1]:5061"), Some(HostPort::Address(_))));
        assert!(
            matches!(host_port("Edge.beta.example:5061"), Some(HostPort::Name { host, port: 5061 }) if host == "edge.beta.example")
        );
        for text in [
            "192.0.2.1",
            "edge.beta.example",
            "edge:0",
            "edge:65536",
            "192.0.2.300:5061",
            "0.0.0.0:5061",
            ":5061",
            "2001:db8::1:5061",
        ] {
            assert_eq!(host_port(text), None, "{text}");
        }
    }

    #[test]
    fn domains_numbers_labels_and_uuids_have_their_forms() {
        assert_eq!(domain("Alpha.EXAMPLE").as_deref(), Some("alpha.example"));
        for text in ["", "a..b", "a.", "-a", "a_b", "*.a", "bücher.example"] {
            assert_eq!(domain(text), None, "{text}");
        }
        assert!(e164("+14085551234").is_some() && e164("14085551234").is_none() && e164("+1234567890123456").is_none());
        assert!(
            label("beta_1-x").is_some() && label("Beta").is_none() && label("other").is_none() && label("").is_none()
        );
        assert_eq!(uuid("6ba7b810-9dad-41d1-80b4-00c04fd430c8").unwrap()[..2], [0x6b, 0xa7]);
        assert!(uuid("6ba7b810").is_none() && uuid("+6ba7b8109dad41d180b400c04fd430c").is_none());
        assert!(ticket("AA-_..").is_some() && ticket("AA==").is_none() && ticket(&"A".repeat(1025)).is_none());
    }
}
