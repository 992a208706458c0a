//! The shell of the data plane: sockets, threads, TLS, clocks
