//! What an operator may say: one TOML file, checked whole
