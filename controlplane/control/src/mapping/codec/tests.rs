use proptest::prelude::{any, proptest};
use serde_json::Value;

use super::*;

#[test]
fn requests_of_the_vectors_are_read_or_refused_as_told() {
    for case in cases(include_str!("../../../../../tests/data/mapping/requests.json")) {
        let name = text(&case, "id");
        let read = Request::decode(text(&case, "line").as_bytes());
        match (case.get("expect"), read) {
            (Some(expect), Ok(request)) => {
                assert_eq!(&value(&request.encode()), expect, "{name}");
                assert_eq!(Request::decode(request.encode().as_bytes()), Ok(request), "{name}");
            }
            (None, Err(malformed)) => {
                let id = case["refused"]["id"].as_u64().map(|id| id as u32);
                let refused = (malformed.id, malformed.cause.name());
                assert_eq!(refused, (id, case["refused"]["cause"].as_str().unwrap()), "{name}");
            }
            (_, read) => panic!("{name}: {read:?}"),
        }
    }
}

#[test]
fn answers_of_the_vectors_are_understood_or_not_as_told() {
    for case in cases(include_str!("../../../../../tests/data/mapping/answers.json")) {
        let name = text(&case, "id");
        let read = Response::decode(text(&case, "line").as_bytes());
        if case.get("not_understood").is_some() {
            assert_eq!(read, Err(NotUnderstood), "{name}");
            continue;
        }
        let again = read.unwrap_or_else(|_| panic!("{name}")).encode();
        if case["round_trip"] == true {
            assert_eq!(value(&again), value(text(&case, "line")), "{name}");
        }
    }
}

#[test]
fn greetings_of_the_vectors_tell_their_version() {
    for case in cases(include_str!("../../../../../tests/data/mapping/greetings.json")) {
        let name = text(&case, "id");
        let read = Greeting::decode(text(&case, "line").as_bytes());
        let Some(version) = case.get("version") else {
            assert_eq!(read, Err(NotUnderstood), "{name}");
            continue;
        };
        let read = read.unwrap_or_else(|_| panic!("{name}"));
        assert_eq!(read.version.to_string(), version.as_str().unwrap(), "{name}");
        assert_eq!(read.idle.as_secs(), case["idle_s"].as_u64().unwrap(), "{name}");
        assert_eq!(Greeting::decode(read.encode().as_bytes()), Ok(read), "{name}");
    }
}

#[test]
fn every_refusal_has_its_cause_and_words() {
    for cause in Cause::ALL {
        let wire = value(&Response::refused(Some(7), cause).encode());
        assert_eq!(wire["id"], 7);
        assert_eq!(wire["refused"]["cause"], cause.name());
        assert_eq!(wire["refused"]["text"], cause.text());
    }
}

#[test]
fn the_longest_lines_there_can_be_are_within_the_bound() {
    let label = "a".repeat(63);
    let name = [label.as_str(), &label, &label, &"a".repeat(61)].join(".");
    let domain: Domain = name.parse().unwrap();
    let global: SocketAddr = "[2001:db8:ffff:ffff:ffff:ffff:255.255.255.255]:65535".parse().unwrap();
    let target = Target {
        host: TargetHost::Name(domain.clone()),
        port: NonZeroU16::MAX,
        transport: Transport::Tls,
        domain: domain.clone(),
    };
    let request = Request {
        id: u32::MAX,
        method: Method::Map(target),
    };
    let item = Answer::Item(Item {
        mapped: global,
        host: name,
        global,
        transport: Transport::Tls,
        domain,
        lifetime: Duration::from_secs(86_400),
    });
    let id = Some(u32::MAX);
    let (request, item) = (request.encode(), Response { id, answer: item }.encode());
    assert!((500..=MAX_LINE).contains(&request.len()) && (500..=MAX_LINE).contains(&item.len()));
}

#[test]
fn lines_come_out_however_the_bytes_come_in() {
    let stream = b"one\ntwo\r\n\nthree\nfo";
    for size in 1..=stream.len() {
        let (mut decoder, mut lines) = (LineDecoder::default(), Vec::new());
        for chunk in stream.chunks(size) {
            assert_eq!(decoder.extend(chunk), chunk.len());
            while let Some(line) = decoder.next_line().unwrap() {
                lines.push(line);
            }
        }
        assert_eq!(lines, [b"one".as_slice(), b"two\r", b"", b"three"]);
        assert!(decoder.is_mid_line());
    }
}

#[test]
fn a_line_one_byte_too_long_is_refused_for_good() {
    let mut decoder = LineDecoder::default();
    let longest = [vec![b'x'; MAX_LINE - 1], b"\n".to_vec()].concat();
    assert_eq!(decoder.extend(&longest), MAX_LINE);
    assert_eq!(decoder.next_line(), Ok(Some(vec![b'x'; MAX_LINE - 1])));
    decoder.extend(&vec![b'x'; MAX_LINE - 1]);
    assert_eq!(decoder.next_line(), Ok(None));
    decoder.extend(b"x\n");
    assert_eq!(decoder.next_line(), Err(TooLong));
    assert_eq!(decoder.next_line(), Err(TooLong));
}

#[test]
fn the_decoder_never_holds_more_than_two_lines() {
    let mut decoder = LineDecoder::default();
    let flood = vec![b'x'; 10 * MAX_LINE];
    assert_eq!(decoder.extend(&flood), 2 * MAX_LINE);
    assert_eq!((decoder.room(), decoder.extend(&flood)), (0, 0));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>) {
        let _ = Request::decode(&bytes);
        let _ = Response::decode(&bytes);
        let _ = Greeting::decode(&bytes);
    }

    #[test]
    fn a_good_request_with_bytes_changed_never_panics(at in 0usize..90, byte: u8) {
        let mut line = br#"{"id":1,"map":{"host":"203.0.113.7","port":5061,"transport":"tls","domain":"b.example"}}"#.to_vec();
        if let Some(place) = line.get_mut(at) {
            *place = byte;
        }
        let _ = Request::decode(&line);
    }

    #[test]
    fn what_goes_in_as_lines_comes_out_as_lines(
        lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20),
        size in 1usize..50,
    ) {
        let lines: Vec<Vec<u8>> = lines
            .into_iter()
            .map(|line| line.into_iter().filter(|byte| *byte != b'\n').collect())
            .collect();
        let stream: Vec<u8> = lines.iter().flat_map(|line| [line.as_slice(), b"\n"].concat()).collect();
        let (mut decoder, mut out) = (LineDecoder::default(), Vec::new());
        for chunk in stream.chunks(size) {
            decoder.extend(chunk);
            while let Some(line) = decoder.next_line().unwrap() {
                out.push(line);
            }
        }
        assert_eq!(out, lines);
    }
}

fn cases(file: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(file).unwrap();
    let cases = file["cases"].as_array().unwrap().clone();
    assert!(cases.len() >= 5);
    cases
}

fn text<'c>(case: &'c Value, member: &str) -> &'c str {
    case[member].as_str().unwrap()
}

fn value(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}
