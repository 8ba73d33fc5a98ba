//! What a cycle's pod says of itself.

use crate::Pod;

impl Pod {
    pub fn label(&self, key: &str) -> Option<&str> {
        find(&self.labels, key).map(String::as_str)
    }

    pub fn annotation(&self, key: &str) -> Option<&str> {
        find(&self.annotations, key).map(String::as_str)
    }

    /// Of all its containers together: cpu in millicores, everything else in its unit; 0 for what it does not ask for.
    pub fn request(&self, resource: &str) -> i64 {
        find(&self.requests, resource).copied().unwrap_or(0)
    }

    /// The whole Pod as JSON; natively none.
    pub fn object(&self) -> Option<String> {
        #[cfg(target_family = "wasm")]
        return crate::bindings::mizzen::scheduler::cluster::pod(self.cycle);
        #[cfg(not(target_family = "wasm"))]
        None
    }

    /// What stands at a JSON pointer of the Pod, as JSON, such as `/spec/containers/0/image`; natively none.
    pub fn value(&self, pointer: &str) -> Option<String> {
        #[cfg(target_family = "wasm")]
        return crate::bindings::mizzen::scheduler::cluster::pod_value(self.cycle, pointer);
        #[cfg(not(target_family = "wasm"))]
        {
            let _ = pointer;
            None
        }
    }
}

fn find<'a, T>(pairs: &'a [(String, T)], key: &str) -> Option<&'a T> {
    pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value)
}
