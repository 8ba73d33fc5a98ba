//! The suite. Each function takes an empty store and panics where it is wrong.
