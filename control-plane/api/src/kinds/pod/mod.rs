//! `Pod`.

use super::builder::{Describe, resource};
use crate::descriptor::{ResourceDescriptor, Scope, Strategy, Verb};

struct Pod;

const CONNECT: &[Verb] = &[Verb::Create, Verb::Get];

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("", "Pod", "pods", Scope::Namespaced, Pod)
        .short("po")
        .in_all()
        .subresource("attach", Some(("", "PodAttachOptions")), CONNECT)
        .subresource("binding", Some(("", "Binding")), &[Verb::Create])
        .subresource("ephemeralcontainers", None, &[Verb::Get, Verb::Patch, Verb::Update])
        .subresource("exec", Some(("", "PodExecOptions")), CONNECT)
        .subresource("log", None, &[Verb::Get])
        .subresource("portforward", Some(("", "PodPortForwardOptions")), CONNECT)
        .status()
}

impl Strategy for Pod {}
