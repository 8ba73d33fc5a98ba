//! What a plugin works out once per pod and keeps for its later extension points.

use std::any::Any;

trait Kept: Any + Send + Sync {
    fn boxed_clone(&self) -> Box<dyn Kept>;
}

impl<T: Any + Clone + Send + Sync> Kept for T {
    fn boxed_clone(&self) -> Box<dyn Kept> {
        Box::new(self.clone())
    }
}

/// One plugin's state of one cycle: nobody else sees it. It is cloned for trials (preemption).
#[derive(Default)]
pub struct PluginState(Option<Box<dyn Kept>>);

impl PluginState {
    pub fn set<T: Clone + Send + Sync + 'static>(&mut self, value: T) {
        self.0 = Some(Box::new(value));
    }

    /// `None` when nothing was set, or something of another type.
    pub fn get<T: 'static>(&self) -> Option<&T> {
        let kept: &dyn Any = self.0.as_deref()?;
        kept.downcast_ref()
    }

    pub fn get_mut<T: 'static>(&mut self) -> Option<&mut T> {
        let kept: &mut dyn Any = self.0.as_deref_mut()?;
        kept.downcast_mut()
    }
}

impl Clone for PluginState {
    fn clone(&self) -> Self {
        Self(self.0.as_deref().map(Kept::boxed_clone))
    }
}
