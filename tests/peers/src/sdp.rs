//! The few SDP lines an audio call needs.
//!
//! It describes one audio stream and reads one; other media lines are ignored. RFC 4566, RFC 3264, RFC 4568.

use std::net::{IpAddr, SocketAddr};

/// An audio codec, both with 8,000 samples a second and one byte a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// G.711 µ-law, payload type 0.
    Pcmu,
    /// G.711 A-law, payload type 8.
    Pcma,
}

/// Which ways media may go, seen from the writer of the SDP (RFC 3264 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Both ways.
    SendRecv,
    /// The writer sends only.
    SendOnly,
    /// The writer receives only.
    RecvOnly,
    /// Neither.
    Inactive,
}

/// What was read of an SDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SdpView {
    /// Where RTP is awaited; the port is 0 if the stream was refused.
    pub rtp: SocketAddr,
    /// `RTP/AVP`, `RTP/SAVP`, …
    pub profile: String,
    /// Payload types in order of preference.
    pub formats: Vec<u8>,
    /// The direction attribute, [`Direction::SendRecv`] if none.
    pub direction: Direction,
    /// The values of all `a=crypto:` lines.
    pub crypto: Vec<String>,
}

/// What to write.
#[derive(Clone, Debug)]
pub(crate) struct SdpText<'a> {
    pub(crate) rtp: SocketAddr,
    pub(crate) codecs: &'a [Codec],
    pub(crate) direction: Direction,
    pub(crate) session: u64,
    pub(crate) version: u32,
    pub(crate) crypto: &'a [String],
}

impl Codec {
    /// The static payload type (RFC 3551 §6).
    #[must_use]
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
        }
    }

    const fn encoding(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
        }
    }

    /// The codec of a payload type, if it is one of ours.
    pub(crate) const fn from_payload_type(payload_type: u8) -> Option<Self> {
        match payload_type {
            0 => Some(Self::Pcmu),
            8 => Some(Self::Pcma),
            _ => None,
        }
    }
}

impl Direction {
    /// Whether the writer sends.
    #[must_use]
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the writer receives.
    #[must_use]
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// The answer to this offer by a side that wants both ways (RFC 3264 §6.1).
    #[must_use]
    pub const fn answered(self) -> Self {
        match self {
            Self::SendRecv => Self::SendRecv,
            Self::SendOnly => Self::RecvOnly,
            Self::RecvOnly => Self::SendOnly,
            Self::Inactive => Self::Inactive,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::SendRecv, Self::SendOnly, Self::RecvOnly, Self::Inactive]
            .into_iter()
            .find(|direction| direction.name() == name)
    }
}

impl SdpView {
    /// Reads the first audio stream; `None` if there is none or its address is no IP address.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        let mut reader = Reader::default();
        for line in text.lines() {
            reader.handle_line(line.trim_end());
        }
        let ip = reader.media_ip.or(reader.session_ip)?;
        let (port, profile, formats) = reader.media?;
        Some(Self {
            rtp: SocketAddr::new(ip, port),
            profile,
            formats,
            direction: reader.direction.unwrap_or(Direction::SendRecv),
            crypto: reader.crypto,
        })
    }

    /// Whether the writer awaits media there: a port, an address and a direction that receives.
    #[must_use]
    pub fn wants_media(&self) -> bool {
        self.rtp.port() != 0 && !self.rtp.ip().is_unspecified() && self.direction.receives()
    }

    /// The first of our codecs that was listed.
    #[must_use]
    pub fn first_codec(&self) -> Option<Codec> {
        self.formats.iter().find_map(|format| Codec::from_payload_type(*format))
    }
}

#[derive(Default)]
struct Reader {
    session_ip: Option<IpAddr>,
    media_ip: Option<IpAddr>,
    media: Option<(u16, String, Vec<u8>)>,
    in_other_media: bool,
    direction: Option<Direction>,
    crypto: Vec<String>,
}

impl Reader {
    fn handle_line(&mut self, line: &str) {
        let Some((kind, value)) = line.split_once('=') else {
            return;
        };
        if kind == "m" {
            self.in_other_media = self.media.is_some() || !value.starts_with("audio ");
        }
        if self.in_other_media {
            return;
        }
        match kind {
            "m" => self.media = media_line(value),
            "c" => {
                let ip = value.rsplit(' ').next().and_then(|ip| ip.parse().ok());
                if self.media.is_some() {
                    self.media_ip = ip
                } else {
                    self.session_ip = ip
                }
            }
            "a" => {
                if let Some(crypto) = value.strip_prefix("crypto:") {
                    self.crypto.push(crypto.to_owned());
                }
                self.direction = Direction::from_name(value).or(self.direction);
            }
            _ => {}
        }
    }
}

fn media_line(value: &str) -> Option<(u16, String, Vec<u8>)> {
    let mut words = value.split(' ').skip(1);
    let port = words.next()?.parse().ok()?;
    let profile = words.next()?.to_owned();
    Some((port, profile, words.filter_map(|format| format.parse().ok()).collect()))
}

impl SdpText<'_> {
    /// Writes the session; the profile is `RTP/SAVP` when there are crypto lines.
    pub(crate) fn write(&self) -> String {
        let (ip, port) = (self.rtp.ip(), self.rtp.port());
        let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
        let profile = if self.crypto.is_empty() { "RTP/AVP" } else { "RTP/SAVP" };
        let (session, version) = (self.session, self.version);
        let formats: String = self
            .codecs
            .iter()
            .map(|codec| format!(" {}", codec.payload_type()))
            .collect();
        let mut text = format!(
            "v=0\r\no=- {session} {version} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
             m=audio {port} {profile}{formats}\r\n"
        );
        for codec in self.codecs {
            text += &format!("a=rtpmap:{} {}/8000\r\n", codec.payload_type(), codec.encoding());
        }
        for crypto in self.crypto {
            text += &format!("a=crypto:{crypto}\r\n");
        }
        text += &format!("a=ptime:20\r\na={}\r\n", self.direction.name());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_session_reads_back() {
        let text = SdpText {
            rtp: "127.0.0.1:4000".parse().unwrap(),
            codecs: &[Codec::Pcma, Codec::Pcmu],
            direction: Direction::SendOnly,
            session: 1,
            version: 2,
            crypto: &["1 X inline:Y".to_owned()],
        };
        let view = SdpView::parse(text.write().as_bytes()).unwrap();
        assert_eq!(view.rtp, text.rtp);
        assert_eq!(view.formats, [8, 0]);
        assert_eq!(view.direction, Direction::SendOnly);
        assert_eq!((view.profile.as_str(), view.crypto.len()), ("RTP/SAVP", 1));
        assert!(!view.wants_media());
    }

    #[test]
    fn second_stream_does_not_disturb_the_first() {
        let body =
            b"c=IN IP4 1.2.3.4\r\nm=audio 10 RTP/AVP 0\r\nm=video 12 RTP/AVP 99\r\nc=IN IP4 9.9.9.9\r\na=inactive\r\n";
        let view = SdpView::parse(body).unwrap();
        assert_eq!(view.rtp, "1.2.3.4:10".parse().unwrap());
        assert!(view.wants_media());
    }
}
