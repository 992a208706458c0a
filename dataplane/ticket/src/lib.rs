//! The ticket's bytes: TLV codec, text form, key derivation, MAC, issue and check
