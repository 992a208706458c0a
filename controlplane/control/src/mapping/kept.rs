//! Clients' mappings on disk: call agents keep the inside addresses they were told, and a restart must not break them.
//!
//! One small file, written whole beside the old one and renamed over it, so that a crash leaves either. What the feed or
//! the API demands is not here; that is with the learned facts.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};
use tollgate_contract::Transport;

/// The file's name in `state.dir`.
const FILE_NAME: &str = "mappings.json";

/// Most bytes of the file that are read: 2,000 mappings with long names.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The version of the file's form.
const FORMAT: u32 = 1;

/// A client's mapping as the file has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptMapping {
    /// The inside address.
    pub mapped: SocketAddr,
    /// The far address.
    pub global: SocketAddr,
    /// `tcp` or `tls`.
    #[serde(with = "transport")]
    pub transport: Transport,
    /// The domain that the far end's certificate must name.
    pub domain: String,
    /// The host that stands outside.
    pub host: String,
    /// The clients that hold it.
    pub clients: Vec<IpAddr>,
}

#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    mappings: Vec<KeptMapping>,
}

/// Reads the mappings of a folder; none if there is no file.
///
/// # Errors
/// In words, if the file is there and cannot be used.
pub fn load(dir: &Path) -> Result<Vec<KeptMapping>, String> {
    let path = dir.join(FILE_NAME);
    let words = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let file = match fs::metadata(&path) {
        Ok(file) => file,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(why) => return Err(words(&why)),
    };
    if file.len() > MAX_BYTES {
        return Err(words(&format!("has more than {MAX_BYTES} bytes")));
    }
    let bytes = fs::read(&path).map_err(|why| words(&why))?;
    let document: Document = serde_json::from_slice(&bytes).map_err(|why| words(&why))?;
    if document.format != FORMAT {
        return Err(words(&format!("is of format {}, not {FORMAT}", document.format)));
    }
    Ok(document.mappings)
}

/// Writes the mappings of a folder, which is made if it is not there. On return they are on disk.
///
/// # Errors
/// What the system says; the old file stands then.
pub fn save(dir: &Path, mappings: Vec<KeptMapping>) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let (path, next) = (dir.join(FILE_NAME), dir.join(format!("{FILE_NAME}.next")));
    let document = Document {
        format: FORMAT,
        mappings,
    };
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&next)?;
    file.write_all(&serde_json::to_vec(&document)?)?;
    file.sync_all()?;
    fs::rename(&next, &path)?;
    fs::File::open(dir)?.sync_all()
}

/// A transport as its name.
mod transport {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use tollgate_contract::Transport;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
    pub(super) fn serialize<S: Serializer>(transport: &Transport, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(transport.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Transport, D::Error> {
        let name = String::deserialize(from)?;
        let known = [Transport::Tcp, Transport::Tls];
        let found = known.into_iter().find(|transport| transport.name() == name);
        found.ok_or_else(|| D::Error::custom(format!("\"{name}\" is not tcp or tls")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_loaded_and_a_torn_or_foreign_file_is_refused_in_words() {
        let dir = std::env::temp_dir().join(format!("tollgate-kept-{}", std::process::id()));
        assert_eq!(load(&dir), Ok(Vec::new()));
        let mapping = KeptMapping {
            mapped: "10.1.0.1:20000".parse().unwrap(),
            global: "[2001:db8::7]:5061".parse().unwrap(),
            transport: Transport::Tls,
            domain: "beta.example".to_owned(),
            host: "edge.beta.example".to_owned(),
            clients: vec!["10.1.0.10".parse().unwrap()],
        };
        save(&dir, vec![mapping.clone()]).unwrap();
        assert_eq!(load(&dir), Ok(vec![mapping]));
        let path = dir.join(FILE_NAME);
        let whole = fs::read_to_string(&path).unwrap();
        for (text, why) in [
            (whole[..whole.len() / 2].to_owned(), "EOF"),
            (whole.replace("\"format\":1", "\"format\":9"), "format 9"),
            (whole.replace("\"tls\"", "\"udp\""), "not tcp or tls"),
        ] {
            fs::write(&path, text).unwrap();
            let fault = load(&dir).unwrap_err();
            assert!(fault.contains(why) && fault.contains(FILE_NAME), "{fault}");
        }
        fs::remove_dir_all(&dir).unwrap();
    }
}
