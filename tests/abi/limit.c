/* Resource limits: getrlimit(2), setrlimit(2), prlimit(2), and what they forbid. */
#include "abi.h"

#include <sys/resource.h>
#include <sys/sendfile.h>

static const struct {
    int number;
    const char *name;
} resources[] = {{RLIMIT_CPU, "CPU"},           {RLIMIT_FSIZE, "FSIZE"},   {RLIMIT_DATA, "DATA"},
                 {RLIMIT_STACK, "STACK"},       {RLIMIT_CORE, "CORE"},     {RLIMIT_RSS, "RSS"},
                 {RLIMIT_NPROC, "NPROC"},       {RLIMIT_NOFILE, "NOFILE"}, {RLIMIT_MEMLOCK, "MEMLOCK"},
                 {RLIMIT_AS, "AS"},             {RLIMIT_LOCKS, "LOCKS"},   {RLIMIT_SIGPENDING, "SIGPENDING"},
                 {RLIMIT_MSGQUEUE, "MSGQUEUE"}, {RLIMIT_NICE, "NICE"},     {RLIMIT_RTPRIO, "RTPRIO"},
                 {RLIMIT_RTTIME, "RTTIME"}};

static void set_soft(int resource, rlim_t value) {
    struct rlimit limit;
    MUST(getrlimit(resource, &limit));
    limit.rlim_cur = value;
    MUST(setrlimit(resource, &limit));
}

CASE(limit_every_resource) {
    for (size_t i = 0; i < sizeof resources / sizeof *resources; i++) {
        struct rlimit old, new, back;
        MUST(getrlimit(resources[i].number, &old));
        new = old;
        new.rlim_cur = resources[i].number == RLIMIT_NOFILE ? 40 : old.rlim_cur / 2;
        if (resources[i].number == RLIMIT_STACK || resources[i].number == RLIMIT_AS || resources[i].number == RLIMIT_DATA)
            new.rlim_cur = 1 << 30;
        if (new.rlim_cur > old.rlim_max)
            new.rlim_cur = old.rlim_max;
        int set = setrlimit(resources[i].number, &new);
        MUST(getrlimit(resources[i].number, &back));
        say("%s: %d, %s, cur <= max %d\n", resources[i].name, set,
            back.rlim_cur == new.rlim_cur && back.rlim_max == new.rlim_max ? "kept" : "lost", old.rlim_cur <= old.rlim_max);
    }
}

CASE(limit_bad_arguments) {
    struct rlimit limit = {10, 5};
    R(setrlimit(RLIMIT_CORE, &limit));
    R(syscall(SYS_getrlimit, 16, &limit));
    R(syscall(SYS_setrlimit, 16, &limit));
    R(syscall(SYS_getrlimit, -1, &limit));
    R(syscall(SYS_getrlimit, RLIMIT_CORE, NULL));
    R(syscall(SYS_setrlimit, RLIMIT_CORE, NULL));
    R(syscall(SYS_prlimit64, 0, 99, NULL, NULL));
    R(syscall(SYS_prlimit64, 4000000, RLIMIT_CORE, NULL, NULL));
    R(syscall(SYS_prlimit64, 0, RLIMIT_CORE, NULL, NULL));
    R(syscall(SYS_prlimit64, 0, RLIMIT_CORE, NULL, (void *)8));
    limit.rlim_cur = limit.rlim_max = 1UL << 40;
    R(setrlimit(RLIMIT_NOFILE, &limit));
}

CASE(limit_of_another_process) {
    int pipes[2];
    MUST(pipe(pipes));
    pid_t child = MUST(fork());
    if (child == 0) {
        char c;
        MUST(read(pipes[0], &c, 1));
        struct rlimit limit;
        MUST(getrlimit(RLIMIT_CORE, &limit));
        say("child's: %ld %ld\n", (long)limit.rlim_cur, (long)limit.rlim_max);
        _exit(0);
    }
    struct rlimit limit = {111, 222}, old;
    R(prlimit(child, RLIMIT_CORE, &limit, &old));
    R(prlimit(child, RLIMIT_CORE, NULL, &old));
    say("%ld %ld\n", (long)old.rlim_cur, (long)old.rlim_max);
    MUST(write(pipes[1], "x", 1));
    reap("child", child);
}

CASE(limit_is_inherited) {
    struct rlimit limit = {12345, 23456};
    MUST(setrlimit(RLIMIT_CORE, &limit));
    pid_t child = MUST(fork());
    if (child == 0) {
        struct rlimit own;
        MUST(getrlimit(RLIMIT_CORE, &own));
        say("%ld %ld\n", (long)own.rlim_cur, (long)own.rlim_max);
        own.rlim_cur = 1;
        MUST(setrlimit(RLIMIT_CORE, &own));
        _exit(0);
    }
    reap("child", child);
    MUST(getrlimit(RLIMIT_CORE, &limit));
    say("%ld %ld\n", (long)limit.rlim_cur, (long)limit.rlim_max);
}

CASE(limit_descriptors) {
    int last = MUST(dup(1)), pair[2];
    set_soft(RLIMIT_NOFILE, last + 3);
    int a = dup(1), b = dup(1);
    say("%d %d\n", a == last + 1, b == last + 2);
    R(dup(1));
    R(open("x", O_CREAT | O_RDWR, 0600));
    R(access("x", F_OK));
    R(pipe(pair));
    R(socket(AF_UNIX, SOCK_STREAM, 0));
    R(syscall(SYS_epoll_create1, 0));
    R(syscall(SYS_eventfd2, 0, 0));
    R(syscall(SYS_memfd_create, "m", 0));
    R(syscall(SYS_timerfd_create, 0, 0));
    R(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    R(dup2(1, last + 2) == last + 2);
    R(dup2(1, last + 3));
    R(fcntl(1, F_DUPFD, last + 3));
    R(fcntl(1, F_DUPFD, 0));
    MUST(close(b));
    R(pipe(pair));
    OK(dup(1));
    /* What is open above a lowered limit stays open. */
    set_soft(RLIMIT_NOFILE, 3);
    R(fcntl(last, F_GETFD));
    R(dup(last));
    R(write(last, "", 0));
}

CASE(limit_descriptors_of_accept) {
    int pairs[2];
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, pairs));
    struct rlimit limit = {pairs[1] + 1, pairs[1] + 1};
    MUST(setrlimit(RLIMIT_NOFILE, &limit));
    int own = 1;
    char control[CMSG_SPACE(sizeof own)] = {0};
    struct iovec io = {"x", 1};
    struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof own);
    memcpy(CMSG_DATA(c), &own, sizeof own);
    R(sendmsg(pairs[0], &m, 0));
    char byte;
    struct iovec in = {&byte, 1};
    struct msghdr got = {.msg_iov = &in, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    R(recvmsg(pairs[1], &got, 0));
    say("control %zu, cut %d\n", (size_t)got.msg_controllen, !!(got.msg_flags & MSG_CTRUNC));
}

static volatile int file_signals;

static void on_size(int signal, siginfo_t *info, void *context) {
    (void)context;
    file_signals++;
    say("SIG%s from self %d\n", sigabbrev_np(signal), info->si_code <= 0);
}

CASE(limit_file_size) {
    struct sigaction action = {.sa_sigaction = on_size, .sa_flags = SA_SIGINFO};
    MUST(sigaction(SIGXFSZ, &action, NULL));
    set_soft(RLIMIT_FSIZE, 10);
    int fd = MUST(open("f", O_CREAT | O_RDWR, 0600));
    R(write(fd, "12345678", 8));
    R(write(fd, "12345678", 8));
    R(write(fd, "1", 1));
    R(pwrite(fd, "1", 1, 100));
    R(pwrite(fd, "abc", 3, 0));
    R(ftruncate(fd, 11));
    R(ftruncate(fd, 10));
    R(truncate("f", 1000));
    R(posix_fallocate(fd, 0, 100));
    R(lseek(fd, 0, SEEK_END));
    int pipes[2];
    MUST(pipe(pipes));
    R(write(pipes[1], "more than ten bytes", 19));
    say("signals %d\n", file_signals);
    set_soft(RLIMIT_FSIZE, RLIM_INFINITY);
    R(ftruncate(fd, 20));
}

static void write_too_much(void) {
    set_soft(RLIMIT_FSIZE, 0);
    int fd = MUST(open("g", O_CREAT | O_RDWR, 0600));
    write(fd, "1", 1);
    say("not reached\n");
}

static void write_too_much_ignoring(void) {
    signal(SIGXFSZ, SIG_IGN);
    set_soft(RLIMIT_FSIZE, 4);
    int fd = MUST(open("h", O_CREAT | O_RDWR, 0600));
    struct iovec out[2] = {{"abc", 3}, {"def", 3}};
    R(writev(fd, out, 2));
    R(writev(fd, out, 2));
    int from = MUST(open("g", O_RDWR | O_CREAT, 0600));
    set_soft(RLIMIT_FSIZE, RLIM_INFINITY);
    MUST(write(from, "0123456789", 10));
    set_soft(RLIMIT_FSIZE, 6);
    MUST(lseek(from, 0, SEEK_SET));
    R(sendfile(fd, from, NULL, 10));
    R(sendfile(fd, from, NULL, 10));
}

CASE(limit_file_size_kills) {
    in_child("writer", write_too_much);
    in_child("ignoring", write_too_much_ignoring);
}

CASE(limit_address_space) {
    set_soft(RLIMIT_AS, 256 << 20);
    OK(mmap(NULL, 64 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0);
    OK(mmap(NULL, 256 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0);
    void *old = sbrk(0);
    OK((long)sbrk(256 << 20) == -1 ? -1 : 0);
    say("break %s\n", sbrk(0) == old ? "stays" : "moved");
    char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    OK(mremap(p, 1 << 20, 300 << 20, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0);
}

static int use_stack(int depth) {
    volatile char room[4096];
    room[0] = depth;
    if (depth > 0)
        return use_stack(depth - 1) + room[0];
    return room[0];
}

static void recurse(void) {
    say("%d\n", use_stack(40) != -1);
    use_stack(1 << 20);
    say("not reached\n");
}

CASE(limit_stack) {
    set_soft(RLIMIT_STACK, 1 << 20);
    in_child("deep", recurse);
}

CASE(limit_core) {
    set_soft(RLIMIT_CORE, 0);
    pid_t child = MUST(fork());
    if (child == 0)
        abort();
    int status;
    MUST(waitpid(child, &status, 0));
    say_status("aborted", status);
    say("core %d\n", !!WCOREDUMP(status));
}

CASE(limit_pending_signals) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigaddset(&set, SIGUSR1);
    MUST(sigprocmask(SIG_BLOCK, &set, NULL));
    set_soft(RLIMIT_SIGPENDING, 3);
    union sigval value = {.sival_int = 1};
    int sent = 0;
    while (sent < 100 && sigqueue(getpid(), SIGRTMIN, value) == 0)
        sent++;
    say("%d %s\n", sent <= 3, strerrorname_np(errno));
    R(sigqueue(getpid(), SIGRTMIN, value));
    R(kill(getpid(), SIGUSR1));
    int got = 0;
    struct timespec none = {0, 0};
    siginfo_t info;
    while (sigtimedwait(&set, &info, &none) > 0)
        got++;
    say("got %d\n", got - sent);
}

static void spin(void) {
    struct rlimit limit = {1, 2};
    MUST(setrlimit(RLIMIT_CPU, &limit));
    for (volatile long i = 0;; i++)
        ;
}

static volatile int cpu_signals;

static void count_cpu(int signal) {
    (void)signal;
    cpu_signals++;
}

static void spin_on(void) {
    signal(SIGXCPU, count_cpu);
    struct rlimit limit = {1, 25};
    MUST(setrlimit(RLIMIT_CPU, &limit));
    while (cpu_signals < 2)
        ;
    say("told again\n");
}

static void spin_to_the_end(void) {
    signal(SIGXCPU, SIG_IGN);
    spin();
}

CASE(limit_cpu) {
    in_child("spinning", spin);
    in_child("told", spin_on);
    in_child("ignoring", spin_to_the_end);
}
