//! What policies say of a page of objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use mizzen_api::{GroupVersion, Object, ResourceDescriptor, Status};
use mizzen_extensions::plugins::Review;
use serde_json::Value;

use super::super::plugins::{Failure, describe};
use super::super::request::Request;
use super::report::Finding;
use super::{Asked, Auditor};
use crate::admission::{Attributes, Operation, Warnings};
use crate::pipeline::Target;

/// An object, and what each policy (by its place) that is asked about it says.
pub(super) type Looked = (Value, Vec<(usize, Finding)>);

impl Auditor {
    /// Asks the policies at the places `about`.
    ///
    /// # Errors
    /// When a conversion webhook fails.
    pub(super) async fn look(
        &self,
        asked: &[Asked],
        about: &[usize],
        descriptor: &Arc<ResourceDescriptor>,
        objects: Vec<Arc<Object>>,
    ) -> Result<Vec<Looked>, Status> {
        let pipeline = &self.pipeline;
        let shown = pipeline.custom.shown(descriptor, objects).await?;
        let (mut targets, mut documents) = (Vec::new(), Vec::new());
        // What is being deleted is past judging.
        for object in shown.iter().filter(|object| !object.head().is_terminating()) {
            let head = object.head();
            documents.push(object.value().map_err(|error| Status::internal(format!("decode {object:?}: {error}")))?);
            targets.push(Target {
                descriptor: descriptor.clone(),
                version: descriptor.storage_version().clone(),
                spoken: None,
                namespace: head.namespace.clone(),
                name: head.name.clone(),
                subresource: String::new(),
            });
        }
        let warnings = Warnings::default();
        let attributes: Vec<Attributes<'_>> = targets
            .iter()
            .map(|target| Attributes { dry_run: true, ..pipeline.attributes(&self.who, Operation::Create, target, &warnings) })
            .collect();
        let requests: Vec<Request<'_>> =
            attributes.iter().zip(&documents).map(|(attributes, document)| Request::new(attributes, Some(document))).collect();
        let mut findings: Vec<Vec<(usize, Finding)>> = requests.iter().map(|_| Vec::new()).collect();
        // Each written once for all policies that see it in one form.
        let mut reviews: Vec<BTreeMap<GroupVersion, Review>> = requests.iter().map(|_| BTreeMap::new()).collect();
        for &place in about {
            let plugin = &asked[place].plugin;
            let mut matched: Vec<(usize, GroupVersion)> = Vec::new();
            for (number, request) in requests.iter().enumerate() {
                match plugin.asked(request).await {
                    Ok(Some(form)) => {
                        if !reviews[number].contains_key(&form) {
                            reviews[number].insert(form.clone(), describe(request, &form).await?);
                        }
                        matched.push((number, form));
                    }
                    Ok(None) => {}
                    Err(failure) => findings[number].push((place, failure.into())),
                }
            }
            let questions: Vec<&Review> = matched.iter().map(|(number, form)| &reviews[*number][form]).collect();
            let answers = asked[place].answers(&questions).await;
            for ((number, form), answer) in matched.iter().zip(answers) {
                let finding = plugin.finding(answer, form, &requests[*number]).await;
                findings[*number].push((place, finding));
            }
        }
        drop(requests);
        drop(attributes);
        Ok(documents.into_iter().zip(findings).collect())
    }
}

impl From<Failure> for Finding {
    fn from(failure: Failure) -> Self {
        Self::error(match failure {
            Failure::Policy(why) => why,
            Failure::Request(status) => status.message,
        })
    }
}
