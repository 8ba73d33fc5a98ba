//! What every level-triggered component is made of: a clock, a watch cache, a work queue and a reconciler.
//!
//! A watch cache mirrors one resource and tells which keys changed; a queue holds each key once; a controller hands
//! keys to a reconciler, which reads the present state and moves it one step towards the desired one.

pub mod backoff;
pub mod cache;
pub mod clock;
pub mod controller;
pub mod error;
pub mod feed;
pub mod queue;
pub mod recorder;
mod store;
pub mod typed;
pub mod vitals;

pub use backoff::Backoff;
pub use cache::{Change, WatchCache};
pub use clock::{Clock, ManualClock, SystemClock};
pub use controller::{Action, Controller, Reconciler};
pub use error::Error;
pub use feed::{Feed, WatchSpec};
pub use queue::Queue;
pub use recorder::{EventType, Recorder, reference};
pub use vitals::{Queues, Vitals};
