//! The tests of the library and of the command, in one binary.

mod check_command;
mod policy;
mod policy_properties;
