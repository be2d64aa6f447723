/* signalfd(2). */
#include "abi.h"

#include <sys/epoll.h>
#include <sys/signalfd.h>

static int open_for(sigset_t *set, int a, int b, int flags) {
    sigemptyset(set);
    sigaddset(set, a);
    if (b)
        sigaddset(set, b);
    MUST(sigprocmask(SIG_BLOCK, set, NULL));
    return MUST(signalfd(-1, set, flags));
}

CASE(signalfd_reads) {
    sigset_t set;
    int fd = open_for(&set, SIGUSR1, SIGRTMIN, SFD_NONBLOCK);
    struct signalfd_siginfo info[3] = {0};
    R(read(fd, info, sizeof info));
    say_events("empty", poll_now(fd));
    union sigval value = {.sival_int = 42};
    MUST(kill(getpid(), SIGUSR1));
    MUST(sigqueue(getpid(), SIGRTMIN, value));
    say_events("two", poll_now(fd));
    R(read(fd, info, sizeof info));
    say("%d code %d self %d\n", info[0].ssi_signo, info[0].ssi_code, info[0].ssi_pid == (unsigned)getpid());
    say("%d code %d int %d ptr low %d\n", info[1].ssi_signo == (unsigned)SIGRTMIN, info[1].ssi_code, info[1].ssi_int,
        (int)info[1].ssi_ptr);
    R(read(fd, info, sizeof info));
    R(read(fd, info, sizeof *info - 1));
    R(write(fd, info, sizeof *info));
    R(lseek(fd, 0, SEEK_SET));
}

CASE(signalfd_child) {
    sigset_t set;
    int fd = open_for(&set, SIGCHLD, 0, 0);
    pid_t child = MUST(fork());
    if (child == 0)
        _exit(9);
    struct signalfd_siginfo info;
    R(read(fd, &info, sizeof info));
    say("%d code %d status %d pid %d\n", info.ssi_signo, info.ssi_code, info.ssi_status, info.ssi_pid == (unsigned)child);
    reap("child", child);
}

CASE(signalfd_mask_changes) {
    sigset_t set;
    int fd = open_for(&set, SIGUSR1, 0, SFD_NONBLOCK | SFD_CLOEXEC);
    R(fcntl(fd, F_GETFD));
    R(fcntl(fd, F_GETFL) & O_NONBLOCK);
    sigset_t other;
    sigemptyset(&other);
    sigaddset(&other, SIGUSR2);
    MUST(sigprocmask(SIG_BLOCK, &other, NULL));
    MUST(kill(getpid(), SIGUSR2));
    struct signalfd_siginfo info;
    R(read(fd, &info, sizeof info));
    R(signalfd(fd, &other, 0) == fd);
    say_events("the other", poll_now(fd));
    R(read(fd, &info, sizeof info));
    say("%d\n", info.ssi_signo);
}

CASE(signalfd_errors) {
    sigset_t set;
    sigemptyset(&set);
    R(signalfd(-1, &set, 1));
    R(signalfd(99, &set, 0));
    R(signalfd(1, &set, 0));
    R(syscall(SYS_signalfd4, -1, &set, 4, 0));
    R(syscall(SYS_signalfd4, -1, 8, 8, 0));
    sigaddset(&set, SIGKILL);
    int fd = OK(signalfd(-1, &set, 0));
    R(read(fd, &set, 0));
    OK(syscall(SYS_signalfd, -1, &set, 8));
}

CASE(signalfd_epoll) {
    sigset_t set;
    int fd = open_for(&set, SIGUSR1, 0, SFD_NONBLOCK), ep = MUST(epoll_create1(0));
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = 7};
    R(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event));
    R(epoll_wait(ep, &event, 1, 0));
    pid_t parent = getpid(), child = MUST(fork());
    if (child == 0) {
        sleep_ms(30);
        kill(parent, SIGUSR1);
        _exit(0);
    }
    R(epoll_wait(ep, &event, 1, 10000));
    say_events("epoll", event.events);
    struct signalfd_siginfo info;
    R(read(fd, &info, sizeof info));
    R(epoll_wait(ep, &event, 1, 0));
    reap("child", child);
}

static void *send_later(void *arg) {
    sleep_ms(30);
    kill(*(pid_t *)arg, SIGUSR2);
    return NULL;
}

CASE(signalfd_blocking_read) {
    sigset_t set;
    int fd = open_for(&set, SIGUSR2, 0, 0);
    pid_t self = getpid();
    pthread_t thread;
    pthread_create(&thread, NULL, send_later, &self);
    struct signalfd_siginfo info;
    R(read(fd, &info, sizeof info));
    say("%d\n", info.ssi_signo);
    pthread_join(thread, NULL);
    pthread_create(&thread, NULL, send_later, &self);
    struct pollfd p = {fd, POLLIN, 0};
    R(poll(&p, 1, 10000));
    pthread_join(thread, NULL);
    /* It is gone when it is taken elsewhere. */
    int got;
    R(sigwait(&set, &got));
    say_events("taken", poll_now(fd));
}

CASE(signalfd_fork) {
    sigset_t set;
    int fd = open_for(&set, SIGUSR1, 0, SFD_NONBLOCK);
    MUST(kill(getpid(), SIGUSR1));
    pid_t child = MUST(fork());
    if (child == 0) {
        /* The reader's signals count, not those of whoever opened it. */
        struct signalfd_siginfo info;
        R(read(fd, &info, sizeof info));
        say_events("child", poll_now(fd));
        _exit(0);
    }
    reap("child", child);
    say_events("parent", poll_now(fd));
}
