/* Options of sockets that change when something is sent, taken or given up: tcp(7), socket(7). */
#include "abi.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

static int listener(struct sockaddr_in *at, int level, int name, int value) {
    socklen_t size = sizeof *at;
    memset(at, 0, sizeof *at);
    at->sin_family = AF_INET;
    at->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = MUST(socket(AF_INET, SOCK_STREAM, 0));
    if (level)
        R(setsockopt(fd, level, name, &value, sizeof value));
    MUST(bind(fd, (void *)at, size));
    MUST(listen(fd, 5));
    MUST(getsockname(fd, (void *)at, &size));
    return fd;
}

static int client(const struct sockaddr_in *at, int level, int name, int value) {
    int fd = MUST(socket(AF_INET, SOCK_STREAM, 0));
    if (level)
        R(setsockopt(fd, level, name, &value, sizeof value));
    MUST(connect(fd, (void *)at, sizeof *at));
    return fd;
}

static int readable(int fd, int wait_ms) {
    struct pollfd p = {fd, POLLIN, 0};
    return poll(&p, 1, wait_ms);
}

static void show(const char *what, int fd, int level, int name) {
    int value = -99;
    socklen_t size = sizeof value;
    int result = getsockopt(fd, level, name, &value, &size);
    if (result)
        report(what, result);
    else
        say("%s: %d of %u bytes\n", what, value, size);
}

CASE(finer_values) {
    static const struct {
        const char *what;
        int level, name, values[12];
    } all[] = {
        {"syncnt", IPPROTO_TCP, TCP_SYNCNT, {1, 0, 3, 127, 128, -1, 6}},
        {"linger2", IPPROTO_TCP, TCP_LINGER2, {5, 120, 121, 1000, -1, -7, 1, 0}},
        {"defer", IPPROTO_TCP, TCP_DEFER_ACCEPT, {1, 2, 3, 4, 7, 8, 100, 247, 248, 1000, -1, 0}},
        {"quickack", IPPROTO_TCP, TCP_QUICKACK, {0, 1, 0, 2, 0, 3}},
        {"mark", SOL_SOCKET, SO_MARK, {7, -1, 0}},
    };
    for (size_t n = 0; n < sizeof all / sizeof *all; n++) {
        int fd = MUST(socket(AF_INET, SOCK_STREAM, 0));
        show(all[n].what, fd, all[n].level, all[n].name);
        for (int v = 0; v < 12; v++) {
            say("%s = %d\n", all[n].what, all[n].values[v]);
            R(setsockopt(fd, all[n].level, all[n].name, &all[n].values[v], sizeof(int)));
            show(all[n].what, fd, all[n].level, all[n].name);
        }
        R(setsockopt(fd, all[n].level, all[n].name, &all[n].values, 3));
        int udp = MUST(socket(AF_INET, SOCK_DGRAM, 0));
        R(setsockopt(udp, all[n].level, all[n].name, &all[n].values, sizeof(int)));
        show("of a datagram socket", udp, all[n].level, all[n].name);
        MUST(close(fd));
        MUST(close(udp));
    }
    int pair[2], mark = 3;
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    R(setsockopt(pair[0], SOL_SOCKET, SO_MARK, &mark, sizeof mark));
    show("mark of a local socket", pair[0], SOL_SOCKET, SO_MARK);
}

CASE(finer_inherited) {
    static const struct {
        const char *what;
        int level, name, value;
    } all[] = {
        {"syncnt", IPPROTO_TCP, TCP_SYNCNT, 3},   {"linger2", IPPROTO_TCP, TCP_LINGER2, 9},
        {"defer", IPPROTO_TCP, TCP_DEFER_ACCEPT, 0}, {"quickack", IPPROTO_TCP, TCP_QUICKACK, 0},
        {"mark", SOL_SOCKET, SO_MARK, 12},
    };
    for (size_t n = 0; n < sizeof all / sizeof *all; n++) {
        struct sockaddr_in at;
        int l = listener(&at, all[n].level, all[n].name, all[n].value);
        int a = client(&at, 0, 0, 0), b = MUST(accept(l, NULL, NULL));
        show(all[n].what, b, all[n].level, all[n].name);
        show("of the other end", a, all[n].level, all[n].name);
        MUST(close(a));
        MUST(close(b));
        MUST(close(l));
    }
}

CASE(finer_mark_of_one_message) {
    struct sockaddr_in at;
    int l = listener(&at, 0, 0, 0), a = client(&at, 0, 0, 0), b = MUST(accept(l, NULL, NULL));
    for (int short_by = 0; short_by < 2; short_by++) {
        char control[CMSG_SPACE(4)] = {0};
        struct iovec data = {"x", 1};
        struct msghdr m = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SO_MARK;
        c->cmsg_len = CMSG_LEN(4 - short_by);
        R(sendmsg(a, &m, 0));
        c->cmsg_type = SO_PRIORITY + 1000;
        R(sendmsg(a, &m, 0));
    }
    char got[8];
    R(recv(b, got, sizeof got, 0));
}

CASE(finer_quick_acknowledgements) {
    struct sockaddr_in at;
    char c;
    int l = listener(&at, 0, 0, 0), zero = 0, one = 1;
    int a = client(&at, IPPROTO_TCP, TCP_QUICKACK, 0);
    /* The last part of the handshake waits for data. */
    R(readable(l, 60));
    show("connected", a, IPPROTO_TCP, TCP_QUICKACK);
    R(readable(l, 5000));
    int b = MUST(accept(l, NULL, NULL));
    R(setsockopt(b, IPPROTO_TCP, TCP_QUICKACK, &zero, sizeof zero));
    show("off", b, IPPROTO_TCP, TCP_QUICKACK);
    R(send(a, "x", 1, 0));
    R(recv(b, &c, 1, 0));
    R(setsockopt(b, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one));
    show("on", b, IPPROTO_TCP, TCP_QUICKACK);
    int again = client(&at, IPPROTO_TCP, TCP_QUICKACK, 0);
    R(send(again, "x", 1, 0));
    /* With data it goes at once. */
    R(readable(l, 60));
    int d = MUST(accept(l, NULL, NULL));
    R(recv(d, &c, 1, 0));
}

CASE(finer_deferred) {
    struct sockaddr_in at;
    char got[8];
    int l = listener(&at, IPPROTO_TCP, TCP_DEFER_ACCEPT, 5);
    int a = client(&at, 0, 0, 0);
    R(readable(l, 200));
    R(send(a, "data", 4, 0));
    R(readable(l, 2000));
    int b = MUST(accept(l, NULL, NULL));
    R(recv(b, got, sizeof got, 0));
    show("accepted", b, IPPROTO_TCP, TCP_DEFER_ACCEPT);
    a = client(&at, 0, 0, 0);
    R(readable(l, 100));
    R(shutdown(a, SHUT_WR));
    R(readable(l, 2000));
    b = MUST(accept(l, NULL, NULL));
    R(recv(b, got, sizeof got, 0));
    a = client(&at, 0, 0, 0);
    R(readable(l, 100));
    /* It counts when the data come. */
    int off = 0;
    R(setsockopt(l, IPPROTO_TCP, TCP_DEFER_ACCEPT, &off, sizeof off));
    R(readable(l, 100));
    R(send(a, "x", 1, 0));
    R(readable(l, 2000));
}

CASE(finer_deferred_for_a_time) {
    struct sockaddr_in at;
    char got[8];
    int l = listener(&at, IPPROTO_TCP, TCP_DEFER_ACCEPT, 1);
    int a = client(&at, 0, 0, 0);
    R(readable(l, 400));
    R(readable(l, 5000));
    int b = MUST(accept(l, NULL, NULL));
    R(recv(b, got, sizeof got, MSG_DONTWAIT));
    R(send(a, "late", 4, 0));
    R(recv(b, got, sizeof got, 0));
}

CASE(finer_deferring_client) {
    struct sockaddr_in at;
    int l = listener(&at, 0, 0, 0);
    client(&at, IPPROTO_TCP, TCP_DEFER_ACCEPT, 1);
    R(readable(l, 60));
    R(readable(l, 5000));
}

static void see(int fd) {
    struct pollfd p = {fd, POLLIN | POLLOUT | POLLRDHUP, 0};
    char c;
    R(poll(&p, 1, 0));
    say("events %#x\n", p.revents);
    R(recv(fd, &c, 1, MSG_DONTWAIT));
    show("error", fd, SOL_SOCKET, SO_ERROR);
    R(send(fd, "x", 1, MSG_NOSIGNAL));
}

CASE(finer_no_wait_for_the_end) {
    struct sockaddr_in at;
    char c;
    int l = listener(&at, IPPROTO_TCP, TCP_LINGER2, -1);
    int b = client(&at, 0, 0, 0), a = MUST(accept(l, NULL, NULL));
    R(close(a));
    usleep(200000);
    see(b);
    b = client(&at, 0, 0, 0), a = MUST(accept(l, NULL, NULL));
    R(shutdown(a, SHUT_WR));
    R(recv(b, &c, 1, 0));
    usleep(100000);
    /* While the program has it, it waits. */
    R(send(b, "x", 1, 0));
    R(recv(a, &c, 1, 0));
    R(close(a));
    usleep(200000);
    see(b);
}

CASE(finer_wait_for_the_end) {
    struct sockaddr_in at;
    char c;
    int l = listener(&at, IPPROTO_TCP, TCP_LINGER2, 1);
    int early = client(&at, 0, 0, 0), a = MUST(accept(l, NULL, NULL));
    int late = client(&at, 0, 0, 0), b = MUST(accept(l, NULL, NULL));
    R(close(a));
    R(close(b));
    R(recv(early, &c, 1, 0));
    R(recv(late, &c, 1, 0));
    usleep(300000);
    R(shutdown(early, SHUT_WR));
    usleep(100000);
    see(early);
    usleep(1700000);
    R(shutdown(late, SHUT_WR));
    usleep(100000);
    see(late);
}

/* Levels that a socket does not know, with a name that no level has. */
CASE(finer_levels) {
    static const int families[] = {AF_INET, AF_INET6, AF_UNIX}, types[] = {SOCK_STREAM, SOCK_DGRAM};
    static const int levels[] = {0, 6, 17, 41, 58, 132, 136, 255, 270, 1000, -1};
    for (int f = 0; f < 3; f++)
        for (int t = 0; t < 2; t++) {
            int fd = MUST(socket(families[f], types[t], 0));
            for (size_t n = 0; n < sizeof levels / sizeof *levels; n++) {
                say("family %d, type %d, level %d\n", families[f], types[t], levels[n]);
                show("unknown", fd, levels[n], 250);
                int value = 1;
                R(setsockopt(fd, levels[n], 250, &value, sizeof value));
            }
            MUST(close(fd));
        }
}

/* TCP_QUICKACK says whether the kernel expects answers that carry acknowledgements. (Whether one was in time depends on the
 * machine: libs/tcp tests it.) */
CASE(finer_quick_or_not) {
    struct sockaddr_in at;
    char c;
    int l = listener(&at, 0, 0, 0), zero = 0;
    int a = client(&at, 0, 0, 0), b = MUST(accept(l, NULL, NULL));
    R(send(a, "x", 1, 0));
    show("who began", a, IPPROTO_TCP, TCP_QUICKACK);
    R(recv(b, &c, 1, 0));
    show("who heard", b, IPPROTO_TCP, TCP_QUICKACK);
    R(shutdown(b, SHUT_WR));
    R(recv(a, &c, 1, 0));
    show("who is alone", a, IPPROTO_TCP, TCP_QUICKACK);
    show("who is done", b, IPPROTO_TCP, TCP_QUICKACK);
    R(close(b));
    a = client(&at, 0, 0, 0), b = MUST(accept(l, NULL, NULL));
    R(setsockopt(a, IPPROTO_TCP, TCP_QUICKACK, &zero, sizeof zero));
    struct linger now = {1, 0};
    R(setsockopt(b, SOL_SOCKET, SO_LINGER, &now, sizeof now));
    R(close(b));
    R(recv(a, &c, 1, 0));
    show("after a reset", a, IPPROTO_TCP, TCP_QUICKACK);
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    R(connect(a, &none, sizeof none));
    show("dissolved", a, IPPROTO_TCP, TCP_QUICKACK);
}
