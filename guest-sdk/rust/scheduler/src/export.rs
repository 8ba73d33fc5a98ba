//! From the contract's calls to a plugin's.

use std::collections::BTreeMap;

use crate::bindings::mizzen::scheduler::types;
use crate::{Cluster, Columns, Cycle, Node, Permission, Plugin, Pod, Rejection};

/// A plugin with its settings, the cluster as it knows it and the cycles that are under way.
pub struct Running<P> {
    plugin: P,
    cluster: Cluster,
    pods: Vec<Pod>,
}

impl<P: Plugin> Running<P> {
    /// # Errors
    /// What is wrong with the settings (JSON, empty without any).
    pub fn start(settings: &str) -> Result<Self, String> {
        let settings = if settings.is_empty() { "{}" } else { settings };
        let settings = serde_json::from_str(settings).map_err(|error| format!("settings: {error}"))?;
        let mut columns = Columns::default();
        let plugin = P::new(settings, &mut columns)?;
        Ok(Self { plugin, cluster: Cluster::new(columns), pods: Vec::new() })
    }

    pub fn describe(&self) -> types::Description {
        types::Description { points: P::POINTS, columns: self.cluster.names().to_vec(), wakes: P::WAKES }
    }

    pub fn update(&mut self, delta: types::Delta) {
        self.cluster.change(delta);
    }

    /// # Errors
    /// Why no node will do.
    pub fn pre_filter(&mut self, pod: Pod) -> Result<Vec<u8>, types::Rejection> {
        let answer = self.plugin.pre_filter(&pod, &self.cluster);
        self.pods.retain(|known| known.cycle != pod.cycle);
        self.pods.push(pod);
        answer.map_err(said)
    }

    pub fn filter(&mut self, cycle: u64, state: Vec<u8>, nodes: Vec<u32>) -> types::Verdicts {
        let (plugin, cycle) = self.cycle(cycle, &state);
        let mut known = BTreeMap::new();
        let mut rejections = Vec::new();
        let verdict = |row: u32| match plugin.filter(&cycle, cycle.cluster.node(row)) {
            Ok(()) => 0,
            Err(rejection) => *known.entry(rejection).or_insert_with_key(|rejection| {
                rejections.push(said(rejection.clone()));
                rejections.len() as u32
            }),
        };
        let nodes: Vec<u32> = nodes.into_iter().map(verdict).collect();
        types::Verdicts { nodes: if rejections.is_empty() { Vec::new() } else { nodes }, rejections }
    }

    pub fn post_filter(&mut self, cycle: u64, state: Vec<u8>) -> Option<String> {
        let (plugin, cycle) = self.cycle(cycle, &state);
        plugin.post_filter(&cycle)
    }

    pub fn pre_score(&mut self, cycle: u64, state: Vec<u8>, feasible: Vec<u32>) -> Vec<u8> {
        let (plugin, cycle) = self.cycle(cycle, &state);
        plugin.pre_score(&cycle, &feasible)
    }

    pub fn score(&mut self, cycle: u64, state: Vec<u8>, nodes: Vec<u32>) -> Vec<i64> {
        let (plugin, cycle) = self.cycle(cycle, &state);
        if !plugin.scores(&cycle) {
            return Vec::new();
        }
        nodes.into_iter().map(|row| plugin.score(&cycle, cycle.cluster.node(row))).collect()
    }

    /// # Errors
    /// Why the node cannot be had.
    pub fn reserve(&mut self, cycle: u64, state: Vec<u8>, node: u32) -> Result<(), String> {
        self.on(cycle, &state, node, P::reserve)
    }

    pub fn unreserve(&mut self, cycle: u64, state: Vec<u8>, node: u32) {
        self.on(cycle, &state, node, P::unreserve);
    }

    pub fn permit(&mut self, cycle: u64, state: Vec<u8>, node: u32) -> Permission {
        self.on(cycle, &state, node, P::permit)
    }

    /// # Errors
    /// Why the pod must not be bound.
    pub fn pre_bind(&mut self, cycle: u64, state: Vec<u8>, node: u32) -> Result<(), String> {
        self.on(cycle, &state, node, P::pre_bind)
    }

    pub fn end(&mut self, cycle: u64) {
        if let Some(place) = self.pods.iter().position(|pod| pod.cycle == cycle) {
            let pod = self.pods.swap_remove(place);
            self.plugin.end(&pod);
        }
    }

    fn on<R>(&mut self, cycle: u64, state: &[u8], node: u32, call: impl FnOnce(&mut P, &Cycle, Node) -> R) -> R {
        let (plugin, cycle) = self.cycle(cycle, state);
        call(plugin, &cycle, cycle.cluster.node(node))
    }

    /// # Panics
    /// On a cycle that did not begin: the contract has the host begin it.
    fn cycle<'a>(&'a mut self, cycle: u64, state: &'a [u8]) -> (&'a mut P, Cycle<'a>) {
        let Some(pod) = self.pods.iter().find(|pod| pod.cycle == cycle) else { panic!("cycle {cycle} did not begin") };
        (&mut self.plugin, Cycle { pod, state, cluster: &self.cluster })
    }
}

fn said(rejection: Rejection) -> types::Rejection {
    types::Rejection { reasons: rejection.reasons, unresolvable: rejection.unresolvable }
}

/// Makes a scheduler plugin of a type that is a [`Plugin`].
#[macro_export]
macro_rules! plugin {
    ($plugin:ty) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            use std::cell::RefCell;

            use $crate::bindings::exports::mizzen::scheduler::plugin::{
                Delta, Description, Guest, Permission, Pod, Rejection, Row, State, Verdicts,
            };

            thread_local! {
                static RUNNING: RefCell<Option<$crate::Running<$plugin>>> = const { RefCell::new(None) };
            }

            fn with<R>(call: impl FnOnce(&mut $crate::Running<$plugin>) -> R) -> R {
                RUNNING.with_borrow_mut(|running| match running {
                    Some(running) => call(running),
                    None => panic!("called before it was configured"),
                })
            }

            struct Component;

            impl Guest for Component {
                fn configure(settings: String) -> Result<(), String> {
                    $crate::host::log_panics();
                    RUNNING.set(Some($crate::Running::start(&settings)?));
                    Ok(())
                }
                fn describe() -> Description {
                    with(|running| running.describe())
                }
                fn update(change: Delta) {
                    with(|running| running.update(change))
                }
                fn pre_filter(pod: Pod) -> Result<State, Rejection> {
                    with(|running| running.pre_filter(pod))
                }
                fn filter(cycle: u64, state: State, nodes: Vec<Row>) -> Verdicts {
                    with(|running| running.filter(cycle, state, nodes))
                }
                fn post_filter(cycle: u64, state: State) -> Option<String> {
                    with(|running| running.post_filter(cycle, state))
                }
                fn pre_score(cycle: u64, state: State, feasible: Vec<Row>) -> State {
                    with(|running| running.pre_score(cycle, state, feasible))
                }
                fn score(cycle: u64, state: State, nodes: Vec<Row>) -> Vec<i64> {
                    with(|running| running.score(cycle, state, nodes))
                }
                fn reserve(cycle: u64, state: State, node: Row) -> Result<(), String> {
                    with(|running| running.reserve(cycle, state, node))
                }
                fn unreserve(cycle: u64, state: State, node: Row) {
                    with(|running| running.unreserve(cycle, state, node))
                }
                fn permit(cycle: u64, state: State, node: Row) -> Permission {
                    with(|running| running.permit(cycle, state, node))
                }
                fn pre_bind(cycle: u64, state: State, node: Row) -> Result<(), String> {
                    with(|running| running.pre_bind(cycle, state, node))
                }
                fn end(cycle: u64) {
                    with(|running| running.end(cycle))
                }
            }

    $crate::bindings::export!(Component with_types_in $crate::bindings);
        };
    };
}
