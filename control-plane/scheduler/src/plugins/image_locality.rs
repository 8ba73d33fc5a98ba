//! ImageLocality: prefers nodes that hold the pod's images, the larger the more.

use std::sync::Arc;

use crate::framework::{MAX_SCORE, Plugin, PluginState, Point, Points};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::snapshot::Snapshot;

pub(super) struct ImageLocality;

const MEGABYTE: i64 = 1024 * 1024;
/// Images smaller than the least or larger than the most (per container) make no further difference.
const LEAST: i64 = 23 * MEGABYTE;
const MOST: i64 = 1000 * MEGABYTE;

/// How much of the cluster holds each of the pod's images, so that one popular node does not draw every pod.
#[derive(Clone)]
struct Spread(Vec<(String, i64)>);

/// An image as nodes list it: with a tag.
fn normalized(image: &str) -> String {
    let after_host = image.rsplit('/').next().unwrap_or(image);
    if after_host.contains(':') || image.contains('@') { image.to_owned() } else { format!("{image}:latest") }
}

impl Plugin for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }

    fn points(&self) -> Points {
        Points::of(&[Point::PreScore, Point::Score])
    }

    fn pre_score(&self, pod: &PodInfo, _feasible: &[Arc<NodeInfo>], snapshot: &Snapshot, state: &mut PluginState) {
        let all = i64::try_from(snapshot.nodes.len()).unwrap_or(i64::MAX).max(1);
        let images = pod.images.iter().map(|image| {
            let image = normalized(image);
            let holding = snapshot.holding(&image);
            (image, i64::try_from(holding).unwrap_or(0).saturating_mul(1000) / all)
        });
        state.set(Spread(images.filter(|(_, spread)| *spread > 0).collect()));
    }

    fn score(&self, pod: &PodInfo, _snapshot: &Snapshot, nodes: &[Arc<NodeInfo>], state: &mut PluginState) -> Option<Vec<i64>> {
        let Spread(images) = state.get()?;
        if images.is_empty() {
            return None;
        }
        let most = MOST.saturating_mul(i64::try_from(pod.images.len()).unwrap_or(1).max(1));
        let score = |node: &Arc<NodeInfo>| {
            let held = images.iter().filter_map(|(image, spread)| Some(node.images.get(image)? / 1000 * spread));
            (held.sum::<i64>().clamp(LEAST, most) - LEAST) * MAX_SCORE / (most - LEAST)
        };
        Some(nodes.iter().map(score).collect())
    }
}
