//! What tasks tell their pod's worker.

use std::sync::Arc;

use mizzen_images::Image;
use mizzen_runtime::ContainerStatus;

use super::allocation::Amounts;
use super::view::Resize;
use crate::error::HookError;
use crate::hooks::prepare::Ready;
use crate::hooks::pull::PullError;
use crate::hooks::start::{StartError, Started};
use crate::node::room::Refusal;
use crate::probes::ProbeKind;

pub(crate) enum Outcome {
    Prepared(Result<Ready, HookError>),
    Refreshed(Result<(), HookError>),
    Pulled {
        container: String,
        /// As the manifest named it when the pull began.
        image: Option<String>,
        result: Result<Arc<Image>, PullError>,
    },
    Started {
        container: String,
        result: Result<Started, StartError>,
    },
    Stopped {
        id: String,
        result: Result<ContainerStatus, HookError>,
    },
    Allocated {
        wanted: Amounts,
        result: Result<Result<(), Refusal>, HookError>,
    },
    Resized {
        container: String,
        resize: Resize,
    },
    Removed {
        id: String,
        result: Result<(), HookError>,
    },
    Released(Result<(), HookError>),
    TornDown(Result<(), HookError>),
    Deleted(Result<(), HookError>),
    /// `message` is a failed probe's; `verdict` is news, once a threshold is reached.
    Probe {
        id: String,
        container: String,
        kind: ProbeKind,
        verdict: Option<bool>,
        message: Option<String>,
        grace: Option<i64>,
    },
}
