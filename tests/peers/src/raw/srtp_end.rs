//! An SRTP end made of `webrtc-srtp`, an implementation foreign to the edge.
//!
//! It handles RTP only: this crate must not be given SRTCP from a network, whose E bit it does not check. RFC 3711,
//! RFC 4568 §6.1.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use webrtc_srtp::context::Context;
use webrtc_srtp::option::srtp_replay_protection;
use webrtc_srtp::protection_profile::ProtectionProfile;

use crate::media::bind_pair;
use crate::rtp::{RtpView, rtp_packet};
use crate::sdp::{Codec, Direction, SdpText, SdpView};

/// A master key and salt with their suite and tag.
#[derive(Clone)]
pub struct SdesKey {
    /// The tag of the crypto line, 1 to 999,999,999.
    pub tag: u32,
    suite: &'static Suite,
    key_and_salt: Vec<u8>,
}

/// What an end has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SrtpEndReport {
    /// Packets that passed authentication and replay check.
    pub received: u64,
    /// Packets refused, plain RTP among them.
    pub refused: u64,
    /// Packets sent.
    pub sent: u64,
}

/// An SRTP end on a pair of UDP ports. Dropping it closes them.
#[derive(Debug)]
pub struct SrtpEnd {
    line: Arc<Line>,
    local_key: SdesKey,
    // Held so that the port beside stays ours.
    _rtcp: UdpSocket,
    echo: Option<JoinHandle<()>>,
}

struct Line {
    socket: UdpSocket,
    local: SocketAddr,
    state: Mutex<State>,
}

struct State {
    sending: Context,
    receiving: Option<Context>,
    min_len: usize,
    remote: Option<SocketAddr>,
    report: SrtpEndReport,
}

#[derive(Debug)]
struct Suite {
    name: &'static str,
    profile: ProtectionProfile,
}

impl SdesKey {
    /// A fresh key; `None` for a suite that `webrtc-srtp` does not speak.
    #[must_use]
    pub fn generate(tag: u32, suite_name: &str) -> Option<Self> {
        let suite = SUITES.iter().find(|suite| suite.name == suite_name)?;
        let len = suite.profile.key_len() + suite.profile.salt_len();
        let key_and_salt = std::iter::repeat_with(rand::random).take(len).collect();
        Some(Self {
            tag,
            suite,
            key_and_salt,
        })
    }

    /// Reads the value of an `a=crypto:` line; `None` if its suite or key is not usable. Lifetime and MKI are passed over.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_whitespace();
        let tag = words.next()?.parse().ok()?;
        let name = words.next()?;
        let suite = SUITES.iter().find(|suite| suite.name == name)?;
        let inline = words.next()?.strip_prefix("inline:")?;
        let key_and_salt = STANDARD.decode(inline.split('|').next()?).ok()?;
        let is_whole = key_and_salt.len() == suite.profile.key_len() + suite.profile.salt_len();
        is_whole.then_some(Self {
            tag,
            suite,
            key_and_salt,
        })
    }

    /// The name of the suite.
    #[must_use]
    pub const fn suite_name(&self) -> &'static str {
        self.suite.name
    }

    /// The value of its `a=crypto:` line.
    #[must_use]
    pub fn crypto_line(&self) -> String {
        format!(
            "{} {} inline:{}",
            self.tag,
            self.suite.name,
            STANDARD.encode(&self.key_and_salt)
        )
    }

    fn context(&self, replay_window: Option<usize>) -> io::Result<Context> {
        let (key, salt) = self.key_and_salt.split_at(self.suite.profile.key_len());
        let replay = replay_window.map(srtp_replay_protection);
        Context::new(key, salt, self.suite.profile, replay, None).map_err(io::Error::other)
    }
}

impl std::fmt::Debug for SdesKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SdesKey")
            .field("suite", &self.suite.name)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line")
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

impl SrtpEnd {
    /// Binds a pair of ports and sends under `local_key`.
    ///
    /// # Errors
    /// When no ports are free or the key does not fit.
    pub async fn bind(ip: IpAddr, local_key: SdesKey) -> io::Result<Self> {
        let (socket, rtcp) = bind_pair(ip).await?;
        let state = State {
            sending: local_key.context(None)?,
            receiving: None,
            min_len: RTP_HEADER_LEN,
            remote: None,
            report: SrtpEndReport::default(),
        };
        let line = Line {
            local: socket.local_addr()?,
            socket,
            state: Mutex::new(state),
        };
        Ok(Self {
            line: Arc::new(line),
            local_key,
            _rtcp: rtcp,
            echo: None,
        })
    }

    /// Where SRTP is awaited.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.line.local
    }

    /// This end's session description, offer or answer.
    #[must_use]
    pub fn sdp(&self, codec: Codec) -> String {
        SdpText {
            rtp: self.line.local,
            codecs: &[codec],
            direction: Direction::SendRecv,
            session: 1,
            version: 1,
            crypto: &[self.local_key.crypto_line()],
        }
        .write()
    }

    /// Receives under the first usable crypto line of the far side's description, and sends to its address.
    ///
    /// # Errors
    /// When it is no SDP or has no line with the local suite.
    pub fn accept(&self, far_sdp: &[u8]) -> io::Result<()> {
        let far = SdpView::parse(far_sdp).ok_or_else(|| io::Error::other("no audio in the description"))?;
        let key = far
            .crypto
            .iter()
            .filter_map(|value| SdesKey::parse(value))
            .find(|key| key.suite_name() == self.local_key.suite_name())
            .ok_or_else(|| io::Error::other("no crypto line with the local suite"))?;
        self.set_remote(far.rtp, &key)
    }

    /// Receives under `key` and sends to `address`.
    ///
    /// # Errors
    /// When the key does not fit its suite.
    pub fn set_remote(&self, address: SocketAddr, key: &SdesKey) -> io::Result<()> {
        let context = key.context(Some(REPLAY_WINDOW))?;
        let mut state = self.line.state();
        state.receiving = Some(context);
        let profile = key.suite.profile;
        state.min_len = RTP_HEADER_LEN + profile.rtp_auth_tag_len() + profile.aead_auth_tag_len();
        state.remote = Some(address);
        Ok(())
    }

    /// Protects and sends one RTP packet.
    ///
    /// # Errors
    /// When no far side is known or the packet is no RTP.
    pub async fn send_rtp(&self, packet: &[u8]) -> io::Result<()> {
        self.line.send_rtp(packet).await
    }

    /// The next packet that passes, as plain RTP; `None` if none comes in time. Not while the echo runs.
    pub async fn recv_rtp(&self, within: Duration) -> Option<Vec<u8>> {
        timeout(within, self.line.recv_rtp()).await.ok()
    }

    /// Sends every packet that passes back to its sender, under this end's key and a source of its own.
    pub fn start_echo(&mut self) {
        let line = Arc::clone(&self.line);
        let ssrc = rand::random();
        self.echo.get_or_insert_with(|| tokio::spawn(echo(line, ssrc)));
    }

    /// What was seen so far.
    #[must_use]
    pub fn report(&self) -> SrtpEndReport {
        self.line.state().report
    }
}

impl Drop for SrtpEnd {
    fn drop(&mut self) {
        if let Some(echo) = self.echo.take() {
            echo.abort();
        }
    }
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the lock panics")
    }

    async fn send_rtp(&self, packet: &[u8]) -> io::Result<()> {
        let (sealed, remote) = {
            let mut state = self.state();
            let remote = state.remote.ok_or_else(|| io::Error::other("no far side yet"))?;
            let sealed = state.sending.encrypt_rtp(packet).map_err(io::Error::other)?;
            state.report.sent += 1;
            (sealed, remote)
        };
        self.socket.send_to(&sealed, remote).await.map(drop)
    }

    async fn recv_rtp(&self) -> Vec<u8> {
        let mut buffer = vec![0; 2048];
        loop {
            // An ICMP error of an earlier send surfaces here and ends nothing.
            let Ok((len, _)) = self.socket.recv_from(&mut buffer).await else {
                continue;
            };
            let mut state = self.state();
            // Shorter ones are kept from the crate, which trusts lengths.
            let sealed = buffer.get(..len).filter(|packet| packet.len() >= state.min_len);
            let plain = sealed.and_then(|sealed| state.receiving.as_mut()?.decrypt_rtp(sealed).ok());
            match plain {
                Some(plain) => {
                    state.report.received += 1;
                    return plain.to_vec();
                }
                None => state.report.refused += 1,
            }
        }
    }
}

async fn echo(line: Arc<Line>, ssrc: u32) {
    loop {
        let packet = line.recv_rtp().await;
        let Some(view) = RtpView::parse(&packet) else { continue };
        let back = rtp_packet(view.payload_type, view.sequence, view.timestamp, ssrc, view.payload);
        // A lost echo is counted by who waits for it.
        let _ = line.send_rtp(&back).await;
    }
}

/// The six suites, named as in RFC 4568 §6.2, RFC 6188 §4 and RFC 7714 §14.2.
static SUITES: [Suite; 6] = [
    Suite {
        name: "AES_CM_128_HMAC_SHA1_80",
        profile: ProtectionProfile::Aes128CmHmacSha1_80,
    },
    Suite {
        name: "AES_CM_128_HMAC_SHA1_32",
        profile: ProtectionProfile::Aes128CmHmacSha1_32,
    },
    Suite {
        name: "AES_256_CM_HMAC_SHA1_80",
        profile: ProtectionProfile::Aes256CmHmacSha1_80,
    },
    Suite {
        name: "AES_256_CM_HMAC_SHA1_32",
        profile: ProtectionProfile::Aes256CmHmacSha1_32,
    },
    Suite {
        name: "AEAD_AES_128_GCM",
        profile: ProtectionProfile::AeadAes128Gcm,
    },
    Suite {
        name: "AEAD_AES_256_GCM",
        profile: ProtectionProfile::AeadAes256Gcm,
    },
];

/// RFC 3711 §3.3.2 asks for 64 at least.
const REPLAY_WINDOW: usize = 128;

/// RFC 3550 §5.1, without CSRC and extension.
const RTP_HEADER_LEN: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_suite_carries_packets_both_ways() {
        for suite in &SUITES {
            let ip = IpAddr::from([127, 0, 0, 1]);
            let caller = SrtpEnd::bind(ip, SdesKey::generate(1, suite.name).unwrap())
                .await
                .unwrap();
            let mut echo = SrtpEnd::bind(ip, SdesKey::generate(1, suite.name).unwrap())
                .await
                .unwrap();
            echo.accept(caller.sdp(Codec::Pcma).as_bytes()).unwrap();
            caller.accept(echo.sdp(Codec::Pcma).as_bytes()).unwrap();
            echo.start_echo();
            caller.send_rtp(&rtp_packet(8, 9, 160, 1, &[3; 160])).await.unwrap();
            let back = caller.recv_rtp(Duration::from_secs(2)).await.unwrap();
            assert_eq!(RtpView::parse(&back).unwrap().payload, [3; 160], "{}", suite.name);
            assert_eq!(
                echo.report(),
                SrtpEndReport {
                    received: 1,
                    refused: 0,
                    sent: 1
                }
            );
        }
    }

    #[tokio::test]
    async fn plain_and_replayed_packets_are_refused() {
        let ip = IpAddr::from([127, 0, 0, 1]);
        let key = SdesKey::generate(1, "AES_CM_128_HMAC_SHA1_80").unwrap();
        let end = SrtpEnd::bind(ip, key.clone()).await.unwrap();
        let socket = UdpSocket::bind((ip, 0)).await.unwrap();
        end.set_remote(socket.local_addr().unwrap(), &key).unwrap();
        let plain = rtp_packet(8, 1, 160, 1, &[3; 160]);
        let sealed = key.context(None).unwrap().encrypt_rtp(&plain).unwrap();
        for packet in [&plain[..], &sealed[..], &sealed[..], &[0x80; 3]] {
            socket.send_to(packet, end.local_addr()).await.unwrap();
        }
        assert_eq!(end.recv_rtp(Duration::from_secs(2)).await.unwrap(), plain);
        assert_eq!(end.recv_rtp(Duration::from_millis(200)).await, None);
        assert_eq!(
            end.report(),
            SrtpEndReport {
                received: 1,
                refused: 3,
                sent: 0
            }
        );
    }

    #[test]
    fn crypto_line_reads_back_and_bad_ones_do_not() {
        let key = SdesKey::generate(2, "AEAD_AES_256_GCM").unwrap();
        let read = SdesKey::parse(&format!("{}|2^31|1:4", key.crypto_line())).unwrap();
        assert_eq!(
            (read.tag, read.suite_name(), &read.key_and_salt),
            (2, "AEAD_AES_256_GCM", &key.key_and_salt)
        );
        assert!(SdesKey::parse("1 AES_CM_128_HMAC_SHA1_80 inline:AAAA").is_none());
        assert!(SdesKey::parse("1 NULL inline:AAAA").is_none());
    }
}
