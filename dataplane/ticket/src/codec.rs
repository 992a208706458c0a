//! The ticket's TLVs: `u16 type | u16 length | value`, big-endian, without padding.
//!
//! Checks form alone, never the MAC, and judges nothing by a clock. Sources:
//! draft-petithuguenin-vipr-sip-antispam-02 §5, draft-petithuguenin-vipr-pvp-02 §8.2.

use std::fmt;

use tollgate_contract::{E164, MacCoverage, TicketAlg, TicketKey};

use crate::domain;
use crate::key::Mac;
use crate::time::Ntp64;

/// Bytes of salt in a ticket that Tollgate issues, and the fewest it accepts (pvp-02 §8.2).
pub const SALT_LEN: usize = 4;

/// What a ticket says.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Ticket Unique ID (RFC 4122), for diagnostics and revocation.
    pub uuid: [u8; 16],
    /// Salt of the key derivation, 4 to 32 bytes.
    pub salt: Vec<u8>,
    /// First moment of validity.
    pub start: Ntp64,
    /// Last moment of validity.
    pub end: Ntp64,
    /// The one number that may be called.
    pub number: E164,
    /// A Node-ID of the server that granted it.
    pub granting_node: [u8; 16],
    /// Domain of the called side, lower case.
    pub granting_domain: String,
    /// Domain of the calling side, lower case.
    pub granted_to: String,
    /// Selects the key.
    pub epoch: u32,
    /// Algorithm of the MAC it carries; whether that is the epoch's own is for the verifier to say.
    pub alg: TicketAlg,
}

/// A well-formed ticket with its bytes and its unchecked MAC.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// What it says.
    pub ticket: Ticket,
    /// The MAC it carries.
    pub mac: Mac,
    bytes: Vec<u8>,
    integrity_at: usize,
}

/// Why bytes are not a ticket. On the wire and in counters every one is `syntax`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    TooLong,
    Alphabet,
    Padding,
    Truncated,
    UnknownType(u16),
    Repeated(u16),
    AbsentOrMissized(u16),
    IntegrityNotLast,
    IntegrityLength,
    NoIntegrity,
    SaltLength(usize),
    Number,
    Domain,
}

impl Decoded {
    /// The bytes a MAC covers.
    #[must_use]
    pub fn signed(&self, covers: MacCoverage) -> &[u8] {
        let end = match covers {
            MacCoverage::BeforeIntegrity => self.integrity_at,
            MacCoverage::WithIntegrityHeader => self.integrity_at + HEADER_LEN,
        };
        self.bytes.get(..end).expect("the Integrity TLV was found there")
    }

    /// Whether the MAC is right under this key; always false if it is of the other algorithm.
    #[must_use]
    pub fn is_authentic(&self, key: &TicketKey, covers: MacCoverage) -> bool {
        let Ticket { salt, epoch, .. } = &self.ticket;
        Mac::compute(key.alg, &key.secret, salt, *epoch, self.signed(covers)).matches(&self.mac)
    }

    /// Length of the binary form.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// Reads a ticket's bytes; a salt may have 4 to `salt_max` bytes.
pub(crate) fn parse(bytes: Vec<u8>, salt_max: usize) -> Result<Decoded, Malformed> {
    let (fields, mac, integrity_at) = split(&bytes)?;
    let ticket = fields.into_ticket(mac.alg(), salt_max)?;
    Ok(Decoded {
        ticket,
        mac,
        bytes,
        integrity_at,
    })
}

/// The bytes of TLVs 1 to 8, in the order in which a validator builds them.
pub(crate) fn body(ticket: &Ticket) -> Vec<u8> {
    let validity = [ticket.start.0.to_be_bytes(), ticket.end.0.to_be_bytes()].concat();
    let mut bytes = Vec::with_capacity(MAX_ISSUED_LEN);
    push(&mut bytes, UNIQUE_ID, &ticket.uuid);
    push(&mut bytes, SALT, &ticket.salt);
    push(&mut bytes, VALIDITY, &validity);
    push(&mut bytes, NUMBER, ticket.number.to_string().as_bytes());
    push(&mut bytes, GRANTING_NODE, &ticket.granting_node);
    push(&mut bytes, GRANTING_DOMAIN, ticket.granting_domain.as_bytes());
    push(&mut bytes, GRANTED_TO, ticket.granted_to.as_bytes());
    push(&mut bytes, EPOCH, &ticket.epoch.to_be_bytes());
    bytes
}

/// The four bytes that stand before the MAC.
pub(crate) const fn integrity_header(alg: TicketAlg) -> [u8; HEADER_LEN] {
    match alg {
        TicketAlg::ViprHmacSha1 => [0x00, 0x09, 0, 20],
        TicketAlg::V2HmacSha256 => [0x80, 0x09, 0, 32],
    }
}

/// The values of TLVs 1 to 8 as found, by type.
#[derive(Default)]
struct Fields<'a>([Option<&'a [u8]>; 8]);

impl<'a> Fields<'a> {
    fn put(&mut self, kind: u16, value: &'a [u8]) -> Result<(), Malformed> {
        let slot = usize::from(kind).checked_sub(1).and_then(|at| self.0.get_mut(at));
        let slot = slot.ok_or(Malformed::UnknownType(kind))?;
        if slot.replace(value).is_some() {
            return Err(Malformed::Repeated(kind));
        }
        Ok(())
    }

    fn get(&self, kind: u16) -> Result<&'a [u8], Malformed> {
        let slot = usize::from(kind).checked_sub(1).and_then(|at| self.0.get(at));
        slot.copied().flatten().ok_or(Malformed::AbsentOrMissized(kind))
    }

    fn fixed<const N: usize>(&self, kind: u16) -> Result<[u8; N], Malformed> {
        self.get(kind)?
            .try_into()
            .map_err(|_| Malformed::AbsentOrMissized(kind))
    }

    fn domain(&self, kind: u16) -> Result<String, Malformed> {
        domain::normalise(self.get(kind)?).ok_or(Malformed::Domain)
    }

    fn into_ticket(self, alg: TicketAlg, salt_max: usize) -> Result<Ticket, Malformed> {
        let salt = self.get(SALT)?;
        if !(SALT_LEN..=salt_max.clamp(SALT_LEN, MAX_SALT_LEN)).contains(&salt.len()) {
            return Err(Malformed::SaltLength(salt.len()));
        }
        let validity = u128::from_be_bytes(self.fixed(VALIDITY)?);
        Ok(Ticket {
            uuid: self.fixed(UNIQUE_ID)?,
            salt: salt.to_vec(),
            start: Ntp64((validity >> 64) as u64),
            end: Ntp64(validity as u64),
            number: E164::parse(self.get(NUMBER)?).map_err(|_| Malformed::Number)?,
            granting_node: self.fixed(GRANTING_NODE)?,
            granting_domain: self.domain(GRANTING_DOMAIN)?,
            granted_to: self.domain(GRANTED_TO)?,
            epoch: u32::from_be_bytes(self.fixed(EPOCH)?),
            alg,
        })
    }
}

/// Splits the bytes into fields, the MAC, and the offset of the Integrity TLV, which ends the ticket.
fn split(bytes: &[u8]) -> Result<(Fields<'_>, Mac, usize), Malformed> {
    let mut fields = Fields::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        let at = bytes.len() - rest.len();
        let (kind, value, after) = next_tlv(rest)?;
        let mac = match kind {
            INTEGRITY => value.try_into().map(Mac::ViprHmacSha1),
            INTEGRITY_V2 => value.try_into().map(Mac::V2HmacSha256),
            _ => {
                fields.put(kind, value)?;
                rest = after;
                continue;
            }
        };
        if !after.is_empty() {
            return Err(Malformed::IntegrityNotLast);
        }
        return Ok((fields, mac.map_err(|_| Malformed::IntegrityLength)?, at));
    }
    Err(Malformed::NoIntegrity)
}

/// Type, value, and what follows.
fn next_tlv(bytes: &[u8]) -> Result<(u16, &[u8], &[u8]), Malformed> {
    let ([kind_high, kind_low, len_high, len_low], rest) =
        bytes.split_first_chunk::<HEADER_LEN>().ok_or(Malformed::Truncated)?;
    let len = usize::from(u16::from_be_bytes([*len_high, *len_low]));
    let (value, after) = rest.split_at_checked(len).ok_or(Malformed::Truncated)?;
    Ok((u16::from_be_bytes([*kind_high, *kind_low]), value, after))
}

/// Appends a TLV.
fn push(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let len = u16::try_from(value.len()).expect("no field of a ticket is over 256 bytes");
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes.extend_from_slice(value);
}

impl fmt::Debug for Ticket {
    /// The number is shown as [`E164`] shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("uuid", &u128::from_be_bytes(self.uuid))
            .field("number", &self.number)
            .field("granting_domain", &self.granting_domain)
            .field("granted_to", &self.granted_to)
            .field("epoch", &self.epoch)
            .field("alg", &self.alg)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => f.write_str("longer than 1024 characters"),
            Self::Alphabet => f.write_str("a character other than letters, digits, '-', '_' and '.'"),
            Self::Padding => f.write_str("not canonical base64url padded with '.' to a multiple of four"),
            Self::Truncated => f.write_str("a field ends after the ticket does"),
            Self::UnknownType(kind) => write!(f, "a field of unknown type 0x{kind:04x}"),
            Self::Repeated(kind) => write!(f, "two fields of type 0x{kind:04x}"),
            Self::AbsentOrMissized(kind) => write!(f, "the field of type 0x{kind:04x} is absent or of a wrong length"),
            Self::IntegrityNotLast => f.write_str("something follows the Integrity field"),
            Self::IntegrityLength => f.write_str("the Integrity field has a wrong length"),
            Self::NoIntegrity => f.write_str("no Integrity field"),
            Self::SaltLength(len) => write!(f, "a salt of {len} bytes; from 4 up to salt_max are accepted"),
            Self::Number => f.write_str("the number is not '+' and 1 to 15 digits"),
            Self::Domain => f.write_str("a domain is not made of letters, digits and hyphens"),
        }
    }
}

const UNIQUE_ID: u16 = 0x0001;
const SALT: u16 = 0x0002;
const VALIDITY: u16 = 0x0003;
const NUMBER: u16 = 0x0004;
const GRANTING_NODE: u16 = 0x0005;
const GRANTING_DOMAIN: u16 = 0x0006;
const GRANTED_TO: u16 = 0x0007;
const EPOCH: u16 = 0x0008;
const INTEGRITY: u16 = 0x0009;
/// Types from 0x8000 are Tollgate's.
const INTEGRITY_V2: u16 = 0x8009;

/// Bytes of type and length.
const HEADER_LEN: usize = 4;

/// Longest salt that any setting accepts.
const MAX_SALT_LEN: usize = 32;

/// Bytes of the largest ticket with a 4-byte salt: 640, and 652 in version 2.
const MAX_ISSUED_LEN: usize = 652;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{BODY, from_hex, hex};

    #[test]
    fn the_body_is_rebuilt_byte_for_byte() {
        let bytes = with_mac(&from_hex(BODY), INTEGRITY, 20);
        let decoded = parse(bytes, SALT_LEN).unwrap();
        assert_eq!(decoded.ticket.number.to_string(), "+14085555432");
        assert_eq!(decoded.ticket.granting_domain, "example.net");
        assert_eq!(decoded.ticket.granted_to, "example.com");
        assert_eq!(hex(&body(&decoded.ticket)), BODY);
    }

    #[test]
    fn fields_may_come_in_any_order_but_integrity_is_last() {
        let tlvs = tlvs();
        let backwards: Vec<u8> = tlvs.iter().rev().flatten().copied().collect();
        assert!(parse(with_mac(&backwards, INTEGRITY, 20), 4).is_ok());
        let early = [with_mac(&tlvs[..7].concat(), INTEGRITY, 20), tlvs[7].clone()].concat();
        assert_eq!(why(early), Malformed::IntegrityNotLast);
    }

    #[test]
    fn each_field_is_there_exactly_once() {
        let tlvs = tlvs();
        for left_out in 0..8 {
            let kept: Vec<u8> = tlvs
                .iter()
                .enumerate()
                .filter(|(at, _)| *at != left_out)
                .flat_map(|(_, tlv)| tlv.clone())
                .collect();
            let kind = left_out as u16 + 1;
            assert_eq!(why(with_mac(&kept, INTEGRITY, 20)), Malformed::AbsentOrMissized(kind));
            let doubled = [kept, tlvs[left_out].clone(), tlvs[left_out].clone()].concat();
            assert_eq!(why(with_mac(&doubled, INTEGRITY, 20)), Malformed::Repeated(kind));
        }
        assert_eq!(why(tlvs.concat()), Malformed::NoIntegrity);
        assert_eq!(why(Vec::new()), Malformed::NoIntegrity);
    }

    #[test]
    fn both_integrity_fields_together_are_refused() {
        let both = with_mac(&with_mac(&from_hex(BODY), INTEGRITY, 20), INTEGRITY_V2, 32);
        assert_eq!(why(both), Malformed::IntegrityNotLast);
    }

    #[test]
    fn unknown_types_are_refused() {
        for kind in [0x0000, 0x000a, 0x8008, 0xffff] {
            let body = with_mac(&from_hex(BODY), kind, 1);
            assert_eq!(why(with_mac(&body, INTEGRITY, 20)), Malformed::UnknownType(kind));
        }
    }

    #[test]
    fn fixed_lengths_are_checked() {
        for kind in [UNIQUE_ID, VALIDITY, GRANTING_NODE, EPOCH] {
            for change in [-1, 1] {
                let len = tlvs()[usize::from(kind) - 1].len() as i32 - 4 + change;
                let bytes = replaced(kind, &vec![1; len as usize]);
                assert_eq!(why(bytes), Malformed::AbsentOrMissized(kind));
            }
        }
        for (kind, len) in [(INTEGRITY, 19), (INTEGRITY, 32), (INTEGRITY_V2, 20), (INTEGRITY_V2, 33)] {
            assert_eq!(why(with_mac(&from_hex(BODY), kind, len)), Malformed::IntegrityLength);
        }
    }

    #[test]
    fn the_salt_has_4_bytes_unless_more_are_allowed_and_never_over_32() {
        let len_under = |salt_max| (0..40).filter(move |len| parse(replaced(SALT, &vec![7; *len]), salt_max).is_ok());
        assert_eq!(len_under(4).collect::<Vec<_>>(), [4]);
        assert_eq!(len_under(0).collect::<Vec<_>>(), [4]);
        assert_eq!(len_under(6).collect::<Vec<_>>(), [4, 5, 6]);
        assert_eq!(len_under(99).max(), Some(32));
    }

    #[test]
    fn numbers_and_domains_are_checked() {
        for number in ["", "+", "14085555432", "+1408x", "+1234567890123456"] {
            assert_eq!(why(replaced(NUMBER, number.as_bytes())), Malformed::Number, "{number}");
        }
        for kind in [GRANTING_DOMAIN, GRANTED_TO] {
            for domain in ["", "a b", "example.com,", "-a.example"] {
                assert_eq!(why(replaced(kind, domain.as_bytes())), Malformed::Domain, "{domain}");
            }
        }
    }

    #[test]
    fn a_ticket_cut_anywhere_is_refused() {
        let whole = with_mac(&from_hex(BODY), INTEGRITY_V2, 32);
        for len in 0..whole.len() {
            assert!(parse(whole[..len].to_vec(), 4).is_err(), "{len}");
        }
        assert_eq!(why([whole, vec![0]].concat()), Malformed::IntegrityNotLast);
    }

    #[test]
    fn debug_output_hides_the_number() {
        let decoded = parse(with_mac(&from_hex(BODY), INTEGRITY, 20), 4).unwrap();
        assert!(!format!("{decoded:?}").contains("5555432"));
    }

    /// The eight TLVs of the vector, each whole.
    fn tlvs() -> Vec<Vec<u8>> {
        let body = from_hex(BODY);
        let mut rest = &body[..];
        let mut found = Vec::new();
        while !rest.is_empty() {
            let (_, value, after) = next_tlv(rest).unwrap();
            found.push(rest[..4 + value.len()].to_vec());
            rest = after;
        }
        found
    }

    /// The vector with another value in one field.
    fn replaced(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut tlvs = tlvs();
        let slot = &mut tlvs[usize::from(kind) - 1];
        slot.clear();
        push(slot, kind, value);
        with_mac(&tlvs.concat(), INTEGRITY, 20)
    }

    fn with_mac(body: &[u8], kind: u16, len: usize) -> Vec<u8> {
        let mut bytes = body.to_vec();
        push(&mut bytes, kind, &vec![0; len]);
        bytes
    }

    fn why(bytes: Vec<u8>) -> Malformed {
        parse(bytes, SALT_LEN).unwrap_err()
    }
}
