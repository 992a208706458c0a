//! The forms in which an operator writes a ticket key.
//!
//! Reads no file: the text is handed in, and no error repeats any of it. The mapping from a password to P is
//! documented nowhere; `raw-ascii` is a guess at what the ASA did.

use std::fmt;
use std::str::FromStr;

use tollgate_contract::Secret;

/// How a key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyForm {
    /// 32 hexadecimal digits: 16 bytes. The default of `vipr-hmac-sha1`.
    Hex16,
    /// 64 hexadecimal digits: 32 bytes. The default of `v2-hmac-sha256`.
    Hex32,
    /// 20 to 64 characters of 0x21-0x7E, taken as they are; 10 to 19 only by permission.
    RawAscii,
}

/// Not `hex16`, `hex32` or `raw-ascii`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownKeyForm;

/// Why a text is not a key of the form asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyFormError {
    /// The number of digits or characters is wrong.
    Length {
        /// The form asked for.
        form: KeyForm,
        /// How many characters there are.
        found: usize,
    },
    /// A character that is not a hexadecimal digit.
    NotHex,
    /// A character outside 0x21-0x7E.
    NotPrintable,
    /// 10 to 19 characters without permission.
    Short {
        /// How many characters there are.
        found: usize,
    },
}

/// Reads a key. White space around it, such as a file's last newline, does not count.
///
/// # Errors
/// [`KeyFormError`] if the text is not of this form; a password of 10 to 19 characters needs `allow_short`.
pub fn parse_secret(form: KeyForm, text: &str, allow_short: bool) -> Result<Secret, KeyFormError> {
    let text = text.trim_ascii();
    match form {
        KeyForm::Hex16 | KeyForm::Hex32 => hex(form, text),
        KeyForm::RawAscii => raw_ascii(text, allow_short),
    }
}

impl KeyForm {
    /// Every form.
    pub const ALL: [Self; 3] = [Self::Hex16, Self::Hex32, Self::RawAscii];

    /// The name in the policy.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hex16 => "hex16",
            Self::Hex32 => "hex32",
            Self::RawAscii => "raw-ascii",
        }
    }

    /// What an operator who uses this form has to be told, if anything.
    #[must_use]
    pub const fn warning(self) -> Option<&'static str> {
        match self {
            Self::Hex16 | Self::Hex32 => None,
            Self::RawAscii => {
                Some("a password can be guessed offline by any peer that holds one ticket; prefer hex32 random bytes")
            }
        }
    }

    /// The fewest and the most characters a key of this form has, without permission for short ones.
    const fn lengths(self) -> (usize, usize) {
        match self {
            Self::Hex16 => (32, 32),
            Self::Hex32 => (64, 64),
            Self::RawAscii => (20, 64),
        }
    }
}

/// Fewest characters of a password even with permission for short ones; the ASA's own lower limit.
const SHORTEST_PASSWORD: usize = 10;

fn hex(form: KeyForm, text: &str) -> Result<Secret, KeyFormError> {
    if text.len() != form.lengths().0 {
        return Err(KeyFormError::Length {
            form,
            found: text.chars().count(),
        });
    }
    let mut bytes = Vec::with_capacity(text.len() / 2);
    for pair in text.as_bytes().chunks_exact(2) {
        let mut digits = pair.iter().map(|digit| char::from(*digit).to_digit(16));
        let value = digits
            .try_fold(0, |sum, digit| Some(sum * 16 + digit?))
            .ok_or(KeyFormError::NotHex)?;
        bytes.push(u8::try_from(value).expect("two hexadecimal digits fit a byte"));
    }
    Ok(Secret::new(bytes))
}

fn raw_ascii(text: &str, allow_short: bool) -> Result<Secret, KeyFormError> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(KeyFormError::NotPrintable);
    }
    let (fewest, most) = KeyForm::RawAscii.lengths();
    let found = text.len();
    if found < SHORTEST_PASSWORD || found > most {
        return Err(KeyFormError::Length {
            form: KeyForm::RawAscii,
            found,
        });
    }
    if found < fewest && !allow_short {
        return Err(KeyFormError::Short { found });
    }
    Ok(Secret::new(text.as_bytes().to_vec()))
}

impl FromStr for KeyForm {
    type Err = UnknownKeyForm;

    fn from_str(text: &str) -> Result<Self, UnknownKeyForm> {
        Self::ALL
            .into_iter()
            .find(|form| form.name() == text)
            .ok_or(UnknownKeyForm)
    }
}

impl fmt::Display for UnknownKeyForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a key form: hex16, hex32 or raw-ascii")
    }
}

impl std::error::Error for UnknownKeyForm {}

impl fmt::Display for KeyFormError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { form, found } => match form.lengths() {
                (fewest, most) if fewest == most => {
                    write!(
                        f,
                        "a {} key has exactly {fewest} hexadecimal digits; this has {found}",
                        form.name()
                    )
                }
                (fewest, most) => {
                    write!(
                        f,
                        "a {} key has {fewest} to {most} characters; this has {found}",
                        form.name()
                    )
                }
            },
            Self::NotHex => f.write_str("a character is not a hexadecimal digit"),
            Self::NotPrintable => f.write_str("a character is not printable ASCII (0x21-0x7E)"),
            Self::Short { found } => {
                write!(
                    f,
                    "a password of {found} characters is short; under 20 needs allow_short_password"
                )
            }
        }
    }
}

impl std::error::Error for KeyFormError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_keys_have_exactly_their_length() {
        let digits = "0123456789abcdefABCDEF9876543210".repeat(2);
        assert_eq!(
            parse_secret(KeyForm::Hex16, &digits[..32], false).unwrap().expose()[..3],
            [0x01, 0x23, 0x45]
        );
        assert_eq!(
            parse_secret(KeyForm::Hex32, &format!("{digits}\n"), false)
                .unwrap()
                .expose()
                .len(),
            32
        );
        for (form, text) in [
            (KeyForm::Hex16, &digits[..]),
            (KeyForm::Hex32, &digits[..32]),
            (KeyForm::Hex16, ""),
        ] {
            let length = KeyFormError::Length {
                form,
                found: text.len(),
            };
            assert_eq!(parse_secret(form, text, true), Err(length));
        }
    }

    #[test]
    fn other_characters_are_not_hexadecimal() {
        let text = "g".repeat(32);
        assert_eq!(parse_secret(KeyForm::Hex16, &text, false), Err(KeyFormError::NotHex));
        assert_eq!(
            parse_secret(KeyForm::Hex16, &"é".repeat(16), false),
            Err(KeyFormError::NotHex)
        );
    }

    #[test]
    fn short_passwords_need_permission() {
        let parse = |len: usize, allow_short| parse_secret(KeyForm::RawAscii, &"p".repeat(len), allow_short).is_ok();
        assert!(parse(20, false) && parse(64, false) && parse(10, true));
        assert!(!parse(19, false) && !parse(65, true) && !parse(9, true));
    }

    #[test]
    fn a_password_is_printable_ascii() {
        for text in [
            "twenty characters wit",
            "twenty_characters_wi\u{7f}x",
            "twenty_characters_wité",
        ] {
            assert_eq!(
                parse_secret(KeyForm::RawAscii, text, false),
                Err(KeyFormError::NotPrintable)
            );
        }
        assert_eq!(
            parse_secret(KeyForm::RawAscii, "!password1234567890~\n", false)
                .unwrap()
                .expose()
                .len(),
            20
        );
    }

    #[test]
    fn only_passwords_come_with_a_warning() {
        let warned = KeyForm::ALL.map(|form| form.warning().is_some());
        assert_eq!(warned, [false, false, true]);
    }

    #[test]
    fn every_form_is_found_by_its_name() {
        for form in KeyForm::ALL {
            assert_eq!(form.name().parse(), Ok(form));
        }
        assert_eq!("hex".parse::<KeyForm>(), Err(UnknownKeyForm));
    }
}
