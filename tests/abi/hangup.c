/* Terminals that hang up, leaders of sessions that end: credentials(7), ioctl_tty(2), setsid(2). */
#include "abi.h"
#include "pty.h"
#include "session.h"

#include <sys/ioctl.h>
#include <termios.h>

static void hears_hang_up(void) {
    int p[2], q[2];
    char c;
    MUST(ioctl(slave, TIOCSCTTY, 0));
    MUST(pipe(p));
    MUST(pipe(q));
    note_all();
    pid_t child = MUST(fork());
    if (child == 0) {
        close(master);
        MUST(setpgid(0, 0));
        MUST(write(p[1], "x", 1));
        read(q[0], &c, 1);
        sleep_ms(50);
        say_got("child, after the hang-up");
        say("terminal of the child %d\n", open("/dev/tty", O_RDWR) >= 0);
        MUST(write(p[1], "x", 1));
        for (int i = 0; i < 200 && !got[SIGHUP]; i++)
            sleep_ms(10);
        sleep_ms(50);
        say_got("child, after the leader's end");
        _exit(0);
    }
    MUST(read(p[0], &c, 1));
    MUST(signal(SIGTTOU, SIG_IGN) == SIG_ERR ? -1 : 0);
    MUST(tcsetpgrp(slave, child));
    MUST(close(master));
    sleep_ms(50);
    say_got("leader");
    R(read(slave, &c, 1));
    OK(open("/dev/tty", O_RDWR));
    MUST(write(q[1], "x", 1));
    while (read(p[0], &c, 1) < 0)
        ;
}

/* Like in_session, but the master is the session's alone, and its orphans are waited for. */
CASE(session_master_closes) {
    pair(&master, &slave);
    MUST(fcntl(slave, F_SETFL, O_RDWR));
    int p[2];
    char c;
    MUST(pipe(p));
    pid_t child = MUST(fork());
    if (child == 0) {
        alarm(20);
        MUST(setsid());
        hears_hang_up();
        _exit(0);
    }
    close(master);
    close(p[1]);
    reap("leader", child);
    /* The end of the last one that has the pipe. */
    R(read(p[0], &c, 1));
}

static void leader_ends(void) {
    int q[2];
    char c;
    MUST(ioctl(slave, TIOCSCTTY, 0));
    MUST(pipe(q));
    if (MUST(fork()) == 0) {
        note_all();
        say_stat("child");
        MUST(write(q[1], "x", 1));
        for (int i = 0; i < 200 && !got[SIGHUP]; i++)
            sleep_ms(10);
        sleep_ms(50);
        say_got("child, after the leader's end");
        OK(open("/dev/tty", O_RDWR));
        R(tcgetpgrp(slave));
        R(tcgetsid(master));
        R(write(slave, "alive", 5));
        show("master", master);
        _exit(0);
    }
    MUST(read(q[0], &c, 1));
}

CASE(session_leader_ends) {
    int p[2];
    char c;
    MUST(pipe(p));
    in_session("leader", leader_ends);
    close(p[1]);
    R(read(p[0], &c, 1));
}

static void vanishes(void) {
    MUST(ioctl(slave, TIOCSCTTY, 0));
    note_all();
    R(ioctl(slave, TIOCVHANGUP));
    sleep_ms(20);
    say_got("hung up");
    char c;
    R(read(slave, &c, 1));
    R(write(slave, &c, 1));
    say_stat("terminal");
    int fd = MUST(open(name(), O_RDWR));
    say_stat("open again");
    put(fd, "works\n");
    show("master", master);
}

CASE(session_virtual_hangup) {
    in_session("leader", vanishes);
}
