//! Telephone numbers in international form (ITU-T E.164).

use std::fmt;
use std::str::FromStr;

/// A number in +E.164 form: `+` and 1 to 15 digits, packed into eight bytes.
///
/// Leading zeros count (`+0441` and `+441` differ), so the length is kept beside the value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct E164 {
    digits: u8,
    value: u64,
}

/// The text was not `+` followed by 1 to 15 ASCII digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidE164;

impl E164 {
    /// Most digits a number has (E.164 §6.1).
    pub const MAX_DIGITS: usize = 15;

    /// Reads `+` and 1 to 15 digits; nothing else is accepted, not even separators.
    ///
    /// # Errors
    /// [`InvalidE164`] for any other text.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidE164> {
        let [b'+', digits @ ..] = text else {
            return Err(InvalidE164);
        };
        if digits.is_empty() || digits.len() > Self::MAX_DIGITS || !digits.iter().all(u8::is_ascii_digit) {
            return Err(InvalidE164);
        }
        let value = digits
            .iter()
            .fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        Ok(Self {
            digits: digits.len() as u8,
            value,
        })
    }

    /// Number of digits, 1 to 15.
    #[must_use]
    pub fn digits(self) -> usize {
        usize::from(self.digits)
    }

    /// The first `digits` digits as a number of their own; `None` if it has fewer or `digits` is 0.
    #[must_use]
    pub fn prefix(self, digits: usize) -> Option<Self> {
        if digits == 0 || digits > self.digits() {
            return None;
        }
        let value = self.value / 10u64.pow((self.digits() - digits) as u32);
        Some(Self {
            digits: digits as u8,
            value,
        })
    }
}

impl fmt::Display for E164 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{:0width$}", self.value, width = self.digits())
    }
}

impl fmt::Debug for E164 {
    /// Numbers are people: the middle digits are hidden.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.to_string();
        write!(f, "{}…({} digits)", &text[..text.len().min(4)], self.digits)
    }
}

impl FromStr for E164 {
    type Err = InvalidE164;

    fn from_str(text: &str) -> Result<Self, InvalidE164> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for InvalidE164 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a +E.164 number: '+' and 1 to 15 digits")
    }
}

impl std::error::Error for InvalidE164 {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_zeros_survive_packing() {
        let number: E164 = "+0014".parse().unwrap();
        assert_eq!(number.to_string(), "+0014");
        assert_ne!(number, "+14".parse().unwrap());
    }

    #[test]
    fn anything_but_plus_and_digits_is_refused() {
        for text in ["", "+", "14085551234", "+1-408", "+1234567890123456", "+1 4", "+٣"] {
            assert_eq!(text.parse::<E164>(), Err(InvalidE164), "{text}");
        }
    }

    #[test]
    fn prefixes_are_cut_from_the_front() {
        let number: E164 = "+14085551234".parse().unwrap();
        assert_eq!(number.prefix(4).unwrap().to_string(), "+1408");
        assert_eq!(number.prefix(12), None);
        assert_eq!(number.prefix(0), None);
    }
}
