//! NTP timestamps of 64 bits, across the wrap of 2036.
//!
//! Reads no clock: the present is an argument. Source: RFC 5905 §6.

use std::time::Duration;

/// Seconds from 1900-01-01 to 1970-01-01.
const UNIX_EPOCH_IN_NTP_S: u64 = 2_208_988_800;

/// Seconds since 1900-01-01T00:00:00Z in the upper 32 bits, which wrap every 136 years, and a fraction of
/// 2^-32 s in the lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ntp64(pub u64);

impl Ntp64 {
    /// The timestamp of a time since 1970; the era is lost.
    #[must_use]
    pub fn from_unix(unix: Duration) -> Self {
        Self(units(unix).wrapping_add(UNIX_EPOCH_IN_NTP_S << 32))
    }

    /// Distance from `now` in units of 2^-32 s, positive when later; right within 68 years.
    #[must_use]
    pub fn offset_from(self, now: Self) -> i64 {
        self.0.wrapping_sub(now.0).cast_signed()
    }

    /// The time since 1970 that this timestamp means in the era nearest to `now_unix`; `None` if it lies before 1970.
    #[must_use]
    pub fn to_unix(self, now_unix: Duration) -> Option<Duration> {
        let offset = self.offset_from(Self::from_unix(now_unix));
        let distance = duration(offset.unsigned_abs());
        if offset >= 0 {
            now_unix.checked_add(distance)
        } else {
            now_unix.checked_sub(distance)
        }
    }
}

/// Whether `now` lies between start and end, both included, with a tolerance of `skew` at each end.
///
/// Both times are resolved to the era nearest to now; an end before its start is never valid.
pub(crate) fn is_within(start: Ntp64, end: Ntp64, now_unix: Duration, skew: Duration) -> bool {
    let now = Ntp64::from_unix(now_unix);
    let skew = units(skew.min(MAX_SKEW)).cast_signed();
    let (start, end) = (start.offset_from(now), end.offset_from(now));
    start <= end && start <= skew && end >= -skew
}

/// The largest tolerance between two hosts' clocks that is honoured.
const MAX_SKEW: Duration = Duration::from_secs(300);

/// A time since 1970 in the form of RFC 3339, to the second, in UTC.
pub(crate) fn rfc3339(unix: Duration) -> String {
    let (days, second) = (unix.as_secs() / 86_400, unix.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of a day counted from 1970-01-01.
///
/// Years are counted from 1 March, so that the leap day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let since_year_zero = days + DAYS_TO_1970;
    let (era, day_of_era) = (since_year_zero / DAYS_PER_ERA, since_year_zero % DAYS_PER_ERA);
    let leap_days_before = day_of_era / 1_460 + day_of_era / 146_096 - day_of_era / 36_524;
    let year_of_era = (day_of_era - leap_days_before) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// Days of 400 Gregorian years.
const DAYS_PER_ERA: u64 = 146_097;

/// Days from 0000-03-01 to 1970-01-01.
const DAYS_TO_1970: u64 = 719_468;

/// A duration in units of 2^-32 s, modulo 2^64.
fn units(duration: Duration) -> u64 {
    let fraction = (u64::from(duration.subsec_nanos()) << 32) / 1_000_000_000;
    duration.as_secs().wrapping_shl(32) | fraction
}

/// The duration of so many units of 2^-32 s.
fn duration(units: u64) -> Duration {
    let nanos = (u64::from(units as u32) * 1_000_000_000) >> 32;
    Duration::new(
        units >> 32,
        u32::try_from(nanos).expect("a fraction of a second is under 10^9 ns"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Days from 1970 by counting, to check the arithmetic by another way.
    fn unix(year: u64, month: u64, day: u64) -> Duration {
        let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let months = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let mut days: u64 = (1970..year).map(|year| 365 + u64::from(is_leap(year))).sum();
        days += months[..(month - 1) as usize].iter().sum::<u64>() + u64::from(month > 2 && is_leap(year));
        Duration::from_secs((days + day - 1) * 86_400)
    }

    #[test]
    fn seconds_on_both_sides_of_the_era_boundary_have_their_known_values() {
        let table = [
            (2026, 1, 0xed00_3780_u64),
            (2027, 1, 0xeee1_6b00),
            (2035, 6, 0xfeb4_bc80),
            (2036, 1, 0xffce_dd80),
            (2036, 3, 0x001d_f780),
            (2036, 6, 0x0097_4180),
            (2037, 1, 0x01b1_6280),
        ];
        for (year, month, seconds) in table {
            assert_eq!(
                Ntp64::from_unix(unix(year, month, 1)),
                Ntp64(seconds << 32),
                "{year}-{month}"
            );
        }
    }

    #[test]
    fn the_seconds_wrap_on_7_february_2036() {
        let wrap = unix(2036, 2, 7) + Duration::from_secs(6 * 3_600 + 28 * 60 + 16);
        assert_eq!(Ntp64::from_unix(wrap), Ntp64(0));
        assert_eq!(
            Ntp64::from_unix(wrap - Duration::from_secs(1)),
            Ntp64(0xffff_ffff << 32)
        );
    }

    #[test]
    fn a_validity_across_the_wrap_holds_on_both_sides_and_not_beyond() {
        let (start, end) = (Ntp64::from_unix(unix(2035, 6, 1)), Ntp64::from_unix(unix(2036, 6, 1)));
        let holds = |year, month| is_within(start, end, unix(year, month, 1), Duration::ZERO);
        assert!(holds(2035, 6) && holds(2036, 1) && holds(2036, 3) && holds(2036, 6));
        assert!(!holds(2035, 5) && !holds(2036, 7) && !holds(2037, 1));
    }

    #[test]
    fn both_ends_are_included_and_skew_widens_them() {
        let (first, last) = (unix(2026, 3, 1), unix(2027, 3, 1));
        let holds = |now, skew_s| {
            is_within(
                Ntp64::from_unix(first),
                Ntp64::from_unix(last),
                now,
                Duration::from_secs(skew_s),
            )
        };
        let second = Duration::from_secs(1);
        assert!(holds(first, 0) && holds(last, 0));
        assert!(!holds(first - second, 0) && !holds(last + second, 0));
        assert!(holds(first - second, 1) && holds(last + second, 1));
        assert!(!holds(first - 2 * second, 1) && !holds(last + 2 * second, 1));
    }

    #[test]
    fn skew_over_five_minutes_counts_as_five_minutes() {
        let end = unix(2027, 1, 1);
        let holds = |late_s| {
            let now = end + Duration::from_secs(late_s);
            is_within(
                Ntp64::from_unix(unix(2026, 1, 1)),
                Ntp64::from_unix(end),
                now,
                Duration::from_secs(86_400),
            )
        };
        assert!(holds(300) && !holds(301));
    }

    #[test]
    fn an_end_before_the_start_is_never_valid() {
        let (early, late) = (Ntp64::from_unix(unix(2026, 1, 1)), Ntp64::from_unix(unix(2026, 1, 2)));
        assert!(!is_within(
            late,
            early,
            unix(2026, 1, 1) + Duration::from_secs(43_200),
            Duration::from_secs(300)
        ));
        let now = unix(2026, 1, 1);
        assert!(!is_within(
            Ntp64::from_unix(now + Duration::from_secs(2)),
            Ntp64::from_unix(now),
            now,
            MAX_SKEW
        ));
    }

    #[test]
    fn a_timestamp_returns_to_the_time_it_was_made_from() {
        for (time, now) in [
            (unix(2036, 6, 1), unix(2035, 6, 1)),
            (unix(2035, 6, 1), unix(2036, 6, 1)),
            (unix(2026, 1, 1), unix(2026, 1, 1)),
        ] {
            assert_eq!(Ntp64::from_unix(time).to_unix(now), Some(time));
        }
        assert_eq!(
            Ntp64(0xed00_3780_8000_0000)
                .to_unix(unix(2026, 1, 1))
                .unwrap()
                .subsec_millis(),
            500
        );
    }

    #[test]
    fn dates_are_written_as_rfc_3339() {
        for (year, month, day) in [(1970, 1, 1), (2000, 2, 29), (2026, 12, 31), (2036, 3, 1), (2100, 2, 28)] {
            assert_eq!(
                rfc3339(unix(year, month, day)),
                format!("{year:04}-{month:02}-{day:02}T00:00:00Z")
            );
        }
        assert_eq!(rfc3339(Duration::from_secs(2_085_978_496)), "2036-02-07T06:28:16Z");
    }
}
