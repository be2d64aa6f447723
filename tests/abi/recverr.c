/* Error queues: IP_RECVERR and MSG_ERRQUEUE of ip(7), IPV6_RECVERR of ipv6(7). */
#include "abi.h"
#include "address.h"

#include <arpa/inet.h>
#include <linux/errqueue.h>
#include <netinet/in.h>

static const int on = 1, off = 0;

static void show(const char *what, const void *address, size_t size) {
    char text[64] = "";
    const struct sockaddr_in *v4 = address;
    const struct sockaddr_in6 *v6 = address;
    if (size >= sizeof *v4 && v4->sin_family == AF_INET)
        say("%s v4 %s %d\n", what, inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text), ntohs(v4->sin_port));
    else if (size >= sizeof *v6 && v6->sin6_family == AF_INET6)
        say("%s v6 %s %d flow %u scope %u\n", what, inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text),
            ntohs(v6->sin6_port), v6->sin6_flowinfo, v6->sin6_scope_id);
    else
        say("%s none\n", what);
}

static void take(int s, size_t data, size_t room, int flags) {
    char bytes[64], control[512];
    union address from;
    struct iovec v = {bytes, data};
    struct msghdr m = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &v, .msg_iovlen = 1};
    m.msg_control = control;
    m.msg_controllen = room;
    memset(&from, 0, sizeof from);
    long got = R(recvmsg(s, &m, MSG_ERRQUEUE | flags));
    if (got < 0)
        return;
    say("'%.*s' flags %x name %d\n", (int)got, bytes, m.msg_flags, (int)m.msg_namelen);
    show("to", &from, m.msg_namelen);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        say("control %d %d of %d\n", c->cmsg_level, c->cmsg_type, (int)c->cmsg_len);
        int is_error = (c->cmsg_level == SOL_IP && c->cmsg_type == IP_RECVERR) ||
                       (c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_RECVERR);
        if (!is_error || c->cmsg_len < CMSG_LEN(sizeof(struct sock_extended_err)))
            continue;
        struct sock_extended_err *e = (void *)CMSG_DATA(c);
        say("errno %d origin %d type %d code %d pad %d info %u data %u\n", e->ee_errno, e->ee_origin, e->ee_type,
            e->ee_code, e->ee_pad, e->ee_info, e->ee_data);
        show("by", SO_EE_OFFENDER(e), c->cmsg_len - CMSG_LEN(sizeof *e));
    }
}

static void events(int s) {
    struct pollfd p = {.fd = s, .events = POLLIN | POLLOUT};
    MUST(poll(&p, 1, 0));
    say("events %x\n", p.revents);
}

static int error_of(int s) {
    int value = -1;
    socklen_t size = sizeof value;
    R(getsockopt(s, SOL_SOCKET, SO_ERROR, &value, &size));
    return value;
}

static long set(int s, int family, const int *value) {
    return family == AF_INET ? setsockopt(s, IPPROTO_IP, IP_RECVERR, value, sizeof *value)
                             : setsockopt(s, IPPROTO_IPV6, IPV6_RECVERR, value, sizeof *value);
}

static void unconnected(int family, const char *ip) {
    char byte;
    union address to = at(family, ip, 5931);
    int s = MUST(socket(family, SOCK_DGRAM | SOCK_NONBLOCK, 0));
    R(sendto(s, "before", 6, 0, (void *)&to, size_of(family)));
    events(s);
    R(set(s, family, &on));
    int value = -1;
    socklen_t size = sizeof value;
    R(family == AF_INET ? getsockopt(s, IPPROTO_IP, IP_RECVERR, &value, &size)
                        : getsockopt(s, IPPROTO_IPV6, IPV6_RECVERR, &value, &size));
    say("value %d\n", value);
    take(s, 64, 512, 0);
    R(sendto(s, "hello", 5, 0, (void *)&to, size_of(family)));
    events(s);
    R(recv(s, &byte, 1, 0));
    events(s);
    R(recv(s, &byte, 1, 0));
    take(s, 64, 512, 0);
    events(s);
    take(s, 64, 512, 0);
    /* Taking the entry takes the error. */
    R(sendto(s, "again", 5, 0, (void *)&to, size_of(family)));
    take(s, 3, 512, 0);
    say("error %d\n", error_of(s));
    /* A peek takes, too. */
    R(sendto(s, "third", 5, 0, (void *)&to, size_of(family)));
    take(s, 64, 512, MSG_PEEK);
    events(s);
    /* Of two the next one's error is told. */
    R(sendto(s, "one", 3, 0, (void *)&to, size_of(family)));
    say("error %d\n", error_of(s));
    R(sendto(s, "two", 3, 0, (void *)&to, size_of(family)));
    say("error %d\n", error_of(s));
    take(s, 64, 0, 0);
    say("error %d\n", error_of(s));
    events(s);
    take(s, 64, 30, 0);
    R(sendto(s, "gone", 4, 0, (void *)&to, size_of(family)));
    R(set(s, family, &off));
    take(s, 64, 512, 0);
    events(s);
    say("error %d\n", error_of(s));
}

CASE(recverr_unconnected) {
    unconnected(AF_INET, "127.0.0.1");
    unconnected(AF_INET6, "::1");
}

CASE(recverr_connected) {
    for (int mapped = 0; mapped < 2; mapped++) {
        union address to = at(AF_INET6, mapped ? "::ffff:127.0.0.1" : "::1", 5932);
        int s = MUST(socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0));
        R(connect(s, (void *)&to, sizeof to.v6));
        R(setsockopt(s, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof on));
        R(send(s, "one", 3, 0));
        take(s, 64, 512, 0);
        R(send(s, "two", 3, 0));
        R(setsockopt(s, IPPROTO_IP, IP_RECVERR, &on, sizeof on));
        R(send(s, "three", 5, 0));
        say("error %d\n", error_of(s));
        take(s, 64, 512, 0);
        take(s, 64, 512, 0);
    }
}

/* What else the receiver wants is told of the packet that brought the error. */
CASE(recverr_with_others) {
    union address to = at(AF_INET, "127.0.0.1", 5933), to6 = at(AF_INET6, "::1", 5933);
    int s = MUST(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0)), s6 = MUST(socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0));
    R(set(s, AF_INET, &on));
    R(setsockopt(s, IPPROTO_IP, IP_RECVTTL, &on, sizeof on));
    R(setsockopt(s, IPPROTO_IP, IP_PKTINFO, &on, sizeof on));
    R(sendto(s, "x", 1, 0, (void *)&to, sizeof to.v4));
    take(s, 64, 512, 0);
    R(set(s6, AF_INET6, &on));
    R(setsockopt(s6, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &on, sizeof on));
    R(setsockopt(s6, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on));
    R(sendto(s6, "x", 1, 0, (void *)&to6, sizeof to6.v6));
    take(s6, 64, 512, 0);
}

/* No datagram socket gets errors of a connection that is refused by a reset. */
CASE(recverr_stream) {
    union address to = at(AF_INET, "127.0.0.1", 5934);
    int s = MUST(socket(AF_INET, SOCK_STREAM, 0));
    R(set(s, AF_INET, &on));
    R(connect(s, (void *)&to, sizeof to.v4));
    take(s, 64, 512, 0);
    R(set(s, AF_INET, &off));
    R(setsockopt(s, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof on));
}
