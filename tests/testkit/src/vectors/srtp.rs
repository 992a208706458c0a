//! Protected packets, receive sequences, key derivation, session-level GCM and DTLS key blocks.
//!
//! Keys go through the same contexts the edge uses; no cipher is called here but where a file gives session keys.
//! Source: RFC 3711, RFC 5764, RFC 6188, RFC 7714.

use std::path::Path;

use serde_json::Value;
use tollgate_contract::SrtpSuite;
use tollgate_media::srtp::{
    ReceiveContext, SendContext, cm_iv, derive, derive_session_keys, gcm_open, gcm_rtcp_iv, gcm_rtp_iv, gcm_seal,
    keystream,
};
use tollgate_media::{DropReason, MasterKey};

use super::fields::{
    self, CaseError, Checked, array, bytes, field, from_hex, given, hex, list, malformed, mismatch, number, same,
    same_bytes, text,
};
use super::report::SuiteReport;

/// Room for the longest tag, index and MKI of the vectors.
const TAIL: usize = 64;
/// Cipher blocks under one IV: the counter has 16 bits (RFC 3711 §4.1.1).
const KEYSTREAM_BLOCKS: usize = 1 << 16;
const BLOCK: usize = 16;

pub(super) fn run(folder: &Path, report: &mut SuiteReport) {
    fields::run_folder(
        folder,
        report,
        &[
            ("edge-srtp-vectors/1", |file| {
                file.each("packets", |_, case| packet(case));
                file.each("sequences", |_, case| sequence(case));
            }),
            ("edge-srtp-kdf/1", |file| {
                file.each("kdf", |_, case| key_derivation(case));
                file.each("keystream", |_, case| keystream_blocks(case));
            }),
            ("edge-srtp-session/1", |file| {
                file.each("cases", |_, case| session_level_gcm(case));
            }),
            ("edge-dtls-srtp/1", |file| {
                file.each("cases", |_, case| dtls_key_block(case))
            }),
        ],
    );
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rtp,
    Rtcp,
}

impl Kind {
    fn of(case: &Value) -> Result<Self, CaseError> {
        match text(case, "kind")? {
            "rtp" => Ok(Self::Rtp),
            "rtcp" => Ok(Self::Rtcp),
            other => Err(malformed(format!("{other} is no kind of packet"))),
        }
    }

    fn protect(self, sender: &mut SendContext, packet: &[u8]) -> Result<Vec<u8>, DropReason> {
        in_place(packet, |buf, len| match self {
            Self::Rtp => sender.protect_rtp(buf, len),
            Self::Rtcp => sender.protect_rtcp(buf, len),
        })
    }

    fn unprotect(self, receiver: &mut ReceiveContext, packet: &[u8]) -> Result<Vec<u8>, DropReason> {
        in_place(packet, |buf, len| match self {
            Self::Rtp => receiver.unprotect_rtp(buf, len),
            Self::Rtcp => receiver.unprotect_rtcp(buf, len),
        })
    }
}

fn in_place(
    packet: &[u8],
    transform: impl FnOnce(&mut [u8], usize) -> Result<usize, DropReason>,
) -> Result<Vec<u8>, DropReason> {
    let mut buf = packet.to_vec();
    buf.resize(packet.len() + TAIL, 0);
    let len = transform(&mut buf, packet.len())?;
    buf.truncate(len);
    Ok(buf)
}

fn packet(case: &Value) -> Checked {
    let (key, kind) = (master_key(case)?, Kind::of(case)?);
    let (plain, protected) = (bytes(case, "plain")?, bytes(case, "protected")?);
    let (mut sender, mut receiver) = (SendContext::new(&key), ReceiveContext::new(&key));
    let is_encrypted = match kind {
        Kind::Rtp => {
            let roc = number(case, "roc")?;
            (sender, receiver) = (sender.with_roc(roc), receiver.with_roc(roc));
            true
        }
        Kind::Rtcp => {
            let is_encrypted = e_bit(case)?;
            sender = sender
                .with_srtcp_index(number(case, "index")?)
                .encrypt_srtcp(is_encrypted);
            receiver = receiver.allow_unencrypted_srtcp(!is_encrypted);
            is_encrypted
        }
    };
    let sent = given("protecting", kind.protect(&mut sender, &plain))?;
    same_bytes("protected", &protected, &sent)?;
    let received = given("unprotecting", kind.unprotect(&mut receiver, &protected))?;
    same_bytes("plain", &plain, &received)?;
    if is_encrypted {
        return Ok(());
    }
    let strict = kind.unprotect(&mut ReceiveContext::new(&key), &protected);
    refused("unencrypted SRTCP where it is not allowed", strict)
}

fn sequence(case: &Value) -> Checked {
    let kind = Kind::of(case)?;
    let roc = number(case, "receiver_start_roc")?;
    let mut receiver = ReceiveContext::new(&master_key(case)?).with_roc(roc);
    for (at, event) in list(case, "events")?.iter().enumerate() {
        let result = kind.unprotect(&mut receiver, &bytes(event, "packet")?);
        match text(event, "expect")? {
            "ok" => {
                let received = given(&format!("event {at}"), result)?;
                same_bytes(&format!("event {at}"), &bytes(event, "plain")?, &received)?;
            }
            "reject" => refused(&format!("event {at}"), result)?,
            other => return Err(malformed(format!("{other} is no expectation"))),
        }
    }
    Ok(())
}

fn refused(what: &str, result: Result<Vec<u8>, DropReason>) -> Checked {
    match result {
        Ok(plain) => mismatch(what, "refused", hex(&plain)),
        Err(_) => Ok(()),
    }
}

/// Either one label's output, or all session keys of a master key.
fn key_derivation(case: &Value) -> Checked {
    let (key, salt) = (bytes(case, "master_key")?, bytes(case, "master_salt")?);
    if case.get("label").is_some() {
        let expected = bytes(case, "output")?;
        same("length", number(case, "length")?, expected.len())?;
        let mut out = vec![0; expected.len()];
        given("derivation", derive(&key, &salt, number(case, "label")?, &mut out))?;
        return same_bytes("output", &expected, &out);
    }
    if number::<u64>(case, "key_derivation_rate")? != 0 {
        return Err(malformed("only a key derivation rate of 0 is supported"));
    }
    let suite = match text(case, "prf")? {
        "AES-CM-128" => SrtpSuite::AesCm128HmacSha1_80,
        "AES-CM-256" => SrtpSuite::AesCm256HmacSha1_80,
        other => return Err(malformed(format!("{other} is no pseudo-random function"))),
    };
    let master = given("master key", MasterKey::new(suite, &[key, salt].concat()))?;
    let keys = derive_session_keys(&master);
    for (kind, stream) in [("rtp", &keys.rtp), ("rtcp", &keys.rtcp)] {
        for (part, actual) in [
            ("cipher_key", &stream.cipher_key),
            ("auth_key", &stream.auth_key),
            ("salt", &stream.salt),
        ] {
            let name = format!("{kind}_{part}");
            same_bytes(&name, &bytes(case, &name)?, actual)?;
        }
    }
    Ok(())
}

fn keystream_blocks(case: &Value) -> Checked {
    let salt = array(case, "session_salt")?;
    let iv = cm_iv(&salt, ssrc(case)?, packet_index(case)?);
    same_bytes("iv", &bytes(case, "iv")?, &iv)?;
    let mut out = vec![0; KEYSTREAM_BLOCKS * BLOCK];
    let is_made = keystream(&bytes(case, "session_key")?, &iv, &mut out);
    given("session key", is_made.then_some(()).ok_or("of another length"))?;
    let blocks = field(case, "keystream_blocks")?.as_object();
    for (number, expected) in blocks.ok_or_else(|| malformed("keystream_blocks is no object"))? {
        let name = format!("block {number}");
        let at = usize::from_str_radix(number, 16).ok();
        let block = at.and_then(|at| out.chunks_exact(BLOCK).nth(at));
        let block = block.ok_or_else(|| malformed(format!("{name} is not within the keystream")))?;
        let expected = expected.as_str().and_then(from_hex);
        let expected = expected.ok_or_else(|| malformed(format!("{name} is not hexadecimal")))?;
        same_bytes(&name, &expected, block)?;
    }
    Ok(())
}

fn session_level_gcm(case: &Value) -> Checked {
    let (key, salt, aad) = (
        bytes(case, "session_key")?,
        array(case, "session_salt")?,
        bytes(case, "aad")?,
    );
    let (plain, protected) = (bytes(case, "plain")?, bytes(case, "protected")?);
    let (iv, header_len, trailer) = match Kind::of(case)? {
        Kind::Rtp => (gcm_rtp_iv(&salt, ssrc(case)?, packet_index(case)?), 12, Vec::new()),
        Kind::Rtcp => {
            let (index, is_encrypted): (u32, _) = (number(case, "index")?, e_bit(case)?);
            let word = u32::from(is_encrypted) << 31 | index;
            let header_len = if is_encrypted { 8 } else { plain.len() };
            (
                gcm_rtcp_iv(&salt, ssrc(case)?, index),
                header_len,
                word.to_be_bytes().to_vec(),
            )
        }
    };
    same_bytes("iv", &bytes(case, "iv")?, &iv)?;
    let split = plain.split_at_checked(header_len);
    let (header, payload) = split.ok_or_else(|| malformed("plain is shorter than its header"))?;
    let mut body = payload.to_vec();
    let tag = gcm_seal(&key, iv, &aad, &mut body);
    let tag = given("sealing", tag.ok_or("no key of GCM"))?;
    same_bytes("protected", &protected, &[header, &body, &tag, &trailer].concat())?;
    let is_authentic = gcm_open(&key, iv, &aad, &mut body, &tag);
    given("opening", is_authentic.then_some(()).ok_or("wrong tag"))?;
    same_bytes("plain", payload, &body)
}

fn dtls_key_block(case: &Value) -> Checked {
    let pair = MasterKey::pair_from_dtls(suite(case)?, &bytes(case, "exporter_output")?);
    let plain = bytes(case, "plain")?;
    for (end, key) in ["client", "server"].into_iter().zip(given("key block", pair)?) {
        let named = |part: &str| format!("{end}_{part}");
        same_bytes(&named("key"), &bytes(case, &named("key"))?, key.key())?;
        same_bytes(&named("salt"), &bytes(case, &named("salt"))?, key.salt())?;
        let sent = Kind::Rtp.protect(&mut SendContext::new(&key), &plain);
        let sent = given(&named("protected"), sent)?;
        same_bytes(&named("protected"), &bytes(case, &named("protected"))?, &sent)?;
    }
    Ok(())
}

fn master_key(case: &Value) -> Result<MasterKey, CaseError> {
    let key_and_salt = [bytes(case, "master_key")?, bytes(case, "master_salt")?].concat();
    let key = given("master key", MasterKey::new(suite(case)?, &key_and_salt))?;
    given("MKI", key.with_mki(&bytes(case, "mki")?))
}

fn suite(case: &Value) -> Result<SrtpSuite, CaseError> {
    let name = text(case, "suite")?;
    name.parse().map_err(|_| malformed(format!("{name} is no suite")))
}

fn ssrc(case: &Value) -> Result<u32, CaseError> {
    Ok(u32::from_be_bytes(array(case, "ssrc")?))
}

/// The 48-bit index of an RTP packet (RFC 3711 §3.3.1).
fn packet_index(case: &Value) -> Result<u64, CaseError> {
    let (roc, seq): (u32, u16) = (number(case, "roc")?, number(case, "seq")?);
    Ok(u64::from(roc) << 16 | u64::from(seq))
}

fn e_bit(case: &Value) -> Result<bool, CaseError> {
    match number::<u8>(case, "e_bit")? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(malformed(format!("{other} is no E flag"))),
    }
}
