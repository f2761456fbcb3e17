//! Image references and registries, as the container runtimes read them.
//!
//! [`Reference`] is the only way to a host, a repository, a tag or a digest: nothing else in the crate takes an image
//! apart. Not here: what a policy makes of a reference (`policy`), and where a pod names one (`review`).

mod escape;
mod reference;
mod registry;

pub use escape::Escaped;
pub use reference::{ParseError, ParseErrorKind, Reference, is_repository_component};
pub use registry::{InvalidRegistry, Registry};
