//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// An enterprise SIP edge: companies that never configured each other call one another over the Internet, encrypted and
/// watched, and fall back to the PSTN when it turns bad.
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run the edge in the foreground.
    ///
    /// SIGTERM drains: new calls get 503, calls in progress go on until they end or the policy's deadline; a second one
    /// forces. Example: tollgate run --policy /etc/tollgate/edge.toml
    Run {
        /// The policy file.
        #[arg(long, value_name = "FILE")]
        policy: PathBuf,
    },
    /// Report every error of a policy at once, with line, key and mend.
    ///
    /// Example: tollgate check --policy edge.toml
    Check {
        /// The policy file.
        #[arg(long, value_name = "FILE")]
        policy: PathBuf,
        /// Errors as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show the live state of a running edge.
    ///
    /// Example: tollgate show calls
    Show(ShowOptions),
    /// Have a running edge read its policy file again: in force whole, for new calls, or refused whole.
    ///
    /// Prints what differs. SIGHUP does the same. Example: tollgate reload --admin 127.0.0.1:9090
    Reload(ReloadOptions),
    /// Take a running edge out of service gracefully.
    ///
    /// Example: tollgate drain --admin 127.0.0.1:9090
    Drain(AdminAt),
    /// Print, install or remove the nftables and routing rules of mode inline.
    ///
    /// Without --apply or --remove it prints them as a script and changes nothing. Both may be repeated.
    /// Example: tollgate netfilter --policy edge.toml --apply
    Netfilter(NetfilterOptions),
    /// Ask a mapping service for an inside address that stands for a peer's, as a call agent does.
    ///
    /// Example: tollgate map 203.0.113.7:5061 --domain beta.example --service 10.0.0.2:8060
    Map(MapOptions),
    /// Make, explain and verify tickets by hand.
    #[command(subcommand)]
    Ticket(TicketVerb),
    /// Two enterprises on loopback: TLS, tickets, SRTP, a spoiled path, a fallback. Needs nothing installed.
    ///
    /// Example: tollgate demo --json
    #[cfg(feature = "demo")]
    Demo {
        /// One JSON object as the last line.
        #[arg(long)]
        json: bool,
        /// Keep the temporary directory with policies, certificates and logs.
        #[arg(long)]
        keep: bool,
        /// Only write the two example policies, with certificates, keys and tickets, to a directory.
        #[arg(long, value_name = "DIR")]
        write: Option<PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReloadOptions {
    #[command(flatten)]
    pub(crate) at: AdminAt,
    /// As JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct NetfilterOptions {
    /// The policy file.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: PathBuf,
    /// Install the rules; replaces what an earlier run installed. Needs CAP_NET_ADMIN, nft and ip.
    #[arg(long, conflicts_with = "remove")]
    pub(crate) apply: bool,
    /// Remove them.
    #[arg(long)]
    pub(crate) remove: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct MapOptions {
    /// The peer: an address or a name, and a port; an IPv6 address in brackets.
    #[arg(value_name = "HOST:PORT", required_unless_present_any = ["list", "unmap"], requires = "domain")]
    pub(crate) target: Option<String>,
    /// The domain that the peer's certificate must name.
    #[arg(long, requires = "target")]
    pub(crate) domain: Option<String>,
    /// The transport of SIP inside; outside it is TLS.
    #[arg(long, value_parser = ["tls", "tcp"], default_value = "tls")]
    pub(crate) transport: String,
    /// The mapping service.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8060", value_parser = crate::map::address)]
    pub(crate) service: SocketAddr,
    /// Go on asking for so long, so that the mapping stays.
    #[arg(long, value_name = "SECONDS", requires = "target", value_parser = clap::value_parser!(u64).range(..=31_536_000))]
    pub(crate) keep: Option<u64>,
    /// Give up a mapping of this client, by its inside address.
    #[arg(long, value_name = "IP:PORT", value_parser = crate::map::address)]
    pub(crate) unmap: Option<SocketAddr>,
    /// Show this client's mappings.
    #[arg(long)]
    pub(crate) list: bool,
    /// One JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where a running edge is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct AdminAt {
    /// The admin address of the edge.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    pub(crate) admin: SocketAddr,
    /// The file with the token, where the policy has `admin.token_file`.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ShowOptions {
    /// What to show.
    pub(crate) what: What,
    #[command(flatten)]
    pub(crate) at: AdminAt,
    /// As JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// The calls now.
    Calls,
    /// Addresses, suites and quality of the media now.
    Media,
    /// Peer domains, their calls and quality.
    Peers,
    /// Learned routes, by number: the first thousand.
    Routes,
    /// Mappings of the mapping service: what each stands for, who wants it, how long.
    Mappings,
    /// Learned ticket keys, and tickets taken back.
    Tickets,
    /// Media ports in use.
    Ports,
    /// Everything dropped, by reason.
    Drops,
}

impl What {
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Calls => "/v1/calls",
            Self::Media => "/v1/media",
            Self::Peers => "/v1/peers",
            Self::Routes => "/v1/routes?limit=1000",
            Self::Mappings => "/v1/mappings/leases",
            Self::Tickets => "/v1/tickets",
            Self::Ports => "/v1/ports",
            Self::Drops => "/v1/drops",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum TicketVerb {
    /// Make a ticket for a number with a key of a policy.
    ///
    /// Example: tollgate ticket mint --policy edge.toml --number +14085551234 --granted-to beta.example
    Mint {
        /// The policy of the edge that will verify the ticket.
        #[arg(long, value_name = "FILE")]
        policy: PathBuf,
        /// The number that may be called.
        #[arg(long)]
        number: String,
        /// The domain that may call it.
        #[arg(long, value_name = "DOMAIN")]
        granted_to: String,
        /// The epoch of the key; the newest live one by default.
        #[arg(long)]
        epoch: Option<u32>,
        /// Days until the ticket ends.
        #[arg(long, default_value_t = 365)]
        days: u32,
    },
    /// Explain each field of a ticket, and each check where a policy is given.
    ///
    /// Example: tollgate ticket inspect AAEAEGun…
    Inspect {
        /// The ticket; from standard input if it is -.
        ticket: String,
        /// The policy of the edge that would verify it.
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
    },
    /// Verify a ticket as the edge would, and say which check fails.
    ///
    /// Example: tollgate ticket verify --policy edge.toml --number +14085551234 --peer beta.example AAEAEGun…
    Verify {
        /// The ticket; from standard input if it is -.
        ticket: String,
        /// The policy of the edge.
        #[arg(long, value_name = "FILE")]
        policy: PathBuf,
        /// The number called.
        #[arg(long)]
        number: String,
        /// The domain of the caller's certificate.
        #[arg(long, value_name = "DOMAIN")]
        peer: String,
    },
    /// Take tickets back on a running edge: one, or all of a domain or for a number.
    ///
    /// Example: tollgate ticket revoke --granted-to beta.example
    Revoke(RevokeOptions),
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true))]
pub(crate) struct RevokeOptions {
    /// The ticket itself; from standard input if it is -.
    #[arg(group = "which")]
    pub(crate) ticket: Option<String>,
    /// The unique ID of a ticket, 32 hexadecimal digits.
    #[arg(long, group = "which", value_name = "ID")]
    pub(crate) uuid: Option<String>,
    /// All tickets granted to a domain.
    #[arg(long, group = "which", value_name = "DOMAIN")]
    pub(crate) granted_to: Option<String>,
    /// All tickets for a number.
    #[arg(long, group = "which")]
    pub(crate) number: Option<String>,
    /// Days until the entry may be forgotten: as long as a ticket may live.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u64).range(1..=3_650))]
    pub(crate) days: u64,
    /// Give them back instead.
    #[arg(long)]
    pub(crate) undo: bool,
    #[command(flatten)]
    pub(crate) at: AdminAt,
}
