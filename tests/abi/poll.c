/* poll(2), select(2). */
#include "abi.h"

#include <sys/select.h>

CASE(poll_kinds) {
    struct pollfd p[4] = {{-1, POLLIN, 99}, {900, POLLIN, 0}, {0, 0, 0}, {0, 0, 0}};
    int q[2];
    MUST(pipe(q));
    p[2] = (struct pollfd){q[0], POLLIN | POLLOUT, 0};
    p[3] = (struct pollfd){q[1], POLLIN | POLLOUT, 0};
    R(poll(p, 4, 0));
    for (int i = 0; i < 4; i++)
        say_events("result", (unsigned short)p[i].revents);
    int file = MUST(open("file", O_RDWR | O_CREAT, 0600));
    say_events("regular file", poll_now(file));
    int null = MUST(open("/dev/null", O_RDWR));
    say_events("/dev/null", poll_now(null));
    int dir = MUST(open(".", O_RDONLY));
    say_events("directory", poll_now(dir));
    int path = MUST(open("file", O_PATH));
    say_events("O_PATH", poll_now(path));
    R(poll(0, 0, 10));
    R(poll((struct pollfd *)8, 1, 0));
    R(poll(p, 1 << 30, 0));
}

CASE(poll_timeout) {
    int q[2];
    MUST(pipe(q));
    struct pollfd p = {q[0], POLLIN, 0};
    long from = now_ms();
    R(poll(&p, 1, 40));
    say("not early: %d\n", now_ms() - from >= 40);
    struct timespec t = {0, 30000000}, bad = {0, -1};
    from = now_ms();
    R(ppoll(&p, 1, &t, 0));
    say("not early: %d\n", now_ms() - from >= 30);
    R(ppoll(&p, 1, &bad, 0));
    MUST(write(q[1], "x", 1));
    R(ppoll(&p, 1, 0, 0));
}

static void on_signal(int signal) {
    say("handler of SIG%s\n", sigabbrev_np(signal));
}

CASE(ppoll_mask) {
    int q[2];
    MUST(pipe(q));
    struct pollfd p = {q[0], POLLIN, 0};
    struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    MUST(sigaction(SIGUSR1, &act, 0));
    sigset_t usr1, none;
    sigemptyset(&none);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    MUST(sigprocmask(SIG_BLOCK, &usr1, 0));
    MUST(raise(SIGUSR1));
    R(poll(&p, 1, 20));
    R(ppoll(&p, 1, 0, &none));
    MUST(raise(SIGUSR1));
    MUST(write(q[1], "x", 1));
    /* Ready at once: the signal stays blocked and pending. */
    R(ppoll(&p, 1, 0, &none));
    R(sigpending(&none));
    say("pending %d\n", sigismember(&none, SIGUSR1));
    R(syscall(SYS_ppoll, &p, 1, 0, &usr1, 4));
}

CASE(select_sets) {
    int q[2];
    MUST(pipe(q));
    fd_set r, w, e;
    FD_ZERO(&r);
    FD_ZERO(&w);
    FD_ZERO(&e);
    FD_SET(q[0], &r);
    FD_SET(q[1], &w);
    FD_SET(q[0], &e);
    struct timeval zero = {0, 0};
    R(select(q[1] + 1, &r, &w, &e, &zero));
    say("%d %d %d\n", FD_ISSET(q[0], &r), FD_ISSET(q[1], &w), FD_ISSET(q[0], &e));
    MUST(write(q[1], "x", 1));
    FD_SET(q[0], &r);
    FD_SET(q[0], &e);
    R(select(q[1] + 1, &r, &w, &e, 0));
    say("%d %d %d\n", FD_ISSET(q[0], &r), FD_ISSET(q[1], &w), FD_ISSET(q[0], &e));
    close(q[0]);
    FD_ZERO(&r);
    FD_SET(q[0], &r);
    R(select(q[1] + 1, &r, 0, 0, &zero));
    say("unchanged: %d\n", FD_ISSET(q[0], &r));
    R(select(q[0], &r, 0, 0, &zero));
    R(select(-1, 0, 0, 0, &zero));
    struct timeval bad = {-1, 0};
    R(select(0, 0, 0, 0, &bad));
    /* A writer whose reader is gone is both writable and in error. */
    FD_ZERO(&r);
    FD_SET(q[1], &r);
    FD_ZERO(&w);
    FD_SET(q[1], &w);
    R(select(q[1] + 1, &r, &w, 0, 0));
}

CASE(select_time_left) {
    int q[2];
    MUST(pipe(q));
    struct timeval t = {0, 30000};
    long from = now_ms();
    R(select(0, 0, 0, 0, &t));
    say("not early: %d, left %ld %ld\n", now_ms() - from >= 30, (long)t.tv_sec, (long)t.tv_usec);
    fd_set w;
    FD_ZERO(&w);
    FD_SET(q[1], &w);
    t = (struct timeval){10, 0};
    R(select(q[1] + 1, 0, &w, 0, &t));
    say("left: %d\n", t.tv_sec == 9 || (t.tv_sec == 10 && t.tv_usec == 0));
    struct timespec p = {0, 5000000};
    R(syscall(SYS_pselect6, 0, 0, 0, 0, &p, 0));
    say("left %ld %ld\n", p.tv_sec, p.tv_nsec);
}

CASE(pselect_mask) {
    struct sigaction act = {.sa_handler = on_signal};
    MUST(sigaction(SIGUSR2, &act, 0));
    sigset_t usr2, none;
    sigemptyset(&none);
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    MUST(sigprocmask(SIG_BLOCK, &usr2, 0));
    pid_t self = getpid(), child = MUST(fork());
    if (child == 0) {
        sleep_ms(30);
        kill(self, SIGUSR2);
        _exit(0);
    }
    struct timespec t = {10, 0};
    R(pselect(0, 0, 0, 0, &t, &none));
    sigprocmask(SIG_BLOCK, 0, &none);
    say("blocked again: %d\n", sigismember(&none, SIGUSR2));
    reap("sender", child);
}

/* Stopped and continued, a call that waits has its time-out end as if it had not been. */
CASE(poll_goes_on_after_a_stop) {
    pid_t child = MUST(fork());
    if (child == 0) {
        long before = now_ms();
        int n = poll(0, 0, 1500);
        long took = now_ms() - before;
        say("poll %d, as long as asked for %d\n", n, took >= 1495 && took < 1900);
        _exit(0);
    }
    sleep_ms(400);
    MUST(kill(child, SIGSTOP));
    sleep_ms(400);
    MUST(kill(child, SIGCONT));
    reap("child", child);
}
