/* Simple arguments: near what real programs pass, sometimes far from it. */
#include "fuzz.h"
#include <fcntl.h>
#include <sys/mman.h>

static u64 odd_number(struct rng *r) {
    static const u64 odd[] = {0,        1,           -1ul,       0x7fffffff,         0x80000000,        0xffffffff, 1ul << 32,
                              1ul << 47, 1ul << 62, 1ul << 63, 0x7fffffffffffffff, -4096ul,           -4095ul,    4095,
                              4096,      4097,        0x7ffff000,  0xfffffffffffff000, 0x7fffffffffff000, 12345};
    u64 n = odd[below(r, sizeof odd / sizeof *odd)];
    return one_in(r, 4) ? n + below(r, 16) - 8 : n;
}

static u64 fd(struct rng *r) {
    u64 n = below(r, 100);
    if (n < 80)
        return below(r, 32);
    if (n < 95)
        return below(r, 72);
    static const u64 bad[] = {-1ul, 0xffffffff, 1023, 1024, 65535, 1 << 20, 0x7fffffff, -100ul, 1ul << 32};
    return bad[below(r, sizeof bad / sizeof *bad)];
}

/* A descriptor of a kind, if there is one; sometimes any. */
static u64 fd_of(struct worker *w, int kind) {
    struct rng *r = &w->rng;
    if (one_in(r, 5))
        return fd(r);
    u64 from = below(r, MAX_FD);
    for (u64 i = 0; i < MAX_FD; i++)
        if (w->slot->kinds[(from + i) % MAX_FD] == kind)
            return (from + i) % MAX_FD;
    return fd(r);
}

static u64 bad_pointer(struct rng *r) {
    static const u64 bad[] = {0,
                              1,
                              4095,
                              -1ul,
                              -8ul,
                              0xffff800000000000,
                              0xffff800000100000,
                              0xffffffff80000000,
                              0xffffffff81000000,
                              0x800000000000,
                              0x7ffffffff000,
                              0x7fffffffeff8,
                              0x7ffffffffff8,
                              0xdead000000000000,
                              0x400000};
    return bad[below(r, sizeof bad / sizeof *bad)];
}

/* A pointer into any part of the arena, to the edge of one, or to nowhere. */
u64 pointer(struct rng *r) {
    u64 n = below(r, 100), in_page = below(r, 512) * 8;
    if (one_in(r, 16))
        in_page += below(r, 8);
    if (n < 66)
        return ARENA + below(r, RW_PAGES) * PAGE + in_page;
    if (n < 76) /* straddles two parts */ {
        static const int edges[] = {RW_PAGES, NONE_AT, HOLE_AT, SHARED_AT, FILE_AT, FREE_AT};
        return ARENA + edges[below(r, 6)] * PAGE - below(r, 64);
    }
    if (n < 80)
        return ARENA + (RO_AT + below(r, 8)) * PAGE + in_page;
    if (n < 83)
        return ARENA + (NONE_AT + below(r, 24)) * PAGE + in_page;
    if (n < 90)
        return ARENA + (SHARED_AT + below(r, 32)) * PAGE + in_page;
    if (n < 96)
        return ARENA + (FILE_AT + below(r, 32)) * PAGE + in_page;
    return bad_pointer(r);
}

static u64 size(struct rng *r) {
    u64 n = below(r, 100);
    if (n < 10)
        return 0;
    if (n < 50)
        return 1 + below(r, 256);
    if (n < 75)
        return below(r, 3 * PAGE);
    if (n < 82)
        return below(r, 64 * PAGE);
    if (n < 92)
        return (1 + below(r, 8)) * 8;
    return odd_number(r);
}

static u64 offset(struct rng *r) {
    u64 n = below(r, 100);
    if (n < 30)
        return 0;
    if (n < 55)
        return below(r, 4 * PAGE);
    if (n < 85)
        return below(r, 16) * PAGE;
    if (n < 90)
        return below(r, 1 << 20);
    return odd_number(r);
}

static u64 area(struct rng *r) {
    u64 n = below(r, 100);
    if (n < 50)
        return ARENA + below(r, ARENA_PAGES) * PAGE;
    if (n < 80)
        return ARENA + (FREE_AT + below(r, ARENA_PAGES - FREE_AT)) * PAGE;
    if (n < 88)
        return 0;
    if (n < 94)
        return ARENA + below(r, 16) * (2ul << 20);
    if (n < 99 || !one_in(r, 4))
        return ARENA + below(r, ARENA_PAGES * PAGE);
    return bad_pointer(r);
}

static u64 area_length(struct rng *r) {
    u64 n = below(r, 100);
    if (n < 75)
        return (1 + below(r, 8)) * PAGE;
    if (n < 88)
        return below(r, 64) * PAGE;
    if (n < 93)
        return below(r, 8 * PAGE);
    if (n < 98 || !one_in(r, 8))
        return below(r, 16) << 21;
    return odd_number(r);
}

static const char *const ours[] = {"a",   "b",     "c",    "d",       "d/a",     "d/b",       "d/e",
                                   "d/e/f", "l",   "l/a",  "./a",     "../x",    "d/../b",    "a/",
                                   "map", "d/",    "e//f", ".",       "..",      "",          "m"};
static const char *const others[] = {
    "/dev/null",        "/dev/zero",         "/dev/full",       "/dev/random",   "/dev/urandom",     "/dev/tty",
    "/dev/ptmx",        "/dev/fd/3",         "/proc/self/maps", "/proc/self/fd", "/proc/self/stat", 
    "/proc/meminfo",    "/proc/self/fd/4",   "/proc/self/task", "/proc/1/stat",  "/proc/1/fd",       "/proc",
    "/proc/self/cwd/a", "/proc/self/status", "/proc/cpuinfo",   "/proc/stat",    "/proc/self/mem",   "/proc/self/statm",
    "/proc/mounts",     "/sys",              "/sys/devices/system/cpu/online",   "/",                "/nothing",
    "/proc/99999/stat", "/dev/shm",          "/dev/pts/0",      "/dev/stdin",    "/proc/self/root/proc/self/root",
    "/proc/self/exe",   "/proc/slabinfo",    "/proc/net/tcp",   "/proc/self/fdinfo/3", "/proc/net/unix",  "/dev/pts/1"};

/* Writes a path into the arena, or gives a bad pointer. */
static u64 path(struct worker *w, int is_changed) {
    struct rng *r = &w->rng;
    if (one_in(r, 40))
        return pointer(r);
    char text[4200];
    size_t n = 0;
    u64 kind = below(r, 100);
    if (kind < 2) {
        n = one_in(r, 2) ? 255 + below(r, 3) : 4094 + below(r, 4);
        for (size_t i = 0; i < n; i++)
            text[i] = n > 300 && i % 2 ? '/' : 'n';
    } else {
        const char *from = is_changed || kind < 55 ? ours[below(r, sizeof ours / sizeof *ours)]
                                                   : others[below(r, sizeof others / sizeof *others)];
        for (; from[n]; n++)
            text[n] = from[n];
        if (one_in(r, 40) && n)
            text[below(r, n)] = (char)next(r);
    }
    text[n++] = 0;
    u64 at = ARENA + below(r, RW_PAGES - 2) * PAGE + below(r, PAGE);
    if (one_in(r, 16)) /* ends with the page, before something inaccessible */
        at = ARENA + HOLE_AT * PAGE - n;
    if (one_in(r, 16))
        at = ARENA + RW_PAGES * PAGE - n + below(r, 2);
    copy_safely((void *)at, text, n);
    return at;
}

static u64 pid(struct worker *w) {
    struct rng *r = &w->rng;
    u64 n = below(r, 100);
    u64 self = CALL0(__NR_getpid);
    if (n < 40)
        return 0;
    if (n < 70)
        return self;
    if (n < 80)
        return -self;
    if (n < 90 && SHARED->contained)
        return SHARED->registry[below(r, REGISTRY)];
    if (n < 94 && SHARED->contained)
        return 1;
    if (n < 95 && SHARED->contained)
        return -1ul;
    return 4000000 + below(r, 1000000);
}

static u64 tid(struct worker *w) {
    if (one_in(&w->rng, 8))
        return pid(w);
    return w->slot->tids[below(&w->rng, MAX_THREADS)];
}

static u64 word(struct worker *w) {
    struct rng *r = &w->rng;
    switch (below(r, 8)) {
    case 0:
        return odd_number(r);
    case 1:
    case 2:
        return pointer(r);
    case 3:
        return fd(r);
    case 4:
        return next(r);
    case 5:
        return 1ul << below(r, 64);
    default:
        return below(r, 64);
    }
}

/* Any signal that does not end the process at once is likelier than those that do. */
static u64 a_signal(struct rng *r) {
    static const int mild[] = {1, 2, 10, 12, 13, 14, 17, 18, 23, 28, 29, 34, 35, 64, 0};
    if (!one_in(r, 60))
        return mild[below(r, sizeof mild / sizeof *mild)];
    return one_in(r, 8) ? odd_number(r) : below(r, 66);
}

u64 argument(struct worker *w, int kind) {
    struct rng *r = &w->rng;
    u64 bytes;
    if (kind >= SET)
        return from_set(r, kind);
    switch (kind) {
    case END:
        /* Arguments past the last one: anything. */
        return one_in(r, 8) ? word(w) : 0;
    case FD:
        return fd(r);
    case FD_FILE:
    case FD_DIRECTORY:
    case FD_SOCKET:
    case FD_EPOLL:
    case FD_TIMER:
        return fd_of(w, kind);
    case DIRFD:
        return one_in(r, 4) ? fd_of(w, FD_DIRECTORY) : (u64)AT_FDCWD;
    case PATH:
        return path(w, 0);
    case PATH_OURS:
        return path(w, 1);
    case BUFFER:
    case FUTEX_WORD:
        /* Few futexes, so that they meet. */
        if (kind == FUTEX_WORD && !one_in(r, 8))
            return ARENA + (one_in(r, 2) ? 0 : SHARED_AT * PAGE) + below(r, 4) * 4;
        return pointer(r);
    case LENGTH:
        return size(r);
    case OFFSET:
        return offset(r);
    case SMALL:
        return one_in(r, 16) ? odd_number(r) : below(r, 4);
    case WORD:
        return word(w);
    case MODE:
        return one_in(r, 8) ? next(r) & 0xffff : 0755;
    case SIGNAL:
        return a_signal(r);
    case PID:
        return pid(w);
    case TID:
        return tid(w);
    case AREA:
        return area(r);
    case AREA_LENGTH:
        return area_length(r);
    case COUNT:
        return one_in(r, 12) ? odd_number(r) : below(r, 9);
    case ADDRESS_LENGTH:
        return one_in(r, 4) ? below(r, 130) : 16;
    case SIGSET_SIZE:
        return one_in(r, 16) ? size(r) : 8;
    case TIMEOUT_MS:
        return one_in(r, 16) ? odd_number(r) : below(r, 3);
    case FCNTL_ARG:
        return one_in(r, 2) ? word(w) : build(w, kind, &bytes);
    default:
        return build(w, kind, &bytes);
    }
}
