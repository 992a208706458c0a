//! The vectors of VAP: messages with their MACs, and ValInfo documents.

use tollgate_contract::Secret;
use tollgate_validator::valinfo;
use tollgate_validator::vap::{Decoder, Key, Method};

use crate::data::{unhex, valinfos, vap_messages};

#[test]
fn every_message_is_read_as_its_vector_says() {
    let file = vap_messages();
    let password = Secret::new(file["password"].as_str().unwrap().into());
    let key = Key::derive(file["username"].as_str().unwrap(), &password);
    let cases = file["cases"].as_array().unwrap();
    for case in cases {
        let id = case["id"].as_str().unwrap();
        let bytes = unhex(case["hex"].as_str().unwrap());
        let pushed = Decoder::default().push(&bytes);
        if let Some(name) = case["frame_fault"].as_str() {
            assert_eq!(pushed.unwrap_err().name(), name, "{id}");
            continue;
        }
        let (taken, read) = pushed.unwrap();
        let read = read.unwrap_or_else(|| panic!("{id} is not whole"));
        assert_eq!(taken, bytes.len(), "{id}");
        if case["parse_fault"] == true {
            assert!(read.parsed.is_err(), "{id}");
            continue;
        }
        let parsed = read.parsed.unwrap_or_else(|fault| panic!("{id}: {fault:?}"));
        let is_unknown = matches!(read.method, Method::Unknown(_));
        let method = if is_unknown {
            "Unknown".to_owned()
        } else {
            format!("{:?}", read.method)
        };
        assert_eq!(method, case["method"].as_str().unwrap(), "{id}");
        assert_eq!(format!("{:?}", read.class), case["class"].as_str().unwrap(), "{id}");
        assert_eq!(parsed.is_authentic(&key), case["authentic"] == true, "{id}");
        assert_eq!(
            parsed.message.attributes.len() as u64,
            case["attributes"].as_u64().unwrap(),
            "{id}"
        );
        let error = parsed.message.error().map(|error| u64::from(error.code));
        assert_eq!(error, case["error"].as_u64(), "{id}");
    }
    assert!(cases.len() >= 25);
}

#[test]
fn every_valinfo_is_read_as_its_vector_says() {
    let file = valinfos();
    for case in file["cases"].as_array().unwrap() {
        let id = case["id"].as_str().unwrap();
        let parsed = valinfo::parse(case["document"].as_str().unwrap().as_bytes());
        if let Some(name) = case["fault"].as_str() {
            assert_eq!(parsed.unwrap_err().name(), name, "{id}");
            continue;
        }
        let groups = parsed.unwrap_or_else(|fault| panic!("{id}: {fault:?}"));
        let groups: Vec<_> = groups
            .iter()
            .map(|group| serde_json::json!([group.number.0, group.uris.len()]))
            .collect();
        assert_eq!(groups, *case["groups"].as_array().unwrap(), "{id}");
    }
}
