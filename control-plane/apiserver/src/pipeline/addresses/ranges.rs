//! The ranges that addresses may come from: those of the `ServiceCIDR` objects that are not on their way out.

use std::net::IpAddr;

use mizzen_api::{ServiceAddresses, ServiceRange, Status};
use mizzen_store::{Compare, RangeOptions};

use super::Pipeline;
use super::families::Family;
use crate::errors;

pub(super) struct Ranges {
    /// The cluster's own, whose first address is for the service `kubernetes`.
    pub(super) own: ServiceAddresses,
    objects: Vec<Source>,
}

struct Source {
    range: ServiceRange,
    key: String,
    revision: u64,
}

impl Ranges {
    /// # Errors
    /// When the store cannot be read.
    pub(super) fn of(pipeline: &Pipeline) -> Result<Self, Status> {
        let mut objects = Vec::new();
        if let Some(descriptor) = pipeline.registry.by_group_resource("networking.k8s.io", "servicecidrs") {
            let stored = pipeline.store.range(&descriptor.prefix(), &RangeOptions::default()).map_err(errors::store)?;
            for (key, object) in stored.items.iter().filter(|(_, object)| !object.head().is_terminating()) {
                let document = object.value().unwrap_or_default();
                let cidrs = document.pointer("/spec/cidrs").and_then(serde_json::Value::as_array).into_iter().flatten();
                // Those that are too small for a service are for nobody.
                let parsed = cidrs.filter_map(|cidr| cidr.as_str()?.parse().ok());
                objects.extend(parsed.map(|range| Source { range, key: key.to_string(), revision: object.revision() }));
            }
        }
        Ok(Self { own: pipeline.services, objects })
    }

    /// What the cluster has, the primary family first.
    pub(super) fn families(&self) -> Vec<Family> {
        self.own.ranges().map(Family::of_range).collect()
    }

    /// All of a family; a cluster that has no range object yet has its own ranges.
    fn ranges(&self, family: Family) -> impl Iterator<Item = ServiceRange> {
        let own = self.objects.is_empty().then(|| self.own.ranges()).into_iter().flatten();
        let all = self.objects.iter().map(|source| source.range).chain(own);
        all.filter(move |range| Family::of_range(*range) == family)
    }

    /// Every address of every range of a family.
    pub(super) fn candidates(&self, family: Family, seed: u64) -> impl Iterator<Item = IpAddr> {
        self.ranges(family).flat_map(move |range| range.candidates(seed))
    }

    pub(super) fn contain(&self, address: IpAddr) -> bool {
        self.compare(address).is_some()
    }

    /// What has to be so still when the address is claimed; `None` when it is in no range.
    pub(super) fn compare(&self, address: IpAddr) -> Option<Vec<Compare>> {
        if self.objects.is_empty() {
            return self.own.ranges().any(|range| range.contains(address)).then(Vec::new);
        }
        let source = self.objects.iter().find(|source| source.range.contains(address))?;
        Some(vec![Compare { key: source.key.clone(), revision: source.revision }])
    }
}
