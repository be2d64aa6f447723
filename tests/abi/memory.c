/* Memory in its rarer forms: mremap(2), madvise(2), mlock(2), mincore(2), shared mappings, membarrier(2). */
#include "abi.h"

#include <setjmp.h>
#include <sys/resource.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#define PAGE 4096UL
#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static sigjmp_buf back;
static volatile int fault_signal, fault_code;
static void *volatile fault_address;

static void on_fault(int signal, siginfo_t *info, void *context) {
    (void)context;
    fault_signal = signal;
    fault_code = info->si_code;
    fault_address = info->si_addr;
    siglongjmp(back, 1);
}

static void catch_faults(void) {
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    MUST(sigaction(SIGSEGV, &action, NULL));
    MUST(sigaction(SIGBUS, &action, NULL));
}

/* Writes what a store to an address does. */
static void store(const char *what, volatile char *p) {
    if (sigsetjmp(back, 1) == 0) {
        *p = 1;
        say("%s: stored\n", what);
    } else {
        say("%s: SIG%s code %d address %s\n", what, sigabbrev_np(fault_signal), fault_code,
            fault_address == p ? "right" : "wrong");
    }
}

static void load(const char *what, volatile char *p) {
    if (sigsetjmp(back, 1) == 0)
        say("%s: %d\n", what, *p);
    else
        say("%s: SIG%s code %d address %s\n", what, sigabbrev_np(fault_signal), fault_code,
            fault_address == p ? "right" : "wrong");
}

static char *map(size_t pages) {
    char *p = mmap(NULL, pages * PAGE, RW, ANON, -1, 0);
    MUST(p == MAP_FAILED ? -1 : 0);
    return p;
}

CASE(memory_shared_between_processes) {
    volatile int *shared = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(shared == MAP_FAILED ? -1 : 0);
    shared[0] = 1;
    pid_t child = MUST(fork());
    if (child == 0) {
        pid_t grandchild = MUST(fork());
        if (grandchild == 0) {
            shared[2] = shared[0] + 20;
            _exit(0);
        }
        waitpid(grandchild, NULL, 0);
        shared[1] = shared[0] + 10;
        _exit(0);
    }
    reap("child", child);
    say("%d %d %d\n", shared[0], shared[1], shared[2]);
    R(munmap((void *)shared, PAGE));
}

CASE(memory_shared_grows) {
    char *p = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(p == MAP_FAILED ? -1 : 0);
    *p = 7;
    catch_faults();
    char *q = mremap(p, PAGE, 2 * PAGE, MREMAP_MAYMOVE);
    OK(q == MAP_FAILED ? -1 : 0);
    load("first", q);
    load("past the object's end", q + PAGE);
    /* A length of zero duplicates a shared mapping. */
    char *twin = mremap(q, 0, PAGE, MREMAP_MAYMOVE);
    OK(twin == MAP_FAILED ? -1 : 0);
    *q = 8;
    load("twin", twin);
}

CASE(memory_fixed_noreplace) {
    char *p = map(3);
    OK(mmap(p + PAGE, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED ? -1 : 0);
    R(munmap(p + PAGE, PAGE));
    R(mmap(p + PAGE, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0) == p + PAGE);
    OK(mmap(p, 3 * PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED ? -1 : 0);
    OK(mmap(p + 1, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED ? -1 : 0);
    R(mmap(p, PAGE, RW, ANON | MAP_FIXED, -1, 0) == p);
    /* A hint that is taken is passed over. */
    R(mmap(p, PAGE, RW, ANON, -1, 0) == p);
}

CASE(memory_protection_splits) {
    catch_faults();
    char *p = map(5);
    memset(p, 3, 5 * PAGE);
    R(mprotect(p + 2 * PAGE, PAGE, PROT_READ));
    store("first", p);
    store("middle", p + 2 * PAGE);
    load("middle", p + 2 * PAGE);
    store("last", p + 4 * PAGE);
    R(mprotect(p + PAGE, 3 * PAGE, PROT_NONE));
    load("second", p + PAGE);
    store("fourth", p + 3 * PAGE);
    R(mprotect(p, 5 * PAGE, RW));
    load("second", p + PAGE);
    store("middle", p + 2 * PAGE);
    R(munmap(p + 3 * PAGE, PAGE));
    R(mprotect(p, 5 * PAGE, PROT_READ));
    store("before the hole", p + 2 * PAGE);
    store("after the hole", p + 4 * PAGE);
    load("the hole", p + 3 * PAGE);
    R(mprotect(p + 1, PAGE, PROT_READ));
    R(mprotect(p, 0, PROT_READ));
    R(mprotect(p, PAGE, 0x100));
    R(mprotect(p, PAGE, PROT_READ | PROT_GROWSDOWN));
}

CASE(memory_remap_forms) {
    char *p = map(4), *target = map(8);
    memset(p, 5, 4 * PAGE);
    R(mremap(p, 4 * PAGE, 2 * PAGE, 0) == p);
    catch_faults();
    load("cut off", p + 2 * PAGE);
    R(mremap(p, 2 * PAGE, 3 * PAGE, 0) == p);
    load("fresh", p + 2 * PAGE);
    R(mremap(p, 3 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target + PAGE) == target + PAGE);
    load("moved", target + PAGE);
    load("left", p);
    OK(mremap(target + PAGE, PAGE, PAGE, MREMAP_FIXED, p) == MAP_FAILED ? -1 : 0);
    OK(mremap(target + PAGE, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target + 2 * PAGE) == MAP_FAILED ? -1 : 0);
    OK(mremap(target + 1, PAGE, PAGE, 0) == MAP_FAILED ? -1 : 0);
    OK(mremap(target, PAGE, 0, 0) == MAP_FAILED ? -1 : 0);
    OK(mremap(p, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0);
    OK(mremap(target, PAGE, PAGE, 64) == MAP_FAILED ? -1 : 0);
    OK(mremap(target, 0, PAGE, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0);
    OK(mremap(target, PAGE, 2 * PAGE, 0) == MAP_FAILED ? -1 : 0);
#ifdef MREMAP_DONTUNMAP
    char *left = map(1);
    *left = 9;
    char *gone = mremap(left, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
    OK(gone == MAP_FAILED ? -1 : 0);
    load("moved", gone);
    load("emptied", left);
#endif
}

CASE(memory_advice_forms) {
    char *p = map(4);
    static const struct {
        int advice;
        const char *name;
    } forms[] = {{MADV_NORMAL, "NORMAL"},         {MADV_RANDOM, "RANDOM"},         {MADV_SEQUENTIAL, "SEQUENTIAL"},
                 {MADV_WILLNEED, "WILLNEED"},     {MADV_DONTNEED, "DONTNEED"},     {MADV_FREE, "FREE"},
                 {MADV_DONTFORK, "DONTFORK"},     {MADV_DOFORK, "DOFORK"},         {MADV_DONTDUMP, "DONTDUMP"},
                 {MADV_DODUMP, "DODUMP"},         {MADV_HUGEPAGE, "HUGEPAGE"},     {MADV_NOHUGEPAGE, "NOHUGEPAGE"},
                 {MADV_WIPEONFORK, "WIPEONFORK"}, {MADV_KEEPONFORK, "KEEPONFORK"}, {MADV_COLD, "COLD"},
                 {MADV_PAGEOUT, "PAGEOUT"},       {22, "POPULATE_READ"},           {23, "POPULATE_WRITE"},
                 {24, "DONTNEED_LOCKED"},         {99, "99"},                      {MADV_REMOVE, "REMOVE"}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        errno = 0;
        int result = madvise(p, 4 * PAGE, forms[i].advice);
        say("%s %d %s\n", forms[i].name, result, result ? strerrorname_np(errno) : "");
    }
    memset(p, 1, 4 * PAGE);
    R(madvise(p + PAGE, PAGE, MADV_DONTNEED));
    say("%d %d %d\n", p[0], p[PAGE], p[2 * PAGE]);
    R(madvise(p + 1, PAGE, MADV_DONTNEED));
    R(madvise(p, 1, MADV_DONTNEED));
    R(madvise(p, 0, MADV_DONTNEED));
    R(madvise(p, -1UL, MADV_DONTNEED));
    R(munmap(p + PAGE, PAGE));
    memset(p + 2 * PAGE, 1, PAGE);
    R(madvise(p, 4 * PAGE, MADV_DONTNEED));
    say("%d\n", p[2 * PAGE]);
}

CASE(memory_advice_and_fork) {
    char *p = map(4);
    memset(p, 4, 4 * PAGE);
    R(madvise(p, PAGE, MADV_WIPEONFORK));
    R(madvise(p + 2 * PAGE, PAGE, MADV_DONTFORK));
    pid_t child = MUST(fork());
    if (child == 0) {
        catch_faults();
        load("wiped", p);
        load("kept", p + PAGE);
        load("not forked", p + 2 * PAGE);
        load("kept", p + 3 * PAGE);
        _exit(0);
    }
    reap("child", child);
    say("%d %d\n", p[0], p[2 * PAGE]);
    R(madvise(p, PAGE, MADV_KEEPONFORK));
    R(madvise(p + 2 * PAGE, PAGE, MADV_DOFORK));
    child = MUST(fork());
    if (child == 0) {
        say("%d %d\n", p[0], p[2 * PAGE]);
        _exit(0);
    }
    reap("child", child);
}

CASE(memory_advice_shared) {
    char *p = mmap(NULL, 3 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memset(p, 6, 3 * PAGE);
    R(madvise(p + PAGE, PAGE, MADV_DONTNEED));
    say("%d %d %d\n", p[0], p[PAGE], p[2 * PAGE]);
    R(madvise(p, PAGE, MADV_FREE));
    R(madvise(p, PAGE, MADV_WIPEONFORK));
}

CASE(memory_residency) {
    char *p = map(4);
    unsigned char present[4] = {9, 9, 9, 9};
    p[PAGE] = 1;
    p[3 * PAGE] = 1;
    R(mincore(p, 4 * PAGE, present));
    say("%d %d %d %d\n", present[0] & 1, present[1] & 1, present[2] & 1, present[3] & 1);
    R(madvise(p + PAGE, PAGE, MADV_DONTNEED));
    R(mincore(p, 4 * PAGE, present));
    say("%d %d %d %d\n", present[0] & 1, present[1] & 1, present[2] & 1, present[3] & 1);
    R(mincore(p + 1, PAGE, present));
    R(mincore(p, 0, present));
    R(mincore(p, PAGE, (void *)8));
    R(munmap(p + PAGE, PAGE));
    R(mincore(p, 4 * PAGE, present));
}

CASE(memory_locks) {
    char *p = map(4);
    unsigned char present[4];
    R(mlock(p, 2 * PAGE));
    R(mincore(p, 4 * PAGE, present));
    say("%d %d %d %d\n", present[0] & 1, present[1] & 1, present[2] & 1, present[3] & 1);
    R(madvise(p, PAGE, MADV_DONTNEED));
    R(munlock(p, PAGE));
    R(madvise(p, PAGE, MADV_DONTNEED));
    R(mlock2(p + 2 * PAGE, PAGE, MLOCK_ONFAULT));
    R(mincore(p, 4 * PAGE, present));
    say("%d\n", present[2] & 1);
    R(mlock2(p, PAGE, 8));
    R(munmap(p + PAGE, PAGE));
    R(mlock(p, 4 * PAGE));
    R(munlock(p, 4 * PAGE));
    R(mlock(p + 1, 1));
    R(mlockall(MCL_CURRENT | MCL_FUTURE));
    char *q = map(2);
    R(mincore(q, 2 * PAGE, present));
    say("%d %d\n", present[0] & 1, present[1] & 1);
    R(munlockall());
    R(mlockall(0));
    R(mlockall(MCL_ONFAULT));
    R(mlockall(16));
    R(msync(q, PAGE, MS_SYNC));
    R(msync(q, PAGE, MS_SYNC | MS_ASYNC));
    R(msync(q + 1, PAGE, MS_SYNC));
    R(msync(p, 4 * PAGE, MS_ASYNC));
    R(msync(q, PAGE, 64));
}

CASE(memory_grows_down) {
    catch_faults();
    stack_t alternate = {.ss_sp = map(16), .ss_size = 16 * PAGE};
    MUST(sigaltstack(&alternate, NULL));
    char *p = map(64);
    R(munmap(p, 64 * PAGE));
    char *top = p + 60 * PAGE;
    char *q = mmap(top, PAGE, RW, ANON | MAP_FIXED | MAP_GROWSDOWN, -1, 0);
    R(q == top);
    store("itself", q);
    store("just below", q - 1);
    store("next page", q - PAGE - 1);
}

CASE(memory_past_file_end) {
    catch_faults();
    int fd = MUST(open("f", O_CREAT | O_RDWR, 0600));
    MUST(ftruncate(fd, PAGE + 10));
    char *p = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0);
    char *q = mmap(NULL, 4 * PAGE, RW, MAP_PRIVATE, fd, 0);
    store("inside", p + PAGE + 5);
    store("rest of the last page", p + PAGE + 100);
    store("past the end", p + 2 * PAGE);
    load("past the end", q + 2 * PAGE);
    MUST(ftruncate(fd, 3 * PAGE));
    store("grown", p + 2 * PAGE);
    load("private sees it", q + 2 * PAGE);
    store("private", q);
    MUST(ftruncate(fd, 0));
    load("cut", p);
    load("private cut", q);
    R(madvise(p, PAGE, 23));
}

CASE(memory_process_vm) {
    char local[32] = {0}, remote[32] = "the other's memory";
    struct iovec to = {local, sizeof local}, from = {remote, sizeof remote};
    R(process_vm_readv(getpid(), &to, 1, &from, 1, 0));
    say("%s\n", local);
    int pipes[2];
    MUST(pipe(pipes));
    pid_t child = MUST(fork());
    if (child == 0) {
        strcpy(remote, "of the child");
        MUST(write(pipes[1], "x", 1));
        for (;;)
            pause();
    }
    MUST(read(pipes[0], local, 1));
    R(process_vm_readv(child, &to, 1, &from, 1, 0));
    say("%s\n", local);
    strcpy(local, "written");
    to.iov_len = 8;
    R(process_vm_writev(child, &to, 1, &from, 1, 0));
    memset(local, 0, sizeof local);
    to.iov_len = sizeof local;
    R(process_vm_readv(child, &to, 1, &from, 1, 0));
    say("%s\n", local);
    struct iovec two[2] = {{local, 3}, {local + 3, 5}}, bad[2] = {{remote, 4}, {(void *)8, 4}};
    R(process_vm_readv(child, two, 2, &from, 1, 0));
    R(process_vm_readv(child, &to, 1, bad, 2, 0));
    R(process_vm_readv(child, &to, 1, bad + 1, 1, 0));
    R(process_vm_readv(child, &to, 1, &from, 1, 1));
    R(process_vm_readv(4000000, &to, 1, &from, 1, 0));
    MUST(kill(child, SIGKILL));
    reap("child", child);
}

#define MEMBARRIER(command, flags) syscall(SYS_membarrier, command, flags, 0)

CASE(memory_barrier) {
    long supported = MEMBARRIER(0, 0);
    say("global %d private %d\n", !!(supported & 1), (supported & 0x18) == 0x18);
    R(MEMBARRIER(1, 0));
    R(MEMBARRIER(8, 0));
    R(MEMBARRIER(16, 0));
    R(MEMBARRIER(8, 0));
    R(MEMBARRIER(4, 0));
    R(MEMBARRIER(2, 0));
    R(MEMBARRIER(32, 0));
    R(MEMBARRIER(64, 0));
    R(MEMBARRIER(32, 0));
    R(MEMBARRIER(0, 1));
    R(MEMBARRIER(3, 0));
    R(MEMBARRIER(1 << 20, 0));
    pid_t child = MUST(fork());
    if (child == 0) {
        R(MEMBARRIER(8, 0));
        _exit(0);
    }
    reap("child", child);
}

static volatile int stop_barriers;
static volatile long left, right, seen_left, seen_right;
static volatile int round_left, round_right;

static void *fast_side(void *arg) {
    (void)arg;
    for (int round = 1; !stop_barriers; round++) {
        for (int spins = 0; round_left != round; spins++) {
            if (stop_barriers)
                return NULL;
            /* Both may share one CPU. */
            if (spins > 1000)
                sched_yield();
        }
        left = round;
        __asm__ volatile("" ::: "memory");
        seen_right = right;
        round_right = round;
    }
    return NULL;
}

CASE(memory_barrier_orders) {
    /* Dekker's handshake with the barrier on one side only. */
    MUST(MEMBARRIER(16, 0));
    pthread_t thread;
    pthread_create(&thread, NULL, fast_side, NULL);
    int both_missed = 0;
    for (int round = 1; round <= 500; round++) {
        round_left = round;
        right = round;
        MUST(MEMBARRIER(8, 0));
        seen_left = left;
        while (round_right != round)
            sched_yield();
        both_missed += seen_left != round && seen_right != round;
    }
    stop_barriers = 1;
    pthread_join(thread, NULL);
    say("missed %d\n", both_missed);
}

CASE(memory_seals_of_writing) {
    int fd = MUST(syscall(SYS_memfd_create, "sealed", 2));
    MUST(ftruncate(fd, PAGE));
    char *p = mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0);
    R(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    R(munmap(p, PAGE));
    R(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    R(fcntl(fd, F_GET_SEALS));
    R(write(fd, "x", 1));
    R(pwrite(fd, "x", 1, 0));
    OK(mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
    OK(mmap(NULL, PAGE, RW, MAP_PRIVATE, fd, 0) == MAP_FAILED ? -1 : 0);
    OK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
    R(ftruncate(fd, 2 * PAGE));
    R(fallocate(fd, 0x3, 0, PAGE));
    int other = MUST(syscall(SYS_memfd_create, "future", 2));
    MUST(ftruncate(other, PAGE));
    char *q = mmap(NULL, PAGE, RW, MAP_SHARED, other, 0);
    R(fcntl(other, F_ADD_SEALS, 0x10));
    *q = 5;
    R(write(other, "x", 1));
    OK(mmap(NULL, PAGE, RW, MAP_SHARED, other, 0) == MAP_FAILED ? -1 : 0);
    char *r = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, other, 0);
    say("%d\n", *r);
    R(mprotect(r, PAGE, RW));
}

CASE(memory_unmap_bounds) {
    char *p = map(2);
    R(munmap(p, 0));
    R(munmap(p + 1, PAGE));
    R(munmap((void *)(1UL << 47), PAGE));
    R(munmap(p, 1));
    R(munmap(p, PAGE));
    OK(mmap(NULL, 0, RW, ANON, -1, 0) == MAP_FAILED ? -1 : 0);
    OK(mmap(NULL, 1UL << 48, RW, ANON, -1, 0) == MAP_FAILED ? -1 : 0);
    OK(mmap(NULL, PAGE, RW, MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0);
    OK(mmap(NULL, PAGE, RW, MAP_PRIVATE, 99, 0) == MAP_FAILED ? -1 : 0);
    OK(mmap(NULL, PAGE, RW, MAP_PRIVATE, 1, 1) == MAP_FAILED ? -1 : 0);
    int fd = MUST(open("f", O_CREAT | O_RDONLY, 0600));
    OK(mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
    OK(mmap(NULL, PAGE, RW, MAP_PRIVATE, fd, 0) == MAP_FAILED ? -1 : 0);
    int w = MUST(open("f", O_WRONLY));
    OK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, w, 0) == MAP_FAILED ? -1 : 0);
    OK(mmap(NULL, PAGE, RW, MAP_SHARED | 0x03, fd, 0) == MAP_FAILED ? -1 : 0);
    char *s = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    R(mprotect(s, PAGE, RW));
}

CASE(memory_huge_reservation) {
    size_t size = 1UL << 36;
    char *p = mmap(NULL, size, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
    MUST(p == MAP_FAILED ? -1 : 0);
    catch_faults();
    store("reserved", p + size / 2);
    R(mprotect(p + size / 2, PAGE, RW));
    store("committed", p + size / 2);
    R(mmap(p + size / 2, PAGE, PROT_NONE, ANON | MAP_FIXED | MAP_NORESERVE, -1, 0) == p + size / 2);
    store("given back", p + size / 2);
    pid_t child = MUST(fork());
    if (child == 0) {
        R(munmap(p, size));
        _exit(0);
    }
    reap("child", child);
    R(munmap(p, size));
    struct rusage usage;
    MUST(getrusage(RUSAGE_SELF, &usage));
    say("faults counted %d\n", usage.ru_minflt > 0);
}

/* However long the range is, such calls take as long as there is memory in it. */
CASE(memory_long_ranges) {
    const size_t size = 1UL << 45, touched = 20UL << 20;
    char *p = mmap(NULL, size, RW, ANON | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        say("no room\n");
        return;
    }
    memset(p, 1, touched);
    p[size - PAGE] = 1;
    R(madvise(p, size, MADV_NORMAL));
    R(madvise(p, size, MADV_DONTNEED));
    say("gone: %d %d %d\n", p[0], p[touched - 1], p[size - PAGE]);
    memset(p, 1, touched);
    R(munmap(p, size));
    R(madvise(p, 1UL << 46, MADV_NORMAL));
    R(madvise((void *)0xffffffffff000000UL, PAGE, MADV_NORMAL));
    R(madvise((void *)0xffffffffff000000UL, PAGE, 22));
    R(madvise(NULL, 1UL << 62, 22));
}
