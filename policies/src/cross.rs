//! What no single key can get wrong: two sockets on one address.
//!
//! Knows only the policy; another program may still hold an address.

use std::net::{IpAddr, SocketAddr};

use crate::policy::{Admin, Inline, Inside, MappingService, Media, MediaRange, Outside, Transport};
use crate::raw::Section;

/// The parts that own sockets, as far as they could be read.
pub(crate) struct Parts<'a> {
    pub(crate) inside: &'a Option<Inside>,
    pub(crate) outside: &'a Option<Outside>,
    pub(crate) media: &'a Option<Media>,
    pub(crate) admin: &'a Option<Admin>,
    pub(crate) mapping: Option<&'a MappingService>,
    pub(crate) inline: Option<&'a Inline>,
}

pub(crate) fn check(root: &Section<'_>, parts: &Parts<'_>) {
    let sockets = sockets(parts);
    for (index, socket) in sockets.iter().enumerate() {
        let earlier = sockets.iter().take(index).find(|earlier| earlier.clashes_with(socket));
        if let Some(earlier) = earlier {
            let problem = format!("{} is taken by {}", socket.address, earlier.key);
            report(root, &socket.key, &problem, "give one of them another address or port");
        }
    }
    check_mapped_ports(root, parts, &sockets);
    let ranges = ranges(parts);
    for (index, (key, range)) in ranges.iter().enumerate() {
        let overlaps = |other: &MediaRange| {
            meet(other.bind, range.bind)
                && other.ports.start() <= range.ports.end()
                && range.ports.start() <= other.ports.end()
        };
        if let Some((earlier, _)) = ranges.iter().take(index).find(|(_, other)| overlaps(other)) {
            let mend = "give the two sides ranges without a common port, or different addresses";
            report(
                root,
                &(*key).clone(),
                &format!("the ports overlap those of {earlier} on one address"),
                mend,
            );
        }
        let datagrams = sockets.iter().filter(|socket| socket.is_udp);
        let inside =
            |socket: &&Socket| meet(socket.address.ip(), range.bind) && range.ports.contains(&socket.address.port());
        if let Some(socket) = datagrams.clone().find(inside) {
            let problem = format!("the ports include {} of {}", socket.address, socket.key);
            report(root, key, &problem, "move the range or the listener");
        }
    }
}

/// Mapped ports are TCP: no other stream socket may stand among them.
fn check_mapped_ports(root: &Section<'_>, parts: &Parts<'_>, sockets: &[Socket]) {
    let Some(mapping) = parts.mapping else { return };
    let is_among = |socket: &&Socket| {
        !socket.is_udp
            && socket.key != "mapping"
            && meet(socket.address.ip(), mapping.bind)
            && mapping.ports.contains(&socket.address.port())
    };
    if let Some(socket) = sockets.iter().find(is_among) {
        let problem = format!("the mapped ports include {} of {}", socket.address, socket.key);
        root.section("mapping")
            .fault("ports", problem, "move the range or the listener");
    }
}

/// A socket that will be bound.
struct Socket {
    key: String,
    address: SocketAddr,
    is_udp: bool,
}

impl Socket {
    fn clashes_with(&self, other: &Self) -> bool {
        self.is_udp == other.is_udp
            && self.address.port() == other.address.port()
            && self.address.port() != 0
            && meet(self.address.ip(), other.address.ip())
    }
}

/// Whether sockets on both addresses can meet: equal, or one of them stands for all of its family.
fn meet(one: IpAddr, other: IpAddr) -> bool {
    one == other || (one.is_ipv4() == other.is_ipv4() && (one.is_unspecified() || other.is_unspecified()))
}

fn sockets(parts: &Parts<'_>) -> Vec<Socket> {
    let inside = parts
        .inside
        .iter()
        .flat_map(|inside| inside.listeners.iter().enumerate());
    let inside = inside.map(|(index, listener)| Socket {
        key: format!("inside.listeners[{index}]"),
        address: listener.bind,
        is_udp: listener.transport == Transport::Udp,
    });
    let outside = parts
        .outside
        .iter()
        .flat_map(|outside| outside.listeners.iter().enumerate());
    let outside = outside.map(|(index, listener)| Socket {
        key: format!("outside.listeners[{index}]"),
        address: listener.bind,
        is_udp: false,
    });
    let admin = parts.admin.iter().map(|admin| Socket {
        key: "admin".to_owned(),
        address: admin.listen,
        is_udp: false,
    });
    let stream = |key: &str, address| Socket {
        key: key.to_owned(),
        address,
        is_udp: false,
    };
    let taken = parts.inline.into_iter().flat_map(|inline| &inline.bind);
    let taken = taken.map(|address| stream("inline", *address));
    let mapping = parts.mapping.map(|mapping| stream("mapping", mapping.listen));
    inside.chain(outside).chain(admin).chain(taken).chain(mapping).collect()
}

fn ranges<'a>(parts: &Parts<'a>) -> Vec<(String, &'a MediaRange)> {
    let Some(media) = parts.media else { return Vec::new() };
    let inside = media
        .inside
        .iter()
        .enumerate()
        .map(|(index, range)| (format!("media.inside[{index}]"), range));
    let outside = media
        .outside
        .iter()
        .enumerate()
        .map(|(index, range)| (format!("media.outside[{index}]"), range));
    inside.chain(outside).collect()
}

/// Notes a mistake at the table that a path such as `media.outside[0]` names.
fn report(root: &Section<'_>, path: &str, problem: &str, mend: &str) {
    let key = match path {
        "admin" | "mapping" => "listen",
        _ if path.starts_with("media") => "ports",
        _ => "bind",
    };
    root.at(path).fault(key, problem, mend);
}
