/* Pseudo-terminals: pty(7), ptmx(4), posix_openpt(3), ioctl_tty(2), termios(3). */
#include "abi.h"
#include "pty.h"

#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <termios.h>

void pair(int *master, int *slave) {
    char name[64];
    int unlocked = 0, number = -1;
    *master = MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK));
    MUST(ioctl(*master, TIOCSPTLCK, &unlocked));
    MUST(ioctl(*master, TIOCGPTN, &number));
    snprintf(name, sizeof name, "/dev/pts/%d", number);
    *slave = MUST(open(name, O_RDWR | O_NOCTTY | O_NONBLOCK));
}

/* What is put in does not come out at once on Linux: work queues carry it. */
void settle(int fd) {
    struct pollfd p = {fd, POLLIN, 0};
    poll(&p, 1, 200);
}

void show(const char *what, int fd) {
    char buf[512], text[1024];
    size_t len = 0;
    long n = 0;
    for (settle(fd); len < sizeof buf && (n = read(fd, buf + len, sizeof buf - len)) > 0; settle(fd))
        len += n;
    const char *end = len == sizeof buf ? "more" : n == 0 ? "end" : strerrorname_np(errno);
    size_t at = 0;
    for (size_t i = 0; i < len && at < sizeof text - 8; i++)
        if (buf[i] >= ' ' && buf[i] < 127)
            text[at++] = buf[i];
        else
            at += sprintf(text + at, "\\%03o", (unsigned char)buf[i]);
    text[at] = 0;
    say("%s: %zu '%s' then %s\n", what, len, text, end);
}

void put(int fd, const char *text) {
    say("write '%s' = %ld\n", strpbrk(text, "\n\x03\x04\x11\x13\x16\x1a\x1c\x7f\x15\x17") ? "keys" : text, (long)write(fd, text, strlen(text)));
}

void local(int fd, unsigned off, unsigned on) {
    struct termios t;
    MUST(tcgetattr(fd, &t));
    t.c_lflag = (t.c_lflag & ~off) | on;
    MUST(tcsetattr(fd, TCSANOW, &t));
}

void raw(int fd) {
    struct termios t;
    MUST(tcgetattr(fd, &t));
    cfmakeraw(&t);
    MUST(tcsetattr(fd, TCSANOW, &t));
}

/* A name of /dev/pts without its number. */
static void say_name(const char *what, const char *name) {
    say("%s: %.*s%s\n", what, (int)strcspn(name, "0123456789"), name,
        strchr(name, ' ') ? strchr(name, ' ') : "");
}

void say_link(const char *what, int fd) {
    char path[64], link[128] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    MUST(readlink(path, link, sizeof link - 1));
    say_name(what, link);
}

CASE(pty_open) {
    int master = MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY));
    int number = -1, locked = -1;
    char name[64];
    struct stat st, other;
    OK(ioctl(master, TIOCGPTN, &number));
    snprintf(name, sizeof name, "/dev/pts/%d", number);
    say("same name %d\n", !strcmp(name, ptsname(master)));
    R(ioctl(master, TIOCGPTLCK, &locked));
    say("locked %d\n", locked);
    OK(open(name, O_RDWR | O_NOCTTY));
    R(grantpt(master));
    R(unlockpt(master));
    R(ioctl(master, TIOCGPTLCK, &locked));
    say("locked %d\n", locked);
    int slave = MUST(open(name, O_RDWR | O_NOCTTY));
    MUST(fstat(slave, &st));
    MUST(stat(name, &other));
    say("mode %o, major %u, minor is number %d, same inode %d\n", st.st_mode, major(st.st_rdev),
        (int)minor(st.st_rdev) == number, st.st_ino == other.st_ino && st.st_dev == other.st_dev);
    say("uid %u gid %u size %ld\n", st.st_uid, st.st_gid, (long)st.st_size);
    MUST(fstat(master, &st));
    say("mode %o, %u:%u\n", st.st_mode, major(st.st_rdev), minor(st.st_rdev));
    say_link("master", master);
    say_link("slave", slave);
    say("ttyname %d\n", ttyname(slave) && !strcmp(ttyname(slave), name));
    R(isatty(master));
    R(isatty(slave));
    R(fcntl(slave, F_GETFL));
    R(lseek(slave, 0, SEEK_CUR));
    char c;
    R(pread(slave, &c, 1, 0));
    R(chmod(name, 0620));
    MUST(stat(name, &st));
    say("mode %o\n", st.st_mode);
    int again = MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY));
    int other_number = -1;
    MUST(ioctl(again, TIOCGPTN, &other_number));
    say("another %d\n", other_number != number);
    R(open("/dev/pts/4711", O_RDWR));
}

CASE(pty_lines_and_echo) {
    int m, s;
    pair(&m, &s);
    char c;
    R(read(s, &c, 1));
    put(m, "hello");
    show("echo", m);
    R(read(s, &c, 1));
    put(m, "\x7f!\nnext\n");
    show("echo", m);
    show("slave", s);
    put(m, "ab\x04");
    show("slave", s);
    put(m, "junk\x15one two\x17x\x16\x03\n");
    show("echo", m);
    show("slave", s);
    put(s, "out\n");
    show("master", m);
    local(s, ECHO, 0);
    put(m, "quiet\n");
    show("no echo", m);
    show("slave", s);
    int n = -1;
    put(m, "12345\n67\n");
    settle(s);
    R(ioctl(s, FIONREAD, &n));
    say("waiting %d\n", n);
    char two[2];
    R(read(s, two, 2));
    show("rest", s);
    put(s, "xyz");
    settle(m);
    R(ioctl(m, FIONREAD, &n));
    say("waiting %d\n", n);
    R(ioctl(s, TIOCOUTQ, &n));
    say("in output %d\n", n);
}

CASE(pty_end_of_file_key) {
    int m, s;
    char c;
    pair(&m, &s);
    put(m, "\x04");
    settle(s);
    R(read(s, &c, 1));
    R(read(s, &c, 1));
    put(m, "a\x04\x04");
    settle(s);
    R(read(s, &c, 1));
    R(read(s, &c, 1));
    R(read(s, &c, 1));
}

CASE(pty_raw) {
    int m, s;
    pair(&m, &s);
    raw(s);
    put(m, "\x03\r\n\x04\x7f");
    show("slave", s);
    show("echo", m);
    put(s, "a\nb\r");
    show("master", m);
    struct termios t;
    MUST(tcgetattr(s, &t));
    t.c_cc[VMIN] = 3;
    MUST(tcsetattr(s, TCSANOW, &t));
    char buf[8];
    put(m, "ab");
    sleep_ms(50);
    say_events("two of three", poll_now(s));
    put(m, "c");
    settle(s);
    say_events("three", poll_now(s));
    R(read(s, buf, 8));
    t.c_cc[VMIN] = 0;
    MUST(tcsetattr(s, TCSANOW, &t));
    MUST(fcntl(s, F_SETFL, O_RDWR));
    R(read(s, buf, 8));
}

CASE(pty_slave_closes) {
    int m = MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK)), n;
    char c, name[64];
    MUST(unlockpt(m));
    snprintf(name, sizeof name, "%s", ptsname(m));
    say_events("never open", poll_now(m));
    R(read(m, &c, 1));
    R(write(m, "early\n", 6));
    int s = MUST(open(name, O_RDWR | O_NOCTTY | O_NONBLOCK));
    show("slave", s);
    show("echo", m);
    put(s, "last words");
    int second = MUST(dup(s));
    MUST(close(s));
    sleep_ms(20);
    say_events("a duplicate is open", poll_now(m));
    MUST(close(second));
    sleep_ms(20);
    say_events("closed", poll_now(m));
    show("master", m);
    say_events("read", poll_now(m));
    R(ioctl(m, FIONREAD, &n));
    R(write(m, "x\n", 2));
    s = MUST(open(name, O_RDWR | O_NOCTTY | O_NONBLOCK));
    show("slave", s);
    show("echo", m);
    say_events("open again", poll_now(m));
}

CASE(pty_master_closes) {
    int m, s;
    struct termios t;
    struct winsize w;
    char c, name[64];
    pid_t group = 1;
    pair(&m, &s);
    snprintf(name, sizeof name, "%s", ptsname(m));
    put(m, "unread\n");
    settle(s);
    MUST(close(m));
    say_events("closed", poll_now(s));
    R(read(s, &c, 1));
    R(write(s, "x", 1));
    R(ioctl(s, TCGETS, &t));
    R(ioctl(s, TIOCGWINSZ, &w));
    R(ioctl(s, TIOCSPGRP, &group));
    R(isatty(s));
    R(open(name, O_RDWR | O_NOCTTY));
    R(access(name, F_OK));
    say_link("slave", s);
    struct stat st;
    R(fstat(s, &st));
    say("mode %o links %d\n", st.st_mode, (int)st.st_nlink);
}

static void *close_later(void *fd) {
    sleep_ms(50);
    close(*(int *)fd);
    return 0;
}

CASE(pty_waiting_ends_with_the_other_side) {
    int m, s;
    char c;
    pthread_t t;
    pair(&m, &s);
    MUST(fcntl(m, F_SETFL, O_RDWR));
    pthread_create(&t, 0, close_later, &s);
    R(read(m, &c, 1));
    pthread_join(t, 0);
    MUST(close(m));
    pair(&m, &s);
    MUST(fcntl(s, F_SETFL, O_RDWR));
    pthread_create(&t, 0, close_later, &m);
    say("nothing more %d\n", read(s, &c, 1) <= 0);
    pthread_join(t, 0);
    pair(&m, &s);
    MUST(fcntl(s, F_SETFL, O_RDWR));
    pthread_create(&t, 0, close_later, &m);
    static char block[1 << 16];
    long n = write(s, block, sizeof block);
    say("write: a part or an error %d\n", n < (long)sizeof block);
    R(write(s, block, sizeof block));
    pthread_join(t, 0);
}

/* Writes until nothing fits, not even after Linux has carried away what it can; returns how many bytes. */
static long fill(int fd) {
    static char block[4096];
    memset(block, 'x', sizeof block);
    long total = 0, more;
    do {
        more = 0;
        for (long n; (n = write(fd, block, sizeof block)) > 0;)
            more += n;
        total += more;
        sleep_ms(50);
    } while (more);
    return total;
}

CASE(pty_flow) {
    int m, s;
    pair(&m, &s);
    static char block[4096];
    raw(s);
    long n, total = fill(s);
    say("full: %s after some %d\n", strerrorname_np(errno), total >= 4096 && total < 1 << 20);
    say("writable %d\n", !!(poll_now(s) & POLLOUT));
    long got = 0;
    for (settle(m); (n = read(m, block, sizeof block)) > 0; settle(m))
        got += n;
    say("all came %d\n", got == total);
    say("writable %d\n", !!(poll_now(s) & POLLOUT));
    total = fill(m);
    say("full: %s after some %d\n", strerrorname_np(errno), total >= 4095 && total < 1 << 20);
    say("writable %d\n", !!(poll_now(m) & POLLOUT));
    got = 0;
    for (settle(s); (n = read(s, block, sizeof block)) > 0; settle(s))
        got += n;
    say("all came %d\n", got == total);
    say("writable %d\n", !!(poll_now(m) & POLLOUT));
}

CASE(pty_long_line) {
    int m, s;
    pair(&m, &s);
    local(s, ECHO, 0);
    static char block[6000];
    memset(block, 'x', sizeof block);
    for (long at = 0, n; at < (long)sizeof block; at += n)
        if ((n = write(m, block + at, sizeof block - at)) < 0) {
            MUST(errno == EAGAIN ? 0 : -1);
            sleep_ms(10);
            n = 0;
        }
    say_events("no end", poll_now(s) & POLLIN);
    put(m, "\n");
    settle(s);
    long n = MUST(read(s, block, sizeof block));
    say("line of %ld, ends %d\n", n, block[n - 1]);
}

CASE(pty_stop_and_start) {
    int m, s;
    pair(&m, &s);
    put(m, "\x13");
    sleep_ms(50);
    say("writable %d\n", !!(poll_now(s) & POLLOUT));
    R(write(s, "stopped", 7));
    put(m, "\x11");
    sleep_ms(50);
    R(write(s, "started", 7));
    show("master", m);
    R(tcflow(s, TCOOFF));
    R(write(s, "x", 1));
    put(m, "\x11");
    sleep_ms(50);
    R(tcflow(s, TCOON));
    R(write(s, "y", 1));
    show("master", m);
    R(tcflow(s, TCIOFF));
    R(tcflow(s, TCION));
    show("characters", m);
    R(ioctl(s, TCXONC, 9));
}
