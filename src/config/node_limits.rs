//! What containers and images may take of a node.

use mizzen_agent::{EvictionHard, LogLimits, Thresholds};
use mizzen_api::quantity::Quantity;

use super::{ConfigError, File};

/// What containers and images may take of the node, and what is to be left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLimits {
    pub log: LogLimits,
    pub image_gc: Thresholds,
    pub eviction: EvictionHard,
    /// Bytes, unpacked.
    pub image_layer: u64,
}

/// As the kubelet has them.
pub(super) const LOG_LIMITS: LogLimits = LogLimits { max_bytes: 10 << 20, max_files: 5 };

impl NodeLimits {
    /// # Errors
    /// Names the field that is wrong.
    pub(super) fn resolve(file: &File) -> Result<Self, ConfigError> {
        let bytes = |field: &'static str, text: &Option<String>, default: u64| {
            let Some(text) = text else { return Ok(default) };
            let amount = text.parse::<Quantity>().ok().and_then(|quantity| u64::try_from(quantity.value()).ok());
            let why = || format!("{text:?} is no quantity of bytes above 0, such as 10Mi");
            amount.filter(|bytes| *bytes > 0).ok_or_else(|| ConfigError::Invalid { field, why: why() })
        };
        let max_files = file.log_max_files.unwrap_or(LOG_LIMITS.max_files);
        if max_files < 2 {
            let why = format!("{max_files} is too few: at least 2, or every rotation would lose all");
            return Err(ConfigError::Invalid { field: "containerLogMaxFiles", why });
        }
        let max_bytes = bytes("containerLogMaxSize", &file.log_max_size, LOG_LIMITS.max_bytes)?;
        let defaults = Thresholds::default();
        let image_gc =
            Thresholds { high: file.image_gc_high.unwrap_or(defaults.high), low: file.image_gc_low.unwrap_or(defaults.low) };
        if image_gc.high > 100 {
            let why = format!("{} is more than 100 percent", image_gc.high);
            return Err(ConfigError::Invalid { field: "imageGCHighThresholdPercent", why });
        }
        if image_gc.low >= image_gc.high {
            let why = format!("{} is not below imageGCHighThresholdPercent, which is {}", image_gc.low, image_gc.high);
            return Err(ConfigError::Invalid { field: "imageGCLowThresholdPercent", why });
        }
        let image_layer = bytes("maxImageLayerSize", &file.max_image_layer_size, mizzen_images::Settings::default().layer_bytes)?;
        let eviction = file.eviction_hard.resolve()?;
        Ok(Self { log: LogLimits { max_bytes, max_files }, image_gc, eviction, image_layer })
    }
}
