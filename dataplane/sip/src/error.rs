//! What is wrong with a message, and the status it earns.

use thiserror::Error;

/// Why bytes are not an acceptable SIP message (RFC 3261 §7, §8.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum InvalidMessage {
    /// Not SIP at all: no SIP start line. Answered with silence.
    #[error("not SIP")]
    NotSip,
    /// A version other than SIP/2.0.
    #[error("unsupported SIP version")]
    Version,
    /// The start line is malformed.
    #[error("malformed start line")]
    StartLine,
    /// A header line without a name or colon, or with a control character.
    #[error("malformed header line")]
    HeaderLine,
    /// No empty line ends the header.
    #[error("no end of header")]
    Truncated,
    /// More than [`MAX_HEADERS`](crate::MAX_HEADERS) fields or [`MAX_MESSAGE`](crate::MAX_MESSAGE) bytes.
    #[error("message too large")]
    TooLarge,
    /// A mandatory header is missing.
    #[error("mandatory header missing: {0}")]
    Missing(&'static str),
    /// A header that may occur once occurs twice.
    #[error("header occurs twice: {0}")]
    Repeated(&'static str),
    /// A mandatory header does not parse.
    #[error("malformed header: {0}")]
    Malformed(&'static str),
    /// Content-Length is no number or does not fit the bytes.
    #[error("Content-Length does not fit")]
    ContentLength,
    /// The method of CSeq is not that of the request line.
    #[error("CSeq method differs")]
    CSeqMethod,
    /// A Request-URI longer than any party's (RFC 3261 §21.4.12).
    #[error("Request-URI too long")]
    UriTooLong,
}

impl InvalidMessage {
    /// Every counter name, in the order of [`index`](Self::index).
    pub const NAMES: [&'static str; 12] = [
        "not_sip",
        "version",
        "start_line",
        "header_line",
        "truncated",
        "too_large",
        "missing_header",
        "repeated_header",
        "malformed_header",
        "content_length",
        "cseq_method",
        "uri_too_long",
    ];

    /// The counter of this error.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::NotSip => 0,
            Self::Version => 1,
            Self::StartLine => 2,
            Self::HeaderLine => 3,
            Self::Truncated => 4,
            Self::TooLarge => 5,
            Self::Missing(_) => 6,
            Self::Repeated(_) => 7,
            Self::Malformed(_) => 8,
            Self::ContentLength => 9,
            Self::CSeqMethod => 10,
            Self::UriTooLong => 11,
        }
    }

    /// The status a request with this defect gets, or `None` for silence.
    #[must_use]
    pub const fn status(self) -> Option<u16> {
        match self {
            Self::NotSip => None,
            Self::Version => Some(505),
            Self::TooLarge => Some(513),
            Self::UriTooLong => Some(414),
            Self::StartLine
            | Self::HeaderLine
            | Self::Truncated
            | Self::Missing(_)
            | Self::Repeated(_)
            | Self::Malformed(_)
            | Self::ContentLength
            | Self::CSeqMethod => Some(400),
        }
    }
}
