//! Guests of both minor versions, which are asked the same questions.

use wasmtime::component::InstancePre;
use wasmtime::{Result, Store};

use super::data::Data;
use crate::artifact::Minor;
use crate::bindings::{policy, previous, scheduler};

/// What the current minor's bindings make of something, or those of the one before.
#[derive(Clone)]
pub(crate) enum Either<C, P> {
    Current(C),
    Previous(P),
}

pub(crate) type Policy = Either<policy::AdmissionPolicy, previous::policy::AdmissionPolicy>;
pub(crate) type PolicyPre = Either<policy::AdmissionPolicyPre<Data>, previous::policy::AdmissionPolicyPre<Data>>;
pub(crate) type Scheduler = Either<scheduler::SchedulerPlugin, previous::scheduler::SchedulerPlugin>;
pub(crate) type SchedulerPre = Either<scheduler::SchedulerPluginPre<Data>, previous::scheduler::SchedulerPluginPre<Data>>;

/// The same of either.
macro_rules! either {
    ($of:expr, $it:ident => $what:expr) => {
        match $of {
            $crate::guest::versions::Either::Current($it) => $what,
            $crate::guest::versions::Either::Previous($it) => $what,
        }
    };
}
pub(crate) use either;

impl PolicyPre {
    /// # Errors
    /// When an export is missing or another one.
    pub(crate) fn new(linked: InstancePre<Data>, minor: Minor) -> Result<Self> {
        Ok(match minor {
            Minor::Current => Self::Current(policy::AdmissionPolicyPre::new(linked)?),
            Minor::Previous => Self::Previous(previous::policy::AdmissionPolicyPre::new(linked)?),
        })
    }

    /// # Errors
    /// When it cannot be made or traps.
    pub(crate) fn instantiate(&self, store: &mut Store<Data>) -> Result<Policy> {
        Ok(match self {
            Self::Current(pre) => Either::Current(pre.instantiate(store)?),
            Self::Previous(pre) => Either::Previous(pre.instantiate(store)?),
        })
    }
}

impl SchedulerPre {
    /// # Errors
    /// When an export is missing or another one.
    pub(crate) fn new(linked: InstancePre<Data>, minor: Minor) -> Result<Self> {
        Ok(match minor {
            Minor::Current => Self::Current(scheduler::SchedulerPluginPre::new(linked)?),
            Minor::Previous => Self::Previous(previous::scheduler::SchedulerPluginPre::new(linked)?),
        })
    }

    /// # Errors
    /// When it cannot be made or traps.
    pub(crate) fn instantiate(&self, store: &mut Store<Data>) -> Result<Scheduler> {
        Ok(match self {
            Self::Current(pre) => Either::Current(pre.instantiate(store)?),
            Self::Previous(pre) => Either::Previous(pre.instantiate(store)?),
        })
    }
}
