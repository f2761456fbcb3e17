//! JSON (RFC 8259) for the request path: read by whoever knows what he looks for, and written in one go.
//!
//! A review is some kilobytes of which a decision needs a few hundred bytes. [`Reader`] hands those out borrowed, and passes
//! by the rest by its quotes and brackets alone, more than twice as fast as serde_json reads it; [`Writer`] puts texts that
//! need no escapes down as they are. Off that path, JSON is serde_json's.

mod reader;
mod scan;
mod text;
mod writer;

pub use reader::{Fault, Reader};
pub use text::Text;
pub use writer::Writer;
