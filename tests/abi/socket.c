/* What sockets do at the edges: socket(7), recv(2), shutdown(2), udp(7), tcp(7), unix(7). */
#include "abi.h"
#include "address.h"

#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/un.h>

static int of(int kind, union address *here) {
    socklen_t size = sizeof here->v4;
    int fd = MUST(socket(AF_INET, kind, 0));
    *here = at(AF_INET, "127.0.0.1", 0);
    MUST(bind(fd, (void *)here, size));
    if (kind == SOCK_STREAM)
        MUST(listen(fd, 5));
    MUST(getsockname(fd, (void *)here, &size));
    return fd;
}

/* Two connected sockets of IPv4. */
static void connected(int kind, int s[2]) {
    union address here;
    int fd = of(kind, &here);
    s[0] = MUST(socket(AF_INET, kind, 0));
    MUST(connect(s[0], (void *)&here, size_of(AF_INET)));
    if (kind == SOCK_STREAM) {
        s[1] = MUST(accept(fd, NULL, NULL));
        close(fd);
    } else {
        s[1] = fd;
    }
}

/* Waits until there is something, of a listener's or a reader's. */
static void await(int fd) {
    struct pollfd p = {fd, POLLIN, 0};
    if (poll(&p, 1, 5000) != 1)
        say("nothing came\n");
}

static int on = 1, off = 0;

/* Writes the time stamps that come with a message: whether they say now, and how finely. */
static void stamped(int fd, int flags) {
    char bytes[16];
    _Alignas(8) char control[128];
    struct iovec piece = {bytes, sizeof bytes};
    struct msghdr m = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    await(fd);
    R(recvmsg(fd, &m, flags));
    say("flags %x, %zu bytes\n", m.msg_flags, (size_t)m.msg_controllen);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        long at[2] = {0, 0};
        memcpy(at, CMSG_DATA(c), sizeof at);
        say("%d %d, %zu bytes, now: %d\n", c->cmsg_level, c->cmsg_type, (size_t)c->cmsg_len,
            c->cmsg_level == SOL_SOCKET && labs(at[0] - (long)time(NULL)) <= 2);
    }
}

static void stamps_are(int fd) {
    for (int name = SO_TIMESTAMP; name <= SO_TIMESTAMPNS; name += SO_TIMESTAMPNS - SO_TIMESTAMP) {
        int value = -1;
        socklen_t size = sizeof value;
        R(getsockopt(fd, SOL_SOCKET, name, &value, &size));
        say("%d: %d\n", name, value);
    }
}

CASE(socket_time_stamps) {
    static const int kinds[] = {SOCK_DGRAM, SOCK_STREAM};
    for (int n = 0; n < 2; n++) {
        int s[2];
        connected(kinds[n], s);
        MUST(setsockopt(s[1], IPPROTO_IP, IP_RECVTTL, &on, sizeof on));
        R(setsockopt(s[1], SOL_SOCKET, SO_TIMESTAMP, &on, sizeof on));
        stamps_are(s[1]);
        /* Linux begins to note the time of packets a moment later. */
        sleep_ms(100);
        MUST(send(s[0], "abc", 3, 0));
        stamped(s[1], MSG_PEEK);
        stamped(s[1], 0);
        R(setsockopt(s[1], SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on));
        stamps_are(s[1]);
        MUST(send(s[0], "abc", 3, 0));
        stamped(s[1], 0);
        R(setsockopt(s[1], SOL_SOCKET, SO_TIMESTAMP, &off, sizeof off));
        stamps_are(s[1]);
        MUST(send(s[0], "abc", 3, 0));
        stamped(s[1], 0);
    }
}

/* A datagram in pieces. */
CASE(socket_more_of_a_datagram) {
    union address here, other;
    int a = MUST(socket(AF_INET, SOCK_DGRAM, 0)), b = of(SOCK_DGRAM, &here), c = of(SOCK_DGRAM, &other);
    char bytes[64];
    R(send(a, "x", 1, MSG_MORE));
    R(sendto(a, "one ", 4, MSG_MORE, (void *)&here, size_of(AF_INET)));
    R(sendto(a, "two ", 4, MSG_MORE, (void *)&other, size_of(AF_INET)));
    R(recv(b, bytes, sizeof bytes, MSG_DONTWAIT));
    R(sendto(a, "three", 5, 0, (void *)&other, size_of(AF_INET)));
    await(b);
    R(recv(b, bytes, sizeof bytes, MSG_DONTWAIT));
    R(recv(c, bytes, sizeof bytes, MSG_DONTWAIT));
    MUST(connect(a, (void *)&here, size_of(AF_INET)));
    R(send(a, "", 0, MSG_MORE));
    R(send(a, "more", 4, MSG_MORE));
    R(write(a, ".", 1));
    await(b);
    R(recv(b, bytes, sizeof bytes, MSG_DONTWAIT));
    /* What is too long is dropped with what was there. */
    static char much[65507];
    R(send(a, "begun", 5, MSG_MORE));
    R(send(a, much, sizeof much, 0));
    R(send(a, "whole", 5, 0));
    await(b);
    R(recv(b, bytes, sizeof bytes, MSG_DONTWAIT));
    R(recv(b, bytes, sizeof bytes, MSG_DONTWAIT));
}

CASE(socket_without_routers) {
    union address far = at(AF_INET, "198.51.100.7", 9), here;
    int u = MUST(socket(AF_INET, SOCK_DGRAM, 0)), t = MUST(socket(AF_INET, SOCK_STREAM, 0));
    int b = of(SOCK_DGRAM, &here);
    R(sendto(u, "x", 1, MSG_DONTROUTE, (void *)&far, size_of(AF_INET)));
    R(sendto(u, "x", 1, MSG_DONTROUTE, (void *)&here, size_of(AF_INET)));
    await(b);
    R(setsockopt(u, SOL_SOCKET, SO_DONTROUTE, &on, sizeof on));
    R(setsockopt(t, SOL_SOCKET, SO_DONTROUTE, &on, sizeof on));
    R(sendto(u, "x", 1, 0, (void *)&far, size_of(AF_INET)));
    R(connect(u, (void *)&far, size_of(AF_INET)));
    R(connect(t, (void *)&far, size_of(AF_INET)));
    R(connect(u, (void *)&here, size_of(AF_INET)));
}

CASE(socket_peek_at_all) {
    int s[2];
    char bytes[8] = {0};
    connected(SOCK_STREAM, s);
    pid_t child = MUST(fork());
    if (child == 0) {
        send(s[0], "abc", 3, 0);
        sleep_ms(50);
        send(s[0], "def", 3, 0);
        _exit(0);
    }
    R(recv(s[1], bytes, 6, MSG_PEEK | MSG_WAITALL));
    R(recv(s[1], bytes, 6, MSG_WAITALL));
    reap("sender", child);
    /* In time, without waiting, and at the end. */
    struct timeval soon = {0, 50000};
    MUST(setsockopt(s[1], SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon));
    R(recv(s[1], bytes, 6, MSG_PEEK | MSG_WAITALL));
    MUST(send(s[0], "abc", 3, 0));
    await(s[1]);
    R(recv(s[1], bytes, 6, MSG_PEEK | MSG_WAITALL | MSG_DONTWAIT));
    R(recv(s[1], bytes, 6, MSG_PEEK | MSG_WAITALL));
    R(recv(s[1], bytes, 2, MSG_PEEK | MSG_WAITALL));
    MUST(shutdown(s[0], SHUT_WR));
    R(recv(s[1], bytes, 6, MSG_PEEK | MSG_WAITALL));
    R(recv(s[1], bytes, 6, MSG_WAITALL));
    R(recv(s[1], bytes, 6, MSG_PEEK | MSG_WAITALL));
}

CASE(socket_port_zero) {
    union address here, zero = at(AF_INET, "127.0.0.1", 0), zero6 = at(AF_INET6, "::1", 0);
    int t = MUST(socket(AF_INET, SOCK_STREAM, 0)), t6 = MUST(socket(AF_INET6, SOCK_STREAM, 0));
    int u = MUST(socket(AF_INET, SOCK_DGRAM, 0)), l = of(SOCK_STREAM, &here);
    R(connect(t, (void *)&zero, size_of(AF_INET)));
    R(connect(t6, (void *)&zero6, size_of(AF_INET6)));
    R(sendto(u, "x", 1, 0, (void *)&zero, size_of(AF_INET)));
    R(connect(u, (void *)&zero, size_of(AF_INET)));
    R(send(u, "x", 1, 0));
    /* And a listener that would connect. */
    R(connect(l, (void *)&here, size_of(AF_INET)));
}

CASE(socket_shut_datagrams) {
    int s[2], u = MUST(socket(AF_INET, SOCK_DGRAM, 0)), unix_pair[2];
    char c;
    connected(SOCK_DGRAM, s);
    R(shutdown(s[1], SHUT_RD));
    say_events("no peer", poll_now(s[1]));
    R(recv(s[1], &c, 1, 0));
    R(recv(s[1], &c, 1, MSG_DONTWAIT));
    R(send(s[0], "x", 1, 0));
    sleep_ms(20);
    R(recv(s[1], &c, 1, MSG_DONTWAIT));
    R(shutdown(u, SHUT_RDWR));
    say_events("neither", poll_now(u));
    R(sendto(u, "x", 1, MSG_NOSIGNAL, NULL, 0));
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, unix_pair));
    R(send(unix_pair[0], "a", 1, 0));
    R(shutdown(unix_pair[1], SHUT_RD));
    R(send(unix_pair[0], "x", 1, MSG_NOSIGNAL));
    R(recv(unix_pair[1], &c, 1, MSG_DONTWAIT));
    R(recv(unix_pair[1], &c, 1, MSG_DONTWAIT));
    R(recv(unix_pair[1], &c, 1, 0));
}

CASE(socket_shut_listeners) {
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "here"};
    int l = MUST(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0)), c[2];
    for (int n = 0; n < 2; n++)
        c[n] = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    MUST(bind(l, (void *)&name, sizeof name));
    MUST(listen(l, 5));
    R(shutdown(l, SHUT_WR));
    say_events("listener", poll_now(l));
    R(connect(c[0], (void *)&name, sizeof name));
    R(shutdown(l, SHUT_RD));
    say_events("listener", poll_now(l));
    R(connect(c[1], (void *)&name, sizeof name));
    say_events("client", poll_now(c[0]));
    OK(accept(l, NULL, NULL));
    say_events("listener", poll_now(l));
}

/* A queue that is full lets a request wait. */
CASE(socket_shut_while_connecting) {
    union address here;
    socklen_t size = size_of(AF_INET);
    int l = of(SOCK_STREAM, &here), error = 0;
    MUST(listen(l, 0));
    MUST(connect(MUST(socket(AF_INET, SOCK_STREAM, 0)), (void *)&here, size));
    await(l);
    int c = MUST(socket(AF_INET, SOCK_STREAM, 0));
    struct timeval soon = {0, 50000};
    MUST(setsockopt(c, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon));
    R(connect(c, (void *)&here, size));
    R(connect(c, (void *)&here, size));
    R(shutdown(c, SHUT_WR));
    say_events("shut", poll_now(c));
    R(getsockopt(c, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error}));
    say("%d\n", error);
    say_events("told", poll_now(c));
}

/* A failure is told once by whoever asks, and by connect. */
CASE(socket_failed_to_connect) {
    union address here, next;
    socklen_t size = size_of(AF_INET);
    int l = of(SOCK_STREAM, &here), error, l2 = of(SOCK_STREAM, &next);
    char c;
    MUST(close(l));
    for (int n = 0; n < 3; n++) {
        int a = MUST(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
        R(connect(a, (void *)&here, size));
        await(a);
        say_events("refused", poll_now(a));
        if (n == 0)
            R(getsockopt(a, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error}));
        if (n == 1)
            R(recv(a, &c, 1, 0));
        say_events("told", poll_now(a));
        R(recv(a, &c, 1, 0));
        R(send(a, "x", 1, MSG_NOSIGNAL));
        R(connect(a, (void *)&next, size));
        say_events("again", poll_now(a));
        R(fcntl(a, F_SETFL, 0));
        R(connect(a, (void *)&next, size));
        OK(accept(l2, NULL, NULL));
        /* Given up. */
        R(connect(a, &(struct sockaddr){.sa_family = AF_UNSPEC}, sizeof(struct sockaddr)));
        say_events("dissolved", poll_now(a));
        R(recv(a, &c, 1, 0));
        R(recv(a, &c, 1, 0));
        R(connect(a, (void *)&next, size));
    }
}

/* Closing waits until the peer has everything, or for so long; and does not for one of two descriptors. */
CASE(socket_lingers) {
    static char much[1 << 16];
    struct linger second = {1, 1};
    for (int n = 0; n < 3; n++) {
        int s[2];
        long sent = 3, got = 0, count;
        connected(SOCK_STREAM, s);
        MUST(setsockopt(s[0], SOL_SOCKET, SO_LINGER, &second, sizeof second));
        if (n > 0) {
            for (sent = 0; (count = send(s[0], much, sizeof much, MSG_DONTWAIT)) > 0;)
                sent += count;
        } else {
            MUST(send(s[0], "abc", 3, 0));
        }
        int other = n == 2 ? MUST(dup(s[0])) : -1;
        long begin = now_ms();
        R(close(s[0]));
        long took = now_ms() - begin;
        say("a second: %d, less: %d\n", took >= 990 && took < 5000, took < 500);
        if (other >= 0)
            MUST(shutdown(other, SHUT_WR));
        while ((count = recv(s[1], much, sizeof much, 0)) > 0)
            got += count;
        say("then %ld, all: %d\n", count, got == sent);
    }
}

CASE(socket_without_family) {
    union address here;
    int u = MUST(socket(AF_INET, SOCK_DGRAM, 0)), b = of(SOCK_DGRAM, &here);
    char bytes[4];
    here.v4.sin_family = AF_UNSPEC;
    R(sendto(u, "abc", 3, 0, (void *)&here, size_of(AF_INET)));
    await(b);
    R(recv(b, bytes, 4, MSG_DONTWAIT));
    union address any = at(AF_INET, "0.0.0.0", 0);
    any.v4.sin_family = AF_UNSPEC;
    R(bind(MUST(socket(AF_INET, SOCK_DGRAM, 0)), (void *)&any, size_of(AF_INET)));
    R(bind(MUST(socket(AF_INET, SOCK_STREAM, 0)), (void *)&here, size_of(AF_INET)));
    /* A length without a name. */
    struct iovec piece = {"abc", 3};
    struct msghdr m = {.msg_iov = &piece, .msg_iovlen = 1, .msg_namelen = (socklen_t)-1};
    MUST(connect(u, (void *)&(struct sockaddr_in){.sin_family = AF_INET, .sin_port = here.v4.sin_port,
                                                  .sin_addr = here.v4.sin_addr}, size_of(AF_INET)));
    R(sendmsg(u, &m, 0));
    await(b);
    R(read(b, bytes, 0));
    R(recv(b, bytes, 4, MSG_OOB | MSG_DONTWAIT));
    R(recv(b, bytes, 4, MSG_OOB | MSG_DONTWAIT));
}

CASE(socket_congestion_control) {
    char name[32];
    socklen_t size = sizeof name;
    int t = MUST(socket(AF_INET, SOCK_STREAM, 0));
    memset(name, 'x', sizeof name);
    R(setsockopt(t, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5));
    R(getsockopt(t, IPPROTO_TCP, TCP_CONGESTION, name, &size));
    say("%u %s\n", size, name);
    memset(name, 'x', sizeof name);
    size = 3;
    R(getsockopt(t, IPPROTO_TCP, TCP_CONGESTION, name, &size));
    say("%u %.4s\n", size, name);
    R(setsockopt(t, IPPROTO_TCP, TCP_CONGESTION, "cubic", 6));
    R(setsockopt(t, IPPROTO_TCP, TCP_CONGESTION, "cubi", 4));
    R(setsockopt(t, IPPROTO_TCP, TCP_CONGESTION, "nonsense", 8));
    R(setsockopt(t, IPPROTO_TCP, TCP_CONGESTION, "", 0));
    R(setsockopt(t, IPPROTO_TCP, TCP_CONGESTION, NULL, 5));
}

CASE(socket_facts_of_interfaces) {
    struct {
        char name[16];
        union {
            int number;
            char map[24];
        };
    } request = {.name = "lo"};
    int t = MUST(socket(AF_INET, SOCK_STREAM, 0)), u = MUST(socket(AF_INET6, SOCK_DGRAM, 0));
    int x = MUST(socket(AF_UNIX, SOCK_STREAM, 0)), value = -1;
    R(ioctl(u, 0x891d /* SIOCGIFMETRIC */, &request));
    say("%d\n", request.number);
    R(ioctl(x, 0x8942 /* SIOCGIFTXQLEN */, &request));
    say("%d\n", request.number);
    memset(request.map, 7, sizeof request.map);
    R(ioctl(t, 0x8970 /* SIOCGIFMAP */, &request));
    for (size_t n = 0; n < sizeof request.map; n++)
        say(" %d", request.map[n]);
    say("\n");
    strcpy(request.name, "none");
    R(ioctl(t, 0x8942, &request));
    R(ioctl(t, 0x8905 /* SIOCATMARK */, &value));
    say("%d\n", value);
    R(ioctl(u, 0x8905, &value));
}

/* Who has no room for a number. */
CASE(socket_short_options) {
    int t = MUST(socket(AF_INET, SOCK_STREAM, 0));
    for (socklen_t room = 0; room <= 4; room++) {
        socklen_t size = room;
        unsigned char bytes[4] = {7, 7, 7, 7};
        R(getsockopt(t, IPPROTO_IP, IP_TTL, bytes, &size));
        say("%u: %u %u %u %u\n", size, bytes[0], bytes[1], bytes[2], bytes[3]);
    }
    R(setsockopt(t, SOL_SOCKET, SO_TYPE, &on, 3));
    R(setsockopt(t, SOL_SOCKET, SO_TYPE, &on, 4));
    R(setsockopt(t, SOL_SOCKET, SO_TIMESTAMP, &on, 3));
}
