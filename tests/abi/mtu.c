/* Path MTU: IP_MTU_DISCOVER and IP_MTU of ip(7), IPV6_MTU_DISCOVER and IPV6_MTU of ipv6(7). */
#include "abi.h"
#include "address.h"

#include <arpa/inet.h>
#include <linux/errqueue.h>
#include <netinet/in.h>

static const int on = 1;

static void show(int s, int level, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    R(getsockopt(s, level, name, &value, &size));
    say("%d of %d\n", value, (int)size);
}

static void modes(int s, int level, int name) {
    show(s, level, name);
    for (int mode = -1; mode <= 6; mode++) {
        R(setsockopt(s, level, name, &mode, sizeof mode));
        show(s, level, name);
    }
    const char byte = 2;
    R(setsockopt(s, level, name, &byte, 1));
    R(setsockopt(s, level, name, &byte, 0));
    show(s, level, name);
}

CASE(mtu_discover_values) {
    for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
        int s = MUST(socket(AF_INET, type, 0)), s6 = MUST(socket(AF_INET6, type, 0));
        modes(s, IPPROTO_IP, IP_MTU_DISCOVER);
        modes(s6, IPPROTO_IPV6, IPV6_MTU_DISCOVER);
        if (type == SOCK_DGRAM)
            modes(s6, IPPROTO_IP, IP_MTU_DISCOVER);
        show(s6, IPPROTO_IPV6, IPV6_MTU_DISCOVER);
    }
}

/* Only who has a peer has a path. */
static void datagrams(int family, const char *ip, int level, int name) {
    union address to = at(family, ip, 5951), none;
    int s = MUST(socket(family, SOCK_DGRAM, 0));
    show(s, level, name);
    R(bind(s, (void *)&to, size_of(family)));
    show(s, level, name);
    R(connect(s, (void *)&to, size_of(family)));
    show(s, level, name);
    memset(&none, 0, sizeof none);
    R(connect(s, (void *)&none, size_of(family)));
    show(s, level, name);
}

CASE(mtu_of_datagrams) {
    datagrams(AF_INET, "127.0.0.1", IPPROTO_IP, IP_MTU);
    datagrams(AF_INET6, "::1", IPPROTO_IPV6, IPV6_MTU);
    int s = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    R(setsockopt(s, IPPROTO_IP, IP_MTU, &on, sizeof on));
}

static void streams(int family, const char *ip, int level, int name) {
    union address to = at(family, ip, 5952);
    int listener = MUST(socket(family, SOCK_STREAM, 0)), s = MUST(socket(family, SOCK_STREAM, 0));
    R(bind(listener, (void *)&to, size_of(family)));
    show(s, level, name);
    R(listen(listener, 4));
    show(listener, level, name);
    R(connect(s, (void *)&to, size_of(family)));
    show(s, level, name);
    int accepted = MUST(accept(listener, NULL, NULL));
    show(accepted, level, name);
    R(shutdown(s, SHUT_WR));
    show(s, level, name);
    show(accepted, level, name);
}

CASE(mtu_of_streams) {
    streams(AF_INET, "127.0.0.1", IPPROTO_IP, IP_MTU);
    streams(AF_INET6, "::1", IPPROTO_IPV6, IPV6_MTU);
}

CASE(mtu_accepted_like_listener) {
    union address to = at(AF_INET, "127.0.0.1", 5953);
    const int mode = IP_PMTUDISC_DO;
    int listener = MUST(socket(AF_INET, SOCK_STREAM, 0)), s = MUST(socket(AF_INET, SOCK_STREAM, 0));
    R(bind(listener, (void *)&to, sizeof to.v4));
    R(setsockopt(listener, IPPROTO_IP, IP_MTU_DISCOVER, &mode, sizeof mode));
    R(listen(listener, 4));
    R(connect(s, (void *)&to, sizeof to.v4));
    int accepted = MUST(accept(listener, NULL, NULL));
    show(accepted, IPPROTO_IP, IP_MTU_DISCOVER);
    show(s, IPPROTO_IP, IP_MTU_DISCOVER);
}

/* IPV6_MTU makes a path narrow; its least value is that of IPv6 itself. */
CASE(mtu_of_ipv6_by_hand) {
    int s = MUST(socket(AF_INET6, SOCK_DGRAM, 0)), stream = MUST(socket(AF_INET6, SOCK_STREAM, 0));
    const int values[] = {0, 1, 1279, 1280, 70000, -1};
    for (int n = 0; n < 6; n++) {
        R(setsockopt(s, IPPROTO_IPV6, IPV6_MTU, &values[n], sizeof values[n]));
        R(setsockopt(stream, IPPROTO_IPV6, IPV6_MTU, &values[n], sizeof values[n]));
    }
    show(s, IPPROTO_IPV6, IPV6_MTU);
    R(setsockopt(s, IPPROTO_IPV6, IPV6_MTU, "x", 1));
}

static void why(int s) {
    char bytes[8], control[256];
    struct sockaddr_in6 to;
    struct iovec v = {bytes, sizeof bytes};
    struct msghdr m = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &v, .msg_iovlen = 1};
    m.msg_control = control;
    m.msg_controllen = sizeof control;
    if (R(recvmsg(s, &m, MSG_ERRQUEUE | MSG_DONTWAIT)) < 0)
        return;
    say("to port %d\n", ntohs(to.sin6_port));
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        struct sock_extended_err *e = (void *)CMSG_DATA(c);
        say("control %d %d: errno %d origin %d type %d code %d info %u\n", c->cmsg_level, c->cmsg_type, e->ee_errno,
            e->ee_origin, e->ee_type, e->ee_code, e->ee_info);
    }
}

/* Longer than the path: in pieces, unless the program forbids it. */
CASE(mtu_of_pieces) {
    static char bytes[65536];
    for (size_t n = 0; n < sizeof bytes; n++)
        bytes[n] = (char)(n % 251);
    static char got[65536];
    union address to = at(AF_INET6, "::1", 5954);
    int r = MUST(socket(AF_INET6, SOCK_DGRAM, 0)), s = MUST(socket(AF_INET6, SOCK_DGRAM, 0));
    R(bind(r, (void *)&to, sizeof to.v6));
    R(setsockopt(s, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof on));
    const size_t sizes[] = {1232, 1233, 3000, 65488, 65489, 65527, 65528};
    for (int narrow = 0; narrow < 2; narrow++) {
        const int mtu = narrow ? 1280 : 0;
        R(setsockopt(s, IPPROTO_IPV6, IPV6_MTU, &mtu, sizeof mtu));
        for (int mode = IPV6_PMTUDISC_DONT; mode <= IPV6_PMTUDISC_OMIT; mode++) {
            R(setsockopt(s, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &mode, sizeof mode));
            for (int n = 0; n < 7; n++) {
                if (R(sendto(s, bytes, sizes[n], 0, (void *)&to, sizeof to.v6)) < 0) {
                    why(s);
                    continue;
                }
                R(recv(r, got, sizeof got, 0));
                say("same %d\n", !memcmp(bytes, got, sizes[n]));
            }
        }
    }
}

/* The loopback interface takes all that a datagram of IPv4 can be. */
CASE(mtu_of_ipv4_pieces) {
    static char bytes[65508];
    union address to = at(AF_INET, "127.0.0.1", 5955);
    int r = MUST(socket(AF_INET, SOCK_DGRAM, 0)), s = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    R(bind(r, (void *)&to, sizeof to.v4));
    for (int mode = IP_PMTUDISC_DONT; mode <= IP_PMTUDISC_OMIT; mode++) {
        R(setsockopt(s, IPPROTO_IP, IP_MTU_DISCOVER, &mode, sizeof mode));
        R(sendto(s, bytes, 65507, 0, (void *)&to, sizeof to.v4));
        R(recv(r, bytes, sizeof bytes, 0));
        /* Linux sends this one as a packet that says to be 0 bytes long. */
        if (mode != IP_PMTUDISC_INTERFACE)
            R(sendto(s, bytes, 65508, 0, (void *)&to, sizeof to.v4));
    }
}
