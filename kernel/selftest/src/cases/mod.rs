//! The cases.

mod copies;
mod memory;
mod smp;
mod tasks;
mod time;
mod tlb;
mod traps;
mod vectors;

use crate::check::Outcome;

macro_rules! cases {
    ($($module:ident: $($name:ident)*;)*) => {
        /// All cases by name, in the order in which they run.
        pub(crate) const ALL: &[(&str, fn() -> Outcome)] =
            &[$($((concat!(stringify!($module), ".", stringify!($name)), $module::$name),)*)*];
    };
}

cases! {
    smp: every_cpu_serves kick_ends_halt kick_ends_ring3 spinlock_excludes once_publishes interrupts_storm;
    time: clock_never_goes_back clock_never_goes_back_when_its_rate_changes timer_fires_no_earlier timer_past_and_disarmed
        pending_interrupt_is_taken preempts_ring3;
    traps: syscall_keeps_registers registers_survive_every_entry exceptions_reach_the_kernel page_faults_are_told
        odd_instruction_pointers flags_are_sanitised single_step;
    tasks: tasks_keep_their_stacks tasks_leave_nothing_behind stacks_are_given_back_after_a_peak
        bases_follow_the_task;
    vectors: kernel_entries_keep_vectors switches_keep_vectors fork_copies_vectors signal_frames_hold_vectors;
    memory: frames_are_counted tables_map_and_unmap rights_and_hiding pages_move tables_free_all copy_on_write
        memory_runs_out;
    tlb: unmapped_pages_stay_unwritten restricted_pages_stay_unwritten copies_see_no_stale_page removed_tables_outlast_their_walkers
        dead_tables_are_let_go;
    copies: copies_reach_memory copies_stop_at_faults copies_fault_pages_in kernel_addresses_fault words_are_atomic;
}
