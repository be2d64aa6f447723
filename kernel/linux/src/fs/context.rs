//! Working directory, root and umask of a process (`CLONE_FS`).

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use tyn_abi::Errno;
use tyn_fs::walk::{Resolve, Start};
use tyn_hal::sync::SpinLock;

use super::Node;

/// Working directory, root and umask.
#[derive(Debug)]
pub struct FsContext {
    root: SpinLock<Node>,
    cwd: SpinLock<Node>,
    umask: AtomicU32,
}

impl FsContext {
    /// Makes the context of the first process: everything at the root, umask 022.
    ///
    /// # Errors
    /// `ENOENT` when there is no file system yet.
    pub fn new() -> Result<Arc<Self>, Errno> {
        Ok(Self::nothing())
    }

    /// The context of a process that has ended: holds no directory.
    #[must_use]
    pub fn nothing() -> Arc<Self> {
        Arc::new(Self {
            root: SpinLock::new(Node::ROOT),
            cwd: SpinLock::new(Node::ROOT),
            umask: AtomicU32::new(0o022),
        })
    }

    /// Copies the context (`fork(2)`).
    #[must_use]
    pub fn duplicate(&self) -> Arc<Self> {
        Arc::new(Self {
            root: SpinLock::new(self.root()),
            cwd: SpinLock::new(self.cwd()),
            umask: AtomicU32::new(self.umask()),
        })
    }

    /// Returns where walks start from the working directory.
    #[must_use]
    pub fn start(&self) -> Start<Node> {
        Start {
            root: self.root(),
            dir: self.cwd(),
            resolve: Resolve::empty(),
        }
    }

    /// Returns the root directory.
    #[must_use]
    pub fn root(&self) -> Node {
        self.root.lock().clone()
    }

    /// Returns the working directory.
    #[must_use]
    pub fn cwd(&self) -> Node {
        self.cwd.lock().clone()
    }

    /// Changes the working directory; the caller checked that it is one.
    ///
    /// # Errors
    /// `ENOENT` when it is gone.
    pub fn set_cwd(&self, node: Node) -> Result<(), Errno> {
        node.check()?;
        let old = core::mem::replace(&mut *self.cwd.lock(), node);
        drop(old);
        Ok(())
    }

    /// Changes the root directory; the caller checked that it is one.
    ///
    /// # Errors
    /// `ENOENT` when it is gone.
    pub fn set_root(&self, node: Node) -> Result<(), Errno> {
        node.check()?;
        let old = core::mem::replace(&mut *self.root.lock(), node);
        drop(old);
        Ok(())
    }

    /// Returns the umask.
    #[must_use]
    pub fn umask(&self) -> u32 {
        self.umask.load(Ordering::Relaxed)
    }

    /// Sets the umask and returns the old one.
    pub fn set_umask(&self, mask: u32) -> u32 {
        self.umask.swap(mask & 0o777, Ordering::Relaxed)
    }
}
