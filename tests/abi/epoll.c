/* epoll(7). */
#include "abi.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

static int set;

static int control(int op, int fd, unsigned events) {
    struct epoll_event e = {events, {.fd = fd}};
    return epoll_ctl(set, op, fd, &e);
}

/* Waits and writes what came, with descriptors counted from the set's. */
static void wait_events(const char *what, int max, int timeout) {
    struct epoll_event e[16];
    int n = epoll_wait(set, e, max, timeout);
    if (n == -1) {
        say("%s: %s\n", what, strerrorname_np(errno));
        return;
    }
    say("%s: %d events\n", what, n);
    for (int i = 0; i < n; i++) {
        char line[32];
        snprintf(line, sizeof line, "  descriptor %d", e[i].data.fd - set);
        say_events(line, e[i].events);
    }
}

static void start(int p[2]) {
    set = MUST(epoll_create1(0));
    MUST(pipe2(p, O_NONBLOCK));
}

CASE(epoll_level) {
    int p[2];
    start(p);
    R(control(EPOLL_CTL_ADD, p[0], EPOLLIN));
    wait_events("empty", 8, 0);
    MUST(write(p[1], "ab", 2));
    wait_events("two bytes", 8, -1);
    char c;
    MUST(read(p[0], &c, 1));
    wait_events("one byte", 8, 0);
    MUST(read(p[0], &c, 1));
    wait_events("empty", 8, 0);
    close(p[1]);
    wait_events("writer gone", 8, 0);
}

CASE(epoll_edge) {
    int p[2];
    start(p);
    R(control(EPOLL_CTL_ADD, p[0], EPOLLIN | EPOLLET));
    R(control(EPOLL_CTL_ADD, p[1], EPOLLOUT | EPOLLET));
    wait_events("added", 8, 0);
    wait_events("again", 8, 0);
    MUST(write(p[1], "a", 1));
    wait_events("byte", 8, 0);
    wait_events("again", 8, 0);
    MUST(write(p[1], "b", 1));
    wait_events("another byte", 8, 0);
    R(control(EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLET));
    wait_events("modified", 8, 0);
    close(p[1]);
    wait_events("writer gone", 8, 0);
}

CASE(epoll_oneshot) {
    int p[2];
    start(p);
    R(control(EPOLL_CTL_ADD, p[0], EPOLLIN | EPOLLONESHOT));
    MUST(write(p[1], "a", 1));
    wait_events("first", 8, 0);
    MUST(write(p[1], "b", 1));
    wait_events("second", 8, 0);
    R(control(EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLONESHOT));
    wait_events("armed again", 8, 0);
    close(p[1]);
    wait_events("hang-up while disarmed", 8, 0);
}

CASE(epoll_errors) {
    int p[2];
    start(p);
    struct epoll_event e = {0};
    R(epoll_create(0));
    R(epoll_create1(1));
    R(epoll_ctl(-1, EPOLL_CTL_ADD, p[0], &e));
    R(epoll_ctl(set, EPOLL_CTL_ADD, -1, &e));
    R(epoll_ctl(p[0], EPOLL_CTL_ADD, p[1], &e));
    R(epoll_ctl(set, EPOLL_CTL_ADD, set, &e));
    R(epoll_ctl(set, 99, p[0], &e));
    R(epoll_ctl(set, EPOLL_CTL_MOD, p[0], &e));
    R(epoll_ctl(set, EPOLL_CTL_DEL, p[0], 0));
    R(syscall(SYS_epoll_ctl, set, EPOLL_CTL_ADD, p[0], (void *)8));
    R(control(EPOLL_CTL_ADD, p[0], EPOLLIN));
    R(control(EPOLL_CTL_ADD, p[0], EPOLLIN));
    R(epoll_ctl(set, EPOLL_CTL_DEL, p[0], 0));
    int file = MUST(open("file", O_RDWR | O_CREAT, 0600));
    R(control(EPOLL_CTL_ADD, file, EPOLLIN));
    R(epoll_wait(set, &e, 0, 0));
    R(epoll_wait(set, &e, -1, 0));
    R(epoll_wait(p[0], &e, 1, 0));
    R(epoll_wait(-1, &e, 1, 0));
    MUST(write(p[1], "a", 1));
    R(control(EPOLL_CTL_ADD, p[0], EPOLLIN));
    R(syscall(SYS_epoll_wait, set, (void *)8, 1, 0));
    wait_events("still there", 1, 0);
    R(read(set, &e, 8));
    R(write(set, &e, 8));
    R(lseek(set, 0, SEEK_SET));
}

CASE(epoll_exclusive) {
    int p[2];
    start(p);
    int inner = MUST(epoll_create1(0));
    R(control(EPOLL_CTL_ADD, p[0], EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT));
    R(control(EPOLL_CTL_ADD, p[0], EPOLLPRI | EPOLLEXCLUSIVE));
    R(control(EPOLL_CTL_ADD, inner, EPOLLIN | EPOLLEXCLUSIVE));
    R(control(EPOLL_CTL_ADD, p[0], EPOLLIN | EPOLLEXCLUSIVE | EPOLLET));
    R(control(EPOLL_CTL_MOD, p[0], EPOLLIN));
    R(control(EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLEXCLUSIVE));
    MUST(write(p[1], "a", 1));
    wait_events("ready", 8, 0);
}

CASE(epoll_takes_turns) {
    int p[3][2];
    set = MUST(epoll_create1(0));
    for (int i = 0; i < 3; i++)
        MUST(pipe(p[i]));
    for (int i = 0; i < 3; i++) {
        MUST(control(EPOLL_CTL_ADD, p[i][0], EPOLLIN));
        MUST(write(p[i][1], "x", 1));
    }
    for (int i = 0; i < 4; i++)
        wait_events("two of three", 2, 0);
    wait_events("all", 16, 0);
}

CASE(epoll_close_forgets) {
    int p[2];
    start(p);
    MUST(write(p[1], "x", 1));
    MUST(control(EPOLL_CTL_ADD, p[0], EPOLLIN));
    int copy = MUST(dup(p[0]));
    MUST(close(p[0]));
    wait_events("a duplicate keeps it", 8, 0);
    R(epoll_ctl(set, EPOLL_CTL_DEL, p[0], 0));
    R(control(EPOLL_CTL_ADD, copy, EPOLLIN));
    wait_events("both", 8, 0);
    MUST(close(copy));
    wait_events("all closed", 8, 0);
}

CASE(epoll_duplicates_are_different) {
    int p[2];
    start(p);
    int copy = MUST(dup(p[0]));
    R(control(EPOLL_CTL_ADD, p[0], EPOLLIN));
    R(control(EPOLL_CTL_ADD, copy, EPOLLIN));
    MUST(write(p[1], "x", 1));
    struct epoll_event e[8];
    R(epoll_wait(set, e, 8, 0));
    say("descriptors differ: %d\n", e[0].data.fd != e[1].data.fd);
}

CASE(epoll_nested) {
    int p[2];
    start(p);
    int outer = MUST(epoll_create1(0));
    MUST(control(EPOLL_CTL_ADD, p[0], EPOLLIN));
    struct epoll_event e = {EPOLLIN, {.u32 = 77}}, got;
    R(epoll_ctl(outer, EPOLL_CTL_ADD, set, &e));
    R(epoll_wait(outer, &got, 1, 0));
    say_events("inner set, idle", poll_now(set));
    MUST(write(p[1], "x", 1));
    R(epoll_wait(outer, &got, 1, -1));
    say("data %u\n", got.data.u32);
    say_events("inner set, ready", poll_now(set));
    say_events("outer set, ready", poll_now(outer));
    R(epoll_ctl(set, EPOLL_CTL_ADD, outer, &e));
    int chain = outer, depth = 0;
    for (; depth < 10; depth++) {
        int next = MUST(epoll_create1(0));
        if (epoll_ctl(next, EPOLL_CTL_ADD, chain, &e) == -1)
            break;
        chain = next;
    }
    say("chain: %s\n", depth < 10 ? strerrorname_np(errno) : "no limit");
}

static int wake_pipe[2];

static void *write_later(void *arg) {
    sleep_ms(30);
    (void)arg;
    MUST(write(wake_pipe[1], "x", 1));
    return 0;
}

CASE(epoll_wakes_a_waiter) {
    start(wake_pipe);
    MUST(control(EPOLL_CTL_ADD, wake_pipe[0], EPOLLIN));
    pthread_t t;
    pthread_create(&t, 0, write_later, 0);
    wait_events("woken", 8, 5000);
    pthread_join(t, 0);
}

/* A descriptor is added while a thread already waits. */
static void *add_later(void *arg) {
    (void)arg;
    sleep_ms(30);
    MUST(write(wake_pipe[1], "x", 1));
    MUST(control(EPOLL_CTL_ADD, wake_pipe[0], EPOLLIN));
    return 0;
}

CASE(epoll_add_wakes_a_waiter) {
    start(wake_pipe);
    pthread_t t;
    pthread_create(&t, 0, add_later, 0);
    wait_events("woken", 8, 5000);
    pthread_join(t, 0);
}

CASE(epoll_timeout) {
    int p[2];
    start(p);
    MUST(control(EPOLL_CTL_ADD, p[0], EPOLLIN));
    long from = now_ms();
    wait_events("timed out", 8, 50);
    long took = now_ms() - from;
    say("at least 50 ms: %d, not 5 s: %d\n", took >= 50, took < 5000);
    struct epoll_event e;
    struct timespec bad = {0, 1000000000}, good = {0, 1000000};
    R(syscall(SYS_epoll_pwait2, set, &e, 1, &bad, 0, 8));
    R(syscall(SYS_epoll_pwait2, set, &e, 1, &good, 0, 8));
}

static void on_signal(int signal) {
    (void)signal;
}

CASE(epoll_signals) {
    int p[2];
    start(p);
    struct epoll_event e;
    struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    MUST(sigaction(SIGUSR1, &act, 0));
    pid_t self = getpid(), child = MUST(fork());
    if (child == 0) {
        sleep_ms(30);
        kill(self, SIGUSR1);
        _exit(0);
    }
    R(epoll_wait(set, &e, 1, 5000));
    reap("sender", child);

    sigset_t blocked, none;
    sigemptyset(&none);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    MUST(sigprocmask(SIG_BLOCK, &blocked, 0));
    MUST(raise(SIGUSR1));
    R(epoll_wait(set, &e, 1, 20));
    R(epoll_pwait(set, &e, 1, 5000, &none));
    sigpending(&none);
    say("still pending: %d\n", sigismember(&none, SIGUSR1));
    sigset_t now;
    sigprocmask(SIG_BLOCK, 0, &now);
    say("blocked again: %d\n", sigismember(&now, SIGUSR1));
}

CASE(epoll_many) {
    enum { COUNT = 200 };
    set = MUST(epoll_create1(0));
    int fds[COUNT];
    for (int i = 0; i < COUNT; i++) {
        fds[i] = MUST(eventfd(0, EFD_NONBLOCK));
        struct epoll_event e = {EPOLLIN | EPOLLET, {.u32 = i}};
        MUST(epoll_ctl(set, EPOLL_CTL_ADD, fds[i], &e));
    }
    for (int i = COUNT - 1; i >= 0; i -= 3)
        MUST(eventfd_write(fds[i], 1));
    struct epoll_event e[COUNT];
    int n = R(epoll_wait(set, e, COUNT, 0));
    unsigned sum = 0;
    for (int i = 0; i < n; i++)
        sum = sum * 31 + e[i].data.u32;
    say("order %u\n", sum);
    for (int i = 0; i < COUNT; i += 2)
        MUST(epoll_ctl(set, EPOLL_CTL_DEL, fds[i], 0));
    for (int i = 0; i < COUNT; i++)
        MUST(eventfd_write(fds[i], 1));
    R(epoll_wait(set, e, COUNT, 0));
}

/* Threads that share a set of one-shot items: every event is seen exactly once. */
static int tokens[8];
static int seen[8];

static void *serve(void *arg) {
    (void)arg;
    for (;;) {
        struct epoll_event e;
        if (epoll_wait(set, &e, 1, -1) != 1)
            continue;
        if (e.data.fd == -1)
            return 0;
        int i = e.data.fd;
        uint64_t value = 0;
        if (read(tokens[i], &value, sizeof value) == sizeof value)
            __atomic_fetch_add(&seen[i], value, __ATOMIC_SEQ_CST);
        struct epoll_event again = {EPOLLIN | EPOLLONESHOT, {.fd = i}};
        MUST(epoll_ctl(set, EPOLL_CTL_MOD, tokens[i], &again));
    }
}

CASE(epoll_threads_oneshot) {
    set = MUST(epoll_create1(0));
    int stop = MUST(eventfd(0, 0));
    struct epoll_event last = {EPOLLIN, {.fd = -1}};
    for (int i = 0; i < 8; i++) {
        tokens[i] = MUST(eventfd(0, EFD_NONBLOCK));
        struct epoll_event e = {EPOLLIN | EPOLLONESHOT, {.fd = i}};
        MUST(epoll_ctl(set, EPOLL_CTL_ADD, tokens[i], &e));
    }
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], 0, serve, 0);
    for (int round = 0; round < 2000; round++)
        MUST(eventfd_write(tokens[round % 8], 1));
    for (int i = 0; i < 8; i++)
        while (__atomic_load_n(&seen[i], __ATOMIC_SEQ_CST) < 250)
            sched_yield();
    MUST(epoll_ctl(set, EPOLL_CTL_ADD, stop, &last));
    MUST(eventfd_write(stop, 1));
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], 0);
    for (int i = 0; i < 8; i++)
        say("token %d: %d\n", i, seen[i]);
}

CASE(epoll_many_sets_of_one_file) {
    enum { SETS = 200 };
    int pipes[2], sets[SETS];
    MUST(pipe(pipes));
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < SETS; i++) {
            struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
            sets[i] = MUST(epoll_create1(0));
            MUST(epoll_ctl(sets[i], EPOLL_CTL_ADD, pipes[0], &event));
        }
        /* Some sets end, some stop watching. */
        int quiet = 0, told = 0;
        for (int i = 0; i < SETS; i++) {
            if (i % 3 == 0)
                MUST(close(sets[i]));
            else if (i % 3 == 1)
                MUST(epoll_ctl(sets[i], EPOLL_CTL_DEL, pipes[0], NULL));
        }
        MUST(write(pipes[1], "x", 1));
        for (int i = 0; i < SETS; i++) {
            struct epoll_event event;
            if (i % 3 == 1)
                quiet += epoll_wait(sets[i], &event, 1, 0) == 0;
            else if (i % 3 == 2)
                told += epoll_wait(sets[i], &event, 1, 0) == 1 && event.data.u32 == (unsigned)i;
        }
        say("quiet %d told %d\n", quiet, told);
        char c;
        MUST(read(pipes[0], &c, 1));
        for (int i = 0; i < SETS; i++)
            if (i % 3 != 0)
                MUST(close(sets[i]));
    }
}
