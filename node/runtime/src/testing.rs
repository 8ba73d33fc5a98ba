//! What every [`crate::Runtime`] must do.
