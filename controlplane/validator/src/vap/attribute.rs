//! The attributes of VAP messages.
//!
//! Each with its length checked; what they mean together is the session's question. Source:
//! draft-jennings-vipr-vap-02 §10.3.

use std::fmt;

use super::codec::ParseFault;
use crate::VServiceId;

/// Longest ServiceContent, in bytes (§10.3.12).
const MAX_CONTENT_LEN: usize = 32 * 1024 - 1;

/// Longest text of any other attribute, in bytes.
const MAX_TEXT_LEN: usize = 763;

/// One attribute. MESSAGE-INTEGRITY is not among them: the codec writes and checks it.
///
/// Shown by its type alone, since some hold numbers and tickets.
#[derive(Clone, PartialEq, Eq)]
pub enum Attribute {
    /// USERNAME.
    Username(String),
    /// ERROR-CODE.
    ErrorCode(ErrorCode),
    /// REALM, quotes included.
    Realm(String),
    /// Client-Name, `vendor/product/version/host`.
    ClientName(String),
    /// Client-Handle.
    ClientHandle(u32),
    /// Protocol-Version, major and minor.
    ProtocolVersion(u16, u16),
    /// Client-Label.
    ClientLabel(String),
    /// Keepalive, in milliseconds.
    Keepalive(u32),
    /// ServiceIdentity.
    ServiceIdentity(ServiceIdentity),
    /// ServiceVersion.
    ServiceVersion(u32),
    /// ServiceContent, an XML document.
    ServiceContent(Vec<u8>),
    /// SubscriptionID.
    SubscriptionId(u32),
    /// CallDirection.
    CallDirection(CallDirection),
    /// StartTime, NTP64.
    StartTime(u64),
    /// StopTime, NTP64.
    StopTime(u64),
    /// CallingNum.
    CallingNum(String),
    /// CalledNum.
    CalledNum(String),
    /// Quota: limit and current.
    Quota(u32, u32),
    /// DHTLifetime, in seconds.
    DhtLifetime(u32),
    /// Domain (PVP only).
    Domain(String),
}

/// An error's number and reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorCode {
    /// 100 to 699.
    pub code: u16,
    /// A reason for people.
    pub reason: String,
}

/// Which service an attribute set is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceIdentity {
    /// 101; 100 in some places of the draft.
    pub service: u16,
    /// 3 for a number, 4 for a VService.
    pub subservice: u16,
    /// The VService.
    pub vservice_id: VServiceId,
    /// The instance; all ones in Subscribe.
    pub instance: u64,
}

impl ServiceIdentity {
    /// The service id sent (vap.md 9, defect 1).
    pub const SERVICE: u16 = 101;

    /// The service id that some sections of the draft have.
    const OTHER_SERVICE: u16 = 100;

    /// Subservice of numbers.
    pub const NUMBER: u16 = 3;

    /// Subservice of VServices.
    pub const VSERVICE: u16 = 4;

    /// The numbers of a VService, whatever the instance.
    #[must_use]
    pub const fn numbers_of(vservice_id: VServiceId) -> Self {
        Self {
            service: Self::SERVICE,
            subservice: Self::NUMBER,
            vservice_id,
            instance: u64::MAX,
        }
    }

    /// Whether it is about numbers.
    #[must_use]
    pub const fn is_number(self) -> bool {
        matches!(self.service, Self::SERVICE | Self::OTHER_SERVICE) && self.subservice == Self::NUMBER
    }

    /// Whether it is about a VService.
    #[must_use]
    pub const fn is_vservice(self) -> bool {
        matches!(self.service, Self::SERVICE | Self::OTHER_SERVICE) && self.subservice == Self::VSERVICE
    }
}

/// Which side of the call a voice call record is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallDirection {
    /// We were called.
    Received,
    /// We called.
    Sent,
}

/// The value of a message's first attribute of a kind: `pick!(message, Attribute::Keepalive(value) => *value)`.
macro_rules! pick {
    ($message:expr, $pattern:pat => $value:expr) => {
        $message
            .attributes
            .iter()
            .find_map(|attribute| if let $pattern = attribute { Some($value) } else { None })
    };
}

pub(super) use pick;

impl Attribute {
    /// The type on the wire.
    #[must_use]
    pub const fn kind(&self) -> u16 {
        match self {
            Self::Username(_) => 0x0006,
            Self::ErrorCode(_) => 0x0009,
            Self::Realm(_) => 0x0014,
            Self::ClientName(_) => 0x1001,
            Self::ClientHandle(_) => 0x1002,
            Self::ProtocolVersion(..) => 0x1003,
            Self::ClientLabel(_) => 0x1005,
            Self::Keepalive(_) => 0x1006,
            Self::ServiceIdentity(_) => 0x1007,
            Self::ServiceVersion(_) => 0x100b,
            Self::ServiceContent(_) => 0x100c,
            Self::SubscriptionId(_) => 0x100e,
            Self::CallDirection(_) => 0x2001,
            Self::StartTime(_) => 0x2002,
            Self::StopTime(_) => 0x2003,
            Self::CallingNum(_) => 0x2004,
            Self::CalledNum(_) => 0x2005,
            Self::Quota(..) => 0x200a,
            Self::DhtLifetime(_) => 0x200b,
            Self::Domain(_) => 0x3001,
        }
    }

    /// Reads a value; `None` for a type that is not known.
    pub(super) fn parse(kind: u16, value: &[u8]) -> Result<Option<Self>, ParseFault> {
        let wrong = ParseFault::Attribute(kind);
        let text = || text(value).ok_or(wrong);
        Ok(Some(match kind {
            0x0006 => Self::Username(text()?),
            0x0009 => Self::ErrorCode(error_code(value).ok_or(wrong)?),
            0x0014 => Self::Realm(text()?),
            0x1001 => Self::ClientName(text()?),
            0x1002 => Self::ClientHandle(number(value).ok_or(wrong)?),
            0x1003 => {
                let version = number(value).ok_or(wrong)?;
                Self::ProtocolVersion((version >> 16) as u16, version as u16)
            }
            0x1005 => Self::ClientLabel(text()?),
            0x1006 => Self::Keepalive(number(value).ok_or(wrong)?),
            0x1007 => Self::ServiceIdentity(service_identity(value).ok_or(wrong)?),
            0x100b => Self::ServiceVersion(number(value).ok_or(wrong)?),
            0x100c if value.len() > MAX_CONTENT_LEN => return Err(wrong),
            0x100c => Self::ServiceContent(value.to_vec()),
            0x100e => Self::SubscriptionId(number(value).ok_or(wrong)?),
            0x2001 => match number(value) {
                Some(0) => Self::CallDirection(CallDirection::Received),
                Some(1) => Self::CallDirection(CallDirection::Sent),
                Some(_) | None => return Err(wrong),
            },
            0x2002 => Self::StartTime(time(value).ok_or(wrong)?),
            0x2003 => Self::StopTime(time(value).ok_or(wrong)?),
            0x2004 => Self::CallingNum(text()?),
            0x2005 => Self::CalledNum(text()?),
            0x200a => {
                let quota = time(value).ok_or(wrong)?;
                Self::Quota((quota >> 32) as u32, quota as u32)
            }
            0x200b => Self::DhtLifetime(number(value).ok_or(wrong)?),
            0x3001 => Self::Domain(text()?),
            _ => return Ok(None),
        }))
    }

    /// Appends the value, without padding.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Username(text)
            | Self::Realm(text)
            | Self::ClientName(text)
            | Self::ClientLabel(text)
            | Self::CallingNum(text)
            | Self::CalledNum(text)
            | Self::Domain(text) => out.extend_from_slice(text.as_bytes()),
            Self::ErrorCode(error) => {
                let word = u32::from(error.code / 100) << 8 | u32::from(error.code % 100);
                out.extend_from_slice(&word.to_be_bytes());
                out.extend_from_slice(error.reason.as_bytes());
            }
            Self::ClientHandle(value)
            | Self::Keepalive(value)
            | Self::ServiceVersion(value)
            | Self::SubscriptionId(value)
            | Self::DhtLifetime(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::ProtocolVersion(major, minor) => {
                out.extend_from_slice(&major.to_be_bytes());
                out.extend_from_slice(&minor.to_be_bytes());
            }
            Self::ServiceIdentity(identity) => {
                out.extend_from_slice(&identity.service.to_be_bytes());
                out.extend_from_slice(&identity.subservice.to_be_bytes());
                out.extend_from_slice(&identity.vservice_id.0.to_be_bytes());
                out.extend_from_slice(&identity.instance.to_be_bytes());
            }
            Self::ServiceContent(content) => out.extend_from_slice(content),
            Self::CallDirection(CallDirection::Received) => out.extend_from_slice(&0u32.to_be_bytes()),
            Self::CallDirection(CallDirection::Sent) => out.extend_from_slice(&1u32.to_be_bytes()),
            Self::StartTime(time) | Self::StopTime(time) => out.extend_from_slice(&time.to_be_bytes()),
            Self::Quota(limit, current) => {
                out.extend_from_slice(&limit.to_be_bytes());
                out.extend_from_slice(&current.to_be_bytes());
            }
        }
    }
}

impl fmt::Debug for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attribute({:#06x})", self.kind())
    }
}

fn text(value: &[u8]) -> Option<String> {
    if value.len() > MAX_TEXT_LEN {
        return None;
    }
    str::from_utf8(value).ok().map(str::to_owned)
}

fn number(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

fn time(value: &[u8]) -> Option<u64> {
    value.try_into().ok().map(u64::from_be_bytes)
}

/// §10.3.4: 21 zero bits, 3 bits of class, 8 bits of number, the reason.
fn error_code(value: &[u8]) -> Option<ErrorCode> {
    let (word, reason) = value.split_first_chunk()?;
    let word = u32::from_be_bytes(*word);
    let (class, number) = (word >> 8, word & 0xff);
    if !(1..=6).contains(&class) || number > 99 {
        return None;
    }
    Some(ErrorCode {
        code: u16::try_from(class * 100 + number).ok()?,
        reason: text(reason)?,
    })
}

fn service_identity(value: &[u8]) -> Option<ServiceIdentity> {
    let (service, rest) = value.split_first_chunk()?;
    let (subservice, rest) = rest.split_first_chunk()?;
    let (vservice_id, rest) = rest.split_first_chunk()?;
    Some(ServiceIdentity {
        service: u16::from_be_bytes(*service),
        subservice: u16::from_be_bytes(*subservice),
        vservice_id: VServiceId(u64::from_be_bytes(*vservice_id)),
        instance: time(rest)?,
    })
}
