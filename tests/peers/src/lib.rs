//! Call agents, the impairing relay and certificates for demo, tests and bench
