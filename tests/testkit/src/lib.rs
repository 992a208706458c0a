//! The test bed: trapezoid, virtual clock, seeded network, vector runner
