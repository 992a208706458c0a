//! How the values inside messages are written in JSON: ids and numbers as text, times as integers, keys as digits.
//!
//! Used through `#[serde(with = …)]` alone; it knows no message.

/// A value that has one text form.
pub(crate) mod text {
    use std::borrow::Cow;
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    pub(crate) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// A value that has one text form and may be absent.
pub(crate) mod optional {
    use std::borrow::Cow;
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    pub(crate) fn serialize<T: Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let text = Option::<Cow<'de, str>>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

/// A list of values that have one text form each.
pub(crate) mod list {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    pub(crate) fn serialize<T: Display, S: Serializer>(values: &[T], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(ToString::to_string))
    }

    pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let values = texts.iter().map(|text| text.parse().map_err(D::Error::custom));
        values.collect()
    }
}

/// Personal text, redacted in Debug alone.
pub(crate) mod pii {
    use serde::de::{Deserialize, Deserializer};
    use serde::ser::Serializer;
    use tollgate_contract::Pii;

    pub(crate) fn serialize<S: Serializer>(value: &Pii<String>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&value.0)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Pii<String>, D::Error> {
        String::deserialize(deserializer).map(Pii)
    }
}

/// Key bytes as hexadecimal digits; the digits are wiped after reading.
pub(crate) mod secret {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;
    use tollgate_contract::Secret;
    use zeroize::Zeroizing;

    use crate::hex;

    /// Longest key, in bytes: twice the block of SHA-256.
    const MAX_LEN: usize = 128;

    pub(crate) fn serialize<S: Serializer>(value: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(hex::encode(value.expose())))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        let digits = Zeroizing::new(String::deserialize(deserializer)?);
        let bytes = hex::decode(&digits).filter(|bytes| (1..=MAX_LEN).contains(&bytes.len()));
        bytes.map(Secret::new).ok_or_else(|| D::Error::custom("not a key"))
    }
}

macro_rules! duration {
    ($name:ident, $what:literal, $write:expr, $read:expr) => {
        #[doc = $what]
        pub(crate) mod $name {
            use std::time::Duration;

            use serde::de::{Deserialize, Deserializer};
            use serde::ser::{Error, Serializer};

            pub(crate) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
                let write: fn(&Duration) -> u128 = $write;
                let units = u64::try_from(write(value)).map_err(|_| S::Error::custom("a time out of range"))?;
                serializer.serialize_u64(units)
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
                let read: fn(u64) -> Duration = $read;
                u64::deserialize(deserializer).map(read)
            }
        }
    };
}

duration!(
    seconds,
    "A duration in whole seconds.",
    |value| u128::from(value.as_secs()),
    Duration::from_secs
);
duration!(
    millis,
    "A time since 1970 or a duration in milliseconds.",
    Duration::as_millis,
    Duration::from_millis
);
duration!(
    nanos,
    "A time since 1970 in nanoseconds.",
    Duration::as_nanos,
    Duration::from_nanos
);
