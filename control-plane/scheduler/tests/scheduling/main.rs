//! The scheduler through the real pipeline. Time is tokio's, paused.

mod interrupted;
mod permit;
mod placing;
mod preemption;
mod profiles;
mod world;
