/* Sessions and their terminals: credentials(7), setsid(2), tcsetpgrp(3), ioctl_tty(2). */
#include "abi.h"
#include "pty.h"
#include "session.h"

#include <sys/ioctl.h>
#include <termios.h>

int master, slave;

void in_session(const char *who, void (*run)(void)) {
    pair(&master, &slave);
    MUST(fcntl(slave, F_SETFL, O_RDWR));
    pid_t child = MUST(fork());
    if (child == 0) {
        alarm(20);
        MUST(setsid());
        run();
        _exit(0);
    }
    reap(who, child);
    close(master);
    close(slave);
}

const char *name(void) {
    return ptsname(master);
}

void say_stat(const char *what) {
    char line[512];
    int number = 0, tty, group;
    FILE *f = fopen("/proc/self/stat", "r");
    MUST(fgets(line, sizeof line, f) ? 0 : -1);
    fclose(f);
    MUST(sscanf(strrchr(line, ')'), ") %*c %*d %*d %*d %d %d", &tty, &group) == 2 ? 0 : -1);
    MUST(ioctl(master, TIOCGPTN, &number));
    int is_slave = tty == (136 << 8 | number);
    if (group == getpgrp())
        group = 1000;
    say("%s: terminal %s, foreground %d\n", what, is_slave ? "is the slave" : tty ? "other" : "none", group);
}

static void opens(void) {
    OK(open("/dev/tty", O_RDWR));
    say_stat("none");
    int fd = MUST(open(name(), O_RDWR | O_NOCTTY));
    say_stat("O_NOCTTY");
    R(tcgetpgrp(fd));
    R(tcgetsid(fd));
    R(tcsetpgrp(fd, getpgrp()));
    close(fd);
    fd = MUST(open(name(), O_WRONLY));
    say_stat("only for writing");
    close(fd);
    fd = MUST(open(name(), O_RDWR));
    say_stat("open");
    say("group %d session %d\n", tcgetpgrp(fd) == getpgrp(), tcgetsid(fd) == getsid(0));
    say("of the master: group %d session %d\n", tcgetpgrp(master) == getpgrp(), tcgetsid(master) == getsid(0));
    int tty = MUST(open("/dev/tty", O_RDWR));
    struct stat st;
    MUST(fstat(tty, &st));
    say("rdev %lx\n", (long)st.st_rdev);
    put(tty, "by tty\n");
    show("master", master);
    pid_t child = MUST(fork());
    if (child == 0) {
        say_stat("child");
        OK(open("/dev/tty", O_RDWR));
        MUST(setsid());
        say_stat("child with a session");
        OK(open("/dev/tty", O_RDWR));
        R(tcgetpgrp(fd));
        R(ioctl(fd, TIOCSCTTY, 0));
        int other = MUST(open(name(), O_RDWR));
        say_stat("taken already");
        (void)other;
        _exit(0);
    }
    reap("child", child);
    R(ioctl(fd, TIOCSCTTY, 0));
    signal(SIGHUP, SIG_IGN);
    R(ioctl(fd, TIOCNOTTY, 0));
    say_stat("given up");
    R(ioctl(fd, TIOCNOTTY, 0));
    R(read(tty, &st, 0));
    R(ioctl(master, TIOCSCTTY, 0));
    say_stat("again, by the master");
}

CASE(session_opens_a_terminal) {
    in_session("leader", opens);
}

static void steals(void) {
    MUST(ioctl(slave, TIOCSCTTY, 0));
    int p[2];
    char c;
    MUST(pipe(p));
    pid_t child = MUST(fork());
    if (child == 0) {
        R(ioctl(slave, TIOCSCTTY, 0));
        MUST(setsid());
        R(ioctl(slave, TIOCSCTTY, 0));
        R(ioctl(slave, TIOCSCTTY, 1));
        say_stat("stolen");
        MUST(write(p[1], "x", 1));
        _exit(0);
    }
    MUST(read(p[0], &c, 1));
    say_stat("robbed");
    reap("thief", child);
    OK(open("/dev/tty", O_RDWR));
}

CASE(session_steals_a_terminal) {
    in_session("leader", steals);
}

volatile int got[65];

static void note(int number) {
    got[number]++;
}

void say_got(const char *what) {
    say("%s:", what);
    for (int i = 1; i < 65; i++)
        if (got[i]) {
            say(" %s %d", sigabbrev_np(i), got[i]);
            got[i] = 0;
        }
    say("\n");
}

void note_all(void) {
    struct sigaction a = {.sa_handler = note};
    for (int i = 1; i < 32; i++)
        if (i != SIGKILL && i != SIGSTOP && i != SIGALRM)
            sigaction(i, &a, 0);
}

static void presses(void) {
    MUST(ioctl(slave, TIOCSCTTY, 0));
    note_all();
    put(master, "line");
    show("echo", master);
    put(master, "\x03");
    sleep_ms(50);
    say_got("interrupt");
    show("echo", master);
    put(master, "\x1c");
    sleep_ms(50);
    say_got("quit");
    put(master, "\x1a");
    sleep_ms(50);
    say_got("suspend");
    local(slave, 0, NOFLSH);
    put(master, "kept\x03\n");
    sleep_ms(50);
    say_got("interrupt");
    MUST(fcntl(slave, F_SETFL, O_RDWR | O_NONBLOCK));
    show("slave", slave);
    local(slave, ISIG, 0);
    put(master, "\x03\n");
    show("slave", slave);
    say_got("nothing");
    R(ioctl(master, TIOCSIG, SIGINT));
    sleep_ms(20);
    say_got("from the master");
    R(ioctl(master, TIOCSIG, SIGUSR1));
    R(ioctl(slave, TIOCSTI, "i"));
    R(ioctl(slave, TIOCSTI, "\n"));
    show("typed by ourselves", slave);
}

CASE(session_keys_send_signals) {
    in_session("leader", presses);
}

static void resizes(void) {
    struct winsize w = {7, 7, 7, 7};
    MUST(ioctl(slave, TIOCSCTTY, 0));
    note_all();
    MUST(ioctl(slave, TIOCGWINSZ, &w));
    say("%d %d %d %d\n", w.ws_row, w.ws_col, w.ws_xpixel, w.ws_ypixel);
    w = (struct winsize){24, 80, 1, 2};
    R(ioctl(master, TIOCSWINSZ, &w));
    sleep_ms(20);
    say_got("resized");
    R(ioctl(master, TIOCSWINSZ, &w));
    sleep_ms(20);
    say_got("the same");
    w.ws_row = 25;
    R(ioctl(slave, TIOCSWINSZ, &w));
    sleep_ms(20);
    say_got("by ourselves");
    MUST(ioctl(master, TIOCGWINSZ, &w));
    say("%d %d %d %d\n", w.ws_row, w.ws_col, w.ws_xpixel, w.ws_ypixel);
    R(ioctl(slave, TIOCSWINSZ, 8));
}

CASE(session_window_size) {
    in_session("leader", resizes);
}

/* A child in a group of its own, in the background. */
static void background(const char *who, void (*run)(void)) {
    pid_t child = MUST(fork());
    int status;
    if (child == 0) {
        setpgid(0, 0);
        run();
        _exit(0);
    }
    setpgid(child, child);
    while (waitpid(child, &status, WUNTRACED) == child) {
        say_status(who, status);
        if (!WIFSTOPPED(status))
            return;
        MUST(tcsetpgrp(slave, child));
        MUST(kill(child, SIGCONT));
        int stopped = 0;
        if (waitpid(child, &status, WUNTRACED) == child) {
            say_status(who, status);
            stopped = WIFSTOPPED(status);
        }
        signal(SIGTTOU, SIG_IGN);
        MUST(tcsetpgrp(slave, getpgrp()));
        signal(SIGTTOU, SIG_DFL);
        if (!stopped)
            return;
        kill(child, SIGCONT);
    }
}

static void reads(void) {
    char buf[16] = "";
    R(read(slave, buf, sizeof buf));
    say("%s", buf);
}

static void reads_ignoring(void) {
    char buf[16];
    signal(SIGTTIN, SIG_IGN);
    R(read(slave, buf, sizeof buf));
}

static void writes(void) {
    R(write(slave, "x", 1));
}

static void writes_ignoring(void) {
    signal(SIGTTOU, SIG_IGN);
    R(write(slave, "y", 1));
}

static void sets(void) {
    struct termios t;
    R(tcgetattr(slave, &t));
    R(tcsetattr(slave, TCSANOW, &t));
}

static void sets_ignoring(void) {
    signal(SIGTTOU, SIG_IGN);
    sets();
    R(tcsetpgrp(slave, 1 << 21));
    R(tcsetpgrp(slave, -1));
    R(tcsetpgrp(slave, getpid()));
    say("foreground %d\n", tcgetpgrp(slave) == getpid());
    R(tcsetpgrp(slave, getppid()));
}

static void reads_with_handler(void) {
    struct sigaction a = {.sa_handler = note};
    char c;
    sigaction(SIGTTIN, &a, 0);
    R(read(slave, &c, 1));
    say_got("read");
}

static void jobs(void) {
    MUST(ioctl(slave, TIOCSCTTY, 0));
    put(master, "for the foreground\n");
    background("reader", reads);
    background("deaf reader", reads_ignoring);
    background("reader with a handler", reads_with_handler);
    background("writer", writes);
    local(slave, 0, TOSTOP);
    background("stopped writer", writes);
    background("deaf writer", writes_ignoring);
    show("master", master);
    background("setter", sets);
    background("deaf setter", sets_ignoring);
}

CASE(session_background) {
    in_session("leader", jobs);
}

static void orphans(void) {
    MUST(ioctl(slave, TIOCSCTTY, 0));
    int p[2], q[2];
    char c;
    MUST(pipe(p));
    MUST(pipe(q));
    pid_t middle = MUST(fork());
    if (middle == 0) {
        pid_t me = getpid();
        if (MUST(fork()) == 0) {
            MUST(setpgid(0, 0));
            while (getppid() == me)
                sleep_ms(5);
            MUST(read(q[0], &c, 1));
            R(read(slave, &c, 1));
            R(tcsetpgrp(slave, getpid()));
            /* Nobody could wake it. */
            R(raise(SIGTSTP));
            R(raise(SIGTTIN));
            R(raise(SIGTTOU));
            MUST(write(p[1], "x", 1));
            _exit(0);
        }
        _exit(0);
    }
    reap("middle", middle);
    MUST(write(q[1], "x", 1));
    MUST(read(p[0], &c, 1));
}

CASE(session_orphaned_group) {
    in_session("leader", orphans);
}
