//! How much of a stream may be read before somebody looks again.

use std::cell::Cell;
use std::io::{self, Read};

/// Shared by a reader and by whoever bounds it.
#[derive(Default)]
pub(super) struct Budget {
    /// Unbounded without.
    left: Cell<Option<u64>>,
}

impl Budget {
    pub(super) fn bound<R: Read>(&self, inner: R) -> Bounded<'_, R> {
        Bounded { inner, budget: self }
    }

    /// From now on so many bytes.
    pub(super) fn allow(&self, bytes: u64) {
        self.left.set(Some(bytes));
    }

    pub(super) fn lift(&self) {
        self.left.set(None);
    }

    pub(super) fn is_spent(&self) -> bool {
        self.left.get() == Some(0)
    }
}

pub(super) struct Bounded<'a, R> {
    inner: R,
    budget: &'a Budget,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(left) = self.budget.left.get() else { return self.inner.read(into) };
        if left == 0 {
            return Err(io::Error::other("more than was allowed"));
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(into.len());
        let read = self.inner.read(&mut into[..most])?;
        self.budget.left.set(Some(left - read as u64));
        Ok(read)
    }
}
