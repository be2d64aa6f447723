/* tcp(7), udp(7) on the loopback interface. */
#include "abi.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static int port_of(int fd) {
    struct sockaddr_in a;
    socklen_t len = sizeof a;
    MUST(getsockname(fd, (struct sockaddr *)&a, &len));
    return ntohs(a.sin_port);
}

static int bind_port(int fd, int port) {
    struct sockaddr_in a = loopback(port);
    return bind(fd, (struct sockaddr *)&a, sizeof a);
}

static int connect_port(int fd, int port) {
    struct sockaddr_in a = loopback(port);
    return connect(fd, (struct sockaddr *)&a, sizeof a);
}

static int listening(int backlog) {
    int l = MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(bind_port(l, 0));
    MUST(listen(l, backlog));
    return l;
}

/* Waits until an event is true, for at most some seconds. */
static void await(int fd, short events) {
    struct pollfd p = {fd, events, 0};
    if (poll(&p, 1, 5000) != 1)
        say("nothing came\n");
}

static void connected_pair(int s[2]) {
    int l = listening(1);
    s[0] = MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(connect_port(s[0], port_of(l)));
    s[1] = MUST(accept(l, 0, 0));
    close(l);
}

CASE(inet_tcp_echo) {
    int l = listening(5), port = port_of(l);
    pid_t child = MUST(fork());
    if (child == 0) {
        int c = MUST(socket(AF_INET, SOCK_STREAM, 0));
        MUST(connect_port(c, port));
        static char data[300000], back[300000];
        for (size_t i = 0; i < sizeof data; i++)
            data[i] = i % 251;
        for (size_t sent = 0, got = 0; got < sizeof data;) {
            size_t chunk = sizeof data - sent < 20000 ? sizeof data - sent : 20000;
            if (chunk) {
                MUST(send(c, data + sent, chunk, 0));
                sent += chunk;
            }
            got += MUST(recv(c, back + got, sent - got, MSG_WAITALL));
        }
        _exit(memcmp(data, back, sizeof data) != 0);
    }
    int s = MUST(accept(l, 0, 0));
    static char buf[8192];
    ssize_t n;
    size_t total = 0;
    while ((n = read(s, buf, sizeof buf)) > 0) {
        total += n;
        MUST(write(s, buf, n));
    }
    say("echoed %zu, then %zd\n", total, n);
    reap("client", child);
}

/* An address that others know us by; without a card the loopback one. */
static struct sockaddr_in known_address(void) {
    struct sockaddr_in found = loopback(0);
    struct ifaddrs *all;
    MUST(getifaddrs(&all));
    for (struct ifaddrs *i = all; i; i = i->ifa_next)
        if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET && !(i->ifa_flags & IFF_LOOPBACK))
            found.sin_addr = ((struct sockaddr_in *)i->ifa_addr)->sin_addr;
    freeifaddrs(all);
    return found;
}

/* Between ourselves all our addresses go together. */
CASE(inet_own_addresses) {
    struct sockaddr_in known = known_address(), local = loopback(0), other = loopback(0);
    other.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 15);
    struct sockaddr_in *from[] = {&known, &local, &other};
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            socklen_t len = sizeof(struct sockaddr_in);
            struct sockaddr_in at = *from[j], peer;
            int l = MUST(socket(AF_INET, SOCK_STREAM, 0)), c = MUST(socket(AF_INET, SOCK_STREAM, 0));
            MUST(bind(l, (struct sockaddr *)&at, len));
            MUST(getsockname(l, (struct sockaddr *)&at, &len));
            MUST(bind(c, (struct sockaddr *)from[i], len));
            say("%d to %d\n", i, j);
            R(connect(c, (struct sockaddr *)&at, len));
            MUST(listen(l, 1));
            R(connect(c, (struct sockaddr *)&at, len));
            int a = (int)OK(accept(l, (struct sockaddr *)&peer, &len));
            say("known %d\n", peer.sin_addr.s_addr == from[i]->sin_addr.s_addr);
            close(a), close(c), close(l);
            int u = MUST(socket(AF_INET, SOCK_DGRAM, 0)), v = MUST(socket(AF_INET, SOCK_DGRAM, 0));
            at = *from[j];
            MUST(bind(u, (struct sockaddr *)&at, len));
            MUST(getsockname(u, (struct sockaddr *)&at, &len));
            MUST(bind(v, (struct sockaddr *)from[i], len));
            R(sendto(v, "x", 1, 0, (struct sockaddr *)&at, len));
            await(u, POLLIN);
            char byte;
            R(recvfrom(u, &byte, 1, MSG_DONTWAIT, (struct sockaddr *)&peer, &len));
            say("known %d\n", peer.sin_addr.s_addr == from[i]->sin_addr.s_addr);
            R(connect(v, (struct sockaddr *)&at, len));
            close(u), close(v);
        }
}

CASE(inet_tcp_errors) {
    int c = MUST(socket(AF_INET, SOCK_STREAM, 0));
    int l = listening(1), port = port_of(l);
    char b;
    R(recv(c, &b, 1, 0));
    R(send(c, &b, 1, MSG_NOSIGNAL));
    R(accept(c, 0, 0));
    R(shutdown(c, SHUT_RDWR));
    struct sockaddr_in a;
    socklen_t len = sizeof a;
    R(getpeername(c, (struct sockaddr *)&a, &len));
    R(bind_port(c, port));
    a = loopback(0);
    a.sin_addr.s_addr = inet_addr("203.0.113.7");
    R(bind(c, (struct sockaddr *)&a, sizeof a));
    R(bind(c, (struct sockaddr *)&a, 4));
    a.sin_family = AF_UNIX;
    R(bind(c, (struct sockaddr *)&a, sizeof a));
    R(connect_port(c, port));
    R(connect_port(c, port));
    R(listen(c, 1));
    R(bind_port(c, 0));
    close(l);
    int r = MUST(socket(AF_INET, SOCK_STREAM, 0));
    R(connect_port(r, port));
    R(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
    R(socket(AF_INET, SOCK_SEQPACKET, 0));
    R(socket(AF_INET, 99, 0));
}

CASE(inet_tcp_states) {
    int c = MUST(socket(AF_INET, SOCK_STREAM, 0));
    say_events("fresh", poll_now(c));
    int l = listening(4);
    say_events("listening", poll_now(l));
    MUST(connect_port(c, port_of(l)));
    await(l, POLLIN);
    say_events("waiting", poll_now(l));
    struct sockaddr_in a;
    socklen_t len = sizeof a;
    int s = MUST(accept4(l, (struct sockaddr *)&a, &len, SOCK_NONBLOCK | SOCK_CLOEXEC));
    say("peer is the client: %d, length %u, flags %d %d\n", ntohs(a.sin_port) == port_of(c), len,
        fcntl(s, F_GETFD), fcntl(s, F_GETFL) & O_NONBLOCK);
    say("same port as the listener: %d\n", port_of(s) == port_of(l));
    char buf[16] = {0};
    R(recv(s, buf, 8, 0));
    say_events("idle", poll_now(s));
    R(send(c, "hello", 5, 0));
    await(s, POLLIN);
    say_events("data", poll_now(s));
    int unread;
    R(ioctl(s, FIONREAD, &unread));
    say("unread %d\n", unread);
    R(recv(s, buf, 2, MSG_PEEK));
    R(recv(s, buf, 8, 0));
    R(shutdown(c, SHUT_WR));
    await(s, POLLRDHUP);
    say_events("half closed, there", poll_now(s));
    say_events("half closed, here", poll_now(c));
    R(recv(s, buf, 8, 0));
    R(send(c, "x", 1, MSG_NOSIGNAL));
    R(send(s, "answer", 6, 0));
    R(recv(c, buf, 8, 0));
    close(s);
    await(c, POLLHUP);
    say_events("closed", poll_now(c));
    R(recv(c, buf, 8, 0));
}

CASE(inet_tcp_reset) {
    int s[2];
    char buf[8];
    connected_pair(s);
    MUST(send(s[0], "lost", 4, 0));
    await(s[1], POLLIN);
    close(s[1]);
    await(s[0], POLLERR);
    say_events("reset", poll_now(s[0]));
    R(recv(s[0], buf, 8, 0));
    R(recv(s[0], buf, 8, 0));
    R(send(s[0], "x", 1, MSG_NOSIGNAL));
    connected_pair(s);
    struct linger now = {1, 0};
    R(setsockopt(s[1], SOL_SOCKET, SO_LINGER, &now, sizeof now));
    close(s[1]);
    await(s[0], POLLERR);
    int error = 0;
    socklen_t len = sizeof error;
    R(getsockopt(s[0], SOL_SOCKET, SO_ERROR, &error, &len));
    say("error %s\n", strerrorname_np(error));
}

CASE(inet_tcp_nonblocking) {
    int l = listening(4), port = port_of(l);
    int c = MUST(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    int error = -1;
    socklen_t len = sizeof error;
    R(connect_port(c, port));
    await(c, POLLOUT);
    R(getsockopt(c, SOL_SOCKET, SO_ERROR, &error, &len));
    say("error %d\n", error);
    R(connect_port(c, port));
    close(l);
    c = MUST(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    int r = connect_port(c, port);
    say("refused at once or later: %d\n",
        r == -1 && (errno == EINPROGRESS || errno == ECONNREFUSED));
    await(c, POLLOUT);
    say_events("refused", poll_now(c));
    int s[2];
    connected_pair(s);
    MUST(fcntl(s[0], F_SETFL, O_NONBLOCK));
    static char data[1 << 16];
    long total = 0;
    ssize_t n;
    for (int tries = 0; tries < 50; tries++)
        while ((n = send(s[0], data, sizeof data, 0)) > 0)
            total += n;
    say("full: %s, took something: %d\n", strerrorname_np(errno), total > 0);
    say_events("full", poll_now(s[0]) & POLLOUT);
    long got = 0;
    while (got < total)
        got += MUST(recv(s[1], data, sizeof data, 0));
    say("all arrived: %d\n", got == total);
    await(s[0], POLLOUT);
    say_events("writable", poll_now(s[0]));
}

CASE(inet_tcp_options) {
    int s[2], value;
    socklen_t len;
    connected_pair(s);
    static const struct {
        int level, name;
        const char *text;
    } options[] = {{SOL_SOCKET, SO_TYPE, "TYPE"},
                   {SOL_SOCKET, SO_DOMAIN, "DOMAIN"},
                   {SOL_SOCKET, SO_PROTOCOL, "PROTOCOL"},
                   {SOL_SOCKET, SO_ACCEPTCONN, "ACCEPTCONN"},
                   {SOL_SOCKET, SO_KEEPALIVE, "KEEPALIVE"},
                   {SOL_SOCKET, SO_REUSEADDR, "REUSEADDR"},
                   {IPPROTO_TCP, TCP_NODELAY, "NODELAY"}};
    for (int i = 0; i < 7; i++) {
        len = sizeof value;
        int r = getsockopt(s[0], options[i].level, options[i].name, &value, &len);
        say("%s: %d %d %u\n", options[i].text, r, value, len);
    }
    value = 1;
    R(setsockopt(s[0], IPPROTO_TCP, TCP_NODELAY, &value, sizeof value));
    R(setsockopt(s[0], SOL_SOCKET, SO_KEEPALIVE, &value, sizeof value));
    R(getsockopt(s[0], IPPROTO_TCP, TCP_NODELAY, &value, &len));
    say("NODELAY %d\n", value);
    R(setsockopt(s[0], IPPROTO_TCP, 9999, &value, sizeof value));
    struct timeval t = {0, 20000};
    R(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t));
    char c;
    R(recv(s[0], &c, 1, 0));
}

CASE(inet_tcp_vectors) {
    int s[2];
    connected_pair(s);
    struct iovec out[3] = {{"one ", 4}, {"two ", 4}, {"three", 5}};
    struct msghdr m = {.msg_iov = out, .msg_iovlen = 3};
    R(sendmsg(s[0], &m, 0));
    R(writev(s[0], out, 2));
    char a[5] = {0}, b[20] = {0};
    struct iovec in[2] = {{a, 4}, {b, 17}};
    m.msg_iov = in;
    m.msg_iovlen = 2;
    R(recvmsg(s[1], &m, MSG_WAITALL));
    say("%s|%s|%#x\n", a, b, m.msg_flags);
    MUST(write(s[1], "xyz", 3));
    await(s[0], POLLIN);
    R(readv(s[0], in, 2));
}

CASE(inet_tcp_many_clients) {
    enum { CLIENTS = 30 };
    int l = listening(CLIENTS), set = MUST(epoll_create1(0)), port = port_of(l);
    pid_t child = MUST(fork());
    if (child == 0) {
        int c[CLIENTS], wrong = 0;
        for (int i = 0; i < CLIENTS; i++) {
            c[i] = MUST(socket(AF_INET, SOCK_STREAM, 0));
            MUST(connect_port(c[i], port));
        }
        for (int i = CLIENTS - 1; i >= 0; i--)
            MUST(send(c[i], &i, sizeof i, 0));
        for (int i = 0; i < CLIENTS; i++) {
            int answer;
            wrong += recv(c[i], &answer, sizeof answer, MSG_WAITALL) != sizeof answer ||
                     answer != i * 2;
        }
        _exit(wrong);
    }
    struct epoll_event e = {EPOLLIN, {.fd = l}}, got[8];
    MUST(epoll_ctl(set, EPOLL_CTL_ADD, l, &e));
    int served = 0, closed = 0;
    while (closed < CLIENTS) {
        int n = MUST(epoll_wait(set, got, 8, 10000));
        if (n == 0)
            break;
        for (int i = 0; i < n; i++) {
            int fd = got[i].data.fd, value;
            if (fd == l) {
                e.data.fd = MUST(accept4(l, 0, 0, SOCK_NONBLOCK));
                MUST(epoll_ctl(set, EPOLL_CTL_ADD, e.data.fd, &e));
            } else if (recv(fd, &value, sizeof value, 0) == sizeof value) {
                value *= 2;
                MUST(send(fd, &value, sizeof value, 0));
                served++;
            } else {
                close(fd);
                closed++;
            }
        }
    }
    say("served %d, closed %d\n", served, closed);
    reap("clients", child);
}

CASE(inet_udp) {
    int a = MUST(socket(AF_INET, SOCK_DGRAM, 0)), b = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    char buf[16] = {0};
    say_events("fresh", poll_now(a));
    R(send(a, "x", 1, 0));
    R(bind_port(a, 0));
    R(bind_port(b, 0));
    struct sockaddr_in to = loopback(port_of(b)), from;
    socklen_t len = sizeof from;
    R(sendto(a, "hello", 5, 0, (struct sockaddr *)&to, sizeof to));
    R(sendto(a, "", 0, 0, (struct sockaddr *)&to, sizeof to));
    R(sendto(a, "third", 5, 0, (struct sockaddr *)&to, sizeof to));
    await(b, POLLIN);
    R(recvfrom(b, buf, 2, 0, (struct sockaddr *)&from, &len));
    say("from the right port: %d, length %u\n", ntohs(from.sin_port) == port_of(a), len);
    R(recv(b, buf, 8, 0));
    R(recv(b, buf, 2, MSG_TRUNC));
    R(recv(b, buf, 8, MSG_DONTWAIT));
    R(connect_port(a, port_of(b)));
    R(send(a, "connected", 9, 0));
    R(recv(b, buf, 16, 0));
    R(connect_port(b, port_of(a)));
    R(write(b, "back", 4));
    R(read(a, buf, 16));
    R(listen(a, 1));
    R(accept(a, 0, 0));
    int port = port_of(b);
    close(b);
    R(send(a, "x", 1, 0));
    await(a, POLLERR);
    R(recv(a, buf, 8, MSG_DONTWAIT));
    R(bind_port(a, port));
    static char huge[70000];
    R(send(a, huge, sizeof huge, 0));
}
