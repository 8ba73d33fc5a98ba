//! The scheduler through the real pipeline. Time is tokio's, paused.

mod explaining;
mod interrupted;
mod permit;
mod placing;
mod preemption;
mod profiles;
mod world;
