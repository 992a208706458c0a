//! SDES: keys in `a=crypto` lines (RFC 4568; suites of RFC 6188 and 7714).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use thiserror::Error;
use tollgate_contract::{Secret, SrtpSuite};

/// Keys are padded or not in the field; both are read.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a crypto line cannot be used. The line is skipped; without a usable one the stream is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidCrypto {
    /// Not `tag suite key-params`, or the tag is not 1 to 9 digits without leading zeros.
    #[error("malformed crypto line")]
    Syntax,
    /// A suite this edge does not speak.
    #[error("unknown crypto suite")]
    Suite,
    /// The key is not base64 of the suite's length, or its lifetime or MKI is malformed.
    #[error("malformed inline key")]
    Key,
    /// A session parameter that changes the protection and is not understood or not allowed (calls.md 5).
    #[error("session parameter refused")]
    SessionParameter,
}

/// One `inline:` key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlineKey {
    /// Master key and master salt, in that order.
    pub key_and_salt: Secret,
    /// Packets the key may protect.
    pub lifetime: Option<u64>,
    /// MKI value and its length in bytes on the wire.
    pub mki: Option<(u64, u8)>,
}

/// An `a=crypto` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CryptoLine {
    /// The tag an answer repeats.
    pub tag: u32,
    /// The suite.
    pub suite: SrtpSuite,
    /// One key or more.
    pub keys: Vec<InlineKey>,
}

impl CryptoLine {
    /// Reads what follows `a=crypto:`.
    ///
    /// # Errors
    /// [`InvalidCrypto`]; session parameters that begin with `-` are ignored (RFC 4568 §6.3.7).
    pub fn parse(value: &str) -> Result<Self, InvalidCrypto> {
        let mut parts = value.split_ascii_whitespace();
        let tag = parts.next().and_then(parse_tag).ok_or(InvalidCrypto::Syntax)?;
        let suite = parts.next().ok_or(InvalidCrypto::Syntax)?;
        let key_params = parts.next().ok_or(InvalidCrypto::Syntax)?;
        let suite: SrtpSuite = suite.parse().map_err(|_| InvalidCrypto::Suite)?;
        let keys = key_params
            .split(';')
            .map(|key| parse_inline(suite, key))
            .collect::<Result<Vec<_>, _>>()?;
        check_mki_lengths(&keys)?;
        for parameter in parts {
            check_session_parameter(parameter)?;
        }
        Ok(Self { tag, suite, keys })
    }
}

/// Writes `crypto:<tag> <suite> inline:<key>`, to follow `a=`.
#[must_use]
pub fn crypto_line(tag: u32, suite: SrtpSuite, key_and_salt: &Secret) -> String {
    format!("crypto:{tag} {suite} inline:{}", STANDARD.encode(key_and_salt.expose()))
}

fn parse_tag(text: &str) -> Option<u32> {
    let canonical = text.len() <= 9 && !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    if canonical { text.parse().ok() } else { None }
}

fn parse_inline(suite: SrtpSuite, text: &str) -> Result<InlineKey, InvalidCrypto> {
    let rest = text.strip_prefix("inline:").ok_or(InvalidCrypto::Key)?;
    let mut parts = rest.split('|');
    let bytes = parts
        .next()
        .and_then(|key| LENIENT.decode(key).ok())
        .ok_or(InvalidCrypto::Key)?;
    if bytes.len() != suite.key_len() + suite.salt_len() {
        return Err(InvalidCrypto::Key);
    }
    let mut key = InlineKey {
        key_and_salt: Secret::new(bytes),
        lifetime: None,
        mki: None,
    };
    for part in parts {
        match part.split_once(':') {
            None if key.lifetime.is_none() && key.mki.is_none() => {
                key.lifetime = Some(parse_lifetime(part).ok_or(InvalidCrypto::Key)?);
            }
            Some((value, length)) if key.mki.is_none() => {
                key.mki = Some(parse_mki(value, length).ok_or(InvalidCrypto::Key)?);
            }
            Some(_) | None => return Err(InvalidCrypto::Key),
        }
    }
    Ok(key)
}

/// `2^n` or a decimal number, 1 to 2^48 packets (RFC 3711 §9.2).
fn parse_lifetime(text: &str) -> Option<u64> {
    let packets = match text.strip_prefix("2^") {
        Some(power) => 1u64.checked_shl(power.parse().ok()?)?,
        None => text.parse().ok()?,
    };
    (1..=1 << 48).contains(&packets).then_some(packets)
}

/// Value and length of the MKI; the length is 1 to 128 bytes and the value must fit it (RFC 4568 §6.1).
fn parse_mki(value: &str, length: &str) -> Option<(u64, u8)> {
    let (value, length): (u64, u8) = (value.parse().ok()?, length.parse().ok()?);
    let fits = length >= 8 || value.checked_shr(u32::from(length) * 8).unwrap_or(0) == 0;
    ((1..=128).contains(&length) && fits).then_some((value, length))
}

/// With several keys every one has an MKI of one length, and no value twice (RFC 4568 §6.1).
fn check_mki_lengths(keys: &[InlineKey]) -> Result<(), InvalidCrypto> {
    let [first, others @ ..] = keys else {
        return Err(InvalidCrypto::Key);
    };
    for (at, key) in others.iter().enumerate() {
        let (Some((value, length)), Some((_, first_length))) = (key.mki, first.mki) else {
            return Err(InvalidCrypto::Key);
        };
        let repeated = keys
            .iter()
            .take(at + 1)
            .any(|earlier| earlier.mki.is_some_and(|(other, _)| other == value));
        if length != first_length || repeated {
            return Err(InvalidCrypto::Key);
        }
    }
    Ok(())
}

fn check_session_parameter(parameter: &str) -> Result<(), InvalidCrypto> {
    let name = parameter.split('=').next().unwrap_or_default();
    match name {
        _ if name.starts_with('-') => Ok(()),
        "KDR" if parameter == "KDR=0" => Ok(()),
        // The default, and nothing to do where there is no FEC (RFC 4568 §6.3.4).
        "FEC_ORDER" if parameter == "FEC_ORDER=FEC_SRTP" => Ok(()),
        // The window is ours to choose: 128 is at least what any line may ask us to accept by default.
        "WSH" => Ok(()),
        _ => Err(InvalidCrypto::SessionParameter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR";

    #[test]
    fn a_line_with_lifetime_and_mki_is_read() {
        let line = CryptoLine::parse(&format!("1 AES_CM_128_HMAC_SHA1_80 {KEY}|2^20|1:4")).unwrap();
        assert_eq!((line.tag, line.suite), (1, SrtpSuite::AesCm128HmacSha1_80));
        assert_eq!((line.keys[0].lifetime, line.keys[0].mki), (Some(1 << 20), Some((1, 4))));
        assert_eq!(line.keys[0].key_and_salt.expose().len(), 30);
    }

    #[test]
    fn what_is_written_is_read_back() {
        for suite in SrtpSuite::ALL {
            let key = Secret::new(vec![7; suite.key_len() + suite.salt_len()]);
            let written = crypto_line(3, suite, &key);
            let line = CryptoLine::parse(written.strip_prefix("crypto:").unwrap()).unwrap();
            assert_eq!((line.tag, line.suite, &line.keys[0].key_and_salt), (3, suite, &key));
        }
    }

    #[test]
    fn lines_that_weaken_or_confuse_are_refused_by_name() {
        let parse = |line: String| CryptoLine::parse(&line).err();
        assert_eq!(parse(format!("1 NULL_CIPHER {KEY}")), Some(InvalidCrypto::Suite));
        assert_eq!(
            parse(format!("01 AES_CM_128_HMAC_SHA1_80 {KEY}")),
            Some(InvalidCrypto::Syntax)
        );
        assert_eq!(
            parse("1 AES_CM_128_HMAC_SHA1_80 inline:AAAA".into()),
            Some(InvalidCrypto::Key)
        );
        assert_eq!(
            parse(format!("1 AES_CM_128_HMAC_SHA1_80 {KEY}|2^49")),
            Some(InvalidCrypto::Key)
        );
        assert_eq!(
            parse(format!("1 AES_CM_128_HMAC_SHA1_80 {KEY};{KEY}")),
            Some(InvalidCrypto::Key)
        );
        for parameter in [
            "UNENCRYPTED_SRTP",
            "UNAUTHENTICATED_SRTP",
            "UNENCRYPTED_SRTCP",
            "KDR=3",
            "FEC_ORDER=SRTP_FEC",
            "NEW",
        ] {
            let line = format!("1 AES_CM_128_HMAC_SHA1_80 {KEY} {parameter}");
            assert_eq!(parse(line), Some(InvalidCrypto::SessionParameter), "{parameter}");
        }
        assert_eq!(
            parse(format!(
                "1 AES_CM_128_HMAC_SHA1_80 {KEY} -x KDR=0 WSH=64 FEC_ORDER=FEC_SRTP"
            )),
            None
        );
    }
}
