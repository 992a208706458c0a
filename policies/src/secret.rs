//! The text of a ticket key or a ticket as it was read from its file or variable.
//!
//! Does not know what the text means; wiped on drop, never shown.

use std::fmt;

use zeroize::Zeroizing;

/// Secret text: redacted in Debug, wiped on drop.
#[derive(Clone)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    pub(crate) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text, for what parses or sends it alone.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(*****)")
    }
}
