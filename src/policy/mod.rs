//! The policy document, and its compiled form that cannot be invalid.
