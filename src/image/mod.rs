//! Image references and registries, as the container runtimes read them.
