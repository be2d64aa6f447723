/* Options of IP that few programs set: ip(7), ipv6(7). */
#include "abi.h"

#include <netinet/in.h>
#include <poll.h>

#ifndef IPV6_MINHOPCOUNT
#define IPV6_MINHOPCOUNT 73
#endif
#ifndef IPV6_ORIGDSTADDR
#define IPV6_ORIGDSTADDR 74
#endif
#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78
#endif

static void look(int fd, int level, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    R(getsockopt(fd, level, name, &value, &size));
    say("%d: %d, %u bytes\n", name, value, size);
}

CASE(ipminor_values) {
    static const struct {
        int level, name;
    } all[] = {
        {IPPROTO_IP, IP_HDRINCL},         {IPPROTO_IP, IP_NODEFRAG},           {IPPROTO_IP, IP_ROUTER_ALERT},
        {IPPROTO_IP, IP_MINTTL},          {IPPROTO_IP, IP_FREEBIND},           {IPPROTO_IP, IP_TRANSPARENT},
        {IPPROTO_IP, IP_RECVORIGDSTADDR}, {IPPROTO_IPV6, IPV6_MINHOPCOUNT},    {IPPROTO_IPV6, IPV6_FREEBIND},
        {IPPROTO_IPV6, IPV6_TRANSPARENT}, {IPPROTO_IPV6, IPV6_RECVORIGDSTADDR},
    };
    static const int values[] = {0, 1, 2, 255, 256, -1};
    static const int kinds[] = {SOCK_STREAM, SOCK_DGRAM};
    for (int family = AF_INET; family <= AF_INET6; family += AF_INET6 - AF_INET)
        for (int k = 0; k < 2; k++) {
            int fd = MUST(socket(family, kinds[k], 0));
            for (size_t n = 0; n < sizeof all / sizeof *all; n++) {
                say("family %d kind %d level %d\n", family, kinds[k], all[n].level);
                look(fd, all[n].level, all[n].name);
                for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
                    say("%d\n", values[v]);
                    R(setsockopt(fd, all[n].level, all[n].name, &values[v], sizeof(int)));
                    look(fd, all[n].level, all[n].name);
                }
                R(setsockopt(fd, all[n].level, all[n].name, "\001", 1));
                R(setsockopt(fd, all[n].level, all[n].name, "", 0));
                look(fd, all[n].level, all[n].name);
            }
            MUST(close(fd));
        }
}

CASE(ipminor_headers) {
    static const int names[] = {IPV6_HOPOPTS, IPV6_RTHDRDSTOPTS, IPV6_RTHDR, IPV6_DSTOPTS};
    int fd = MUST(socket(AF_INET6, SOCK_DGRAM, 0));
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        look(fd, IPPROTO_IPV6, names[n]);
        R(setsockopt(fd, IPPROTO_IPV6, names[n], NULL, 0));
        R(setsockopt(fd, IPPROTO_IPV6, names[n], "abcd", 4));
        R(setsockopt(fd, IPPROTO_IPV6, names[n], "abcdefghi", 9));
    }
}

CASE(ipminor_freebind) {
    struct sockaddr_in far = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0xc6336407)};
    struct sockaddr_in6 far6 = {.sin6_family = AF_INET6, .sin6_addr = {{{0x20, 1, 0xd, 0xb8, [15] = 7}}}};
    static const int kinds[] = {SOCK_STREAM, SOCK_DGRAM};
    for (int k = 0; k < 2; k++)
        for (int name = 0; name < 2; name++) {
            int fd = MUST(socket(AF_INET, kinds[k], 0)), six = MUST(socket(AF_INET6, kinds[k], 0));
            R(bind(fd, (void *)&far, sizeof far));
            R(bind(six, (void *)&far6, sizeof far6));
            MUST(setsockopt(fd, IPPROTO_IP, name ? IP_TRANSPARENT : IP_FREEBIND, &(int){1}, 4));
            MUST(setsockopt(six, IPPROTO_IPV6, name ? IPV6_TRANSPARENT : IPV6_FREEBIND, &(int){1}, 4));
            R(bind(fd, (void *)&far, sizeof far));
            R(bind(six, (void *)&far6, sizeof far6));
            struct sockaddr_in at;
            socklen_t size = sizeof at;
            R(getsockname(fd, (void *)&at, &size));
            say("%08x %d\n", ntohl(at.sin_addr.s_addr), at.sin_port != 0);
            if (kinds[k] == SOCK_STREAM) {
                R(listen(fd, 1));
                R(listen(six, 1));
            }
            MUST(close(fd));
            MUST(close(six));
        }
}

/* Whether a peer whose packets say `ttl` gets through to a listener that wants `least`. */
static void reach(int family, int least, int ttl) {
    struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr *to = family == AF_INET ? (void *)&four : (void *)&at;
    socklen_t size = family == AF_INET ? sizeof four : sizeof at;
    int listener = MUST(socket(family, SOCK_STREAM, 0)), a = MUST(socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0));
    if (family == AF_INET) {
        MUST(setsockopt(listener, IPPROTO_IP, IP_MINTTL, &least, sizeof least));
        MUST(setsockopt(a, IPPROTO_IP, IP_TTL, &ttl, sizeof ttl));
    } else {
        MUST(setsockopt(listener, IPPROTO_IPV6, IPV6_MINHOPCOUNT, &least, sizeof least));
        MUST(setsockopt(a, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &ttl, sizeof ttl));
    }
    MUST(bind(listener, to, size));
    MUST(listen(listener, 1));
    MUST(getsockname(listener, to, &size));
    connect(a, to, size);
    struct pollfd p = {a, POLLOUT, 0};
    say("least %d, %d: connected %d\n", least, ttl, poll(&p, 1, 200));
    if (p.revents) {
        int b = MUST(accept(listener, NULL, NULL)), value = -1;
        socklen_t len = sizeof value;
        R(getsockopt(b, family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6, family == AF_INET ? IP_MINTTL : IPV6_MINHOPCOUNT,
                     &value, &len));
        say("accepted has %d\n", value);
        /* Later packets are looked at, too. */
        ttl = 5;
        MUST(setsockopt(a, family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6,
                        family == AF_INET ? IP_TTL : IPV6_UNICAST_HOPS, &ttl, sizeof ttl));
        MUST(send(a, "x", 1, 0));
        struct pollfd q = {b, POLLIN, 0};
        say("arrives %d\n", poll(&q, 1, 100));
    }
}

CASE(ipminor_distance) {
    reach(AF_INET, 255, 64);
    reach(AF_INET, 255, 255);
    reach(AF_INET, 0, 64);
    reach(AF_INET6, 255, 64);
    reach(AF_INET6, 255, 255);
    reach(AF_INET6, 64, 64);
}

static void tell(int fd) {
    char data[8], control[256];
    struct iovec v = {data, sizeof data};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct sockaddr_in6 own;
    socklen_t size = sizeof own;
    R(recvmsg(fd, &m, 0));
    MUST(getsockname(fd, (void *)&own, &size));
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        struct sockaddr_in6 at = {0};
        say("level %d type %d, %zu bytes:", c->cmsg_level, c->cmsg_type, c->cmsg_len);
        memcpy(&at, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0) < sizeof at ? c->cmsg_len - CMSG_LEN(0) : sizeof at);
        say(" family %d port %d", at.sin6_family, at.sin6_port == own.sin6_port);
        for (size_t n = 4; n < c->cmsg_len - CMSG_LEN(0); n++)
            say(" %d", CMSG_DATA(c)[n]);
        say("\n");
    }
}

CASE(ipminor_destination) {
    struct sockaddr_in any = {.sin_family = AF_INET}, to = {.sin_family = AF_INET};
    struct sockaddr_in6 any6 = {.sin6_family = AF_INET6}, to6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t size = sizeof any, size6 = sizeof any6;
    int fd = MUST(socket(AF_INET, SOCK_DGRAM, 0)), six = MUST(socket(AF_INET6, SOCK_DGRAM, 0)), s = MUST(socket(AF_INET, SOCK_DGRAM, 0)),
        s6 = MUST(socket(AF_INET6, SOCK_DGRAM, 0));
    MUST(bind(fd, (void *)&any, size));
    MUST(bind(six, (void *)&any6, size6));
    MUST(getsockname(fd, (void *)&any, &size));
    MUST(getsockname(six, (void *)&any6, &size6));
    MUST(setsockopt(fd, IPPROTO_IP, IP_RECVORIGDSTADDR, &(int){1}, 4));
    MUST(setsockopt(six, IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, &(int){1}, 4));
    to.sin_port = any.sin_port;
    to.sin_addr.s_addr = htonl(0x7f000003);
    MUST(sendto(s, "a", 1, 0, (void *)&to, sizeof to));
    tell(fd);
    to6.sin6_port = any6.sin6_port;
    MUST(sendto(s6, "b", 1, 0, (void *)&to6, sizeof to6));
    tell(six);
    /* By IPv4 to a socket of IPv6. */
    to.sin_port = any6.sin6_port;
    MUST(sendto(s, "c", 1, 0, (void *)&to, sizeof to));
    tell(six);
    MUST(setsockopt(six, IPPROTO_IP, IP_RECVORIGDSTADDR, &(int){1}, 4));
    MUST(sendto(s, "d", 1, 0, (void *)&to, sizeof to));
    tell(six);
}

static void got(int fd) {
    char data[64];
    struct pollfd p = {fd, POLLIN, 0};
    poll(&p, 1, 100);
    int n = recv(fd, data, sizeof data, MSG_DONTWAIT);
    say("got %d: %.*s\n", n, n > 0 ? n : 0, data);
}

CASE(ipminor_cork) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof to;
    int b = MUST(socket(AF_INET, SOCK_DGRAM, 0)), a = MUST(socket(AF_INET, SOCK_DGRAM, 0)), t = MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(bind(b, (void *)&to, size));
    MUST(getsockname(b, (void *)&to, &size));
    MUST(connect(a, (void *)&to, size));
    look(a, IPPROTO_UDP, 1);
    R(setsockopt(a, IPPROTO_UDP, 1, &(int){7}, 4));
    look(a, IPPROTO_UDP, 1);
    R(send(a, "one ", 4, 0));
    R(send(a, "two", 3, 0));
    got(b);
    R(setsockopt(a, IPPROTO_UDP, 1, &(int){1}, 4));
    got(b);
    R(setsockopt(a, IPPROTO_UDP, 1, &(int){0}, 4));
    got(b);
    R(setsockopt(a, IPPROTO_UDP, 1, &(int){0}, 4));
    R(setsockopt(a, IPPROTO_UDP, 1, &(int){1}, 4));
    R(send(a, "more", 4, MSG_MORE));
    R(setsockopt(a, IPPROTO_UDP, 1, &(int){0}, 4));
    got(b);
    R(send(a, "alone", 5, 0));
    got(b);
    R(setsockopt(a, IPPROTO_UDP, 1, "a", 1));
    R(setsockopt(a, IPPROTO_UDP, 99, &(int){1}, 4));
    R(setsockopt(t, IPPROTO_UDP, 1, &(int){1}, 4));
}
