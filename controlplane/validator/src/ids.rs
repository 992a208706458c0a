//! The ids that facts carry, each its own type with its one text form.
//!
//! Looks nothing up and makes no random ids.

use std::fmt;
use std::str::FromStr;

use crate::hex;

/// The text is not an id of that kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id of this kind")]
pub struct InvalidId;

/// Longest text of an id, in characters.
const MAX_TEXT_LEN: usize = 64;

macro_rules! text_id {
    ($name:ident, $what:literal) => {
        #[doc = $what]
        ///
        /// 1 to 64 characters of `A-Z a-z 0-9 . _ : -`, chosen by the validator.
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Box<str>);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if !is_plain(text) {
                    return Err(InvalidId);
                }
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

macro_rules! hex_id {
    ($name:ident, $len:literal, $what:literal) => {
        #[doc = $what]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; $len]);

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                hex::decode_exact(text).map(Self).ok_or(InvalidId)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(&self.0))
            }
        }
    };
}

text_id!(
    RouteId,
    "Names a learned route; an upsert with the same id replaces it."
);
text_id!(MappingId, "Names a mapping; an upsert with the same id replaces it.");
hex_id!(
    InstanceId,
    16,
    "One end of the feed: a UUID, written as 32 hexadecimal digits."
);
hex_id!(
    NodeId,
    16,
    "The RELOAD Node-ID of a validator, written as 32 hexadecimal digits."
);
hex_id!(
    TicketUuid,
    16,
    "The unique ID of a ticket, written as 32 hexadecimal digits."
);

/// A VServiceID, 64 bits, written as 16 hexadecimal digits (VAP §10.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VServiceId(pub u64);

impl FromStr for VServiceId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let bytes = hex::decode_exact(text).ok_or(InvalidId)?;
        Ok(Self(u64::from_be_bytes(bytes)))
    }
}

impl fmt::Display for VServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for VServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

fn is_plain(text: &str) -> bool {
    (1..=MAX_TEXT_LEN).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_return_from_their_text() {
        let id: RouteId = "r-1.a:b_C".parse().unwrap();
        assert_eq!(id.to_string(), "r-1.a:b_C");
        let vservice: VServiceId = "00000000000000ff".parse().unwrap();
        assert_eq!(
            (vservice, vservice.to_string().as_str()),
            (VServiceId(255), "00000000000000ff")
        );
        let node: NodeId = "8e60f5fab753037f64ab6c53947fd532".parse().unwrap();
        assert_eq!(node.to_string(), "8e60f5fab753037f64ab6c53947fd532");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "a b", "é", "a\n", &"a".repeat(65)] {
            assert_eq!(text.parse::<RouteId>(), Err(InvalidId), "{text:?}");
        }
        assert_eq!("ff".parse::<VServiceId>(), Err(InvalidId));
        assert_eq!("zz".repeat(16).parse::<InstanceId>(), Err(InvalidId));
    }
}
