//! Policies of Kubewarden (<https://docs.kubewarden.io>), unchanged: core modules that speak waPC (`__guest_call`), or WASI
//! programs that read a request and write an answer.
//!
//! Which of the two a module is stands in its custom section `io.kubewarden.metadata`, as `kwctl annotate` writes it.

mod capabilities;
mod certificates;
mod memory;
mod message;
mod metadata;
mod objects;
mod outside;
mod preview1;
mod program;
mod talk;
mod wapc;

use std::sync::Arc;

use serde_json::value::RawValue;
use wasmtime::{Linker, Store};

use crate::artifact::Artifact;
use crate::error::{CallError, LoadError};
use crate::guest::Data;
use crate::guest::instances::Instances;
use crate::plugin::{PluginOptions, Shared};
use crate::policy::{Description, Need, Request, Response};
use program::Program;
use wapc::Guest;

pub use metadata::{ContextAwareResource, ExecutionMode, Metadata};
pub use outside::{Outside, offers as is_outside};
pub(crate) use talk::Talk;

/// The version of the protocol that is spoken, as policies say it.
const PROTOCOL: &str = "v1";

/// Whether a policy may import it (`module.name`): nothing of it reaches further than the policy's own request and log,
/// and what it asks of the cluster must be granted.
pub(crate) fn offers(import: &str) -> bool {
    match import.split_once('.') {
        Some(("wapc", name)) => wapc::FUNCTIONS.contains(&name),
        Some(("wasi_snapshot_preview1", name)) => preview1::offers(name),
        Some((module, "call")) => program::HOSTS.contains(&module),
        _ => false,
    }
}

/// A policy with its settings.
pub(crate) struct Policy {
    instances: Instances<Form>,
    settings: Box<RawValue>,
    description: Description,
}

/// An instance of either kind.
enum Form {
    Wapc(Guest),
    Program(Program),
}

impl Form {
    fn ask(&self, store: &mut Store<Data>, operation: Operation, payload: Vec<u8>) -> wasmtime::Result<Result<Vec<u8>, String>> {
        match self {
            Self::Wapc(guest) => guest.ask(store, operation.of_wapc(), payload),
            Self::Program(program) => program.run(store, operation.of_program(), payload),
        }
    }
}

#[derive(Clone, Copy)]
enum Operation {
    Validate,
    ValidateSettings,
    ProtocolVersion,
}

impl Operation {
    fn of_wapc(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::ValidateSettings => "validate_settings",
            Self::ProtocolVersion => "protocol_version",
        }
    }

    fn of_program(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::ValidateSettings => "validate-settings",
            Self::ProtocolVersion => "protocol-version",
        }
    }
}

impl Policy {
    /// Checks what it needs and its settings. Runs the guest.
    ///
    /// # Errors
    /// Why the object that wants this cannot have it.
    pub(crate) fn load(artifact: &Artifact, metadata: &Metadata, options: PluginOptions) -> Result<Self, LoadError> {
        let module = artifact.module()?;
        let wapc = match metadata.execution_mode {
            ExecutionMode::KubewardenWapc => true,
            ExecutionMode::Wasi => false,
            mode @ (ExecutionMode::Opa | ExecutionMode::Gatekeeper) => {
                return Err(LoadError::Kubewarden(format!(
                    "it is written in Rego for the execution mode {mode}, and only kubewarden-wapc and wasi are run here"
                )));
            }
        };
        artifact.check(&options.grants)?;
        for name in metadata.host_capabilities.iter().filter(|name| !capabilities::offers(name)) {
            if artifact.runtime.outside.is_none() || !outside::offers(name) {
                let why = format!("it needs the host capability {name}, which this server does not offer");
                return Err(LoadError::Kubewarden(why));
            }
            if !outside::is_granted(&options.grants, name) {
                return Err(LoadError::Capability { name: name.clone() });
            }
        }
        let link = |error: wasmtime::Error| LoadError::Link(format!("{error:#}"));
        let mut linker = Linker::<Data>::new(&artifact.runtime.engine);
        // A program that was built with an SDK for waPC imports waPC's functions, too, and calls none of them.
        let defined = preview1::link(&mut linker, module).and_then(|()| wapc::link(&mut linker));
        defined.and_then(|()| program::link(&mut linker)).map_err(link)?;
        let linked = linker.instantiate_pre(module).map_err(link)?;
        let shared = Shared::new(Arc::clone(&artifact.runtime), options);
        let settings = RawValue::from_string(shared.settings.clone()).map_err(|error| LoadError::Settings(error.to_string()))?;
        let instances = match wapc {
            true => Instances::new(shared, Box::new(move |store| Ok(Ok(Form::Wapc(Guest::start(store, &linked)?))))),
            // A program ends with its answer.
            false => Instances::fresh(shared, Box::new(move |store| Ok(Ok(Form::Program(Program::new(store, &linked)?))))),
        };
        let needs = metadata.context_aware_resources.iter().map(|resource| Need {
            api_version: resource.api_version.clone(),
            kind: resource.kind.clone(),
            namespace: String::new(),
            label_selector: String::new(),
            indexes: Vec::new(),
        });
        // Without metadata, the object alone says whether it may change anything.
        let description = Description { mutating: metadata.mutating.unwrap_or(true), needs: needs.collect() };
        let policy = Self { instances, settings, description };
        policy.begin(metadata)?;
        Ok(policy)
    }

    /// Asks about the settings, and about the protocol where the metadata does not say it.
    fn begin(&self, metadata: &Metadata) -> Result<(), LoadError> {
        let limits = &self.instances.shared.limits;
        let ask = |function, operation: Operation, payload: Vec<u8>| -> Result<_, LoadError> {
            let mut instance = self.instances.make()?;
            let answer = instance.call(function, limits.start, |store, form| form.ask(store, operation, payload));
            self.instances.put_back(instance);
            Ok(answer)
        };
        let spoken = match &metadata.protocol_version {
            Some(version) => version.clone(),
            None if metadata.execution_mode == ExecutionMode::Wasi => PROTOCOL.to_owned(),
            None => {
                let answer = ask("protocol_version", Operation::ProtocolVersion, Vec::new())??;
                serde_json::from_slice(&answer)
                    .map_err(|error| LoadError::Kubewarden(format!("its protocol_version: {error}")))?
            }
        };
        if spoken != PROTOCOL {
            let why = format!("it speaks the protocol {spoken:?}, this server {PROTOCOL:?}");
            return Err(LoadError::Kubewarden(why));
        }
        let settings = self.settings.get().as_bytes().to_vec();
        match ask("validate_settings", Operation::ValidateSettings, settings)? {
            Ok(answer) => message::settings(&answer).map_err(LoadError::Settings),
            // It could not even read them.
            Err(CallError::Answer { why, .. }) => Err(LoadError::Settings(why)),
            Err(error) => Err(LoadError::Start(error)),
        }
    }

    pub(crate) fn description(&self) -> &Description {
        &self.description
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.instances.shared
    }

    /// # Errors
    /// When the policy gave no answer, or none that `check` takes.
    pub(crate) fn review(
        &self,
        request: &Request,
        check: impl FnOnce(Response) -> Result<Response, String>,
    ) -> Result<Response, CallError> {
        let payload = self.payload(request)?;
        self.instances.call("validate", |store, form| {
            let answer = form.ask(store, Operation::Validate, payload)?;
            Ok(answer.and_then(|answer| message::response(&answer, request)).and_then(check))
        })
    }

    /// [`Policy::review`] of which neither statistics nor the breaker learn.
    ///
    /// # Errors
    /// The same.
    pub(crate) fn review_aside(
        &self,
        request: &Request,
        check: impl FnOnce(Response) -> Result<Response, String>,
    ) -> Result<Response, CallError> {
        let payload = self.payload(request)?;
        self.instances.call_aside("validate", self.shared().limits.deadline, |store, form| {
            let answer = form.ask(store, Operation::Validate, payload)?;
            Ok(answer.and_then(|answer| message::response(&answer, request)).and_then(check))
        })
    }

    fn payload(&self, request: &Request) -> Result<Vec<u8>, CallError> {
        message::request(request, &self.settings).map_err(|why| CallError::Answer {
            plugin: self.shared().name.clone(),
            function: "validate",
            why,
        })
    }
}
