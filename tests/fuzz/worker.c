/* A worker process: several threads that make random calls, and one that frees those that are blocked. */
#include "fuzz.h"
#include <fcntl.h>
#include <linux/sched.h>
#include <sys/mman.h>

#define STACKS 0x7654300000ul
#define STACK_BYTES (16 * PAGE)
/* Times that the kicker looks without finding progress before it gives up. */
#define PATIENCE 150

extern char tyn_copy[], tyn_copy_failed[], tyn_copy_done[];

__asm__(".globl restorer\n"
        "restorer: movl $15, %eax\n"
        "syscall\n"
        "ud2\n");

/* Goes on after a copy that hit memory which is not there (see copy_safely); else does nothing, but ends the process that a
 * fault would bring here again and again. */
void on_signal(int signal, void *info, void *context) {
    (void)info;
    if (signal != 11 && signal != 7)
        return;
    u64 *rip = (u64 *)context + 21;
    if (*rip >= (u64)tyn_copy && *rip < (u64)tyn_copy_failed)
        *rip = (u64)tyn_copy_failed;
    else
        exit_now(11);
}

void catch(int signal, u64 flags) {
    u64 action[4] = {(u64)on_signal, flags | 4 | 0x04000000, (u64)restorer, 0};
    CALL4(__NR_rt_sigaction, signal, action, 0, 8);
}

static void catch_all(void) {
    static const int signals[] = {1, 2, 10, 12, 13, 14, 17, 23, 25, 26, 27, 28, 29, 34, 35, 64};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        catch(signals[i], 0);
    catch(11, 0x40000000);
    catch(7, 0x40000000);
}

/* Remembers what descriptors a call made. */
static void note(struct worker *w, const struct call *call, const u64 *a, long result) {
    int kind = 0;
    u64 pair_at = 0;
    switch (call->nr) {
    case __NR_open:
    case __NR_openat:
        kind = call->kinds[2] == READ_FLAGS || call->kinds[1] == READ_FLAGS ? 0 : FD_FILE;
        if (a[call->nr == __NR_open ? 1 : 2] & (O_DIRECTORY & ~O_TMPFILE))
            kind = FD_DIRECTORY;
        break;
    case __NR_creat:
    case __NR_memfd_create:
        kind = FD_FILE;
        break;
    case __NR_socket:
    case __NR_accept:
    case __NR_accept4:
        kind = FD_SOCKET;
        break;
    case __NR_epoll_create:
    case __NR_epoll_create1:
        kind = FD_EPOLL;
        break;
    case __NR_timerfd_create:
        kind = FD_TIMER;
        break;
    case __NR_socketpair:
        kind = FD_SOCKET;
        pair_at = a[3];
        break;
    case __NR_dup2:
    case __NR_dup3:
        kind = a[0] < MAX_FD ? w->slot->kinds[a[0]] : 0;
        break;
    default:
        return;
    }
    int pair[2] = {(int)result, -1};
    if (pair_at)
        copy_safely(pair, (void *)pair_at, sizeof pair);
    for (int i = 0; i < 2; i++)
        if (pair[i] >= 0 && pair[i] < MAX_FD)
            w->slot->kinds[pair[i]] = (unsigned char)kind;
}

/* One call of the table. */
static void step(struct worker *w) {
    struct rng *r = &w->rng;
    const struct call *call;
    do
        call = &calls[below(r, call_count)];
    while (below(r, 10) >= call->weight);
    u64 a[6];
    for (int i = 0; i < 6; i++)
        a[i] = argument(w, call->kinds[i]);
    long result = raw(call->nr, a[0], a[1], a[2], a[3], a[4], a[5]);
    SHARED->done[call->nr]++;
    if (result >= 0 || result < -4095) {
        SHARED->worked[call->nr]++;
        note(w, call, a, result);
    } else if (result < -133) {
        /* An errno that is the kernel's own business. */
        say("fuzz FAILED: errno %d from call %d\n", -result, (long)call->nr);
    }
}

void run_stream(struct worker *w) {
    while (w->left > 0) {
        if (one_in(&w->rng, 50))
            special(w);
        else
            step(w);
        w->left--;
        __atomic_fetch_add(w->counter, 1, __ATOMIC_RELAXED);
    }
}

/* Maps the arena: see fuzz.h. */
static void map_arena(void) {
    const int fixed = MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS;
    CALL(__NR_mmap, ARENA, HOLE_AT * PAGE, PROT_READ | PROT_WRITE, fixed, -1, 0);
    CALL3(__NR_mprotect, ARENA + RO_AT * PAGE, (NONE_AT - RO_AT) * PAGE, PROT_READ);
    CALL3(__NR_mprotect, ARENA + NONE_AT * PAGE, (HOLE_AT - NONE_AT) * PAGE, PROT_NONE);
    CALL(__NR_mmap, ARENA + SHARED_AT * PAGE, (FILE_AT - SHARED_AT) * PAGE, PROT_READ | PROT_WRITE,
         MAP_FIXED | MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    long file = CALL4(__NR_openat, AT_FDCWD, "map", O_RDWR | O_CREAT, 0644);
    /* The last pages of the mapping lie past the end of the file. */
    CALL2(__NR_ftruncate, file, 20 * PAGE + 100);
    CALL(__NR_mmap, ARENA + FILE_AT * PAGE, (FREE_AT - FILE_AT) * PAGE, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_SHARED, file, 0);
}

/* Gives the low descriptors to something of each kind. */
static void open_some(struct slot *slot) {
    int pair[2];
    static const unsigned char made[] = {0, 0, 0, 0, FD_SOCKET, FD_SOCKET, FD_SOCKET, FD_SOCKET, FD_SOCKET, FD_SOCKET,
                                         FD_EPOLL, 0, FD_TIMER, FD_FILE, FD_FILE, FD_DIRECTORY};
    CALL3(__NR_close_range, 0, -1u, 0);
    memcpy(slot->kinds, made, sizeof made);
    CALL2(__NR_pipe2, pair, 0);
    CALL2(__NR_pipe2, pair, O_NONBLOCK);
    CALL4(__NR_socketpair, 1, 1, 0, pair);
    CALL4(__NR_socketpair, 1, 2, 0, pair);
    CALL3(__NR_socket, 2, 1, 0);
    CALL3(__NR_socket, 2, 2, 0);
    CALL1(__NR_epoll_create1, 0);
    CALL2(__NR_eventfd2, 0, 0);
    CALL2(__NR_timerfd_create, 1, 0);
    CALL2(__NR_memfd_create, "m", 0);
    CALL4(__NR_openat, AT_FDCWD, "a", O_RDWR | O_CREAT, 0644);
    CALL4(__NR_openat, AT_FDCWD, ".", O_RDONLY | O_DIRECTORY, 0);
}

static void run_thread(void *argument) {
    struct worker w = *(struct worker *)argument;
    run_stream(&w);
    CALL1(__NR_exit, 0);
    __builtin_trap();
}

static void start_thread(int slot, u64 index, u32 thread) {
    u64 top = STACKS + (thread + 1) * STACK_BYTES - 1024;
    struct worker *w = (struct worker *)top;
    w->slot = &SHARED->slots[slot];
    w->counter = &w->slot->threads[thread];
    w->index = thread;
    w->left = SHARED->quota;
    w->rng.state = stream(stream(SHARED->seed, index), thread);
    const u64 flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_PARENT_SETTID;
    tyn_clone(flags, w, (u64)&w->slot->tids[thread], 0, run_thread, w);
}

static void pause_ms(u64 ms) {
    u64 time[2] = {ms / 1000, ms % 1000 * 1000000};
    CALL2(__NR_nanosleep, time, 0);
}

/* Interrupts threads that make no progress; ends the process when all have ended or none goes on. */
static void kick(struct slot *slot) {
    u64 seen[MAX_THREADS] = {0};
    const u32 me = (u32)CALL0(__NR_getpid);
    for (int patience = PATIENCE; patience > 0; patience--) {
        pause_ms(2);
        u32 ended = 0;
        for (u32 t = 0; t < SHARED->threads; t++) {
            u64 now = __atomic_load_n(&slot->threads[t], __ATOMIC_RELAXED);
            if (now != seen[t])
                patience = PATIENCE;
            else if (CALL3(__NR_tgkill, me, slot->tids[t], patience % 2 ? 10 : 12) == -ESRCH)
                ended++;
            seen[t] = now;
        }
        if (ended == SHARED->threads)
            return;
    }
}

void run_worker(int slot, u64 index) {
    CALL0(__NR_setsid);
    catch_all();
    char dir[] = "/tmp/fz/a";
    dir[8] = (char)('a' + slot);
    CALL2(__NR_mkdir, dir, 0755);
    CALL1(__NR_chdir, dir);
    CALL2(__NR_mkdir, "d", 0755);
    open_some(&SHARED->slots[slot]);
    map_arena();
    u64 descriptors[2] = {72, -1ul};
    if (!SHARED->contained)
        descriptors[1] = 4096;
    CALL2(__NR_setrlimit, 7, descriptors);
    CALL(__NR_mmap, STACKS, STACK_BYTES * MAX_THREADS, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (u32 t = 0; t < SHARED->threads; t++)
        start_thread(slot, index, t);
    kick(&SHARED->slots[slot]);
    exit_now(0);
}

void run_executed(u64 slot, u64 seed, u64 depth) {
    catch_all();
    map_arena();
    CALL2(__NR_prctl, 1, 9);
    u64 every[4] = {0, 5000, 0, 5000};
    CALL3(__NR_setitimer, 0, every, 0);
    struct worker w = {.rng = {seed}, .slot = &SHARED->slots[slot % MAX_PROCESSES], .depth = (u32)depth, .left = 60};
    w.counter = &w.slot->children;
    run_stream(&w);
    exit_now(0);
}
