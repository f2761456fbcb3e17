//! The roots that the public agrees on (Mozilla's), whole: also their dates and constraints count.

use std::sync::{Arc, LazyLock};

use super::certificate::Certificate;
use super::pool::Pool;

/// What messages call them.
pub const PUBLIC_ROOTS: &str = "the public roots";

/// For `systemRoots`: what most nodes have in their own store. Read once, at the first use.
#[must_use]
pub fn public_roots() -> Arc<Pool> {
    static POOL: LazyLock<Arc<Pool>> = LazyLock::new(|| {
        // What could not be read, Go would leave out as well; a test reads them all.
        let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
        let readable = roots.filter_map(|der| Certificate::parse(der).ok()).map(Arc::new);
        Arc::new(Pool::new(PUBLIC_ROOTS, readable.collect()))
    });
    Arc::clone(&POOL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t3_every_public_root_is_read() {
        assert_eq!(public_roots().len(), webpki_root_certs::TLS_SERVER_ROOT_CERTS.len());
    }
}
