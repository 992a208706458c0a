//! What a route is for: one number, a prefix, or everything. It does not look anything up.

use std::fmt;
use std::str::FromStr;

use crate::{E164, InvalidE164};

/// A number, or all numbers that begin with some digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NumberPattern {
    /// One number.
    Exact(E164),
    /// Every number with these leading digits.
    Prefix(E164),
    /// Every number.
    Any,
}

/// Not `+digits`, `+digits*` or `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidNumberPattern;

impl FromStr for NumberPattern {
    type Err = InvalidNumberPattern;

    /// `+14085551234` is a number, `+1408*` a prefix, `*` or `+*` everything.
    fn from_str(text: &str) -> Result<Self, InvalidNumberPattern> {
        let number = |digits: &str| digits.parse().map_err(|_: InvalidE164| InvalidNumberPattern);
        match text.strip_suffix('*') {
            None => Ok(Self::Exact(number(text)?)),
            Some("" | "+") => Ok(Self::Any),
            Some(prefix) => Ok(Self::Prefix(number(prefix)?)),
        }
    }
}

impl fmt::Display for InvalidNumberPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a number (+14085551234) or prefix (+1408*)")
    }
}

impl std::error::Error for InvalidNumberPattern {}
