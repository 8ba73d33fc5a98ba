//! Policies from text.

use std::sync::Arc;
use std::time::Duration;

use mizzen_plugins_host::policy::{GroupVersionKind, GroupVersionResource, Operation, Request, User};
use mizzen_plugins_host::{Artifact, Host, HostOptions, Limits, LoadError, PluginOptions, PolicyPlugin};

use crate::component::component;

/// What a policy does, as instructions; everything else allows.
#[derive(Clone, Copy)]
pub struct Policy<'a> {
    /// Built against the minor version before.
    pub before: bool,
    pub imports: &'a str,
    /// `$at`, `$size`: the settings.
    pub validate: &'a str,
    pub configure: &'a str,
    pub review: &'a str,
    pub batch: &'a str,
}

/// A pointer to zeros.
pub const ZEROS: &str = "(i32.const 0)";

impl Default for Policy<'_> {
    fn default() -> Self {
        Self { before: false, imports: "", validate: ZEROS, configure: ZEROS, review: ZEROS, batch: ZEROS }
    }
}

impl Policy<'_> {
    pub fn bytes(self) -> Vec<u8> {
        let text = include_str!("../guests/policy.wat")
            .replace(";;IMPORTS", self.imports)
            .replace("VALIDATE", self.validate)
            .replace("CONFIGURE", self.configure)
            .replace("REVIEW", self.review)
            .replace("BATCH", self.batch);
        component(if self.before { "policy/admission-policy@0.1.0" } else { "policy/admission-policy" }, &text)
    }

    pub async fn artifact(self) -> Arc<Artifact> {
        host().load(self.bytes().into()).await.expect("it loads")
    }

    /// With limits that make failures quick.
    pub async fn load(self) -> PolicyPlugin {
        self.try_load(options()).await.expect("it loads")
    }

    pub async fn try_load(self, options: PluginOptions) -> Result<PolicyPlugin, LoadError> {
        let artifact = self.artifact().await;
        PolicyPlugin::load(&artifact, options)
    }
}

pub fn host() -> Arc<Host> {
    Host::new(HostOptions::default())
}

pub fn options() -> PluginOptions {
    let limits = Limits {
        deadline: Duration::from_millis(200),
        memory: 4 << 20,
        failures: 3,
        pause: (Duration::from_secs(1), Duration::from_secs(4)),
        ..Limits::default()
    };
    PluginOptions { limits, ..PluginOptions::new("test") }
}

pub fn request() -> Request {
    let pods = || (String::new(), "v1".to_owned());
    let ((group, version), (to_group, to_version)) = (pods(), pods());
    Request {
        uid: "u1".into(),
        kind: GroupVersionKind { group, version, kind: "Pod".into() },
        resource: GroupVersionResource { group: to_group, version: to_version, resource: "pods".into() },
        subresource: None,
        name: "web".into(),
        namespace: "default".into(),
        operation: Operation::Create,
        user: User { name: "ann".into(), uid: String::new(), groups: vec!["devs".into()], extra: Vec::new() },
        dry_run: false,
        object: Some(r#"{"kind":"Pod"}"#.into()),
        old_object: None,
        options: None,
    }
}
