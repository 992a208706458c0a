//! `[state]`, `[learned]` and `[validator]`: where learned facts come from and are kept.
//!
//! Connects to nothing and creates no folder.

use std::path::PathBuf;
use std::time::Duration;

use crate::forms;
use crate::policy::{Learned, Validator, ValidatorAddress, ValidatorProtocol, ValidatorTls};
use crate::raw::Section;
use crate::secret::SecretText;
use crate::sides::certificate_files;

/// The folder of `[state]`; the outer `None` is a mistake, the inner one its absence.
pub(crate) fn state_dir(root: &Section<'_>) -> Option<Option<PathBuf>> {
    let section = root.section("state");
    if !section.is_present() {
        return Some(None);
    }
    let dir = section.parsed("dir", |text| (!text.is_empty()).then(|| section.resolve(text)))?;
    Some(Some(dir))
}

pub(crate) fn build(root: &Section<'_>) -> Option<Learned> {
    let section = root.section("learned");
    let routes_max = section.integer("routes_max") as usize;
    let allow_private_targets = section.flag("allow_private_targets");
    let file = if section.has("file") {
        Some(section.file("file")?)
    } else {
        None
    };
    Some(Learned {
        routes_max,
        file,
        allow_private_targets,
    })
}

/// The validator; the outer `None` is a mistake, the inner one its absence.
pub(crate) fn validator(root: &Section<'_>) -> Option<Option<Validator>> {
    let section = root.section("validator");
    if !section.is_present() {
        return Some(None);
    }
    let address = section.parsed("address", |text| address(&section, text));
    let protocol = protocol(&section);
    let tls_section = section.section("tls");
    let tls = tls_section.is_present().then(|| tls(&tls_section));
    let peer_uid = section.has("peer_uid").then(|| section.integer("peer_uid") as u32);
    let (reconnect, silence) = (section.integer("reconnect_s"), section.integer("silence_s"));
    let is_plain = section.flag("allow_plain_tcp");
    let address = address?;
    if matches!(address, ValidatorAddress::Tcp(_)) && tls.is_none() && !is_plain {
        let mend = "add [validator.tls], or use a Unix socket";
        section.fault("tls", "is missing, and the validator is reached by TCP", mend);
    }
    let tls = match tls {
        Some(tls) => Some(tls?),
        None => None,
    };
    Some(Some(Validator {
        address,
        protocol: protocol?,
        peer_uid,
        tls,
        reconnect: Duration::from_secs(reconnect),
        silence: Duration::from_secs(silence),
    }))
}

fn address(section: &Section<'_>, text: &str) -> Option<ValidatorAddress> {
    match text.strip_prefix("unix:") {
        Some("") => None,
        Some(path) => Some(ValidatorAddress::Unix(section.resolve(path))),
        None => forms::host_port(text).map(ValidatorAddress::Tcp),
    }
}

fn protocol(section: &Section<'_>) -> Option<ValidatorProtocol> {
    let is_vap = section.choice("protocol", &[("feed", false), ("vap", true)]);
    let username = section.parsed("username", forms::user);
    let password = section.has("password_file").then(|| section.contents("password_file"));
    let vservice_id = section.parsed("vservice_id", forms::hex64);
    let route_life = Duration::from_secs(section.integer("route_life_d") * 86_400);
    let is_vap = is_vap?;
    for key in ["username", "password_file", "vservice_id"] {
        match (is_vap, section.has(key)) {
            (true, false) => section.fault(key, "is missing, and protocol is \"vap\"", "add it"),
            (false, true) => {
                let mend = "remove it, or write protocol = \"vap\"";
                section.fault(key, "belongs to protocol \"vap\"", mend);
            }
            (true, true) | (false, false) => {}
        }
    }
    if !is_vap {
        return Some(ValidatorProtocol::Feed);
    }
    Some(ValidatorProtocol::Vap {
        username: username?,
        password: SecretText::new(password??.trim_end_matches(['\r', '\n']).to_owned()),
        vservice_id: vservice_id?,
        route_life,
    })
}

fn tls(section: &Section<'_>) -> Option<ValidatorTls> {
    let server_name = section.parsed("server_name", forms::domain);
    Some(ValidatorTls {
        files: certificate_files(section)?,
        server_name: server_name?,
    })
}
