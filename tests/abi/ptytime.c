/* How long reads of a terminal wait, and what tabs become: termios(3). */
#include "abi.h"
#include "pty.h"

#include <sys/ioctl.h>
#include <termios.h>

static void blocking(int fd) {
    MUST(fcntl(fd, F_SETFL, O_RDWR));
}

static void patience(int fd, int min, int time) {
    struct termios t;
    raw(fd);
    MUST(tcgetattr(fd, &t));
    t.c_cc[VMIN] = (cc_t)min;
    t.c_cc[VTIME] = (cc_t)time;
    MUST(tcsetattr(fd, TCSANOW, &t));
}

static struct {
    int fd, count, every;
} writer;

static void *keys(void *unused) {
    (void)unused;
    for (int i = 0; i < writer.count; i++) {
        sleep_ms(writer.every);
        write(writer.fd, "k", 1);
    }
    return 0;
}

/* Reads while somebody types `count` keys, one each `every` milliseconds; writes how long it took, in steps of 400 ms. */
static void timed(const char *what, int m, int s, size_t room, int count, int every) {
    char buf[64];
    pthread_t t;
    writer.fd = m;
    writer.count = count;
    writer.every = every;
    pthread_create(&t, 0, keys, 0);
    long before = now_ms();
    long n = read(s, buf, room);
    long took = now_ms() - before;
    say("%s: %ld%s%s after %ld\n", what, n, n < 0 ? " " : "", n < 0 ? strerrorname_np(errno) : "", took / 400);
    pthread_join(t, 0);
    sleep_ms(50);
    MUST(tcflush(s, TCIFLUSH));
}

CASE(ptytime_times) {
    int m, s;
    pair(&m, &s);
    blocking(s);
    patience(s, 0, 0);
    timed("neither", m, s, 9, 0, 0);
    patience(s, 0, 6);
    timed("time alone, nothing", m, s, 9, 0, 0);
    timed("time alone, a key", m, s, 9, 1, 100);
    patience(s, 3, 0);
    timed("count alone", m, s, 9, 3, 30);
    timed("count alone, less room", m, s, 2, 2, 30);
    patience(s, 3, 6);
    timed("both, enough", m, s, 9, 3, 30);
    timed("both, too few", m, s, 9, 2, 30);
    timed("both, the first one late", m, s, 9, 1, 900);
}

CASE(ptytime_readiness) {
    int m, s, n;
    char buf[9];
    pair(&m, &s);
    patience(s, 3, 0);
    MUST(write(m, "ab", 2));
    sleep_ms(50);
    say_events("two of three", poll_now(s));
    R(ioctl(s, FIONREAD, &n));
    say("%d\n", n);
    /* Who does not wait takes what there is. */
    R(read(s, buf, sizeof buf));
    R(read(s, buf, sizeof buf));
    patience(s, 3, 1);
    MUST(write(m, "a", 1));
    sleep_ms(50);
    say_events("one of three, with a time", poll_now(s));
    R(read(s, buf, sizeof buf));
    R(read(s, buf, sizeof buf));
    patience(s, 0, 5);
    R(read(s, buf, sizeof buf));
    say_events("nothing, time alone", poll_now(s));
    patience(s, 0, 0);
    R(read(s, buf, sizeof buf));
    say_events("nothing, neither", poll_now(s));
}

static void on_alarm(int signal) {
    (void)signal;
}

CASE(ptytime_signals) {
    int m, s;
    char buf[9];
    pair(&m, &s);
    blocking(s);
    struct sigaction a = {.sa_handler = on_alarm};
    MUST(sigaction(SIGALRM, &a, 0));
    patience(s, 5, 0);
    MUST(write(m, "ab", 2));
    sleep_ms(50);
    ualarm(200000, 0);
    R(read(s, buf, sizeof buf));
    ualarm(200000, 0);
    R(read(s, buf, sizeof buf));
}

static void *close_soon(void *fd) {
    sleep_ms(100);
    close(*(int *)fd);
    return 0;
}

CASE(ptytime_hangup) {
    int m, s;
    char buf[9];
    pthread_t t;
    pair(&m, &s);
    blocking(s);
    pthread_create(&t, 0, close_soon, &m);
    R(read(s, buf, sizeof buf));
    pthread_join(t, 0);
    R(read(s, buf, sizeof buf));
    R(write(s, "", 0));
    R(write(s, "x", 1));
    struct iovec none = {buf, 0};
    R(writev(s, &none, 1));
    /* Likewise no datagram is sent. */
    int u[2];
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, u));
    R(writev(u[0], &none, 1));
    say_events("after nothing", poll_now(u[1]));
    R(write(u[0], "", 0));
    say_events("after a datagram of nothing", poll_now(u[1]));
    R(readv(u[1], &none, 1));
    say_events("it is still there", poll_now(u[1]));
    R(read(u[1], buf, 0));
    say_events("it was taken", poll_now(u[1]));
    pair(&m, &s);
    blocking(s);
    R(write(s, "", 0));
    R(read(s, buf, 0));
    patience(s, 5, 0);
    MUST(write(m, "ab", 2));
    pthread_create(&t, 0, close_soon, &m);
    R(read(s, buf, sizeof buf));
    pthread_join(t, 0);
    R(read(s, buf, 0));
}

CASE(ptytime_peer_flags) {
    int m = MUST(posix_openpt(O_RDWR | O_NOCTTY));
    MUST(unlockpt(m));
    int s = MUST(ioctl(m, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
    say("%#x %d\n", fcntl(s, F_GETFL), fcntl(s, F_GETFD));
    s = MUST(ioctl(m, TIOCGPTPEER, O_RDWR | O_NOCTTY));
    say("%#x %d\n", fcntl(s, F_GETFL), fcntl(s, F_GETFD));
    MUST(fcntl(s, F_SETFL, O_RDWR | O_NONBLOCK));
    say("%#x\n", fcntl(s, F_GETFL));
}

static void output(int fd, unsigned flags) {
    struct termios t;
    MUST(tcgetattr(fd, &t));
    t.c_oflag = flags;
    MUST(tcsetattr(fd, TCSANOW, &t));
}

CASE(ptytime_tabs) {
    int m, s;
    pair(&m, &s);
    output(s, OPOST | XTABS | ONLCR);
    put(s, "\ta\tbc\tdefghijk\t.");
    show("spaces", m);
    put(s, "\n\t|abc\b\b\b\t|\n");
    show("back", m);
    put(s, "\001\x7f\t|\n");
    show("controls", m);
    put(s, "abc\r\t|\n");
    show("return", m);
    output(s, OPOST | XTABS);
    put(s, "abc\n\t|");
    show("line feed alone", m);
    output(s, OPOST | XTABS | ONLRET);
    put(s, "abc\n\t|\r");
    show("line feed that returns", m);
    output(s, OPOST);
    put(s, "abc\t|");
    show("tabs as they are", m);
    output(s, OPOST | XTABS);
    put(s, "\t|");
    show("counted, too", m);
    output(s, XTABS);
    put(s, "\t|");
    show("without processing", m);
    output(s, OPOST | ONOCR);
    put(s, "\n\r\r|\r|\r");
    show("no return at the start", m);
    output(s, OPOST | OCRNL | ONLRET);
    put(s, "ab\rc\r\n");
    show("return as line feed", m);
    output(s, OPOST | OLCUC);
    put(s, "aBc1");
    show("capitals", m);
    output(s, OPOST | ONLRET);
    put(s, "a\r\n");
    show("returns stay", m);
}

CASE(ptytime_echo_of_tabs) {
    int m, s;
    pair(&m, &s);
    output(s, OPOST | XTABS | ONLCR);
    put(m, "a\tb\n");
    show("echo", m);
    show("line", s);
    put(s, "name: ");
    show("output", m);
    put(m, "a\t\x7f");
    show("erased", m);
    put(m, "\tbcd\t\x7f");
    show("erased behind another", m);
    put(m, "\x01\t\x7f");
    show("erased behind a control", m);
    put(m, "\x15");
    show("killed", m);
    output(s, OPOST | ONLCR);
    put(m, "x\ty\t\x17");
    show("word", m);
    put(m, "\n");
    show("end", m);
    show("rest", s);
    local(s, ECHOCTL, 0);
    put(m, "a\x01\x7f\x7f");
    show("without carets", m);
}
