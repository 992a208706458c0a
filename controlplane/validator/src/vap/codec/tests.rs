//! The vectors of the specification, and streams that are no VAP.

use tollgate_contract::Secret;

use super::*;
use crate::hex;
use crate::vap::REALM;

const REGISTER: &str = "0001006441666679000102030405060708090a0b1001001d746f6c6c67617465\
2f656467652f302e312e302f3139322e302e322e310000001003000400010000\
1005000178000000000600056564676531000000001400062256695052220000\
0008001447813ddffc7d9de4b685b2e536e424bb52850dcd";

const REGISTERED: &str = "0101003441666679000102030405060708090a0b1002000400c0ffee10060004\
0000753000140006225669505222000000080014e8aa9fdc4a621ae1aa6dab97\
0bc21328b41d0432";

#[test]
fn the_register_of_the_specification_is_written_byte_for_byte() {
    assert_eq!(hex::encode(&register().encode(Some(&key())).unwrap()), REGISTER);
    assert_eq!(hex::encode(&registered().encode(Some(&key())).unwrap()), REGISTERED);
}

#[test]
fn the_register_of_the_specification_is_read_and_authentic() {
    for (text, message) in [(REGISTER, register()), (REGISTERED, registered())] {
        let parsed = whole(&hex::decode(text).unwrap()).parsed.unwrap();
        assert_eq!(parsed.message, message);
        assert!(parsed.is_authentic(&key()) && parsed.has_mac());
        let other = Key::derive("edge1", &Secret::new(b"tollgate-tesT".to_vec()));
        assert!(!parsed.is_authentic(&other));
    }
}

#[test]
fn every_flipped_bit_of_a_message_spoils_its_mac() {
    let good = hex::decode(REGISTER).unwrap();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        if let Ok((_, Some(read))) = Decoder::default().push(&bad) {
            assert!(
                !read.parsed.is_ok_and(|parsed| parsed.is_authentic(&key())),
                "bit {bit}"
            );
        }
    }
}

#[test]
fn types_have_their_computed_values() {
    for (method, class, value) in [
        (Method::Register, Class::Request, 0x0001),
        (Method::Register, Class::Success, 0x0101),
        (Method::Notify, Class::Error, 0x011a),
        (Method::UploadVcr, Class::Success, 0x010b),
        (Method::ValExchange, Class::Error, 0x011d),
        (Method::Unknown(0xfff), Class::Error, 0x3fff),
    ] {
        assert_eq!(type_of(method, class), value);
        assert_eq!(method_and_class(value), (method, class));
    }
}

#[test]
fn messages_are_found_however_the_stream_is_cut() {
    let stream = [hex::decode(REGISTER).unwrap(), hex::decode(REGISTERED).unwrap()].concat();
    for step in 1..=stream.len() {
        let mut decoder = Decoder::default();
        let mut found = Vec::new();
        for mut part in stream.chunks(step) {
            while !part.is_empty() {
                let (taken, read) = decoder.push(part).unwrap();
                found.extend(read.map(|read| read.class));
                part = &part[taken..];
            }
        }
        assert_eq!(found, [Class::Request, Class::Success], "step {step}");
    }
}

#[test]
fn what_is_no_vap_is_refused_by_its_header() {
    for (header, fault) in [
        ("0001000040666679000102030405060708090a0b", FrameFault::Magic),
        ("8001000041666679000102030405060708090a0b", FrameFault::TopBits),
        ("0001000241666679000102030405060708090a0b", FrameFault::Alignment),
        ("0001fffc41666679000102030405060708090a0b", FrameFault::TooLong),
    ] {
        let bytes = hex::decode(header).unwrap();
        assert_eq!(Decoder::default().push(&bytes[..8]), Err(fault));
    }
}

#[test]
fn what_is_malformed_inside_keeps_its_transaction() {
    let many = "1002000400000001".repeat(33);
    for (attributes, fault) in [
        ("10020004", ParseFault::Truncated),
        ("1002000500000001", ParseFault::Truncated),
        ("10020003000000ff", ParseFault::Attribute(0x1002)),
        ("00060002ffff0000", ParseFault::Attribute(0x0006)),
        ("2001000400000002", ParseFault::Attribute(0x2001)),
        ("0009000400000700", ParseFault::Attribute(0x0009)),
        ("000900040000044a", ParseFault::Integrity),
        ("0008000400000000", ParseFault::Integrity),
        (&many, ParseFault::TooMany),
    ] {
        let attributes = if attributes == "000900040000044a" {
            format!("00080014{}{attributes}", "00".repeat(20))
        } else {
            attributes.to_owned()
        };
        let read = whole(&hex::decode(&framed(&attributes)).unwrap());
        assert_eq!(read.parsed, Err(fault), "{attributes}");
        assert_eq!(read.transaction, TransactionId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]));
    }
}

#[test]
fn unknown_attributes_and_the_content_of_padding_are_ignored() {
    let read = whole(&hex::decode(&framed("7fff000300ff00aa00060001 78ffffff".replace(' ', "").as_str())).unwrap());
    assert_eq!(
        read.parsed.unwrap().message.attributes,
        [Attribute::Username("x".into())]
    );
}

#[test]
fn an_error_code_is_written_as_computed() {
    let error = Attribute::ErrorCode(ErrorCode {
        code: 474,
        reason: "Unregistered".into(),
    });
    let mut bytes = Vec::new();
    error.write(&mut bytes);
    assert_eq!(hex::encode(&bytes[..4]), "0000044a");
    assert_eq!(Attribute::parse(0x0009, &bytes), Ok(Some(error)));
}

#[test]
fn a_message_too_long_is_not_written() {
    let message = register().with(Attribute::ServiceContent(vec![b' '; 32_767]));
    assert!(message.encode(None).is_some());
    assert_eq!(
        message.with(Attribute::ServiceContent(vec![b' '; 32_767])).encode(None),
        None
    );
}

fn whole(bytes: &[u8]) -> Read {
    let (taken, read) = Decoder::default().push(bytes).unwrap();
    assert_eq!(taken, bytes.len());
    read.unwrap()
}

/// A Register with these attributes.
fn framed(attributes: &str) -> String {
    format!(
        "0001{:04x}41666679000102030405060708090a0b{attributes}",
        attributes.len() / 2
    )
}

fn key() -> Key {
    Key::derive("edge1", &Secret::new(b"tollgate-test".to_vec()))
}

fn register() -> Message {
    let transaction = TransactionId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    Message::new(Method::Register, Class::Request, transaction)
        .with(Attribute::ClientName("tollgate/edge/0.1.0/192.0.2.1".into()))
        .with(Attribute::ProtocolVersion(1, 0))
        .with(Attribute::ClientLabel("x".into()))
        .with(Attribute::Username("edge1".into()))
        .with(Attribute::Realm(REALM.into()))
}

fn registered() -> Message {
    let transaction = TransactionId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    Message::new(Method::Register, Class::Success, transaction)
        .with(Attribute::ClientHandle(0x00c0_ffee))
        .with(Attribute::Keepalive(30_000))
        .with(Attribute::Realm(REALM.into()))
}
