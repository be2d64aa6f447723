/* Descriptors as /proc shows them: proc_pid_fdinfo(5). */
#include "abi.h"
#include "pty.h"

#include <dirent.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/sysmacros.h>
#include <sys/timerfd.h>

static void mask_number(char *line, const char *key, int base, unsigned long is, const char *name) {
    char *at = strstr(line, key), *end, rest[256];
    if (!at)
        return;
    at += strlen(key);
    unsigned long value = strtoul(at, &end, base);
    snprintf(rest, sizeof rest, "%s%s", value == is ? name : "?", end);
    strcpy(at, rest);
}

/* Writes what is shown, numbers that differ from run to run by what they are. */
static void show_info_of(const char *pid, int fd, int watched) {
    char path[64], line[512];
    struct stat st, other = {0};
    snprintf(path, sizeof path, "/proc/%s/fdinfo/%d", pid, fd);
    MUST(fstat(fd, &st));
    if (watched >= 0)
        MUST(fstat(watched, &other));
    FILE *f = fopen(path, "r");
    MUST(f ? 0 : -1);
    while (fgets(line, sizeof line, f)) {
        int is_own = !strncmp(line, "ino:", 4);
        mask_number(line, "ino:", is_own ? 10 : 16, is_own ? st.st_ino : other.st_ino, is_own ? "\tits own" : "the other's");
        mask_number(line, "sdev:", 16, (unsigned long)major(other.st_dev) << 20 | minor(other.st_dev), "the other's");
        mask_number(line, "tfd:", 10, (unsigned long)watched, " the other");
        if (!strncmp(line, "mnt_id:", 7))
            strcpy(line, atoi(line + 7) > 0 ? "mnt_id:\tpositive\n" : "mnt_id:\tno\n");
        if (!strncmp(line, "eventfd-id:", 11))
            strcpy(line, atoi(line + 11) >= 0 ? "eventfd-id: a number\n" : "eventfd-id: no\n");
        if (!strncmp(line, "tty-index:", 10))
            strcpy(line, atoi(line + 10) >= 0 ? "tty-index:\ta number\n" : "tty-index: no\n");
        char *handle = strstr(line, "fhandle-bytes:");
        if (handle)
            strcpy(handle, "\n");
        say("%s", line);
    }
    fclose(f);
}

static void show_info(int fd) {
    show_info_of("self", fd, -1);
}

CASE(fdinfo_files) {
    int fd = MUST(open("f", O_RDWR | O_CREAT | O_APPEND, 0644));
    MUST(write(fd, "four", 4));
    show_info(fd);
    MUST(fcntl(fd, F_SETFD, FD_CLOEXEC));
    MUST(lseek(fd, 1, SEEK_SET));
    show_info(fd);
    MUST(fcntl(fd, F_SETFL, O_NONBLOCK));
    show_info(fd);
    show_info(MUST(open("f", O_RDONLY)));
    show_info(MUST(open("f", O_PATH | O_CLOEXEC)));
    show_info(MUST(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
    show_info(MUST(open("/dev/null", O_WRONLY)));
}

CASE(fdinfo_pipes_and_sockets) {
    int p[2];
    MUST(pipe2(p, O_NONBLOCK));
    show_info(p[0]);
    show_info(p[1]);
    show_info(MUST(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)));
}

CASE(fdinfo_eventfd) {
    int fd = MUST(eventfd(42, EFD_NONBLOCK));
    show_info(fd);
    show_info(MUST(eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC)));
    uint64_t more = 0xfffffffffffffffeULL - 42;
    MUST(write(fd, &more, 8));
    show_info(fd);
}

CASE(fdinfo_epoll) {
    int e = MUST(epoll_create1(EPOLL_CLOEXEC)), p[2];
    MUST(pipe(p));
    show_info(e);
    struct epoll_event want = {EPOLLIN | EPOLLET | EPOLLONESHOT, {.u64 = 0x123456789abcdef0ULL}};
    MUST(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &want));
    show_info_of("self", e, p[0]);
    MUST(write(p[1], "x", 1));
    MUST(epoll_wait(e, &want, 1, 1000));
    show_info_of("self", e, p[0]);
    MUST(epoll_ctl(e, EPOLL_CTL_DEL, p[0], 0));
    show_info(e);
}

CASE(fdinfo_signalfd) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGRTMAX);
    int fd = MUST(signalfd(-1, &set, SFD_NONBLOCK));
    show_info(fd);
    sigaddset(&set, SIGKILL);
    sigaddset(&set, SIGUSR1);
    MUST(signalfd(fd, &set, 0));
    show_info(fd);
}

CASE(fdinfo_timerfd) {
    int fd = MUST(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    show_info(fd);
    struct itimerspec at = {{3600, 5}, {0, 1000000}};
    MUST(timerfd_settime(fd, 0, &at, 0));
    sleep_ms(20);
    show_info(fd);
    uint64_t count;
    MUST(read(fd, &count, 8));
    at = (struct itimerspec){{0, 7}, {0, 0}};
    MUST(timerfd_settime(fd, TFD_TIMER_ABSTIME, &at, 0));
    show_info(fd);
    show_info(MUST(timerfd_create(CLOCK_BOOTTIME, 0)));
    fd = MUST(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK));
    at = (struct itimerspec){{0, 0}, {1, 0}};
    MUST(timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &at, 0));
    show_info(fd);
}

CASE(fdinfo_inotify) {
    int fd = MUST(inotify_init1(IN_NONBLOCK));
    show_info(fd);
    int watched = MUST(open("f", O_RDWR | O_CREAT, 0644));
    MUST(inotify_add_watch(fd, "f", IN_MODIFY | IN_ONESHOT | IN_DONT_FOLLOW));
    show_info_of("self", fd, watched);
    MUST(inotify_add_watch(fd, "f", IN_ATTRIB | IN_MASK_ADD));
    show_info_of("self", fd, watched);
    MUST(inotify_rm_watch(fd, 1));
    show_info(fd);
}

CASE(fdinfo_pidfd) {
    pid_t child = MUST(fork());
    if (child == 0)
        _exit(0);
    int fd = MUST(syscall(SYS_pidfd_open, child, 0));
    char path[64], line[128];
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
        FILE *f = fopen(path, "r");
        while (fgets(line, sizeof line, f))
            if (strstr(line, "id:\t") && strncmp(line, "mnt", 3)) {
                int is_child = atoi(strchr(line, '\t')) == child;
                say("%.*s%s", (int)strcspn(line, "\t"), line, is_child ? " is the child's\n" : strchr(line, '\t'));
            }
        fclose(f);
        MUST(i ? 0 : waitpid(child, 0, 0));
    }
}

CASE(fdinfo_terminal) {
    int m, s;
    pair(&m, &s);
    show_info(m);
    show_info(s);
}

CASE(fdinfo_names) {
    struct stat st;
    MUST(stat("/proc/self/fdinfo", &st));
    say("%o\n", st.st_mode);
    int fd = MUST(open("f", O_RDWR | O_CREAT, 0600));
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    MUST(stat(path, &st));
    say("%o size %ld\n", st.st_mode, (long)st.st_size);
    int info = MUST(open(path, O_RDONLY));
    char c;
    MUST(close(fd));
    R(read(info, &c, 1));
    R(open(path, O_RDONLY));
    R(access(path, F_OK));
    R(access("/proc/self/fdinfo/x", F_OK));
    R(access("/proc/self/fdinfo/00", F_OK));
    R(access("/proc/thread-self/fdinfo/0", F_OK));
    DIR *infos = opendir("/proc/self/fdinfo"), *fds = opendir("/proc/self/fd");
    int count = 0;
    while (readdir(fds))
        count++;
    while (readdir(infos))
        count--;
    say("as many as in fd %d\n", count == 0);
    pid_t child = MUST(fork());
    if (child == 0) {
        fd = MUST(open("f", O_RDWR));
        MUST(lseek(fd, 77, SEEK_SET));
        snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", getppid(), 0);
        R(access(path, R_OK));
        _exit(0);
    }
    reap("child", child);
}
