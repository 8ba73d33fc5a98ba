//! `image`: the files of an image, read-only. The agent gets the image and stacks its layers first
//! ([`crate::VolumeManager::stack`]).

use std::path::PathBuf;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Volume;

use super::{Kind, Setup};
use crate::{VolumeError, mounts};

pub(crate) struct Images;

#[async_trait]
impl Kind for Images {
    fn handles(&self, volume: &Volume) -> bool {
        volume.image.is_some()
    }

    async fn setup(&self, setup: &Setup<'_>) -> Result<PathBuf, VolumeError> {
        if mounts::is_mounted(&setup.dir)? {
            return Ok(setup.dir.clone());
        }
        Err(VolumeError::Image { name: setup.volume.name.clone(), why: "it is not here yet".to_owned() })
    }
}
