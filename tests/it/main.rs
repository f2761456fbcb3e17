//! The tests of the library and of the command, in one binary.

mod policy;
