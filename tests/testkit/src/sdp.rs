//! Session descriptions as the parties write them, and what a test reads in those the edge wrote.

use std::net::SocketAddr;

use tollgate_contract::{Secret, SrtpSuite};
use tollgate_sip::sdp::{CryptoLine, Direction, Session, crypto_line};

use crate::srtp_end::key;

/// A description to be written: one audio stream and perhaps more.
#[derive(Clone, Debug)]
pub struct Sdp {
    /// Where the party wants its media.
    pub at: SocketAddr,
    /// Version in the o= line.
    pub version: u32,
    /// `sendrecv`, `sendonly`, `recvonly`, `inactive`; nothing is written when empty.
    pub direction: &'static str,
    /// Payload types of the m= line.
    pub formats: &'static str,
    /// `RTP/AVP` or `RTP/SAVP` or whatever a test wants.
    pub profile: &'static str,
    /// Crypto lines, without `a=`.
    pub crypto: Vec<String>,
    /// Whether c= is the unspecified address, as in an old-style hold.
    pub is_unspecified: bool,
    /// Whether the m= port is 0.
    pub is_refused: bool,
    /// Further lines at the end, each with its line end.
    pub more: String,
}

impl Sdp {
    /// Plain RTP at an address.
    #[must_use]
    pub fn plain(at: SocketAddr) -> Self {
        Self {
            at,
            version: 1,
            direction: "sendrecv",
            formats: "0 8 101",
            profile: "RTP/AVP",
            crypto: Vec::new(),
            is_unspecified: false,
            is_refused: false,
            more: String::new(),
        }
    }

    /// SRTP at an address, with one crypto line.
    #[must_use]
    pub fn secure(at: SocketAddr, tag: u32, suite: SrtpSuite, key_and_salt: &Secret) -> Self {
        Self {
            profile: "RTP/SAVP",
            crypto: vec![crypto_line(tag, suite, key_and_salt)],
            ..Self::plain(at)
        }
    }

    /// SRTP at an address offering one suite with tag 1, under the key of a number.
    #[must_use]
    pub fn secure_offer(at: SocketAddr, suite: SrtpSuite, number: u8) -> Self {
        Self::secure(at, 1, suite, &key(suite, number))
    }

    /// The same at its next version with another direction.
    #[must_use]
    pub fn directed(mut self, direction: &'static str) -> Self {
        self.direction = direction;
        self.version += 1;
        self
    }

    /// The same with more lines at its end.
    #[must_use]
    pub fn and(mut self, lines: &str) -> Self {
        self.more.push_str(lines);
        self.version += 1;
        self
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> String {
        let family = if self.at.is_ipv4() { "IP4" } else { "IP6" };
        let shown = match (self.is_unspecified, self.at.is_ipv4()) {
            (false, _) => self.at.ip().to_string(),
            (true, true) => "0.0.0.0".to_owned(),
            (true, false) => "::".to_owned(),
        };
        let port = if self.is_refused { 0 } else { self.at.port() };
        let mut out = format!(
            "v=0\r\no=ua 42 {} IN {family} {}\r\ns=-\r\nc=IN {family} {shown}\r\nt=0 0\r\nm=audio {port} {} {}\r\n\
             a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\n",
            self.version,
            self.at.ip(),
            self.profile,
            self.formats
        );
        for line in &self.crypto {
            out.push_str(&format!("a={line}\r\n"));
        }
        if !self.direction.is_empty() {
            out.push_str(&format!("a={}\r\n", self.direction));
        }
        out.push_str(&self.more);
        out
    }
}

/// One m= line as the edge wrote it.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Its address and port.
    pub at: SocketAddr,
    /// Its profile.
    pub profile: String,
    /// Its payload types.
    pub formats: String,
    /// Its direction.
    pub direction: Direction,
    /// Its crypto lines.
    pub crypto: Vec<CryptoLine>,
    /// The o= line of the description.
    pub origin: String,
    /// Number of m= lines of the description.
    pub streams: usize,
}

impl Heard {
    /// The crypto line of a suite.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn line(&self, suite: SrtpSuite) -> (u32, Secret) {
        let line = self.crypto.iter().find(|line| line.suite == suite);
        let line = line.expect("the suite is offered");
        (line.tag, line.keys[0].key_and_salt.clone())
    }

    /// The version in the o= line.
    ///
    /// # Panics
    /// If it is not a number.
    #[must_use]
    pub fn version(&self) -> u64 {
        let version = self.origin.split(' ').nth(2).and_then(|version| version.parse().ok());
        version.expect("a numeric version")
    }
}

/// Reads an m= line, counted from 0, of a description.
///
/// # Panics
/// If the edge wrote something that does not parse, or there is no such line.
#[must_use]
pub fn heard(body: &str, index: usize) -> Heard {
    let session = Session::parse(body.as_bytes()).expect("the edge writes valid descriptions");
    let media = session.media.get(index).expect("the m= line exists");
    let lines = media.attributes("crypto");
    let origin = session.lines.iter().find(|line| line.kind == b'o').expect("an o= line");
    Heard {
        at: SocketAddr::new(media.connection.expect("a c= line"), media.port),
        profile: media.proto.to_owned(),
        formats: media.formats.to_owned(),
        direction: media.direction,
        crypto: lines
            .map(|line| CryptoLine::parse(line).expect("a valid crypto line"))
            .collect(),
        origin: origin.value.to_owned(),
        streams: session.media.len(),
    }
}
