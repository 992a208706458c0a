//! What two companies need before an edge can run: certificates, ticket keys, and the files that hold them.
//!
//! It knows no policy; who writes one names these files in it.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use tollgate_peers::certs::{Authority, Identity};

use super::tickets::Issuer;

/// Two companies' certificates and ticket keys, and the authority both trust.
#[derive(Debug)]
pub(super) struct Credentials {
    /// The authority.
    pub(super) authority: Authority,
    /// One identity for each company.
    pub(super) identities: [Identity; 2],
    /// One ticket issuer for each company.
    pub(super) issuers: [Issuer; 2],
}

impl Credentials {
    /// Makes them for two companies given by name and domain, and writes them into `tls` and `keys` of a folder.
    ///
    /// # Errors
    /// In words, if something cannot be written.
    pub(super) fn write(folder: &Path, companies: [(&str, &'static str); 2]) -> Result<Self, String> {
        for name in ["tls", "keys", "tickets"] {
            make_folder(&folder.join(name))?;
        }
        let authority = Authority::new("Tollgate demo authority");
        write_private(folder, CA_FILE, authority.ca_pem())?;
        let identities = companies.map(|(_, domain)| authority.issue(&[domain], &[]));
        let issuers = companies.map(|(_, domain)| Issuer::new(domain));
        for (((name, _), identity), issuer) in companies.iter().zip(&identities).zip(&issuers) {
            let [certificate, private_key, ticket_key] = files_of(name);
            write_private(folder, &certificate, &identity.cert_pem)?;
            write_private(folder, &private_key, &identity.key_pem)?;
            write_private(folder, &ticket_key, &issuer.key_file())?;
        }
        Ok(Self {
            authority,
            identities,
            issuers,
        })
    }
}

/// A company's certificate, private key and ticket key, relative to the folder.
pub(super) fn files_of(name: &str) -> [String; 3] {
    [
        format!("tls/{name}.pem"),
        format!("tls/{name}.key"),
        format!("keys/{name}-epoch-1.key"),
    ]
}

/// Makes a folder and those above it, for its owner alone; one that is there is left as it is.
///
/// # Errors
/// In words, if it cannot be made.
pub(super) fn make_folder(path: &Path) -> Result<(), String> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|why| format!("{}: {why}", path.display()))
}

/// Writes a file that only its owner may read: some hold keys.
///
/// # Errors
/// In words, if it cannot be written.
pub(super) fn write_private(folder: &Path, name: &str, text: &str) -> Result<(), String> {
    let path = folder.join(name);
    let mut options = OpenOptions::new();
    let open = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
    open.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|why| format!("{}: {why}", path.display()))
}

/// The certificate of the authority, relative to the folder.
pub(super) const CA_FILE: &str = "tls/ca.pem";
