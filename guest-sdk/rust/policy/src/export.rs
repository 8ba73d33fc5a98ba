//! From the contract's calls to a policy's.

use serde::de::DeserializeOwned;

use crate::bindings::mizzen::policy::types;
use crate::{Decision, Description, Policy, Request, Response};

/// A policy with its settings, ready to review.
pub struct Running {
    description: Description,
    review: Box<dyn FnMut(&Request) -> Response>,
}

impl Running {
    /// # Errors
    /// What is wrong with the settings.
    pub fn of<P: Policy>(settings: &str) -> Result<Self, String> {
        let mut policy = P::new(parse(settings)?)?;
        Ok(Self { description: policy.description(), review: Box::new(move |request| policy.review(request)) })
    }

    /// # Errors
    /// What is wrong with the settings.
    pub fn function<S, R>(review: fn(&Request, &S) -> R, mutating: bool, settings: &str) -> Result<Self, String>
    where
        S: DeserializeOwned + 'static,
        R: Into<Response> + 'static,
    {
        let settings: S = parse(settings)?;
        Ok(Self {
            description: Description { mutating, needs: Vec::new() },
            review: Box::new(move |request| review(request, &settings).into()),
        })
    }

    pub fn description(&self) -> Description {
        self.description.clone()
    }

    pub fn review(&mut self, request: types::Request) -> types::Response {
        let Response { decision, warnings, audit_annotations } = (self.review)(&Request::new(request));
        let decision = match decision {
            Decision::Allow => types::Decision::Allow,
            Decision::Deny(status) => types::Decision::Deny(status),
            Decision::Patch(patch) => types::Decision::Patch(patch.to_string()),
            Decision::Replace(object) => types::Decision::Replace(object.to_string()),
        };
        types::Response { decision, warnings, audit_annotations }
    }
}

fn parse<S: DeserializeOwned>(settings: &str) -> Result<S, String> {
    let settings = if settings.is_empty() { "{}" } else { settings };
    serde_json::from_str(settings).map_err(|error| format!("settings: {error}"))
}

/// Makes a policy of a function `fn(&Request, &Settings) -> Decision` (or `-> Response`). `policy!(mutating review)` may answer
/// with changes; `policy!(type Pinned)` takes a [`Policy`].
#[macro_export]
macro_rules! policy {
    (@export $start:expr) => {
        // Natively the policy is only tested; naming it here keeps its parts from looking unused.
        #[cfg(not(target_family = "wasm"))]
        const _: fn(&str) -> Result<$crate::Running, String> = $start;
        #[cfg(target_family = "wasm")]
        const _: () = {
            use std::cell::RefCell;

            use $crate::bindings::exports::mizzen::policy::policy::{Description, Guest, Request, Response};

            const START: fn(&str) -> Result<$crate::Running, String> = $start;

            thread_local! {
                static RUNNING: RefCell<Option<$crate::Running>> = const { RefCell::new(None) };
            }

            struct Component;

            impl Guest for Component {
                fn validate_settings(settings: String) -> Result<(), String> {
                    START(&settings).map(|_| ())
                }

                fn configure(settings: String) -> Description {
                    $crate::host::log_panics();
                    match START(&settings) {
                        Ok(running) => {
                            let description = running.description();
                            RUNNING.set(Some(running));
                            description
                        }
                        Err(message) => panic!("{message}"),
                    }
                }

                fn review(request: Request) -> Response {
                    RUNNING.with_borrow_mut(|running| match running {
                        Some(running) => running.review(request),
                        None => panic!("reviewed before it was configured"),
                    })
                }

                fn review_batch(requests: Vec<Request>) -> Vec<Response> {
                    requests.into_iter().map(Self::review).collect()
                }
            }

            $crate::bindings::export!(Component with_types_in $crate::bindings);
        };
    };
    (type $policy:ty) => {
        $crate::policy!(@export |settings| $crate::Running::of::<$policy>(settings));
    };
    (mutating $review:path) => {
        $crate::policy!(@export |settings| $crate::Running::function($review, true, settings));
    };
    ($review:path) => {
        $crate::policy!(@export |settings| $crate::Running::function($review, false, settings));
    };
}
