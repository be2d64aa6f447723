/* Processes as files: pidfd_open(2), pidfd_send_signal(2), pidfd_getfd(2), CLONE_PIDFD, waitid(P_PIDFD). */
#include "abi.h"

#include <linux/sched.h>
#include <sys/epoll.h>

#define NONBLOCK O_NONBLOCK

static int pidfd_open_(pid_t pid, unsigned flags) {
    return syscall(SYS_pidfd_open, pid, flags);
}

static int send_signal(int fd, int signal, siginfo_t *info, unsigned flags) {
    return syscall(SYS_pidfd_send_signal, fd, signal, info, flags);
}

static int getfd(int pidfd, int fd, unsigned flags) {
    return syscall(SYS_pidfd_getfd, pidfd, fd, flags);
}

/* A child that waits to be killed. */
static pid_t sleeper(void) {
    pid_t child = MUST(fork());
    if (child == 0)
        for (;;)
            pause();
    return child;
}

CASE(pidfd_errors) {
    R(pidfd_open_(0, 0));
    R(pidfd_open_(-1, 0));
    R(pidfd_open_(getpid(), 0x40000000));
    R(pidfd_open_(4000000, 0));
    int plain = MUST(open(".", O_RDONLY));
    R(send_signal(plain, 0, NULL, 0));
    R(send_signal(-1, 0, NULL, 0));
    R(getfd(plain, 0, 0));
    int self = MUST(pidfd_open_(getpid(), 0));
    R(send_signal(self, 0, NULL, 0));
    R(send_signal(self, 65, NULL, 0));
    R(send_signal(self, 0, NULL, 0x40000000));
    R(getfd(self, 999, 0));
    R(getfd(self, 0, 1));
    R(fcntl(self, F_GETFD));
    char byte;
    R(read(self, &byte, 1));
    R(write(self, &byte, 1));
    struct pollfd wait = {.fd = self, .events = POLLIN};
    R(poll(&wait, 1, 0));
    siginfo_t info = {0};
    R(waitid(P_PIDFD, self, &info, WEXITED));
    R(waitid(P_PIDFD, plain, &info, WEXITED));
    R(waitid(P_PIDFD, -1, &info, WEXITED));
    R(waitid(P_PIDFD, 999, &info, WEXITED));
}

CASE(pidfd_poll_and_wait) {
    pid_t child = sleeper();
    int fd = MUST(pidfd_open_(child, 0));
    int set = MUST(epoll_create1(0));
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = 7};
    R(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    R(poll(&wait, 1, 0));
    R(epoll_wait(set, &event, 1, 0));
    R(send_signal(fd, 0, NULL, 0));
    R(send_signal(fd, SIGKILL, NULL, 0));
    R(poll(&wait, 1, -1));
    say("events %x\n", wait.revents);
    R(epoll_wait(set, &event, 1, -1));
    say("events %x data %u\n", event.events, event.data.u32);
    /* A zombie exists. */
    R(send_signal(fd, SIGTERM, NULL, 0));
    OK(pidfd_open_(child, 0));
    siginfo_t info = {0};
    R(waitid(P_PIDFD, fd, &info, WEXITED | WNOWAIT));
    R(waitid(P_PIDFD, fd, &info, WEXITED));
    say("code %d status %d child %d\n", info.si_code, info.si_status, info.si_pid == child);
    R(waitid(P_PIDFD, fd, &info, WEXITED));
    R(send_signal(fd, SIGTERM, NULL, 0));
    R(getfd(fd, 0, 0));
    R(pidfd_open_(child, 0));
    wait.revents = 0;
    R(poll(&wait, 1, 0));
    say("readable %d\n", wait.revents & POLLIN);
}

CASE(pidfd_nonblocking_wait) {
    pid_t child = sleeper();
    int fd = MUST(pidfd_open_(child, NONBLOCK));
    siginfo_t info = {0};
    R(waitid(P_PIDFD, fd, &info, WEXITED));
    R(waitid(P_PIDFD, fd, &info, WEXITED | WNOHANG));
    say("pid %d\n", info.si_pid);
    R(send_signal(fd, SIGKILL, NULL, 0));
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    R(poll(&wait, 1, -1));
    R(waitid(P_PIDFD, fd, &info, WEXITED));
    say("status %d\n", info.si_status);
}

static volatile int taken_code, taken_value;

static void take(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)context;
    taken_code = info->si_code;
    taken_value = info->si_value.sival_int;
}

CASE(pidfd_signal_info) {
    struct sigaction action = {.sa_sigaction = take, .sa_flags = SA_SIGINFO};
    MUST(sigaction(SIGUSR1, &action, NULL));
    int self = MUST(pidfd_open_(getpid(), 0));
    R(send_signal(self, SIGUSR1, NULL, 0));
    say("code %d\n", taken_code);
    siginfo_t info = {.si_signo = SIGUSR1, .si_code = SI_QUEUE};
    info.si_value.sival_int = 42;
    R(send_signal(self, SIGUSR1, &info, 0));
    say("code %d value %d\n", taken_code, taken_value);
    info.si_signo = SIGUSR2;
    R(send_signal(self, SIGUSR1, &info, 0));
    R(send_signal(self, SIGUSR1, (siginfo_t *)8, 0));
    pid_t child = sleeper();
    int fd = MUST(pidfd_open_(child, 0));
    info.si_signo = SIGTERM;
    info.si_code = SI_USER;
    R(send_signal(fd, SIGTERM, &info, 0));
    info.si_code = SI_QUEUE;
    R(send_signal(fd, SIGTERM, &info, 0));
    reap("child", child);
}

CASE(pidfd_send_signal_to_a_directory) {
    char path[40];
    pid_t child = sleeper();
    snprintf(path, sizeof path, "/proc/%d", child);
    int dir = MUST(open(path, O_RDONLY | O_DIRECTORY));
    R(send_signal(dir, 0, NULL, 0));
    siginfo_t info = {.si_signo = SIGTERM, .si_code = SI_USER};
    R(send_signal(dir, SIGTERM, &info, 0));
    R(getfd(dir, 0, 0));
    R(waitid(P_PIDFD, dir, NULL, WEXITED));
    int named = MUST(open(path, O_PATH));
    R(send_signal(named, 0, NULL, 0));
    static const char *const others[] = {"fd", "task", "status"};
    for (unsigned i = 0; i < 3; i++) {
        int other = MUST(openat(dir, others[i], O_RDONLY));
        R(send_signal(other, 0, NULL, 0));
    }
    snprintf(path, sizeof path, "/proc/%d/task/%d", child, child);
    int task = MUST(open(path, O_RDONLY | O_DIRECTORY));
    R(send_signal(task, 0, NULL, 0));
    R(send_signal(MUST(open("/proc", O_RDONLY)), 0, NULL, 0));
    R(send_signal(dir, SIGKILL, NULL, 0));
    reap("child", child);
    R(send_signal(dir, 0, NULL, 0));
}

CASE(pidfd_getfd) {
    int to_child[2], from_child[2];
    MUST(pipe(to_child));
    MUST(pipe(from_child));
    pid_t child = MUST(fork());
    if (child == 0) {
        int own = open("of_child", O_RDWR | O_CREAT, 0600);
        if (own < 0 || write(own, "mine", 4) != 4 || write(from_child[1], &own, sizeof own) != sizeof own)
            _exit(1);
        char byte;
        _exit(read(to_child[0], &byte, 1) == 1 ? lseek(own, 0, SEEK_CUR) : 9);
    }
    int fd = MUST(pidfd_open_(child, 0)), theirs = -1;
    R(read(from_child[0], &theirs, sizeof theirs));
    int ours = MUST(getfd(fd, theirs, 0));
    R(fcntl(ours, F_GETFD));
    /* The same description: its position is shared. */
    R(lseek(ours, 0, SEEK_CUR));
    R(lseek(ours, 2, SEEK_SET));
    R(write(to_child[1], "x", 1));
    reap("child", child);
    char text[4] = "";
    R(read(ours, text, 2));
    say("%s\n", text);
}

CASE(pidfd_of_clone) {
    int fd = -1;
    struct clone_args args = {.flags = CLONE_PIDFD, .pidfd = (uintptr_t)&fd, .exit_signal = SIGCHLD};
    pid_t child = MUST(syscall(SYS_clone3, &args, sizeof args));
    if (child == 0)
        _exit(5);
    R(fcntl(fd, F_GETFD));
    siginfo_t info = {0};
    R(waitid(P_PIDFD, fd, &info, WEXITED));
    say("status %d child %d\n", info.si_status, info.si_pid == child);
    args.pidfd = 8;
    R(syscall(SYS_clone3, &args, sizeof args));
    int other = MUST(dup(0));
    say("the next descriptor is free: %d\n", other == fd + 1);
    fd = -1;
    child = MUST(syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, NULL, &fd, NULL, 0));
    if (child == 0)
        _exit(6);
    say("opened %d\n", fd > 0);
    reap("child", child);
    R(syscall(SYS_clone, CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD, NULL, &fd, NULL, 0));
}
