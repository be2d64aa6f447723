/* Advisory locks: fcntl(2) and flock(2). */
#include "abi.h"

#include <sys/file.h>

static int lock(int fd, int command, int type, long start, long len) {
    struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
    return fcntl(fd, command, &l);
}

/* What is in the way of a write lock on everything, or of the given one. */
static void blocker(int fd, int type, long start, long len) {
    struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
    int result = fcntl(fd, F_GETLK, &l);
    if (result)
        say("F_GETLK: %s\n", strerrorname_np(errno));
    else if (l.l_type == F_UNLCK)
        say("free\n");
    else
        say("%s %ld+%ld, by parent: %d\n", l.l_type == F_RDLCK ? "read" : "write",
            (long)l.l_start, (long)l.l_len, l.l_pid == getppid());
}

static int shared_fd;

static void from_child(void) {
    int fd = MUST(open("f", O_RDWR));
    blocker(fd, F_WRLCK, 0, 0);
    blocker(fd, F_RDLCK, 0, 0);
    blocker(fd, F_RDLCK, 0, 10);
    R(lock(fd, F_SETLK, F_RDLCK, 0, 10));
    R(lock(fd, F_SETLK, F_WRLCK, 0, 10));
    R(lock(fd, F_SETLK, F_WRLCK, 20, 1));
    R(lock(fd, F_SETLK, F_WRLCK, 40, 0));
    R(lock(shared_fd, F_SETLK, F_WRLCK, 25, 1));
}

CASE(lock_records) {
    int fd = MUST(open("f", O_RDWR | O_CREAT, 0600));
    MUST(write(fd, "0123456789", 10));
    R(lock(fd, F_SETLK, F_RDLCK, 0, 10));
    R(lock(fd, F_SETLK, F_WRLCK, 20, 10));
    R(lock(fd, F_SETLK, F_UNLCK, 22, 2));
    blocker(fd, F_WRLCK, 0, 0);
    shared_fd = fd;
    in_child("child", from_child);
    R(lock(fd, F_SETLK, F_UNLCK, 0, 0));
    in_child("child", from_child);
    R(lock(fd, F_SETLK, 7, 0, 0));
    R(lock(fd, F_SETLK, F_WRLCK, -5, 0));
    R(lock(fd, F_SETLK, F_WRLCK, 5, -5));
    R(lock(fd, F_SETLK, F_WRLCK, 5, -6));
    int ro = MUST(open("f", O_RDONLY));
    R(lock(ro, F_SETLK, F_WRLCK, 0, 1));
    R(lock(ro, F_SETLK, F_RDLCK, 0, 1));
    R(lock(99, F_SETLK, F_RDLCK, 0, 1));
}

/* Closing any descriptor of the file ends the process's locks on it. */
CASE(lock_close_releases) {
    int fd = MUST(open("f", O_RDWR | O_CREAT, 0600));
    MUST(lock(fd, F_SETLK, F_WRLCK, 0, 0));
    int other = MUST(open("f", O_RDONLY));
    shared_fd = fd;
    in_child("held", from_child);
    close(other);
    in_child("released", from_child);
}

static void waiter(void) {
    int fd = MUST(open("f", O_RDWR));
    R(lock(fd, F_SETLKW, F_WRLCK, 0, 0));
}

CASE(lock_waits) {
    int fd = MUST(open("f", O_RDWR | O_CREAT, 0600));
    MUST(lock(fd, F_SETLK, F_WRLCK, 0, 0));
    pid_t child = MUST(fork());
    if (child == 0) {
        waiter();
        _exit(0);
    }
    sleep_ms(50);
    say("unlocking\n");
    MUST(lock(fd, F_SETLK, F_UNLCK, 0, 0));
    reap("waiter", child);
    /* A lock ends with its process. */
    R(lock(fd, F_SETLK, F_WRLCK, 0, 0));
}

CASE(lock_descriptions) {
    int a = MUST(open("f", O_RDWR | O_CREAT, 0600));
    int b = MUST(open("f", O_RDWR));
    R(lock(a, F_OFD_SETLK, F_WRLCK, 0, 0));
    R(lock(b, F_OFD_SETLK, F_RDLCK, 0, 0));
    R(lock(b, F_SETLK, F_RDLCK, 0, 0));
    struct flock l = {.l_type = F_RDLCK};
    R(fcntl(b, F_OFD_GETLK, &l));
    say("%d %d\n", l.l_type == F_WRLCK, l.l_pid);
    struct flock pid = {.l_type = F_RDLCK, .l_pid = 1};
    R(fcntl(b, F_OFD_SETLK, &pid));
    int c = MUST(dup(a));
    close(a);
    R(lock(b, F_OFD_SETLK, F_RDLCK, 0, 0));
    close(c);
    R(lock(b, F_OFD_SETLK, F_RDLCK, 0, 0));
}

CASE(lock_flock) {
    int a = MUST(open("f", O_RDWR | O_CREAT, 0600));
    int b = MUST(open("f", O_RDONLY));
    R(flock(a, LOCK_EX | LOCK_NB));
    R(flock(b, LOCK_SH | LOCK_NB));
    R(flock(b, LOCK_EX | LOCK_NB));
    R(flock(a, LOCK_SH | LOCK_NB));
    R(flock(b, LOCK_SH | LOCK_NB));
    R(flock(a, LOCK_EX | LOCK_NB));
    R(flock(b, LOCK_UN));
    R(flock(a, LOCK_EX | LOCK_NB));
    R(lock(b, F_SETLK, F_RDLCK, 0, 0));
    R(flock(a, 0));
    R(flock(99, LOCK_EX));
    int d = MUST(dup(a));
    close(a);
    R(flock(b, LOCK_SH | LOCK_NB));
    R(flock(d, LOCK_UN));
    R(flock(b, LOCK_SH | LOCK_NB));
    int dir = MUST(open(".", O_RDONLY));
    R(flock(dir, LOCK_EX | LOCK_NB));
}
