//! Turns policy and facts into snapshots; the admin address
