/* Options of TCP by which a program chooses how it sends: tcp(7). */
#include "abi.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/wait.h>

static int listening(struct sockaddr_in *at) {
    socklen_t size = sizeof *at;
    *at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(bind(listener, (void *)at, size));
    MUST(listen(listener, 5));
    MUST(getsockname(listener, (void *)at, &size));
    return listener;
}

static void tell_name(int fd, socklen_t room) {
    char name[32];
    memset(name, '#', sizeof name);
    socklen_t size = room;
    R(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &size));
    say("%u bytes:", size);
    for (socklen_t n = 0; n < size && n < sizeof name; n++)
        say(" %d", name[n]);
    say("\n");
}

static void choose(int fd, const char *name, socklen_t len) {
    say("%s, %u bytes\n", name, len);
    R(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, len));
}

CASE(tcpknobs_congestion) {
    struct sockaddr_in at;
    int listener = listening(&at);
    int a = MUST(socket(AF_INET, SOCK_STREAM, 0));
    choose(a, "cubic", 5);
    tell_name(a, 16);
    choose(a, "reno", 4);
    tell_name(a, 32);
    tell_name(a, 3);
    tell_name(a, 0);
    choose(a, "cubic", 6);
    choose(a, "cubic\0more", 10);
    choose(a, "nobody", 6);
    choose(a, "", 0);
    choose(a, "", 1);
    choose(a, "cubiccubiccubiccubic", 20);
    choose(a, "cub", 3);
    tell_name(a, 16);
    /* Who is accepted has what the listener had. */
    choose(listener, "reno", 4);
    MUST(connect(a, (void *)&at, sizeof at));
    int b = MUST(accept(listener, NULL, NULL));
    tell_name(b, 16);
    choose(a, "reno", 4);
    choose(b, "cubic", 5);
    tell_name(a, 16);
    tell_name(b, 16);
    static char data[100000];
    int sent = 0, got = 0;
    MUST(fcntl(a, F_SETFL, O_NONBLOCK));
    while (got < 1000000) {
        int n = sent < 1000000 ? send(a, data, sizeof data, 0) : 0;
        if (n > 0)
            sent += n;
        if (got < sent)
            got += MUST(recv(b, data, sizeof data, 0));
    }
    say("all came: %d\n", got == sent && sent == 1000000);
    int u = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    choose(u, "reno", 4);
    socklen_t size = sizeof data;
    R(getsockopt(a, IPPROTO_TCP, TCP_CC_INFO, data, &size));
    say("%u\n", size);
    MUST(close(b));
    choose(a, "cubic", 5);
}

static void set_and_get(int fd, int name, int value) {
    int got = -1;
    socklen_t size = sizeof got;
    say("option %d, %d\n", name, value);
    R(setsockopt(fd, IPPROTO_TCP, name, &value, sizeof value));
    R(getsockopt(fd, IPPROTO_TCP, name, &got, &size));
    say("is %d, %u bytes\n", got, size);
}

CASE(tcpknobs_buffers) {
    for (int family = AF_INET; family <= AF_INET6; family += AF_INET6 - AF_INET) {
        int fd = MUST(socket(family, SOCK_STREAM, 0));
        for (int name = SO_SNDBUF; name <= SO_RCVBUF; name++) {
            int value = -1;
            socklen_t size = sizeof value;
            R(getsockopt(fd, SOL_SOCKET, name, &value, &size));
            say("%d: %d\n", name, value);
        }
    }
}

CASE(tcpknobs_numbers) {
    static const int values[] = {0, 1, 2, -1, 1000, 1151, 1152, 5000, 100000, 0x7fffffff};
    static const int names[] = {TCP_WINDOW_CLAMP, TCP_THIN_LINEAR_TIMEOUTS, TCP_THIN_DUPACK, TCP_FASTOPEN,
                                TCP_NOTSENT_LOWAT};
    struct sockaddr_in at;
    int listener = listening(&at);
    int a = MUST(socket(AF_INET, SOCK_STREAM, 0)), u = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        for (size_t v = 0; v < sizeof values / sizeof *values; v++)
            set_and_get(a, names[n], values[v]);
        set_and_get(listener, names[n], 2);
        set_and_get(u, names[n], 1);
        R(setsockopt(a, IPPROTO_TCP, names[n], values, 3));
        R(setsockopt(a, IPPROTO_TCP, names[n], NULL, 4));
    }
    MUST(connect(a, (void *)&at, sizeof at));
    int b = MUST(accept(listener, NULL, NULL));
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        int got = -1;
        socklen_t size = sizeof got;
        R(getsockopt(b, IPPROTO_TCP, names[n], &got, &size));
        say("accepted: %d\n", got);
        set_and_get(b, names[n], 1);
    }
    R(setsockopt(b, IPPROTO_TCP, TCP_WINDOW_CLAMP, &(int){0}, 4));
    R(setsockopt(listener, IPPROTO_TCP, TCP_WINDOW_CLAMP, &(int){0}, 4));
    R(setsockopt(a, IPPROTO_TCP, TCP_ULP, "nobody", 6));
    R(setsockopt(a, IPPROTO_TCP, TCP_ULP, "", 0));
    char name[16];
    socklen_t size = sizeof name;
    R(getsockopt(a, IPPROTO_TCP, TCP_ULP, name, &size));
    say("%u\n", size);
    R(setsockopt(a, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &(int){2}, 4));
    R(setsockopt(a, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &(int){-1}, 4));
}

static int writable(int fd, int wait_ms) {
    struct pollfd p = {fd, POLLOUT, 0};
    return poll(&p, 1, wait_ms);
}

/* Beyond its low-water mark nothing more is taken that can't be sent, and what was taken goes all the same. */
CASE(tcpknobs_lowat) {
    static char data[1 << 20];
    struct sockaddr_in at;
    int listener = listening(&at), low = 16384, small = 30000;
    MUST(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small));
    int a = MUST(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    MUST(setsockopt(a, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &low, sizeof low));
    connect(a, (void *)&at, sizeof at);
    int b = MUST(accept(listener, NULL, NULL));
    say("writable %d\n", writable(a, 1000));
    int sent = 0, n;
    while ((n = send(a, data, 4096, 0)) > 0)
        sent += n;
    say("errno %d\n", errno);
    say("writable %d\n", writable(a, 0));
    say("little is queued: %d\n", sent < 400000);
    int got = 0;
    while (got < sent)
        got += MUST(recv(b, data, sizeof data, 0));
    say("writable %d\n", writable(a, 1000));
    say("all came: %d\n", got == sent);
}

/* How far a bounded window goes differs; all arrives through it. */
CASE(tcpknobs_clamp) {
    static char data[1 << 16];
    struct sockaddr_in at;
    int listener = listening(&at), clamp = 5000, sent = 0, got = 0;
    MUST(setsockopt(listener, IPPROTO_TCP, TCP_WINDOW_CLAMP, &clamp, sizeof clamp));
    int a = MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(connect(a, (void *)&at, sizeof at));
    int b = MUST(accept(listener, NULL, NULL));
    MUST(fcntl(a, F_SETFL, O_NONBLOCK));
    while (got < 1000000) {
        int n = sent < 1000000 ? send(a, data, sizeof data, 0) : 0;
        if (n > 0)
            sent += n;
        if (got < sent)
            got += MUST(recv(b, data, sizeof data, 0));
    }
    while (got < sent)
        got += MUST(recv(b, data, sizeof data, 0));
    say("all came: %d\n", got == sent);
    clamp = 2000;
    MUST(setsockopt(b, IPPROTO_TCP, TCP_WINDOW_CLAMP, &clamp, sizeof clamp));
    for (sent = got = 0; got < 100000;) {
        int n = sent < 100000 ? send(a, data, 10000, 0) : 0;
        if (n > 0)
            sent += n;
        if (got < sent)
            got += MUST(recv(b, data, sizeof data, 0));
    }
    say("all came: %d\n", got == sent);
}

/* Who waits gets what SO_RCVLOWAT wants, who does not what there is. */
CASE(tcpknobs_low_water) {
    struct sockaddr_in at;
    int listener = listening(&at), low = 4;
    char data[16];
    int a = MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(connect(a, (void *)&at, sizeof at));
    int b = MUST(accept(listener, NULL, NULL));
    MUST(setsockopt(b, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof low));
    for (int by_read = 0; by_read < 2; by_read++) {
        pid_t child = MUST(fork());
        if (!child) {
            send(a, "ab", 2, 0);
            usleep(100000);
            send(a, "cd", 2, 0);
            _exit(0);
        }
        long n = by_read ? read(b, data, sizeof data) : recv(b, data, sizeof data, 0);
        say("got %ld: %.*s\n", n, n > 0 ? (int)n : 0, data);
        MUST(waitpid(child, NULL, 0));
    }
    MUST(send(a, "ef", 2, 0));
    struct pollfd p = {b, POLLIN, 0};
    say("readable %d\n", poll(&p, 1, 50));
    R(recv(b, data, 1, 0));
    R(recv(b, data, sizeof data, MSG_DONTWAIT));
    MUST(send(a, "gh", 2, 0));
    usleep(50000);
    MUST(fcntl(b, F_SETFL, O_NONBLOCK));
    R(read(b, data, sizeof data));
    R(read(b, data, sizeof data));
    MUST(fcntl(b, F_SETFL, 0));
    struct timeval soon = {0, 50000};
    MUST(setsockopt(b, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon));
    R(recv(b, data, sizeof data, 0));
    for (int by_read = 0; by_read < 2; by_read++) {
        MUST(send(a, "ijk", 3, 0));
        long n = by_read ? read(b, data, sizeof data) : recv(b, data, sizeof data, 0);
        say("in time %ld\n", n);
    }
    MUST(send(a, "l", 1, 0));
    MUST(shutdown(a, SHUT_WR));
    R(recv(b, data, sizeof data, 0));
    R(recv(b, data, sizeof data, 0));
}
