/* mmap(2) and its family, as far as a program can tell: contents, protection, sharing, copy-on-write. */
#include "abi.h"

#include <setjmp.h>
#include <sys/syscall.h>

#define PAGE 4096

static sigjmp_buf fault_return;
static volatile int fault_signal, fault_code;
static void *volatile fault_address;

static void on_fault(int signal, siginfo_t *info, void *context) {
    (void)context;
    fault_signal = signal;
    fault_code = info->si_code;
    fault_address = info->si_addr;
    siglongjmp(fault_return, 1);
}

static void catch_faults(void) {
    struct sigaction act = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    MUST(sigaction(SIGSEGV, &act, 0));
    MUST(sigaction(SIGBUS, &act, 0));
}

static const char *code_name(void) {
    if (fault_signal == SIGSEGV)
        return fault_code == SEGV_MAPERR   ? "MAPERR"
               : fault_code == SEGV_ACCERR ? "ACCERR"
                                           : "other";
    return fault_code == BUS_ADRERR ? "ADRERR" : "other";
}

/* Tries one access and writes what became of it. */
static void touch(const char *what, volatile char *at, int write) {
    if (sigsetjmp(fault_return, 1) == 0) {
        if (write)
            *at = 1;
        else
            (void)*at;
        say("%s: %s ok\n", what, write ? "write" : "read");
    } else {
        say("%s: SIG%s %s, address right: %d\n", what, sigabbrev_np(fault_signal), code_name(),
            fault_address == at);
    }
}

static char *map(size_t len, int prot, int flags) {
    char *p = mmap(0, len, prot, flags | MAP_ANONYMOUS, -1, 0);
    MUST(p == MAP_FAILED ? -1 : 0);
    return p;
}

CASE(mm_anonymous) {
    char *p = map(3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    int sum = 0;
    for (int i = 0; i < 3 * PAGE; i++)
        sum += p[i];
    say("aligned %d, zero %d\n", ((uintptr_t)p & (PAGE - 1)) == 0, sum == 0);
    memset(p, 7, 3 * PAGE);
    R(munmap(p + PAGE, PAGE));
    catch_faults();
    touch("hole", p + PAGE, 0);
    touch("before the hole", p + PAGE - 1, 0);
    touch("after the hole", p + 2 * PAGE, 1);
    R(munmap(p, 3 * PAGE));
    R(munmap(p, 3 * PAGE));
    R(munmap(p + 1, PAGE));
    R(munmap(p, 0));
}

CASE(mm_protection) {
    char *p = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    catch_faults();
    p[0] = p[PAGE] = p[2 * PAGE] = 'x';
    R(mprotect(p, PAGE, PROT_READ));
    R(mprotect(p + PAGE, PAGE, PROT_NONE));
    touch("read-only", p, 0);
    touch("read-only", p, 1);
    touch("none", p + PAGE, 0);
    touch("none", p + PAGE + 100, 1);
    touch("untouched", p + 3 * PAGE, 1);
    R(mprotect(p, 2 * PAGE, PROT_READ | PROT_WRITE));
    touch("again", p, 1);
    say("kept: %c\n", p[PAGE]);
    R(mprotect(p + 1, PAGE, PROT_READ));
    R(mprotect(p, PAGE, 0x40));
    MUST(munmap(p + PAGE, PAGE));
    R(mprotect(p, 4 * PAGE, PROT_READ));
    touch("before the hole", p, 1);
    touch("null", (char *)0, 0);
    touch("null page", (char *)8, 1);
}

CASE(mm_bad_arguments) {
    R(syscall(SYS_mmap, 0, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    R(syscall(SYS_mmap, 0, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0));
    R(syscall(SYS_mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, -1, 0));
    R(syscall(SYS_mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, 0, 1));
    R(syscall(SYS_mmap, 1, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    R(syscall(SYS_mmap, 0, -1UL, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    R(syscall(SYS_mmap, 0, 1UL << 47, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    R(syscall(SYS_mmap, 1UL << 47, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    R(mremap((void *)PAGE, PAGE, PAGE, 0));
    R(mremap((void *)1, PAGE, PAGE, 0));
    char *page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    OK(mremap(page, -(size_t)PAGE, PAGE, 0) == MAP_FAILED ? -1 : 0);
    OK(mremap(page, -(size_t)page, PAGE, 0) == MAP_FAILED ? -1 : 0);
    OK(mremap(page, 1ul << 47, PAGE, 0) == MAP_FAILED ? -1 : 0);
    OK(mremap(page, -(size_t)PAGE, -(size_t)PAGE, 0) == MAP_FAILED ? -1 : 0);
    R(madvise((void *)1, PAGE, MADV_DONTNEED));
    R(madvise(0, PAGE, 12345));
    R(msync((void *)1, PAGE, MS_SYNC));
}

CASE(mm_fixed) {
    char *p = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    memset(p, 'a', 4 * PAGE);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    say("noreplace: %s\n",
        mmap(p + PAGE, PAGE, PROT_READ, flags | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED
            ? strerrorname_np(errno)
            : "mapped");
    char *q = mmap(p + PAGE, PAGE, PROT_READ, flags | MAP_FIXED, -1, 0);
    say("replaced: %d, contents %d %d %d\n", q == p + PAGE, p[0], p[PAGE], p[2 * PAGE]);
    MUST(munmap(p + 2 * PAGE, PAGE));
    q = mmap(p + 2 * PAGE, PAGE, PROT_READ, flags | MAP_FIXED_NOREPLACE, -1, 0);
    say("free place: %d\n", q == p + 2 * PAGE);
    MUST(munmap(p + 2 * PAGE, PAGE));
    q = mmap(p + 2 * PAGE, PAGE, PROT_READ, flags, -1, 0);
    say("hint taken: %d\n", q == p + 2 * PAGE);
}

CASE(mm_copy_on_write) {
    char *p = map(8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    char *s = map(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
    memset(p, 'p', 8 * PAGE);
    strcpy(s, "shared");
    for (int round = 0; round < 3; round++) {
        pid_t child = MUST(fork());
        if (child == 0) {
            for (int i = 0; i < 8; i++)
                if (p[i * PAGE] != 'p')
                    _exit(1);
            memset(p + round * PAGE, 'c', PAGE);
            s[round] = 'A' + round;
            _exit(p[round * PAGE] == 'c' ? 0 : 2);
        }
        reap("child", child);
    }
    int changed = 0;
    for (int i = 0; i < 8 * PAGE; i++)
        changed += p[i] != 'p';
    say("private changed %d, shared %s\n", changed, s);
    /* A grandchild that outlives its parent still sees the memory of the fork. */
    int q[2];
    MUST(pipe(q));
    if (MUST(fork()) == 0) {
        strcpy(p, "from the middle");
        if (MUST(fork()) == 0) {
            sleep_ms(30);
            MUST(write(q[1], p, 16));
            _exit(0);
        }
        _exit(0);
    }
    wait(0);
    char buf[16];
    MUST(read(q[0], buf, 16));
    say("%s, here %c\n", buf, p[0]);
}

/* Parent and child write the same private pages at the same time. */
CASE(mm_copy_on_write_race) {
    enum { PAGES = 64 };
    char *p = map(PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    int wrong = 0;
    for (int round = 0; round < 20; round++) {
        memset(p, round, PAGES * PAGE);
        pid_t child = MUST(fork());
        char mine = child == 0 ? 100 : 101;
        int bad = 0;
        for (int i = 0; i < PAGES; i++) {
            bad += p[i * PAGE + 1] != round;
            p[i * PAGE] = mine;
        }
        for (int i = 0; i < PAGES; i++)
            bad += p[i * PAGE] != mine;
        if (child == 0)
            _exit(bad != 0);
        int status;
        MUST(waitpid(child, &status, 0));
        wrong += bad != 0 || status != 0;
    }
    say("wrong rounds: %d\n", wrong);
}

CASE(mm_files) {
    int fd = MUST(open("file", O_RDWR | O_CREAT, 0600));
    char text[] = "hello, mapped file";
    MUST(write(fd, text, sizeof text));
    char *shared = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *private = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    say("%s | %s\n", shared, private);
    memcpy(shared, "HELLO", 5);
    memcpy(private + 7, "PRIVAT", 6);
    char buf[32] = {0};
    MUST(pread(fd, buf, sizeof buf, 0));
    say("%s | %s | %s\n", shared, private, buf);
    MUST(pwrite(fd, "written", 7, 0));
    say("%s\n", shared);
    int tail = 0;
    for (int i = sizeof text; i < PAGE; i++)
        tail += shared[i];
    say("tail %d\n", tail);
    R(msync(shared, PAGE, MS_SYNC));
    catch_faults();
    MUST(ftruncate(fd, 3 * PAGE));
    char *three = mmap(0, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    touch("in the file", three + 2 * PAGE, 1);
    touch("past the end", three + 3 * PAGE, 0);
    MUST(ftruncate(fd, PAGE));
    touch("cut off", three + 2 * PAGE, 0);
    touch("still there", three, 1);
    close(fd);
    touch("closed", shared, 1);
    int r = MUST(open("file", O_RDONLY));
    say("write to a read-only file: %s\n",
        mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, r, 0) == MAP_FAILED
            ? strerrorname_np(errno)
            : "mapped");
    char *ro = mmap(0, PAGE, PROT_READ, MAP_SHARED, r, 0);
    R(mprotect(ro, PAGE, PROT_READ | PROT_WRITE));
    int w = MUST(open("file", O_WRONLY));
    say("write-only file: %s\n", mmap(0, PAGE, PROT_READ, MAP_PRIVATE, w, 0) == MAP_FAILED
                                     ? strerrorname_np(errno)
                                     : "mapped");
}

CASE(mm_remap) {
    char *p = map(2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    strcpy(p, "first");
    strcpy(p + PAGE, "second");
    char *q = mremap(p, 2 * PAGE, 64 * PAGE, MREMAP_MAYMOVE);
    say("grown: %s %s, zero %d\n", q, q + PAGE, q[63 * PAGE]);
    q = mremap(q, 64 * PAGE, PAGE, 0);
    say("shrunk: %s\n", q);
    catch_faults();
    touch("cut off", q + PAGE, 0);
    char *place = map(4 * PAGE, PROT_NONE, MAP_PRIVATE);
    q = mremap(q, PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place + PAGE);
    say("moved: %d %s\n", q == place + PAGE, q);
    touch("before", place, 0);
    touch("grown part", q + PAGE, 1);
    touch("after", place + 3 * PAGE, 0);
    char *blocked = map(3 * PAGE, PROT_READ, MAP_PRIVATE);
    MUST(mprotect(blocked + PAGE, PAGE, PROT_NONE));
    say("no room: %s\n", mremap(blocked, PAGE, 2 * PAGE, 0) == MAP_FAILED ? strerrorname_np(errno)
                                                                         : "grown");
}

CASE(mm_advice) {
    char *p = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    memset(p, 'x', 4 * PAGE);
    R(madvise(p + PAGE, PAGE, MADV_DONTNEED));
    say("%d %d %d\n", p[0], p[PAGE], p[2 * PAGE]);
    int fd = MUST(open("file", O_RDWR | O_CREAT, 0600));
    MUST(write(fd, "file", 4));
    char *m = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    m[0] = 'F';
    say("%s\n", m);
    R(madvise(m, PAGE, MADV_DONTNEED));
    say("%s\n", m);
    R(madvise(p, 4 * PAGE, MADV_FREE));
    R(madvise(p, 4 * PAGE, MADV_WILLNEED));
    R(madvise(p, 4 * PAGE, MADV_NORMAL));
    MUST(munmap(p + PAGE, PAGE));
    R(madvise(p, 4 * PAGE, MADV_DONTNEED));
}

CASE(mm_memfd) {
    int fd = R(memfd_create("name", MFD_CLOEXEC));
    R(fcntl(fd, F_GETFD));
    MUST(ftruncate(fd, 2 * PAGE));
    char *a = mmap(0, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *b = mmap(0, 2 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    strcpy(a + PAGE, "twice mapped");
    say("%s, %d addresses\n", b + PAGE, 1 + (a != b));
    char buf[8] = {0};
    R(pread(fd, buf, 5, PAGE));
    say("%s\n", buf);
    struct stat st;
    MUST(fstat(fd, &st));
    say("size %ld, mode %o\n", (long)st.st_size, st.st_mode);
    R(memfd_create("name", 0x4000));
    R(syscall(SYS_memfd_create, (void *)8, 0));
}

/* Code that is written through one mapping runs through the other. */
CASE(mm_two_views_of_code) {
    int fd = MUST(memfd_create("code", 0));
    MUST(ftruncate(fd, PAGE));
    unsigned char *w = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    unsigned char *x = mmap(0, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    for (int value = 1; value <= 3; value++) {
        unsigned char code[] = {0xb8, value, 0, 0, 0, 0xc3}; /* mov eax, value; ret */
        memcpy(w, code, sizeof code);
        say("returned %d\n", ((int (*)(void))x)());
    }
}

CASE(mm_execute_data) {
    catch_faults();
    static unsigned char data[] = {0xc3};
    char *volatile page = map(PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    page[0] = (char)0xc3;
    volatile char on_stack[] = {(char)0xc3};
    const struct {
        const char *what;
        volatile void *at;
    } places[] = {{"data", data}, {"mapping", page}, {"stack", on_stack}};
    for (int i = 0; i < 3; i++) {
        if (sigsetjmp(fault_return, 1) == 0) {
            ((void (*)(void))places[i].at)();
            say("%s: executed\n", places[i].what);
        } else {
            say("%s: SIG%s %s, address right: %d\n", places[i].what, sigabbrev_np(fault_signal),
                code_name(), fault_address == places[i].at);
        }
    }
    MUST(mprotect(page, PAGE, PROT_READ | PROT_EXEC));
    ((void (*)(void))page)();
    say("executable now\n");
}

CASE(mm_break) {
    char *start = sbrk(0);
    catch_faults();
    char *old = sbrk(3 * PAGE);
    say("grew from the break: %d\n", old == start);
    memset(old, 'b', 3 * PAGE);
    sbrk(-2 * PAGE);
    char *end = sbrk(0);
    say("shrunk: %d\n", end == start + PAGE);
    char *next = (char *)(((uintptr_t)end + PAGE - 1) & ~(uintptr_t)(PAGE - 1));
    touch("past the break", next, 0);
    sbrk(PAGE);
    say("zero again: %d\n", next[0] == 0);
    say("kernel's answer to nonsense: %d\n", syscall(SYS_brk, -1UL) == (long)sbrk(0));
}

static int recurse(int depth) {
    volatile char frame[1024];
    frame[0] = depth;
    return depth == 0 ? frame[0] : recurse(depth - 1) + (frame[0] & 0);
}

CASE(mm_stack_grows) {
    say("deep: %d\n", recurse(4000));
}

static void overflow(void) {
    recurse(1 << 30);
}

CASE(mm_stack_overflow) {
    in_child("endless recursion", overflow);
}

/* Faults of the kernel's own copies bring pages in like user accesses do. */
CASE(mm_kernel_copies) {
    char *p = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    int q[2];
    MUST(pipe(q));
    R(write(q[1], p + PAGE - 2, 4));
    R(read(q[0], p + 3 * PAGE - 2, 4));
    MUST(mprotect(p, PAGE, PROT_READ));
    MUST(write(q[1], "abcd", 4));
    R(read(q[0], p, 4));
    R(read(q[0], (char *)(1UL << 47), 4));
    R(read(q[0], (char *)0xffff800000000000UL, 4));
    R(write(q[1], (char *)0xffffffff80000000UL, 4));
    R(write(q[1], (char *)0x8000000000000000UL, 4));
    if (fork() == 0) {
        MUST(read(q[0], p + 2 * PAGE, 4));
        say("child %.4s\n", p + 2 * PAGE);
        _exit(0);
    }
    wait(0);
    say("parent %d\n", p[2 * PAGE]);
}
