/* Structures that arguments point at. */
#include "fuzz.h"
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Copies byte by byte; a fault at tyn_copy makes on_signal go on at tyn_copy_failed. */
int copy_safely(void *to, const void *from, size_t bytes) {
    int worked = 1;
    __asm__ volatile(".globl tyn_copy, tyn_copy_failed, tyn_copy_done\n"
                     "tyn_copy: rep movsb\n"
                     "jmp tyn_copy_done\n"
                     "tyn_copy_failed: xorl %k3, %k3\n"
                     "tyn_copy_done:\n"
                     : "+D"(to), "+S"(from), "+c"(bytes), "+r"(worked)
                     :
                     : "memory");
    return worked;
}

/* What is being built. */
struct bytes {
    size_t length;
    unsigned char at[512];
};

static void put(struct bytes *b, const void *from, size_t n) {
    const unsigned char *p = from;
    for (size_t i = 0; i < n && b->length < sizeof b->at; i++)
        b->at[b->length++] = p[i];
}
#define PUT(b, type, value)                                                                        \
    do {                                                                                           \
        type put_value = (type)(value);                                                            \
        put(b, &put_value, sizeof put_value);                                                      \
    } while (0)

/* Puts it somewhere; sometimes that is a bad address or the edge of a mapping. */
static u64 place(struct rng *r, const struct bytes *b) {
    u64 at = ARENA + below(r, RW_PAGES - 1) * PAGE + below(r, 500) * 8;
    if (one_in(r, 20))
        at = pointer(r);
    else if (one_in(r, 20))
        at = ARENA + RW_PAGES * PAGE - b->length;
    copy_safely((void *)at, b->at, b->length);
    return at;
}

/* At most 2 ms, but for the sake of it sometimes anything. */
static void put_time(struct rng *r, struct bytes *b) {
    int odd = one_in(r, 16);
    PUT(b, u64, odd ? next(r) : 0);
    PUT(b, u64, odd ? next(r) : below(r, 2000000));
}

static void put_address(struct worker *w, struct bytes *b) {
    struct rng *r = &w->rng;
    static const char *const names[] = {"s\0\0", "t\0\0", "d/s", "\0one", "\0two", "u\0\0", "a\0\0"};
    u64 n = below(r, 10);
    if (n < 4) {
        PUT(b, uint16_t, AF_UNIX);
        const char *name = names[below(r, 7)];
        put(b, name, 4);
        PUT(b, u64, 0);
    } else if (n < 8) {
        PUT(b, uint16_t, AF_INET);
        PUT(b, uint16_t, __builtin_bswap16((uint16_t)(40000 + below(r, 8))));
        static const u32 addresses[] = {0x7f000001, 0x7f000001, 0x7f000001, 0, 0x7f000002, 0xffffffff, 0xe0000001};
        PUT(b, u32, __builtin_bswap32(addresses[below(r, SHARED->contained ? 7 : 3)]));
        PUT(b, u64, 0);
    } else {
        PUT(b, uint16_t, one_in(r, 2) ? AF_NETLINK : next(r));
        for (int i = 0; i < 14; i++)
            PUT(b, u64, i ? 0 : below(r, 3));
    }
}

static void put_iovec(struct worker *w, struct bytes *b) {
    for (u64 n = below(&w->rng, 10); n > 0; n--) {
        PUT(b, u64, pointer(&w->rng));
        PUT(b, u64, argument(w, LENGTH));
    }
}

/* One or two control messages: descriptors, credentials, nonsense. */
static u64 control(struct worker *w, u64 *bytes) {
    struct rng *r = &w->rng;
    struct bytes b = {0};
    for (u64 n = 1 + below(r, 2); n > 0; n--) {
        u64 fds = below(r, 6);
        PUT(&b, u64, one_in(r, 10) ? argument(w, LENGTH) : 16 + fds * 4);
        PUT(&b, u32, one_in(r, 10) ? next(r) : SOL_SOCKET);
        PUT(&b, u32, one_in(r, 5) ? below(r, 4) : SCM_RIGHTS);
        for (u64 i = 0; i < (fds + 1) / 2 * 2; i++)
            PUT(&b, u32, argument(w, one_in(r, 2) ? FD_SOCKET : FD));
    }
    *bytes = b.length;
    return place(r, &b);
}

static void put_message(struct worker *w, struct bytes *b) {
    struct rng *r = &w->rng;
    u64 bytes = 0;
    int has_name = one_in(r, 2);
    PUT(b, u64, has_name ? build(w, ADDRESS, &bytes) : 0);
    PUT(b, u64, has_name ? argument(w, ADDRESS_LENGTH) : 0);
    u64 at = build(w, IOVEC, &bytes);
    PUT(b, u64, at);
    PUT(b, u64, one_in(r, 20) ? argument(w, COUNT) : bytes / 16);
    int has_control = one_in(r, 2);
    at = has_control ? control(w, &bytes) : 0;
    PUT(b, u64, at);
    PUT(b, u64, has_control ? (one_in(r, 20) ? argument(w, LENGTH) : bytes) : 0);
    PUT(b, u64, 0);
}

static void put_action(struct worker *w, struct bytes *b) {
    struct rng *r = &w->rng;
    u64 handler = one_in(r, 6) ? below(r, 3) : one_in(r, 12) ? pointer(r) : (u64)on_signal;
    PUT(b, u64, handler);
    u64 flags = 0x04000000; /* SA_RESTORER */
    static const u64 more[] = {4, 0x08000000, 0x10000000, 0x40000000, 0x80000000, 1, 2, 0x400, 0x800};
    for (u64 n = below(r, 4); n > 0; n--)
        flags |= more[below(r, 9)];
    PUT(b, u64, flags);
    PUT(b, u64, one_in(r, 50) ? pointer(r) : (u64)restorer);
    PUT(b, u64, one_in(r, 4) ? next(r) & next(r) : 0);
}

static void put_siginfo(struct worker *w, struct bytes *b) {
    PUT(b, u32, argument(w, SIGNAL));
    PUT(b, u32, 0);
    PUT(b, int, one_in(&w->rng, 4) ? (int)next(&w->rng) : -1);
    for (int i = 0; i < 29; i++)
        PUT(b, u32, i < 4 ? next(&w->rng) : 0);
}

/* open_how, clone_args and whatever else is an array of words. */
static void put_words(struct worker *w, struct bytes *b, u64 n) {
    for (; n > 0; n--)
        PUT(b, u64, one_in(&w->rng, 2) ? below(&w->rng, 200) : argument(w, WORD));
}

static void put_pollfds(struct worker *w, struct bytes *b) {
    for (int i = 0; i < 9; i++) {
        PUT(b, u32, argument(w, FD));
        PUT(b, u32, next(&w->rng) & 0xffff);
    }
}

static void put_lock(struct worker *w, struct bytes *b) {
    PUT(b, uint16_t, below(&w->rng, 4));
    PUT(b, uint16_t, below(&w->rng, 3));
    PUT(b, u32, 0);
    PUT(b, u64, argument(w, OFFSET));
    PUT(b, u64, argument(w, LENGTH));
    PUT(b, u32, 0);
}

static void put_epoll_event(struct rng *r, struct bytes *b) {
    u32 events = EPOLLIN | EPOLLOUT;
    if (one_in(r, 2))
        events = next(r) & 0x201f;
    if (one_in(r, 2))
        events |= (u32)next(r) & (EPOLLET | EPOLLONESHOT | EPOLLEXCLUSIVE);
    PUT(b, u32, events);
    PUT(b, u64, next(r));
}

static void put_open_how(struct worker *w, struct bytes *b) {
    PUT(b, u64, from_set(&w->rng, OPEN_FLAGS));
    PUT(b, u64, one_in(&w->rng, 2) ? 0644 : 0);
    PUT(b, u64, one_in(&w->rng, 2) ? 0 : below(&w->rng, 64));
}

/* Builds what `kind` names; returns its address and how long it is. */
u64 build(struct worker *w, int kind, u64 *bytes) {
    struct rng *r = &w->rng;
    struct bytes b = {0};
    switch (kind) {
    case CLOCK_TIME:
        put_time(r, &b);
        break;
    case TIMER_SPEC:
        put_time(r, &b);
        put_time(r, &b);
        break;
    case IOVEC:
        put_iovec(w, &b);
        break;
    case ADDRESS:
        put_address(w, &b);
        break;
    case MESSAGE:
        put_message(w, &b);
        break;
    case MESSAGES:
        for (int i = 0; i < 4; i++) {
            put_message(w, &b);
            PUT(&b, u64, 0);
        }
        break;
    case POLLFDS:
        put_pollfds(w, &b);
        break;
    case EPOLL_EVENT:
        put_epoll_event(r, &b);
        break;
    case SIGSET:
        PUT(&b, u64, one_in(r, 3) ? next(r) : next(r) & next(r) & next(r));
        break;
    case SIGACTION:
        put_action(w, &b);
        break;
    case SIGINFO:
        put_siginfo(w, &b);
        break;
    case ALT_STACK:
        PUT(&b, u64, pointer(r));
        PUT(&b, u64, one_in(r, 4) ? next(r) : below(r, 4));
        PUT(&b, u64, one_in(r, 3) ? argument(w, LENGTH) : 4 * PAGE);
        break;
    case RLIMIT:
        PUT(&b, u64, one_in(r, 30) ? argument(w, WORD) : 1ul << 40);
        PUT(&b, u64, one_in(r, 8) ? argument(w, WORD) : -1ul);
        break;
    case OFFSET_AT:
        if (one_in(r, 2))
            return 0;
        PUT(&b, u64, argument(w, OFFSET));
        break;
    case OPEN_HOW:
        put_open_how(w, &b);
        break;
    case FCNTL_ARG:
        put_lock(w, &b);
        break;
    case FD_SETS:
        if (one_in(r, 3))
            return 0;
        put_words(w, &b, 4);
        break;
    case PSELECT_MASK:
        PUT(&b, u64, one_in(r, 4) ? pointer(r) : 0);
        PUT(&b, u64, 8);
        break;
    case NAME:
        put(&b, "memory", one_in(r, 8) ? 6 : 7);
        break;
    default:
        put_words(w, &b, 1 + below(r, 16));
        break;
    }
    *bytes = b.length;
    return place(r, &b);
}
