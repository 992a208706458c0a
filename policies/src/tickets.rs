//! `[tickets]`: keys, settings, and what has been taken back.
//!
//! Reads keys from files and variables and checks their form; what they are used for is not known here.

use std::time::Duration;

use crate::forms;
use crate::policy::{DeniedTickets, KeyAlg, KeyForm, MacCovers, TicketHeader, TicketKey, Tickets};
use crate::raw::Section;
use crate::secret::SecretText;

pub(crate) fn build(root: &Section<'_>) -> Option<Tickets> {
    let section = root.section("tickets");
    let headers = [
        ("X-Cisco-UC-IME-Ticket", TicketHeader::CiscoUcIme),
        ("X-Cisco-ViPR-Ticket", TicketHeader::CiscoVipr),
        ("Ticket", TicketHeader::Ticket),
        ("ViPR-Ticket", TicketHeader::Vipr),
    ];
    let header = section.choice("header", &headers);
    let coverages = [
        ("before-integrity", MacCovers::BeforeIntegrity),
        ("with-integrity-header", MacCovers::WithIntegrityHeader),
    ];
    let mac_covers = section.choice("mac_covers", &coverages);
    let allow_short_password = section.flag("allow_short_password");
    let keys = keys(&section, allow_short_password);
    let are_keys_read = keys.is_some();
    let enrolled = section.list("enrolled", forms::e164);
    let tickets = Tickets {
        header: header.unwrap_or(TicketHeader::CiscoUcIme),
        clock_skew: Duration::from_secs(section.integer("clock_skew_s")),
        salt_max: section.integer("salt_max") as usize,
        mac_covers: mac_covers.unwrap_or(MacCovers::BeforeIntegrity),
        enrolled: section.has("enrolled").then_some(enrolled),
        allow_short_password,
        keys: keys.unwrap_or_default(),
        denied: denied(&section.section("denied")),
    };
    (are_keys_read && header.is_some() && mac_covers.is_some()).then_some(tickets)
}

fn keys(tickets: &Section<'_>, allow_short: bool) -> Option<Vec<TicketKey>> {
    let sections = tickets.sections("keys");
    let mut epochs = Vec::new();
    for section in &sections {
        let epoch = section.integer("epoch");
        if section.has("epoch") && epochs.contains(&epoch) {
            let mend = "give the newer key the next epoch; an epoch is never used again";
            section.fault("epoch", format!("epoch {epoch} stands twice"), mend);
        }
        epochs.push(epoch);
    }
    let keys: Vec<Option<TicketKey>> = sections
        .iter()
        .zip(epochs)
        .map(|(section, epoch)| key(section, epoch as u32, allow_short))
        .collect();
    keys.into_iter().collect()
}

fn key(section: &Section<'_>, epoch: u32, allow_short: bool) -> Option<TicketKey> {
    let alg = section.choice(
        "alg",
        &[
            ("v2-hmac-sha256", KeyAlg::V2HmacSha256),
            ("vipr-hmac-sha1", KeyAlg::ViprHmacSha1),
        ],
    );
    let forms = [
        ("hex16", KeyForm::Hex16),
        ("hex32", KeyForm::Hex32),
        ("raw-ascii", KeyForm::RawAscii),
    ];
    let form = match (section.has("form"), alg) {
        (true, _) => section.choice("form", &forms),
        (false, Some(KeyAlg::V2HmacSha256)) => Some(KeyForm::Hex32),
        (false, Some(KeyAlg::ViprHmacSha1)) => Some(KeyForm::Hex16),
        (false, None) => None,
    };
    let (not_before, accept_until) = (section.time("not_before"), section.time("accept_until"));
    if let (Some(start), Some(end)) = (not_before, accept_until)
        && end <= start
    {
        section.fault(
            "accept_until",
            "is not after not_before",
            "write a later time, or leave one of the two out",
        );
    }
    let text = secret(section, form, allow_short);
    let revoked = section.flag("revoked");
    Some(TicketKey {
        epoch,
        alg: alg?,
        form: form?,
        text: text?,
        not_before,
        accept_until,
        revoked,
    })
}

/// The key's text from its one source, checked against its form; errors repeat none of it.
fn secret(section: &Section<'_>, form: Option<KeyForm>, allow_short: bool) -> Option<SecretText> {
    let (key, text) = match (section.has("key_file"), section.has("key_env")) {
        (true, false) => ("key_file", section.contents("key_file")?),
        (false, true) => ("key_env", from_environment(section)?),
        (true, true) => {
            section.fault("key_env", "stands beside key_file", "keep one of the two");
            return None;
        }
        (false, false) => {
            section.fault("", "the key has no source", "add key_file or key_env");
            return None;
        }
    };
    let text = SecretText::new(text);
    if let Err(problem) = check_form(text.expose().trim_ascii(), form?, allow_short) {
        section.fault(
            key,
            format!("what it holds is no key: {problem}"),
            "put a key of that form there, or change `form`",
        );
        return None;
    }
    Some(text)
}

fn from_environment(section: &Section<'_>) -> Option<String> {
    let name = section.text("key_env")?;
    let is_name = !name.is_empty() && !name.contains(['=', '\0']);
    let value = if is_name { std::env::var(name).ok() } else { None };
    if value.is_none() {
        // The name is not repeated: it may be the key itself, put there by mistake.
        let mend = "name a variable that is set for this process, or use key_file";
        section.fault("key_env", "no variable of this name is set to text", mend);
    }
    value
}

fn check_form(text: &str, form: KeyForm, allow_short: bool) -> Result<(), String> {
    let found = text.chars().count();
    let hex = |digits: usize| {
        let is_hex = found == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hex {
            Ok(())
        } else {
            Err(format!(
                "{digits} hexadecimal digits are needed, and there are {found} characters"
            ))
        }
    };
    match form {
        KeyForm::Hex16 => hex(32),
        KeyForm::Hex32 => hex(64),
        KeyForm::RawAscii if !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err("a character is not printable ASCII (0x21-0x7E)".to_owned())
        }
        KeyForm::RawAscii if (10..20).contains(&found) && !allow_short => Err(format!(
            "{found} characters are short; under 20 needs allow_short_password = true"
        )),
        KeyForm::RawAscii if !(10..=64).contains(&found) => {
            Err(format!("20 to 64 characters are needed, and there are {found}"))
        }
        KeyForm::RawAscii => Ok(()),
    }
}

fn denied(section: &Section<'_>) -> DeniedTickets {
    DeniedTickets {
        uuids: section.list("uuids", forms::uuid),
        numbers: section.list("numbers", forms::e164),
        domains: section.list("domains", forms::domain),
        epochs: section
            .integers("epochs")
            .into_iter()
            .map(|epoch| epoch as u32)
            .collect(),
    }
}
