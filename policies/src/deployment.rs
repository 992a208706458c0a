//! `mode`, and what the modes beside `trunk` need: `[mapping]` and `[inline]`.
//!
//! Asks the kernel nothing: whether it can take connections over is seen when Tollgate starts.

use std::net::SocketAddr;
use std::time::Duration;

use crate::forms;
use crate::policy::{Inline, MappingService, Mode};
use crate::raw::Section;

pub(crate) fn mode(root: &Section<'_>) -> Option<Mode> {
    let modes = [
        ("trunk", Mode::Trunk),
        ("off-path", Mode::OffPath),
        ("inline", Mode::Inline),
    ];
    root.choice("mode", &modes)
}

/// The mapping service of mode off-path; the outer `None` is a mistake, the inner one its absence.
pub(crate) fn mapping(root: &Section<'_>, mode: Option<Mode>) -> Option<Option<MappingService>> {
    let section = root.section("mapping");
    if !belongs(root, &section, "mapping", mode, Mode::OffPath) {
        return Some(None);
    }
    let listen = section.parsed("listen", forms::address);
    let bind = section.parsed("bind", forms::host_ip);
    let ports = section.parsed("ports", forms::ports);
    let (idle_s, per_client_max) = (section.integer("idle_timeout_s"), section.integer("per_client_max"));
    let listen = listen?;
    if bind.is_none() && !section.has("bind") && listen.ip().is_unspecified() {
        let problem = format!("is missing, and agents cannot connect to {}", listen.ip());
        section.fault("bind", problem, "add the inside address of the mapped ports");
    }
    let (bind, ports) = (bind.unwrap_or_else(|| listen.ip()), ports?);
    if ports.contains(&listen.port()) && (bind == listen.ip() || listen.ip().is_unspecified()) {
        let problem = format!("the mapped ports include the service's own port {}", listen.port());
        section.fault("ports", problem, "move the range or the service");
    }
    Some(Some(MappingService {
        listen,
        bind,
        ports,
        idle_timeout: Duration::from_secs(idle_s),
        per_client_max: per_client_max as u32,
    }))
}

/// What mode inline needs; the outer `None` is a mistake, the inner one its absence.
pub(crate) fn inline(root: &Section<'_>, mode: Option<Mode>) -> Option<Option<Inline>> {
    let section = root.section("inline");
    if !belongs(root, &section, "inline", mode, Mode::Inline) {
        return Some(None);
    }
    let bind = section.list("bind", forms::address);
    if !section.has("bind") {
        section.fault("bind", "is missing", "add it: a list such as [\"0.0.0.0:5059\"]");
    } else if families_clash(&bind) {
        section.fault(
            "bind",
            "names more than one address of a family",
            "keep one for each family",
        );
    }
    let interface = section.parsed("interface", forms::interface);
    let [mark, table] = ["mark", "table"].map(|key| section.integer(key) as u32);
    let ports = section.list("ports", forms::peer_ports);
    if section.has("ports") && ports.is_empty() {
        section.fault(
            "ports",
            "names no port",
            "name at least one port of peers, such as \"5061\"",
        );
    }
    Some(Some(Inline {
        bind,
        interface: interface?,
        ports,
        mark,
        table,
    }))
}

/// A mode's table must be there in its own mode and nowhere else. It is read wherever it is written.
fn belongs(root: &Section<'_>, section: &Section<'_>, key: &str, mode: Option<Mode>, own: Mode) -> bool {
    let name = own.name();
    match (section.is_present(), mode) {
        (true, Some(mode)) if mode != own => {
            let problem = format!("belongs to mode \"{name}\"");
            root.fault(key, problem, format!("remove it, or write mode = \"{name}\""));
        }
        (false, Some(mode)) if mode == own => {
            let problem = format!("is missing, and mode is \"{name}\"");
            root.fault(key, problem, format!("add [{key}] and its keys below it"));
        }
        (true | false, Some(_) | None) => {}
    }
    section.is_present()
}

fn families_clash(addresses: &[SocketAddr]) -> bool {
    addresses.iter().filter(|address| address.is_ipv4()).count() > 1
        || addresses.iter().filter(|address| address.is_ipv6()).count() > 1
}
