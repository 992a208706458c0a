//! `tollgate netfilter`: the nftables and routing rules of mode inline, printed, installed, or removed.
//!
//! It touches one table of its own, one rule and one route of each address family, and nothing else of the host: no
//! forwarding, no firewall. How taking over works: Linux, Documentation/networking/tproxy.rst.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use tollgate_policy::{Inline, Policy};

use crate::args::NetfilterOptions;
use crate::check;
use crate::exit::{self, fail};

/// Prints the rules of a policy, or puts them in force, or takes them away.
#[allow(clippy::print_stdout, reason = "the answer of a command")]
pub(crate) fn netfilter(options: &NetfilterOptions) -> ExitCode {
    let policy = match tollgate_policy::load(&options.policy) {
        Ok(policy) => policy,
        Err(errors) => return check::refuse(&errors),
    };
    let Some(inline) = &policy.inline else {
        return not_inline(&options.policy, &policy);
    };
    let rules = Rules::of(&policy, inline);
    let done = match (options.apply, options.remove) {
        (false, false) => {
            print!("{}", rules.as_script());
            Ok(())
        }
        (true, _) => rules.apply(),
        (false, true) => rules.remove(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(exit::OS, why),
    }
}

fn not_inline(path: &Path, policy: &Policy) -> ExitCode {
    let why = format!(
        "{}: mode is \"{}\"; only mode \"inline\" takes connections over and needs rules",
        path.display(),
        policy.mode.name()
    );
    fail(exit::DATA, why)
}

/// The rules of one policy.
struct Rules {
    nft: String,
    families: Vec<Family>,
    mark: u32,
    table: u32,
}

/// An address family that connections are taken over in.
struct Family {
    flag: &'static str,
    everything: &'static str,
}

impl Rules {
    fn of(policy: &Policy, inline: &Inline) -> Self {
        let mut families = Vec::new();
        for address in &inline.bind {
            families.push(if address.is_ipv4() {
                Family {
                    flag: "-4",
                    everything: "0.0.0.0/0",
                }
            } else {
                Family {
                    flag: "-6",
                    everything: "::/0",
                }
            });
        }
        Self {
            nft: table(inline, &policy.inside.agent.allow_from),
            families,
            mark: inline.mark,
            table: inline.table,
        }
    }

    /// Everything as a shell script that may be run any number of times.
    fn as_script(&self) -> String {
        let mut script = String::from("#!/bin/sh -e\n");
        let _ = write!(script, "nft -f - <<'END'\n{}END\n", self.nft);
        for family in &self.families {
            let rule = self.rule("add").join(" ");
            let (flag, mark, table) = (family.flag, self.mark, self.table);
            let known = format!("ip {flag} rule show fwmark {mark} table {table}");
            let _ = writeln!(script, "[ -n \"$({known})\" ] || ip {flag} {rule}");
            let _ = writeln!(script, "ip {flag} {}", self.route("replace", family).join(" "));
        }
        script
    }

    fn apply(&self) -> Result<(), String> {
        pipe("nft", &["-f", "-"], &self.nft)?;
        for family in &self.families {
            if !self.has_rule(family)? {
                ip(family, &self.rule("add"))?;
            }
            ip(family, &self.route("replace", family))?;
        }
        Ok(())
    }

    fn remove(&self) -> Result<(), String> {
        pipe(
            "nft",
            &["-f", "-"],
            &format!("table inet {TABLE}\ndelete table inet {TABLE}\n"),
        )?;
        for family in &self.families {
            while self.has_rule(family)? {
                ip(family, &self.rule("delete"))?;
            }
            let shown = ip(family, &words(&["route", "show", "table", &self.table.to_string()]));
            // A table that was never filled is an error to show; there is nothing to remove then.
            if shown.is_ok_and(|routes| !routes.trim().is_empty()) {
                ip(family, &self.route("delete", family))?;
            }
        }
        Ok(())
    }

    fn has_rule(&self, family: &Family) -> Result<bool, String> {
        let (mark, table) = (self.mark.to_string(), self.table.to_string());
        let shown = ip(family, &words(&["rule", "show", "fwmark", &mark, "table", &table]))?;
        Ok(!shown.trim().is_empty())
    }

    fn rule(&self, verb: &str) -> Vec<String> {
        let (mark, table) = (self.mark.to_string(), self.table.to_string());
        words(&["rule", verb, "fwmark", &mark, "lookup", &table])
    }

    fn route(&self, verb: &str, family: &Family) -> Vec<String> {
        let table = self.table.to_string();
        words(&["route", verb, "local", family.everything, "dev", "lo", "table", &table])
    }
}

/// Our table, replaced as a whole in one transaction.
///
/// The first rule keeps packets of connections already taken; the second takes new ones, if an agent opens them to a
/// peer's SIP port at an address that is not one of the host's own.
fn table(inline: &Inline, agents: &[IpAddr]) -> String {
    let (interface, mark, ports) = (&inline.interface, inline.mark, set(inline.ports.iter().map(port)));
    let mut text = format!(
        "table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n    \
         chain take {{\n        type filter hook prerouting priority mangle; policy accept;\n        \
         iifname \"{interface}\" meta l4proto tcp socket transparent 1 meta mark set {mark} accept\n"
    );
    for bind in &inline.bind {
        let of_family: Vec<_> = agents.iter().filter(|ip| ip.is_ipv4() == bind.is_ipv4()).collect();
        if of_family.is_empty() {
            continue;
        }
        let (family, agents) = (if bind.is_ipv4() { "ip" } else { "ip6" }, set(of_family));
        let target = if bind.ip().is_unspecified() {
            format!(":{}", bind.port())
        } else {
            bind.to_string()
        };
        let _ = writeln!(
            text,
            "        iifname \"{interface}\" {family} saddr {agents} tcp dport {ports} fib daddr type != local \
             tproxy {family} to {target} meta mark set {mark} accept"
        );
    }
    text.push_str("    }\n}\n");
    text
}

fn set<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    format!("{{ {} }}", items.join(", "))
}

fn port(range: &RangeInclusive<u16>) -> String {
    if range.start() == range.end() {
        range.start().to_string()
    } else {
        format!("{}-{}", range.start(), range.end())
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn ip(family: &Family, arguments: &[String]) -> Result<String, String> {
    let mut all = vec![family.flag];
    all.extend(arguments.iter().map(String::as_str));
    pipe("ip", &all, "")
}

/// Runs a program with a text as its input and returns what it printed.
fn pipe(program: &str, arguments: &[&str], input: &str) -> Result<String, String> {
    let started = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = started.map_err(|why| format!("cannot run {program}: {why}; install nftables and iproute2"))?;
    let stdin = child.stdin.take();
    let written = stdin.map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()));
    let done = child.wait_with_output().map_err(|why| format!("{program}: {why}"))?;
    if !done.status.success() || written.is_err() {
        let said = String::from_utf8_lossy(&done.stderr);
        return Err(format!("{program} {}: {}", arguments.join(" "), said.trim()));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// The name of our table.
const TABLE: &str = "tollgate";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_agents_of_a_listeners_family_are_taken_over() {
        let agents = ["10.1.0.10", "10.1.0.11", "fd00:a::10"].map(|ip| ip.parse().unwrap());
        let inline = |bind: &[&str]| Inline {
            bind: bind.iter().map(|bind| bind.parse().unwrap()).collect(),
            interface: "inside".to_owned(),
            ports: vec![5060..=5061, 5070..=5070],
            mark: 7,
            table: 8,
        };
        let both = table(&inline(&["0.0.0.0:5059", "[fd00:a::1]:5059"]), &agents);
        assert!(
            both.contains("ip saddr { 10.1.0.10, 10.1.0.11 } tcp dport { 5060-5061, 5070 } fib daddr type != local tproxy ip to :5059 meta mark set 7 accept"),
            "{both}"
        );
        assert!(both.contains("ip6 saddr { fd00:a::10 } tcp"), "{both}");
        assert!(both.contains("tproxy ip6 to [fd00:a::1]:5059"), "{both}");
        let four = table(&inline(&["0.0.0.0:5059"]), &agents);
        assert!(!four.contains("ip6"), "{four}");
    }
}
