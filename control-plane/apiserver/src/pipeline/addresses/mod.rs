//! Addresses and node ports of services. Each is a key of its own that is claimed in the same transaction that stores
//! the service and let go in the one that removes it: two writers cannot have the same one, and none gets lost
//! (docs/decisions/0015). The claim of an address is its `IPAddress` object.

mod allocate;
mod claim;
mod families;
mod ranges;

use mizzen_api::Status;
use mizzen_api::object::Encoded;
use mizzen_store::Compare;
use serde_json::Value;

use super::target::Target;
use super::{Pipeline, metadata};
use crate::errors;
use allocate::{Allocation, Refused};
use claim::{Claim, Holder};
use ranges::Ranges;

/// What goes into the transaction besides the object itself.
#[derive(Clone, Default)]
pub(super) struct Claims {
    pub(super) compares: Vec<Compare>,
    pub(super) puts: Vec<(String, Encoded)>,
    pub(super) deletes: Vec<String>,
}

impl Claims {
    /// Whether they only hold while the key is as it was.
    pub(super) fn depend_on(&self, key: &str) -> bool {
        self.compares.iter().any(|compare| compare.key == key)
    }
}

/// Whether it is about a service, which has more than its own key.
pub(super) fn is_service(target: &Target) -> bool {
    target.descriptor.group.is_empty() && &*target.descriptor.resource == "services"
}

impl Pipeline {
    /// Gives a service what it asks for or lacks; other kinds are left as they are.
    ///
    /// # Errors
    /// 422 where it asks for what it cannot have, 500 where nothing is left.
    pub(super) fn give_addresses(&self, target: &Target, object: &mut Value, old: Option<&Value>) -> Result<(), Status> {
        if !is_service(target) || !target.subresource.is_empty() {
            return Ok(());
        }
        let ranges = Ranges::of(self)?;
        let given = Allocation::new(self.store.as_ref(), &ranges, self.services.node_ports, object, old).give(object, old);
        given.map_err(|refused| match refused {
            Refused::Field(causes) => errors::invalid(&target.descriptor, metadata::text(object, "name"), causes),
            Refused::Exhausted(why) => Status::internal(why),
        })
    }

    /// What is claimed and let go as `old` becomes `new`, either of which may be missing; nothing for other kinds than
    /// services.
    ///
    /// # Errors
    /// 422 where the range of an address went away since the address was picked.
    pub(super) fn claims(&self, target: &Target, new: Option<&Value>, old: Option<&Value>) -> Result<Claims, Status> {
        if !is_service(target) {
            return Ok(Claims::default());
        }
        let store = self.store.as_ref();
        let (after, before) = (new.map(claim::held).unwrap_or_default(), old.map(claim::held).unwrap_or_default());
        let mut claims = Claims::default();
        for (claim, service) in new.into_iter().flat_map(|service| after.iter().map(move |claim| (*claim, service))) {
            let had = before.contains(&claim);
            match claim.holder(store, service) {
                Holder::Nobody => {
                    claims.compares.push(Compare { key: claim.key(), revision: 0 });
                    claims.puts.push((claim.key(), claim.document(service, (self.clock)())?));
                }
                Holder::This(revision) if !had => claims.compares.push(Compare { key: claim.key(), revision }),
                // Another's: an older service that never had a claim keeps what it has.
                Holder::This(_) | Holder::Other if had => {}
                Holder::This(_) | Holder::Other => claims.compares.push(Compare { key: claim.key(), revision: 0 }),
            }
            if let Claim::Address(address) = claim
                && !had
            {
                let compare = Ranges::of(self)?.compare(address);
                let gone = || errors::invalid(&target.descriptor, &target.name, allocate::no_range(address));
                claims.compares.extend(compare.ok_or_else(gone)?);
            }
        }
        if let Some(service) = old {
            let left = before.difference(&after).filter(|claim| matches!(claim.holder(store, service), Holder::This(_)));
            claims.deletes = left.map(|claim| claim.key()).collect();
        }
        Ok(claims)
    }
}
