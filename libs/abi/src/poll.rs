//! Readiness events of `poll(2)` and `epoll(7)`; both use the same bit values.

bitflags::bitflags! {
    /// What a file is ready for (`POLLIN` ... of `poll(2)`, `EPOLLIN` ... of `epoll_ctl(2)`).
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Events: u32 {
        /// There is data to read.
        const IN = 0x001;
        /// There is an exceptional condition.
        const PRI = 0x002;
        /// Writing will not block.
        const OUT = 0x004;
        /// Error condition; always reported.
        const ERR = 0x008;
        /// Hang up; always reported.
        const HUP = 0x010;
        /// Invalid descriptor; only in `poll(2)` results.
        const NVAL = 0x020;
        /// Same as `IN` for the files we have.
        const RDNORM = 0x040;
        /// Priority band data can be read.
        const RDBAND = 0x080;
        /// Same as `OUT`.
        const WRNORM = 0x100;
        /// Priority data may be written.
        const WRBAND = 0x200;
        /// The peer shut down its writing half.
        const RDHUP = 0x2000;
    }
}
