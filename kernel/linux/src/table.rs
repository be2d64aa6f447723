//! The system-call table: the only list of the calls we serve. One row a call, sorted by number (checked when compiled).
//!
//! Row: `NUMBER NAME => HANDLER : STATUS;` with the name as in Linux's `syscall_64.tbl`, the handler below
//! [`crate::sys`], and the status `full` or `partial` (its doc comment says what is missing). A number that has no row is
//! refused with `ENOSYS` and leaves a trace event. `cargo xtask abi-docs` makes `docs/abi/README.md` from this file.

use tyn_abi::Errno;

use crate::cx::{Cx, Handler, SysResult};
use crate::{sys, trace};

macro_rules! syscalls {
    ($($nr:literal $name:ident => $($handler:ident)::+ : $status:ident;)*) => {
        /// Numbers and names of all calls in the table.
        pub const CALLS: &[(u64, &str)] = &[$(($nr, stringify!($name))),*];

        /// Runs the system call that the registers name.
        ///
        /// # Errors
        /// The call's own errors; `ENOSYS` for a number that is not in the table.
        pub fn dispatch(cx: &mut Cx<'_>) -> SysResult {
            match cx.user.regs.rax {
                $($nr => Handler::call(sys::$($handler)::+, cx),)*
                nr => {
                    let regs = &cx.user.regs;
                    let args = [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9];
                    trace::unknown_call(cx.thread.tid(), nr, args);
                    Err(Errno::ENOSYS)
                }
            }
        }
    };
}

syscalls! {
    0 read => rw::sys_read : full;
    1 write => rw::sys_write : full;
    2 open => open::sys_open : partial;
    3 close => fd::sys_close : full;
    4 stat => stat::sys_stat : full;
    5 fstat => stat::sys_fstat : full;
    6 lstat => stat::sys_lstat : full;
    7 poll => poll::sys_poll : full;
    8 lseek => rw::sys_lseek : full;
    9 mmap => mmap::sys_mmap : partial;
    10 mprotect => mmap::sys_mprotect : partial;
    11 munmap => mmap::sys_munmap : full;
    12 brk => mmap::sys_brk : full;
    13 rt_sigaction => signal::sys_rt_sigaction : full;
    14 rt_sigprocmask => signal::sys_rt_sigprocmask : full;
    15 rt_sigreturn => signal::sys_rt_sigreturn : full;
    16 ioctl => ioctl::sys_ioctl : partial;
    17 pread64 => rw::sys_pread64 : full;
    18 pwrite64 => rw::sys_pwrite64 : full;
    19 readv => rw::sys_readv : full;
    20 writev => rw::sys_writev : full;
    21 access => stat::sys_access : full;
    22 pipe => pipe::sys_pipe : full;
    23 select => poll::sys_select : full;
    24 sched_yield => sched::sys_sched_yield : full;
    25 mremap => mmap::sys_mremap : full;
    26 msync => mmap::sys_msync : full;
    27 mincore => mmap::sys_mincore : partial;
    28 madvise => mmap::sys_madvise : partial;
    32 dup => fd::sys_dup : full;
    33 dup2 => fd::sys_dup2 : full;
    34 pause => signal::sys_pause : full;
    35 nanosleep => time::sys_nanosleep : full;
    36 getitimer => signal::sys_getitimer : full;
    37 alarm => signal::sys_alarm : full;
    38 setitimer => signal::sys_setitimer : full;
    39 getpid => process::sys_getpid : full;
    40 sendfile => rw::sys_sendfile : partial;
    41 socket => socket::sys_socket : partial;
    42 connect => socket::sys_connect : full;
    43 accept => socket::sys_accept : full;
    44 sendto => message::sys_sendto : full;
    45 recvfrom => message::sys_recvfrom : full;
    46 sendmsg => message::sys_sendmsg : partial;
    47 recvmsg => message::sys_recvmsg : full;
    48 shutdown => socket::sys_shutdown : full;
    49 bind => socket::sys_bind : full;
    50 listen => socket::sys_listen : full;
    51 getsockname => socket::sys_getsockname : full;
    52 getpeername => socket::sys_getpeername : full;
    53 socketpair => socket::sys_socketpair : full;
    54 setsockopt => socket::sys_setsockopt : partial;
    55 getsockopt => socket::sys_getsockopt : partial;
    56 clone => clone::sys_clone : partial;
    57 fork => clone::sys_fork : full;
    58 vfork => clone::sys_vfork : full;
    59 execve => exec::sys_execve : full;
    60 exit => wait::sys_exit : full;
    61 wait4 => wait::sys_wait4 : partial;
    62 kill => signal::sys_kill : full;
    63 uname => ident::sys_uname : full;
    72 fcntl => fd::sys_fcntl : partial;
    73 flock => fd::sys_flock : full;
    74 fsync => attr::sys_fsync : full;
    75 fdatasync => attr::sys_fdatasync : full;
    76 truncate => attr::sys_truncate : partial;
    77 ftruncate => attr::sys_ftruncate : partial;
    78 getdents => dir::sys_getdents : full;
    79 getcwd => dir::sys_getcwd : full;
    80 chdir => dir::sys_chdir : full;
    81 fchdir => dir::sys_fchdir : full;
    82 rename => dir::sys_rename : full;
    83 mkdir => dir::sys_mkdir : full;
    84 rmdir => dir::sys_rmdir : full;
    85 creat => open::sys_creat : full;
    86 link => dir::sys_link : full;
    87 unlink => dir::sys_unlink : full;
    88 symlink => dir::sys_symlink : full;
    89 readlink => stat::sys_readlink : full;
    90 chmod => attr::sys_chmod : full;
    91 fchmod => attr::sys_fchmod : full;
    92 chown => attr::sys_chown : full;
    93 fchown => attr::sys_fchown : full;
    94 lchown => attr::sys_lchown : full;
    95 umask => ident::sys_umask : full;
    96 gettimeofday => time::sys_gettimeofday : full;
    97 getrlimit => process::sys_getrlimit : full;
    98 getrusage => time::sys_getrusage : partial;
    99 sysinfo => ident::sys_sysinfo : partial;
    100 times => time::sys_times : partial;
    102 getuid => process::sys_getuid : full;
    104 getgid => process::sys_getuid : full;
    105 setuid => process::sys_setuid : partial;
    106 setgid => process::sys_setuid : partial;
    107 geteuid => process::sys_getuid : full;
    108 getegid => process::sys_getuid : full;
    109 setpgid => process::sys_setpgid : full;
    110 getppid => process::sys_getppid : full;
    111 getpgrp => process::sys_getpgrp : full;
    112 setsid => process::sys_setsid : full;
    113 setreuid => process::sys_setreuid : partial;
    114 setregid => process::sys_setreuid : partial;
    115 getgroups => process::sys_getgroups : full;
    116 setgroups => process::sys_setgroups : full;
    117 setresuid => process::sys_setresuid : partial;
    118 getresuid => process::sys_getresuid : full;
    119 setresgid => process::sys_setresuid : partial;
    120 getresgid => process::sys_getresuid : full;
    121 getpgid => process::sys_getpgid : full;
    122 setfsuid => process::sys_setfsuid : partial;
    123 setfsgid => process::sys_setfsuid : partial;
    124 getsid => process::sys_getsid : full;
    125 capget => capability::sys_capget : full;
    126 capset => capability::sys_capset : partial;
    127 rt_sigpending => signal::sys_rt_sigpending : full;
    128 rt_sigtimedwait => signal::sys_rt_sigtimedwait : full;
    129 rt_sigqueueinfo => signal::sys_rt_sigqueueinfo : full;
    130 rt_sigsuspend => signal::sys_rt_sigsuspend : full;
    131 sigaltstack => signal::sys_sigaltstack : full;
    132 utime => attr::sys_utime : full;
    133 mknod => dir::sys_mknod : full;
    135 personality => process::sys_personality : partial;
    137 statfs => stat::sys_statfs : full;
    138 fstatfs => stat::sys_fstatfs : full;
    140 getpriority => sched::sys_getpriority : partial;
    141 setpriority => sched::sys_setpriority : partial;
    142 sched_setparam => sched::sys_sched_setparam : partial;
    143 sched_getparam => sched::sys_sched_getparam : partial;
    144 sched_setscheduler => sched::sys_sched_setscheduler : partial;
    145 sched_getscheduler => sched::sys_sched_getscheduler : partial;
    146 sched_get_priority_max => sched::sys_sched_get_priority_max : full;
    147 sched_get_priority_min => sched::sys_sched_get_priority_min : full;
    148 sched_rr_get_interval => sched::sys_sched_rr_get_interval : partial;
    149 mlock => mmap::sys_mlock : full;
    150 munlock => mmap::sys_munlock : full;
    151 mlockall => mmap::sys_mlockall : full;
    152 munlockall => mmap::sys_munlockall : full;
    157 prctl => process::sys_prctl : partial;
    158 arch_prctl => process::sys_arch_prctl : partial;
    160 setrlimit => process::sys_setrlimit : partial;
    161 chroot => dir::sys_chroot : full;
    162 sync => attr::sys_sync : full;
    164 settimeofday => time::sys_settimeofday : partial;
    170 sethostname => ident::sys_sethostname : partial;
    186 gettid => process::sys_gettid : full;
    187 readahead => attr::sys_readahead : full;
    188 setxattr => xattr::sys_setxattr : partial;
    189 lsetxattr => xattr::sys_lsetxattr : partial;
    190 fsetxattr => xattr::sys_fsetxattr : partial;
    191 getxattr => xattr::sys_getxattr : partial;
    192 lgetxattr => xattr::sys_lgetxattr : partial;
    193 fgetxattr => xattr::sys_fgetxattr : partial;
    194 listxattr => xattr::sys_listxattr : partial;
    195 llistxattr => xattr::sys_llistxattr : partial;
    196 flistxattr => xattr::sys_flistxattr : partial;
    197 removexattr => xattr::sys_getxattr : partial;
    198 lremovexattr => xattr::sys_lgetxattr : partial;
    199 fremovexattr => xattr::sys_fgetxattr : partial;
    200 tkill => signal::sys_tkill : full;
    201 time => time::sys_time : full;
    202 futex => futex::sys_futex : partial;
    203 sched_setaffinity => sched::sys_sched_setaffinity : full;
    204 sched_getaffinity => sched::sys_sched_getaffinity : full;
    213 epoll_create => epoll::sys_epoll_create : full;
    217 getdents64 => dir::sys_getdents64 : full;
    218 set_tid_address => process::sys_set_tid_address : full;
    219 restart_syscall => signal::sys_restart_syscall : full;
    221 fadvise64 => attr::sys_fadvise64 : full;
    222 timer_create => timer::sys_timer_create : partial;
    223 timer_settime => timer::sys_timer_settime : full;
    224 timer_gettime => timer::sys_timer_gettime : full;
    225 timer_getoverrun => timer::sys_timer_getoverrun : full;
    226 timer_delete => timer::sys_timer_delete : full;
    227 clock_settime => time::sys_clock_settime : partial;
    228 clock_gettime => time::sys_clock_gettime : full;
    229 clock_getres => time::sys_clock_getres : full;
    230 clock_nanosleep => time::sys_clock_nanosleep : partial;
    231 exit_group => wait::sys_exit_group : full;
    232 epoll_wait => epoll::sys_epoll_wait : full;
    233 epoll_ctl => epoll::sys_epoll_ctl : full;
    234 tgkill => signal::sys_tgkill : full;
    235 utimes => attr::sys_utimes : full;
    247 waitid => wait::sys_waitid : partial;
    253 inotify_init => inotify::sys_inotify_init : full;
    254 inotify_add_watch => inotify::sys_inotify_add_watch : partial;
    255 inotify_rm_watch => inotify::sys_inotify_rm_watch : full;
    257 openat => open::sys_openat : partial;
    258 mkdirat => dir::sys_mkdirat : full;
    259 mknodat => dir::sys_mknodat : full;
    260 fchownat => attr::sys_fchownat : full;
    261 futimesat => attr::sys_futimesat : full;
    262 newfstatat => stat::sys_newfstatat : full;
    263 unlinkat => dir::sys_unlinkat : full;
    264 renameat => dir::sys_renameat : full;
    265 linkat => dir::sys_linkat : full;
    266 symlinkat => dir::sys_symlinkat : full;
    267 readlinkat => stat::sys_readlinkat : full;
    268 fchmodat => attr::sys_fchmodat : full;
    269 faccessat => stat::sys_faccessat : full;
    270 pselect6 => poll::sys_pselect6 : full;
    271 ppoll => poll::sys_ppoll : full;
    273 set_robust_list => futex::sys_set_robust_list : full;
    274 get_robust_list => futex::sys_get_robust_list : full;
    275 splice => splice::sys_splice : full;
    276 tee => splice::sys_tee : full;
    277 sync_file_range => attr::sys_sync_file_range : full;
    278 vmsplice => splice::sys_vmsplice : full;
    280 utimensat => attr::sys_utimensat : full;
    281 epoll_pwait => epoll::sys_epoll_pwait : full;
    282 signalfd => signalfd::sys_signalfd : full;
    283 timerfd_create => timerfd::sys_timerfd_create : full;
    284 eventfd => eventfd::sys_eventfd : full;
    285 fallocate => attr::sys_fallocate : full;
    286 timerfd_settime => timerfd::sys_timerfd_settime : full;
    287 timerfd_gettime => timerfd::sys_timerfd_gettime : full;
    288 accept4 => socket::sys_accept4 : full;
    289 signalfd4 => signalfd::sys_signalfd4 : full;
    290 eventfd2 => eventfd::sys_eventfd2 : full;
    291 epoll_create1 => epoll::sys_epoll_create1 : full;
    292 dup3 => fd::sys_dup3 : full;
    293 pipe2 => pipe::sys_pipe2 : full;
    294 inotify_init1 => inotify::sys_inotify_init1 : full;
    295 preadv => rw::sys_preadv : full;
    296 pwritev => rw::sys_pwritev : full;
    297 rt_tgsigqueueinfo => signal::sys_rt_tgsigqueueinfo : full;
    299 recvmmsg => message::sys_recvmmsg : full;
    302 prlimit64 => process::sys_prlimit64 : partial;
    306 syncfs => attr::sys_syncfs : full;
    307 sendmmsg => message::sys_sendmmsg : full;
    309 getcpu => sched::sys_getcpu : full;
    310 process_vm_readv => process_vm::sys_process_vm_readv : full;
    311 process_vm_writev => process_vm::sys_process_vm_writev : full;
    315 sched_getattr => sched::sys_sched_getattr : partial;
    316 renameat2 => dir::sys_renameat2 : partial;
    318 getrandom => random::sys_getrandom : full;
    319 memfd_create => open::sys_memfd_create : partial;
    322 execveat => exec::sys_execveat : partial;
    324 membarrier => membarrier::sys_membarrier : partial;
    325 mlock2 => mmap::sys_mlock2 : full;
    326 copy_file_range => rw::sys_copy_file_range : full;
    327 preadv2 => rw::sys_preadv2 : full;
    328 pwritev2 => rw::sys_pwritev2 : full;
    332 statx => stat::sys_statx : full;
    424 pidfd_send_signal => pidfd::sys_pidfd_send_signal : partial;
    434 pidfd_open => pidfd::sys_pidfd_open : partial;
    435 clone3 => clone::sys_clone3 : partial;
    436 close_range => fd::sys_close_range : full;
    437 openat2 => open::sys_openat2 : partial;
    438 pidfd_getfd => pidfd::sys_pidfd_getfd : full;
    439 faccessat2 => stat::sys_faccessat2 : full;
    441 epoll_pwait2 => epoll::sys_epoll_pwait2 : full;
    452 fchmodat2 => attr::sys_fchmodat2 : full;
}

const _: () = {
    let mut i = 1;
    while i < CALLS.len() {
        assert!(
            CALLS[i - 1].0 < CALLS[i].0,
            "table rows must be sorted by number, without duplicates"
        );
        i += 1;
    }
};

/// Returns the name of a call, for traces.
#[must_use]
pub fn name(nr: u64) -> Option<&'static str> {
    CALLS
        .binary_search_by_key(&nr, |&(n, _)| n)
        .ok()
        .and_then(|i| CALLS.get(i))
        .map(|&(_, name)| name)
}
