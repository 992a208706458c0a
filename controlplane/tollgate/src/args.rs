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
    /// Take a running edge out of service gracefully.
    ///
    /// Example: tollgate drain --admin 127.0.0.1:9090
    Drain(AdminAt),
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
        /// Only write two ready policies with certificates, keys and tickets to a directory.
        #[arg(long, value_name = "DIR")]
        write: Option<PathBuf>,
    },
}

/// Where a running edge is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct AdminAt {
    /// The admin address of the edge.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    pub(crate) admin: SocketAddr,
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
}
