//! A call's two ends as the generator holds them, and what a relay says about it.
//!
//! It describes sessions with one line of PCMU audio; it speaks no signalling. RFC 4566, RFC 4568.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use tollgate_contract::SrtpSuite;
use tollgate_media::MasterKey;
use tollgate_peers::SdpView;

/// The loopback network of one run: 127.network.x.y.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Network(u8);

/// Both ends of one call, before a relay stands between them.
pub(crate) struct Ends {
    /// Where the inside awaits RTP.
    pub(crate) inside: SocketAddr,
    /// Where the outside awaits SRTP.
    pub(crate) outside: SocketAddr,
    /// What the outside protects with.
    pub(crate) outside_key: MasterKey,
}

/// What a relay put between the ends.
pub(crate) struct Relayed {
    /// Where the inside sends to.
    pub(crate) inside: SocketAddr,
    /// Where the outside sends to.
    pub(crate) outside: SocketAddr,
    /// What the relay protects with; `None` where everything is passed on as it is.
    pub(crate) key: Option<MasterKey>,
}

impl Network {
    /// One that runs at the same time hardly share.
    pub(crate) fn of_this_process() -> Self {
        Self(FIRST_NETWORK + (std::process::id() % NETWORKS) as u8)
    }

    /// An address of the inside.
    pub(crate) const fn inside(self, host: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(127, self.0, 1, host))
    }

    /// An address of the outside.
    pub(crate) const fn outside(self, host: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(127, self.0, 2, host))
    }
}

impl Ends {
    /// The ends of the call at this place, with a fresh key.
    pub(crate) fn new(network: Network, place: u16, suite: SrtpSuite) -> Self {
        let port = FIRST_PORT + 2 * place;
        let key: Vec<u8> = std::iter::repeat_with(rand::random)
            .take(suite.key_len() + suite.salt_len())
            .collect();
        Self {
            inside: SocketAddr::new(network.inside(END), port),
            outside: SocketAddr::new(network.outside(END), port),
            outside_key: MasterKey::new(suite, &key).expect("the key was made for the suite"),
        }
    }

    /// What the inside says.
    pub(crate) fn inside_sdp(&self) -> String {
        describe(self.inside, None)
    }

    /// What the outside says.
    pub(crate) fn outside_sdp(&self) -> String {
        let (suite, key) = (self.outside_key.suite(), &self.outside_key);
        let inline = STANDARD.encode([key.key(), key.salt()].concat());
        describe(self.outside, Some(&format!("1 {} inline:{inline}", suite.name())))
    }

    /// Reads what the relay wrote towards both ends.
    ///
    /// # Errors
    /// In words, when either is no usable session.
    pub(crate) fn relayed(&self, to_inside: &[u8], to_outside: &[u8]) -> Result<Relayed, String> {
        let read = |sdp| SdpView::parse(sdp).ok_or("a session of the relay cannot be read");
        let (inside, outside) = (read(to_inside)?, read(to_outside)?);
        if inside.rtp.port() == 0 || outside.rtp.port() == 0 {
            return Err("the relay refused the stream".to_owned());
        }
        if !inside.crypto.is_empty() {
            return Err("the relay offers SRTP inside".to_owned());
        }
        let suite = self.outside_key.suite();
        let key = outside.crypto.iter().find_map(|line| key_of(line, suite));
        Ok(Relayed {
            inside: inside.rtp,
            outside: outside.rtp,
            key: Some(key.ok_or_else(|| format!("the relay answers without a key of {}", suite.name()))?),
        })
    }
}

/// Reads the value of an `a=crypto:` line of this suite.
fn key_of(line: &str, suite: SrtpSuite) -> Option<MasterKey> {
    let mut words = line.split_whitespace().skip(1);
    if words.next()? != suite.name() {
        return None;
    }
    let inline = words.next()?.strip_prefix("inline:")?;
    let key = PADDED_OR_NOT.decode(inline.split('|').next()?).ok()?;
    MasterKey::new(suite, &key).ok()
}

fn describe(rtp: SocketAddr, crypto: Option<&str>) -> String {
    let (ip, port) = (rtp.ip(), rtp.port());
    let profile = if crypto.is_some() { "RTP/SAVP" } else { "RTP/AVP" };
    let crypto = crypto.map_or_else(String::new, |line| format!("a=crypto:{line}\r\n"));
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} {profile} 0\r\n\
         a=rtpmap:0 PCMU/8000\r\n{crypto}a=ptime:20\r\na=sendrecv\r\n"
    )
}

/// rtpengine leaves the padding of a key out.
const PADDED_OR_NOT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The host of the generator on both sides; a relay has host 1.
pub(crate) const END: u8 = 2;

/// First media port of either side, below the ephemeral ports.
pub(crate) const FIRST_PORT: u16 = 20_000;

/// Networks from 127.192 on, away from what the demonstration and the tests take.
const FIRST_NETWORK: u8 = 192;

/// How many networks there are to choose from.
const NETWORKS: u32 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    const SUITE: SrtpSuite = SrtpSuite::AesCm128HmacSha1_80;

    #[test]
    fn key_of_the_answer_is_what_was_written() {
        let ends = Ends::new(Network::of_this_process(), 3, SUITE);
        let relayed = ends
            .relayed(ends.inside_sdp().as_bytes(), ends.outside_sdp().as_bytes())
            .unwrap();
        assert_eq!((relayed.inside, relayed.outside), (ends.inside, ends.outside));
        assert!(relayed.key == Some(ends.outside_key));
    }

    #[test]
    fn key_is_read_with_and_without_padding() {
        let line = format!("1 AEAD_AES_128_GCM inline:{}", STANDARD.encode([9; 28]));
        assert!(line.ends_with("=="));
        for line in [line.as_str(), line.trim_end_matches('=')] {
            assert!(key_of(line, SrtpSuite::AeadAes128Gcm).is_some(), "{line}");
        }
    }

    #[test]
    fn answer_in_clear_is_refused() {
        let ends = Ends::new(Network::of_this_process(), 0, SUITE);
        let clear = ends.inside_sdp();
        assert!(ends.relayed(clear.as_bytes(), clear.as_bytes()).is_err());
        assert!(
            ends.relayed(ends.outside_sdp().as_bytes(), ends.outside_sdp().as_bytes())
                .is_err()
        );
    }
}
