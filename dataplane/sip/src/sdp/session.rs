//! The lines of a session description and its m= sections (RFC 8866 §5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use crate::scan::number;

/// Most m= lines in a description.
pub const MAX_MEDIA: usize = 16;

/// Most lines in a description.
const MAX_LINES: usize = 1_024;

/// Why text is not an acceptable session description; all earn a 488 or the rules of calls.md 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidSdp {
    /// The first line is not `v=0`.
    #[error("no v=0 line")]
    Version,
    /// A line that is not `letter=value`.
    #[error("a line is not letter=value")]
    Line,
    /// There is no o= line, or it is malformed.
    #[error("o= line missing or malformed")]
    Origin,
    /// A line that must be there once is missing or repeated (RFC 8866 §9).
    #[error("a line is missing or repeated")]
    Count,
    /// A t= line that is not two times.
    #[error("t= line malformed")]
    Timing,
    /// A c= line that is malformed or whose address is not of its type.
    #[error("c= line malformed")]
    Connection,
    /// An m= line with a port in use has no address.
    #[error("no c= line for a stream")]
    NoConnection,
    /// An m= line is malformed.
    #[error("m= line malformed")]
    Media,
    /// More than [`MAX_MEDIA`] streams or too many lines.
    #[error("too many lines")]
    TooLarge,
}

/// Which way media of a stream flows, as its writer sees it (RFC 8866 §6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Direction {
    /// Both ways; the default.
    #[default]
    SendRecv,
    /// The writer only sends.
    SendOnly,
    /// The writer only receives.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// Whether the writer may send.
    #[must_use]
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the writer wants to receive.
    #[must_use]
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    fn parse(attribute: &str) -> Option<Self> {
        match attribute {
            "sendrecv" => Some(Self::SendRecv),
            "sendonly" => Some(Self::SendOnly),
            "recvonly" => Some(Self::RecvOnly),
            "inactive" => Some(Self::Inactive),
            _ => None,
        }
    }
}

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'s> {
    /// The letter.
    pub kind: u8,
    /// What follows `=`.
    pub value: &'s str,
}

impl<'s> Line<'s> {
    /// The value of an attribute line of this name: `a=name:value` or `a=name`.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&'s str> {
        let rest = (self.kind == b'a').then(|| self.value.strip_prefix(name)).flatten()?;
        if rest.is_empty() {
            Some("")
        } else {
            rest.strip_prefix(':')
        }
    }
}

/// One m= section.
#[derive(Clone, Debug)]
pub struct Media<'s> {
    /// `audio`, `video`, …
    pub kind: &'s str,
    /// The port; 0 refuses or ends the stream.
    pub port: u16,
    /// `RTP/AVP`, `RTP/SAVP`, …
    pub proto: &'s str,
    /// Formats as written.
    pub formats: &'s str,
    /// The address media goes to: the section's own or the session's.
    pub connection: Option<IpAddr>,
    /// Direction: the section's own or the session's.
    pub direction: Direction,
    /// The lines after the m= line.
    pub lines: Vec<Line<'s>>,
}

impl<'s> Media<'s> {
    /// The values of an attribute in this section.
    pub fn attributes<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'s str> + 'a {
        self.lines.iter().filter_map(move |line| line.attribute(name))
    }

    /// Whether the profile is RTP of any kind.
    #[must_use]
    pub fn is_rtp(&self) -> bool {
        matches!(self.proto, "RTP/AVP" | "RTP/AVPF" | "RTP/SAVP" | "RTP/SAVPF")
    }

    /// Whether the profile is SRTP keyed in the description.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        matches!(self.proto, "RTP/SAVP" | "RTP/SAVPF")
    }

    /// Where RTCP goes: `a=rtcp` (RFC 3605) or the port above RTP's.
    #[must_use]
    pub fn rtcp_port(&self) -> u16 {
        let explicit = self
            .attributes("rtcp")
            .next()
            .and_then(|value| value.split(' ').next()?.parse().ok());
        explicit
            .filter(|port| *port != 0)
            .unwrap_or_else(|| self.port.saturating_add(1))
    }
}

/// A session description.
#[derive(Clone, Debug)]
pub struct Session<'s> {
    /// The lines before the first m= line.
    pub lines: Vec<Line<'s>>,
    /// The m= sections.
    pub media: Vec<Media<'s>>,
}

impl<'s> Session<'s> {
    /// Reads a description. Line ends may be CR LF or LF; everything written is CR LF.
    ///
    /// # Errors
    /// [`InvalidSdp`] with the first defect.
    pub fn parse(text: &'s [u8]) -> Result<Self, InvalidSdp> {
        let text = std::str::from_utf8(text).map_err(|_| InvalidSdp::Line)?;
        let mut session = Self {
            lines: Vec::with_capacity(8),
            media: Vec::new(),
        };
        let mut sections: Vec<(&str, Vec<Line<'s>>)> = Vec::new();
        for (count, line) in lines_of(text).enumerate() {
            let line = line?;
            if count >= MAX_LINES || sections.len() > MAX_MEDIA {
                return Err(InvalidSdp::TooLarge);
            }
            match (line.kind, sections.last_mut()) {
                (b'm', _) => sections.push((line.value, Vec::new())),
                (_, Some((_, lines))) => lines.push(line),
                (_, None) => session.lines.push(line),
            }
        }
        session.check_head()?;
        let address = connection_of(&session.lines)?;
        let direction = direction_of(&session.lines).unwrap_or_default();
        for (value, lines) in sections {
            session.media.push(parse_media(value, lines, address, direction)?);
        }
        if session.media.len() > MAX_MEDIA {
            return Err(InvalidSdp::TooLarge);
        }
        Ok(session)
    }

    fn check_head(&self) -> Result<(), InvalidSdp> {
        let first = self.lines.first().ok_or(InvalidSdp::Version)?;
        if first.kind != b'v' || first.value != "0" {
            return Err(InvalidSdp::Version);
        }
        let origin = self
            .lines
            .iter()
            .find(|line| line.kind == b'o')
            .ok_or(InvalidSdp::Origin)?;
        if origin.value.split(' ').filter(|part| !part.is_empty()).count() != 6 {
            return Err(InvalidSdp::Origin);
        }
        let count = |kind: u8| self.lines.iter().filter(|line| line.kind == kind).count();
        let is_whole = [b'v', b'o', b's'].into_iter().all(|kind| count(kind) == 1) && count(b't') >= 1;
        is_whole.then_some(()).ok_or(InvalidSdp::Count)?;
        // RFC 8866 §5.9: seconds since 1900, of any length.
        let is_time = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let are_times = |line: &Line<'_>| line.value.split(' ').filter(|part| is_time(part)).count() == 2;
        let mut times = self.lines.iter().filter(|line| line.kind == b't');
        times
            .all(|line| are_times(line) && line.value.split(' ').count() == 2)
            .then_some(())
            .ok_or(InvalidSdp::Timing)
    }
}

fn lines_of(text: &str) -> impl Iterator<Item = Result<Line<'_>, InvalidSdp>> {
    text.split('\n')
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (kind, value) = line.split_once('=').ok_or(InvalidSdp::Line)?;
            match kind.as_bytes() {
                [letter] if letter.is_ascii_lowercase() && !value.contains(['\r', '\0']) => {
                    Ok(Line { kind: *letter, value })
                }
                _ => Err(InvalidSdp::Line),
            }
        })
}

/// The address of a level, of which more than one would be layered multicast.
fn connection_of(lines: &[Line<'_>]) -> Result<Option<IpAddr>, InvalidSdp> {
    let mut connections = lines.iter().filter(|line| line.kind == b'c');
    match (connections.next(), connections.next()) {
        (None, _) => Ok(None),
        (Some(line), None) => parse_connection(line.value).map(Some),
        (Some(_), Some(_)) => Err(InvalidSdp::Count),
    }
}

/// `IN IP4 192.0.2.1` or `IN IP6 2001:db8::1`; a multicast suffix is not for calls.
fn parse_connection(value: &str) -> Result<IpAddr, InvalidSdp> {
    let mut parts = value.split(' ');
    let (Some("IN"), Some(kind), Some(address), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(InvalidSdp::Connection);
    };
    match kind {
        "IP4" => address
            .parse::<Ipv4Addr>()
            .map(IpAddr::V4)
            .map_err(|_| InvalidSdp::Connection),
        "IP6" => address
            .parse::<Ipv6Addr>()
            .map(IpAddr::V6)
            .map_err(|_| InvalidSdp::Connection),
        _ => Err(InvalidSdp::Connection),
    }
}

fn direction_of(lines: &[Line<'_>]) -> Option<Direction> {
    lines
        .iter()
        .filter(|line| line.kind == b'a')
        .find_map(|line| Direction::parse(line.value))
}

fn parse_media<'s>(
    value: &'s str,
    lines: Vec<Line<'s>>,
    session_address: Option<IpAddr>,
    session_direction: Direction,
) -> Result<Media<'s>, InvalidSdp> {
    let mut parts = value.splitn(4, ' ');
    let (Some(kind), Some(port), Some(proto), Some(formats)) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(InvalidSdp::Media);
    };
    let port = port.split('/').next().unwrap_or_default();
    let port = number(port.as_bytes())
        .and_then(|port| u16::try_from(port).ok())
        .ok_or(InvalidSdp::Media)?;
    if kind.is_empty() || proto.is_empty() || formats.trim().is_empty() {
        return Err(InvalidSdp::Media);
    }
    let connection = connection_of(&lines)?.or(session_address);
    if port != 0 && connection.is_none() {
        return Err(InvalidSdp::NoConnection);
    }
    let direction = direction_of(&lines).unwrap_or(session_direction);
    Ok(Media {
        kind,
        port,
        proto,
        formats,
        connection,
        direction,
        lines,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\na=sendonly\r\n\
        m=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=rtcp:4005\r\n\
        m=video 0 RTP/AVP 96\r\nm=video 5000/2 RTP/SAVP 97\r\nc=IN IP6 2001:db8::1\r\na=recvonly\r\n";

    #[test]
    fn sections_take_address_and_direction_from_the_session_unless_they_have_their_own() {
        let session = Session::parse(OFFER.as_bytes()).unwrap();
        let [audio, refused, video] = &session.media[..] else {
            panic!("{session:?}")
        };
        assert_eq!(
            (audio.port, audio.rtcp_port(), audio.direction),
            (4000, 4005, Direction::SendOnly)
        );
        assert_eq!(audio.connection, Some("192.0.2.1".parse().unwrap()));
        assert_eq!((refused.port, refused.is_rtp()), (0, true));
        assert_eq!(
            (video.port, video.rtcp_port(), video.direction),
            (5000, 5001, Direction::RecvOnly)
        );
        assert_eq!(video.connection, Some("2001:db8::1".parse().unwrap()));
        assert!(video.is_secure() && !audio.is_secure());
    }

    #[test]
    fn defects_have_their_names() {
        let with = |from: &str, to: &str| Session::parse(OFFER.replace(from, to).as_bytes()).err();
        assert_eq!(with("v=0\r\n", ""), Some(InvalidSdp::Version));
        assert_eq!(with("v=0", "v=1"), Some(InvalidSdp::Version));
        assert_eq!(with("s=-", "nonsense"), Some(InvalidSdp::Line));
        assert_eq!(with("o=- 1 1 IN IP4 192.0.2.1\r\n", ""), Some(InvalidSdp::Origin));
        assert_eq!(
            with("c=IN IP4 192.0.2.1", "c=IN IP4 2001:db8::1"),
            Some(InvalidSdp::Connection)
        );
        assert_eq!(with("c=IN IP4 192.0.2.1\r\n", ""), Some(InvalidSdp::NoConnection));
        assert_eq!(with("audio 4000", "audio 70000"), Some(InvalidSdp::Media));
        for times in ["t=0", "t=0 x", "t=IP4 10.0.0.1", "t=0 0 0", "t= 0"] {
            assert_eq!(with("t=0 0", times), Some(InvalidSdp::Timing), "{times}");
        }
        for (from, to) in [
            ("s=-\r\n", ""),
            ("s=-\r\n", "s=-\r\ns=-\r\n"),
            ("t=0 0\r\n", ""),
            ("s=-\r\n", "s=-\r\no=- 1 1 IN IP4 192.0.2.1\r\n"),
            ("s=-\r\n", "s=-\r\nc=IN IP4 192.0.2.2\r\n"),
        ] {
            assert_eq!(with(from, to), Some(InvalidSdp::Count), "{to}");
        }
        let many = format!(
            "v=0\r\no=- 1 1 IN IP4 1.1.1.1\r\ns=-\r\nt=0 0\r\n{}",
            "m=audio 0 RTP/AVP 0\r\n".repeat(MAX_MEDIA + 1)
        );
        assert_eq!(Session::parse(many.as_bytes()).err(), Some(InvalidSdp::TooLarge));
    }

    #[test]
    fn bare_line_feeds_are_read() {
        assert_eq!(
            Session::parse(OFFER.replace("\r\n", "\n").as_bytes())
                .unwrap()
                .media
                .len(),
            3
        );
    }
}
