//! What an operator may say: one TOML file, checked whole.
//!
//! Rule of this crate: it knows the file and nothing else of Tollgate. It opens the files that the policy names and no
//! socket, starts nothing, and turns no policy into a running state; that is the control plane's work. A policy is
//! refused with all its mistakes at once, each with its line, its key, and how to mend it.
#![forbid(unsafe_code)]

mod calls;
mod cross;
mod deployment;
mod diff;
mod error;
mod fallback;
mod forms;
mod keys;
mod learned;
mod media;
mod policy;
mod raw;
mod reference;
mod routes;
mod secret;
mod sides;
mod tickets;

use std::cell::RefCell;
use std::path::Path;

pub use diff::{Change, diff};
pub use error::{PolicyError, PolicyErrors};
pub use policy::{
    Admin, Agent, Calls, CertificateFiles, DeniedTickets, Fallback, HostPort, Inline, Inside, InsideListener,
    InsideTls, KeyAlg, KeyForm, Learned, LogFormat, LogLevel, Logging, MacCovers, MappingService, Media, MediaRange,
    Mode, NumberPattern, OnTicketFailure, Outside, OutsideListener, Peer, Policy, RecordSink, Route, Rtcp, Suite,
    Thresholds, TicketHeader, TicketKey, Tickets, Transport, Validator, ValidatorAddress, ValidatorProtocol,
    ValidatorTls,
};
pub use reference::{reference, schema};
pub use secret::SecretText;

use raw::{Section, Source};

/// Reads and checks a policy file and the files it names; relative names start at the policy file's folder.
///
/// # Errors
/// [`PolicyErrors`] with every mistake found, or with one if the file cannot be read.
pub fn load(path: &Path) -> Result<Policy, PolicyErrors> {
    let name = path.display().to_string();
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text, folder, &name),
        Err(why) => Err(PolicyErrors::new(vec![PolicyError {
            file: name,
            line: 0,
            key: String::new(),
            problem: format!("cannot be read: {why}"),
            mend: "give the path of a policy file that this user may read".to_owned(),
        }])),
    }
}

/// Checks a policy's text as [`load`] does; `source_name` is the file named in errors.
///
/// # Errors
/// [`PolicyErrors`] with every mistake found. If the text is not TOML, those are the syntax errors alone.
pub fn parse(text: &str, folder: &Path, source_name: &str) -> Result<Policy, PolicyErrors> {
    let source = Source {
        name: source_name,
        text,
        folder,
        errors: RefCell::default(),
    };
    let (table, syntax) = toml::de::DeTable::parse_recoverable(text);
    for error in &syntax {
        let at = error.span().map_or(0, |span| span.start);
        source.fault(
            at,
            "",
            error.message(),
            "write it as TOML: key = value, strings in double quotes",
        );
    }
    let policy = if syntax.is_empty() {
        build(&Section::root(&source, table.get_ref()))
    } else {
        None
    };
    let errors = source.errors.into_inner();
    match policy {
        Some(policy) if errors.is_empty() => Ok(policy),
        Some(_) | None => Err(PolicyErrors::new(errors)),
    }
}

/// Builds every part before any is asked for, so that each adds its errors.
fn build(root: &Section<'_>) -> Option<Policy> {
    root.refuse_unknown_keys();
    let mode = deployment::mode(root);
    let (mapping, inline) = (deployment::mapping(root, mode), deployment::inline(root, mode));
    let (state_dir, learned, validator) = (learned::state_dir(root), learned::build(root), learned::validator(root));
    let names = calls::domains(root);
    let (inside, outside) = (sides::inside(root), sides::outside(root));
    let (media, calls, tickets) = (media::build(root), calls::build(root), tickets::build(root));
    let (routes, peers) = (routes::routes(root), routes::peers(root));
    let fallback = fallback::build(root);
    let (admin, logging) = (calls::admin(root), calls::logging(root));
    cross::check(
        root,
        &cross::Parts {
            inside: &inside,
            outside: &outside,
            media: &media,
            admin: &admin,
            mapping: mapping.as_ref().and_then(Option::as_ref),
            inline: inline.as_ref().and_then(Option::as_ref),
        },
    );
    let (domain, local_domains) = names?;
    Some(Policy {
        mode: mode?,
        domain,
        local_domains,
        inside: inside?,
        outside: outside?,
        mapping: mapping?,
        inline: inline?,
        state_dir: state_dir?,
        learned: learned?,
        validator: validator?,
        media: media?,
        calls: calls?,
        tickets: tickets?,
        routes: routes?,
        peers: peers?,
        fallback: fallback?,
        admin: admin?,
        logging: logging?,
    })
}
