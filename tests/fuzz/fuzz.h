/* What the files of the fuzzer share: raw system calls, random numbers, the shared page, the generators. See README.md.
 *
 * There is no C library in here: calls with random arguments would break its state (thread pointer, heap, signal masks). */
#ifndef FUZZ_H
#define FUZZ_H

#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <asm/unistd.h>

/* Newer than some C libraries' headers. */
#ifndef __NR_fchmodat2
#define __NR_fchmodat2 452
#endif

typedef uint64_t u64;
typedef uint32_t u32;

/* ---- system calls ---- */

static inline long raw(long nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f) {
    long result;
    register u64 r10 __asm__("r10") = d;
    register u64 r8 __asm__("r8") = e;
    register u64 r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#define CALL(nr, a, b, c, d, e, f)                                                                 \
    raw(nr, (u64)(a), (u64)(b), (u64)(c), (u64)(d), (u64)(e), (u64)(f))
#define CALL0(nr) CALL(nr, 0, 0, 0, 0, 0, 0)
#define CALL1(nr, a) CALL(nr, a, 0, 0, 0, 0, 0)
#define CALL2(nr, a, b) CALL(nr, a, b, 0, 0, 0, 0)
#define CALL3(nr, a, b, c) CALL(nr, a, b, c, 0, 0, 0)
#define CALL4(nr, a, b, c, d) CALL(nr, a, b, c, d, 0, 0)

/* ---- random numbers (splitmix64): a stream depends on nothing but its seed ---- */

struct rng {
    u64 state;
};

static inline u64 mix(u64 z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
static inline u64 next(struct rng *r) { return mix(r->state += 0x9e3779b97f4a7c15u); }
static inline u64 below(struct rng *r, u64 n) { return next(r) % n; }
static inline int one_in(struct rng *r, u64 n) { return below(r, n) == 0; }
static inline u64 stream(u64 seed, u64 index) { return mix(mix(seed) ^ (index + 1) * 0x9e3779b97f4a7c15u); }

/* ---- what all processes share ---- */

#define MAX_PROCESSES 16
#define MAX_THREADS 16
#define REGISTRY 4096
#define MAX_FD 72

/* One of the processes that run at the same time. */
struct slot {
    unsigned char kinds[MAX_FD]; /* what descriptors were made as: FD_FILE ... FD_TIMER, 0 for anything else */
    u64 threads[MAX_THREADS]; /* calls made by each thread */
    u64 children;             /* calls made by what it forked */
    u32 tids[MAX_THREADS];
};

struct shared {
    struct slot slots[MAX_PROCESSES];
    /* Ids of forked processes: whoever is left over when a worker has ended is killed. */
    u32 registry[REGISTRY];
    u32 registered;
    /* Options. */
    u64 seed;
    u32 threads;
    u32 contained; /* we are pid 1: nothing else can be hurt */
    u64 quota;     /* calls of one thread of a worker */
    u64 done[512]; /* calls by number, and those of them that worked: which are never reached? */
    u64 worked[512];
};

#define SHARED ((struct shared *)0x345670000)
#define SHARED_BYTES ((sizeof(struct shared) + 4095) & ~4095ul)

/* ---- text ---- */

/* Writes a line to the standard output: `%d`, `%u` (64 bits), `%x`, `%s`. */
void say(const char *format, ...);
u64 number(const char *text);
size_t length(const char *text);
int equal(const char *a, const char *b);

/* ---- one stream of calls ---- */

/* A thread's state; on its own stack, which no call is given. */
struct worker {
    struct rng rng;
    struct slot *slot;
    u64 *counter;
    u32 index; /* of the thread */
    u32 depth; /* of forks */
    u64 left;  /* calls to make */
    u64 forks;
};

#define PAGE 4096ul
#define ARENA 0x1234500000ul
#define ARENA_PAGES 256ul
/* Parts of the arena, in pages: read-write; read-only; inaccessible; nothing; shared; a file; nothing. */
#define RW_PAGES 64
#define RO_AT 64
#define NONE_AT 72
#define HOLE_AT 80
#define SHARED_AT 96
#define FILE_AT 128
#define FREE_AT 160

/* Kinds of arguments; a number from SET on names a set of flags or values of sets.c. */
enum kind {
    END,
    FD,
    /* The same, but most often of a kind that the call is for, by what it was made as. */
    FD_FILE,
    FD_DIRECTORY,
    FD_SOCKET,
    FD_EPOLL,
    FD_TIMER,
    DIRFD,
    PATH,      /* of something that is read */
    PATH_OURS, /* of something that is changed */
    BUFFER,
    LENGTH,
    OFFSET,
    SMALL,
    WORD,
    MODE,
    SIGNAL,
    PID,
    TID,
    AREA,
    AREA_LENGTH,
    CLOCK_TIME,
    TIMER_SPEC,
    IOVEC,
    COUNT,
    ADDRESS,
    ADDRESS_LENGTH,
    MESSAGE,
    MESSAGES,
    POLLFDS,
    EPOLL_EVENT,
    SIGSET,
    SIGSET_SIZE,
    SIGACTION,
    SIGINFO,
    ALT_STACK,
    RLIMIT,
    OFFSET_AT,
    OPEN_HOW,
    FCNTL_ARG,
    IOCTL_ARG,
    FUTEX_WORD,
    TIMEOUT_MS,
    FD_SETS,
    PSELECT_MASK,
    NAME,
    CPUS,
    WORDS,
    SET,
};

u64 argument(struct worker *w, int kind);
/* Copies into memory that may not be there; returns whether it was. */
int copy_safely(void *to, const void *from, size_t bytes);
/* A value of a set of sets.c. */
u64 from_set(struct rng *r, int set);
u64 pointer(struct rng *r);
u64 build(struct worker *w, int kind, u64 *bytes);

enum set {
    READ_FLAGS = SET,
    OPEN_FLAGS,
    AT_FLAGS,
    MMAP_PROT,
    MMAP_FLAGS,
    MREMAP_FLAGS,
    MADVICE,
    MSYNC_FLAGS,
    SOCKET_DOMAIN,
    SOCKET_TYPE,
    SOCKET_PROTOCOL,
    SOCKET_LEVEL,
    SOCKET_OPTION,
    MESSAGE_FLAGS,
    SHUTDOWN_HOW,
    FCNTL_COMMAND,
    IOCTL_COMMAND,
    FUTEX_OP,
    CLOCK,
    TIMER_FLAGS,
    SIG_HOW,
    WAIT_OPTIONS,
    ID_TYPE,
    WHENCE,
    EPOLL_OP,
    PIPE_FLAGS,
    FLOCK_OP,
    FALLOC_MODE,
    PRCTL_OP,
    ARCH_OP,
    RESOURCE,
    RENAME_FLAGS,
    MEMFD_FLAGS,
    RANDOM_FLAGS,
    RW_FLAGS,
    STATX_MASK,
    ITIMER_WHICH,
    ADVICE,
    RANGE_FLAGS,
    SCHED_POLICY,
    MLOCK_FLAGS,
    ACCESS_MODE,
    CLOSE_FLAGS,
    EVENT_FLAGS,
};

/* A row of the table: a call, how often it is made, and what it is given. */
struct call {
    short nr;
    unsigned char weight;
    unsigned char kinds[6];
};
extern const struct call calls[];
extern const int call_count;

/* Makes the calls of one thread. */
void run_stream(struct worker *w);
/* A worker process: sets itself up, runs its threads, ends. */
void run_worker(int slot, u64 index) __attribute__((noreturn));
/* What execve of ourselves comes to. */
void run_executed(u64 slot, u64 seed, u64 depth) __attribute__((noreturn));
/* Calls whose callee does not simply return: fork, clone, execve, rt_sigreturn, faults. */
void special(struct worker *w);
/* clone(2) onto another stack, where the child calls run(argument). */
long tyn_clone(u64 flags, void *top, u64 parent_id, u64 child_id, void (*run)(void *), void *argument);
/* Our signal handlers' set-up. */
void catch(int signal, u64 flags);
void on_signal(int signal, void *info, void *context);
void restorer(void);

void *memcpy(void *to, const void *from, size_t n);
void exit_now(int status) __attribute__((noreturn));
#endif
