//! The text of a policy file for one of the two companies.
//!
//! It checks nothing; the edge that reads the file does.

use std::fmt::Write;

use super::company::{Company, FIRST_PORT, PORT_COUNT};

/// A number of the company opposite.
#[derive(Clone, Debug)]
pub(super) struct RouteEntry {
    /// The number.
    pub(super) number: String,
    /// The file with its ticket, relative to the policy; `None` for a call without one.
    pub(super) ticket_file: Option<String>,
}

/// The policy of `own`, which calls `peer` on these routes and writes call records to `records`.
pub(super) fn text(own: &Company, peer: &Company, routes: &[RouteEntry], records: &str) -> String {
    let mut text = format!("# The edge of {}, opposite that of {}.\n", own.domain, peer.domain);
    text.push_str(&sides(own));
    text.push_str(&media(own));
    text.push_str(&routes_to(peer, routes));
    text.push_str(&format!(
        "\n[admin]\nlisten = \"{}\"\n\n[logging]\nformat = \"human\"\nlevel = \"info\"\ncall_records = \"{records}\"\n",
        own.admin
    ));
    text
}

fn sides(own: &Company) -> String {
    let Company {
        name,
        domain,
        inside,
        agent,
        outside,
        advertised,
        ..
    } = own;
    let transport = own.transport.via_name().to_ascii_lowercase();
    format!(
        r#"mode = "trunk"
domain = "{domain}"

[[inside.listeners]]
transport = "udp"
bind = "{inside}"

[[inside.listeners]]
transport = "tcp"
bind = "{inside}"

[inside.agent]
address = "{agent}"
transport = "{transport}"

[[outside.listeners]]
bind = "{outside}"
advertised = "{advertised}"

[outside.tls]
certificate = "tls/{name}.pem"
private_key = "tls/{name}.key"
trust_roots = "tls/ca.pem"
"#
    )
}

fn media(own: &Company) -> String {
    let (inside, outside, advertised) = (own.inside.ip(), own.outside.ip(), own.advertised.ip());
    let (last_port, max_calls) = (FIRST_PORT + PORT_COUNT - 1, PORT_COUNT / 2);
    format!(
        r#"
[media]
max_calls = {max_calls}

[[media.inside]]
bind = "{inside}"
ports = "{FIRST_PORT}-{last_port}"

[[media.outside]]
bind = "{outside}"
advertised = "{advertised}"
ports = "{FIRST_PORT}-{last_port}"

[[tickets.keys]]
epoch = 1
alg = "v2-hmac-sha256"
key_file = "keys/{}-epoch-1.key"
"#,
        own.name
    )
}

fn routes_to(peer: &Company, routes: &[RouteEntry]) -> String {
    let mut text = String::new();
    for route in routes {
        let _ = write!(
            text,
            "\n[[routes]]\nnumber = \"{}\"\ndomain = \"{}\"\npeer = \"{}\"\n",
            route.number, peer.domain, peer.advertised
        );
        if let Some(file) = &route.ticket_file {
            let _ = writeln!(text, "ticket_file = \"{file}\"");
        }
    }
    let _ = write!(
        text,
        "\n[[peers]]\ndomain = \"{}\"\nlabel = \"{}\"\n",
        peer.domain, peer.name
    );
    text
}
