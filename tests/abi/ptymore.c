/* Settings, packet mode and readiness of pseudo-terminals, and their file system: ioctl_tty(2), pty(7). */
#include "abi.h"
#include "pty.h"

#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <termios.h>

CASE(pty_packet_mode) {
    int m, s, on = 1, off = 0, is = -1;
    pair(&m, &s);
    R(ioctl(m, TIOCGPKT, &is));
    say("%d\n", is);
    R(ioctl(m, TIOCPKT, &on));
    R(ioctl(m, TIOCGPKT, &is));
    say("%d\n", is);
    put(s, "data");
    show("master", m);
    MUST(tcflush(s, TCIFLUSH));
    say_events("news", poll_now(m));
    show("flushed input", m);
    MUST(tcflush(s, TCOFLUSH));
    show("flushed output", m);
    put(m, "\x13");
    show("stopped", m);
    put(m, "\x11");
    show("started", m);
    struct termios t;
    MUST(tcgetattr(s, &t));
    t.c_iflag &= ~IXON;
    MUST(tcsetattr(s, TCSANOW, &t));
    show("no flow keys", m);
    t.c_iflag |= IXON;
    MUST(tcsetattr(s, TCSANOW, &t));
    show("flow keys", m);
    R(ioctl(m, TIOCPKT, &off));
    put(s, "data");
    show("master", m);
    R(ioctl(s, TIOCPKT, &on));
}

CASE(pty_settings) {
    int m, s;
    struct termios t, u;
    pair(&m, &s);
    MUST(tcgetattr(s, &t));
    say("%o %o %o %o\n", t.c_iflag, t.c_oflag, t.c_cflag, t.c_lflag);
    for (int i = 0; i < 17; i++)
        say("%d ", t.c_cc[i]);
    say("\nspeed %d\n", cfgetospeed(&t) == B38400);
    MUST(tcgetattr(m, &u));
    say("the master shows the same %d\n", !memcmp(&t, &u, sizeof t));
    u.c_lflag &= ~ECHO;
    u.c_cflag &= ~(CSIZE | CREAD);
    u.c_cflag |= CS5 | PARENB;
    R(tcsetattr(m, TCSANOW, &u));
    MUST(tcgetattr(s, &t));
    say("%o %o\n", t.c_cflag, t.c_lflag);
    put(m, "lost");
    sleep_ms(50);
    R(tcsetattr(s, TCSAFLUSH, &t));
    put(m, "new\n");
    show("slave", s);
    R(tcdrain(s));
    R(tcsendbreak(s, 0));
    R(tcflush(s, 9));
    int d = 5;
    R(ioctl(s, TIOCGETD, &d));
    say("%d\n", d);
    R(ioctl(s, TIOCSETD, &d));
    R(ioctl(s, TIOCEXCL));
    R(ioctl(s, TIOCGEXCL, &d));
    say("%d\n", d);
    R(ioctl(s, TIOCNXCL));
    R(ioctl(s, TIOCMGET, &d));
    R(ioctl(s, TIOCGPTN, &d));
    R(ioctl(s, TIOCSPTLCK, &d));
    R(ioctl(m, 0x54ff, &d));
    R(ioctl(s, TCGETS, 8));
    R(ioctl(m, TIOCGPTN, 8));
}

CASE(pty_flush) {
    int m, s;
    pair(&m, &s);
    local(s, ECHO, 0);
    put(m, "one\ntwo");
    settle(s);
    R(tcflush(s, TCIFLUSH));
    put(m, "three\n");
    show("slave", s);
    put(m, "four\n");
    settle(s);
    R(tcflush(s, TCOFLUSH));
    show("slave", s);
    put(s, "out");
    settle(m);
    R(tcflush(m, TCIFLUSH));
    show("master", m);
}

CASE(pty_peer) {
    int m = MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK));
    OK(ioctl(m, TIOCGPTPEER, O_RDWR | O_NOCTTY));
    MUST(unlockpt(m));
    int s = MUST(ioctl(m, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
    R(fcntl(s, F_GETFD));
    R(fcntl(s, F_GETFL) & (O_ACCMODE | O_NONBLOCK));
    say_link("peer", s);
    say("ttyname %d\n", ttyname(s) && !strcmp(ttyname(s), ptsname(m)));
    put(m, "line\n");
    show("peer", s);
    R(ioctl(s, TIOCGPTPEER, O_RDWR));
}

CASE(pty_readiness) {
    int m, s, e = MUST(epoll_create1(0));
    struct epoll_event got[4], want = {EPOLLIN | EPOLLET, {.u32 = 1}};
    pair(&m, &s);
    local(s, ECHO, 0);
    say_events("master", poll_now(m));
    say_events("slave", poll_now(s));
    MUST(epoll_ctl(e, EPOLL_CTL_ADD, s, &want));
    want.data.u32 = 2;
    MUST(epoll_ctl(e, EPOLL_CTL_ADD, m, &want));
    R(epoll_wait(e, got, 4, 50));
    put(m, "a\n");
    R(epoll_wait(e, got, 4, 1000));
    say_events("slave", poll_now(s));
    show("slave", s);
    put(s, "b");
    R(epoll_wait(e, got, 4, 1000));
    say_events("master", poll_now(m));
    show("master", m);
    MUST(close(s));
    R(epoll_wait(e, got, 4, 1000));
    say("%u ", got[0].data.u32);
    say_events("events", got[0].events);
}

CASE(pty_file_system) {
    struct statfs fs;
    struct stat st;
    MUST(statfs("/dev/pts", &fs));
    say("magic %lx block %ld names %ld, %ld %ld\n", (long)fs.f_type, (long)fs.f_bsize, (long)fs.f_namelen,
        (long)fs.f_blocks, (long)fs.f_files);
    MUST(stat("/dev/pts", &st));
    say("mode %o links %ld\n", st.st_mode, (long)st.st_nlink);
    R(open("/dev/pts/new", O_RDWR | O_CREAT, 0600));
    R(mkdir("/dev/pts/new", 0700));
    R(mknod("/dev/pts/new", S_IFIFO | 0600, 0));
    R(symlink("x", "/dev/pts/new"));
    int m, s;
    pair(&m, &s);
    const char *name = ptsname(m);
    R(unlink(name));
    R(rename(name, "/dev/pts/new"));
    R(link(name, "/dev/pts/new"));
    R(mkdir(name, 0700));
    R(open(name, O_RDWR | O_CREAT | O_EXCL, 0600));
    R(access(name, R_OK | W_OK));
    R(rmdir("/dev/pts"));
    R(stat("/dev/pts/ptmx", &st));
    say("%u:%u %o\n", major(st.st_rdev), minor(st.st_rdev), st.st_mode & S_IFMT);
    FILE *f = fopen("/proc/self/mounts", "r");
    char line[512], *at;
    int found = 0;
    while (fgets(line, sizeof line, f))
        if (!found && (at = strstr(line, " /dev/pts devpts "))) {
            found = 1;
            say("%.6s%s, ptmxmode %d\n", line, " /dev/pts devpts", !!strstr(line, "ptmxmode="));
        }
    f = fopen("/proc/sys/kernel/pty/max", "r");
    say("max %s", f && fgets(line, sizeof line, f) ? line : "?\n");
    f = fopen("/proc/sys/kernel/pty/nr", "r");
    say("number %d\n", f && fgets(line, sizeof line, f) && atoi(line) > 0);
}
