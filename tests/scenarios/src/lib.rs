//! One behaviour a file
