//! The temporary folder of a run.
//!
//! It holds keys, so only its owner may look. It is removed at the end unless something is to be read there.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A folder that lives as long as the value, unless kept.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    is_kept: bool,
}

impl Folder {
    /// Makes a fresh folder where temporary files go.
    ///
    /// # Errors
    /// In words, if it cannot be made.
    pub(super) fn create() -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("tollgate-demo-{:08x}", rand::random::<u32>()));
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|why| format!("no temporary folder {}: {why}", path.display()))?;
        Ok(Self { path, is_kept: false })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) const fn keep(&mut self) {
        self.is_kept = true;
    }

    /// The folder, if it stays.
    pub(super) fn kept(&self) -> Option<&Path> {
        self.is_kept.then_some(self.path.as_path())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_kept {
            // What cannot be removed is left to the system's own cleaning.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_goes_with_the_value_unless_it_is_kept() {
        let folder = Folder::create().unwrap();
        let path = folder.path().to_owned();
        fs::write(path.join("key"), "secret").unwrap();
        drop(folder);
        assert!(!path.exists());
        let mut folder = Folder::create().unwrap();
        folder.keep();
        let path = folder.kept().unwrap().to_owned();
        drop(folder);
        assert!(path.exists());
        fs::remove_dir(path).unwrap();
    }
}
