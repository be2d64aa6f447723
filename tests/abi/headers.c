/* What programs learn of packets' headers, and of what would have fitted: ip(7), ipv6(7), RFC 2292, RFC 3542. */
#include "abi.h"
#include "address.h"

#include <netinet/tcp.h>

#ifndef IPV6_2292PKTOPTIONS
#define IPV6_2292PKTOPTIONS 6
#endif
#ifndef IP_PKTOPTIONS
#define IP_PKTOPTIONS 9
#endif

static void set(int fd, int level, int name, int value) {
    MUST(setsockopt(fd, level, name, &value, sizeof value));
}

/* Writes the control messages that an option returns for so much room. */
static void options(const char *what, int fd, int level, int name, socklen_t room) {
    _Alignas(8) unsigned char bytes[256];
    memset(bytes, 0xee, sizeof bytes);
    socklen_t size = room;
    say("%s, %u bytes\n", what, room);
    if (R(getsockopt(fd, level, name, bytes, &size)))
        return;
    say("size %u, then %#x:", size, bytes[size]);
    for (socklen_t n = 0; n < size; n++)
        say(" %02x", bytes[n]);
    say("\n");
}

static int listening(int family, const char *ip, union address *here) {
    socklen_t size = size_of(family);
    *here = at(family, ip, 0);
    int fd = MUST(socket(family, SOCK_STREAM, 0));
    MUST(bind(fd, (void *)here, size));
    MUST(listen(fd, 5));
    MUST(getsockname(fd, (void *)here, &size));
    return fd;
}

CASE(headers_of_streams) {
    union address here;
    int l = listening(AF_INET, "127.0.0.1", &here);
    set(l, IPPROTO_IP, IP_RECVTTL, 1);
    set(l, IPPROTO_IP, IP_RECVTOS, 1);
    set(l, IPPROTO_IP, IP_PKTINFO, 1);
    int a = MUST(socket(AF_INET, SOCK_STREAM, 0));
    set(a, IPPROTO_IP, IP_TTL, 33);
    set(a, IPPROTO_IP, IP_TOS, 0x10);
    set(a, IPPROTO_IP, IP_RECVTTL, 1);
    set(a, IPPROTO_IP, IP_RECVTOS, 1);
    set(a, IPPROTO_IP, IP_PKTINFO, 1);
    options("fresh", a, IPPROTO_IP, IP_PKTOPTIONS, 200);
    MUST(connect(a, (void *)&here, size_of(AF_INET)));
    int b = MUST(accept(l, NULL, NULL));
    for (socklen_t room = 200;; room = room / 3 * 2) {
        options("accepted", b, IPPROTO_IP, IP_PKTOPTIONS, room);
        if (room < 3)
            break;
    }
    options("connected", a, IPPROTO_IP, IP_PKTOPTIONS, 24 + 32);
    options("listener", l, IPPROTO_IP, IP_PKTOPTIONS, 200);
    set(a, IPPROTO_IP, IP_TTL, 44);
    char c;
    R(send(a, "x", 1, 0));
    R(recv(b, &c, 1, 0));
    R(send(b, "x", 1, 0));
    R(recv(a, &c, 1, 0));
    set(b, IPPROTO_IP, IP_RECVTOS, 0);
    options("later", b, IPPROTO_IP, IP_PKTOPTIONS, 200);
    options("its peer", a, IPPROTO_IP, IP_PKTOPTIONS, 200);
    R(setsockopt(a, IPPROTO_IP, IP_PKTOPTIONS, "abcdefgh", 8));
    int u = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    options("datagrams", u, IPPROTO_IP, IP_PKTOPTIONS, 200);
}

static void all6(int fd) {
    set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    set(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
    set(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
}

CASE(headers_of_streams_v6) {
    union address here;
    char c;
    int l = listening(AF_INET6, "::1", &here);
    all6(l);
    int a = MUST(socket(AF_INET6, SOCK_STREAM, 0));
    set(a, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 33);
    set(a, IPPROTO_IPV6, IPV6_TCLASS, 0x20);
    options("fresh", a, IPPROTO_IPV6, IPV6_2292PKTOPTIONS, 200);
    MUST(connect(a, (void *)&here, size_of(AF_INET6)));
    int b = MUST(accept(l, NULL, NULL));
    options("accepted", b, IPPROTO_IPV6, IPV6_2292PKTOPTIONS, 200);
    options("accepted", b, IPPROTO_IPV6, IPV6_2292PKTOPTIONS, 60);
    set(a, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 44);
    set(a, IPPROTO_IPV6, IPV6_TCLASS, 0x40);
    R(send(a, "x", 1, 0));
    R(recv(b, &c, 1, 0));
    options("later", b, IPPROTO_IPV6, IPV6_2292PKTOPTIONS, 200);
    all6(a);
    options("connected", a, IPPROTO_IPV6, IPV6_2292PKTOPTIONS, 200);
    set(b, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 55);
    R(send(b, "x", 1, 0));
    R(recv(a, &c, 1, 0));
    options("which heard something", a, IPPROTO_IPV6, IPV6_2292PKTOPTIONS, 200);
    set(b, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 0);
    set(b, IPPROTO_IPV6, IPV6_RECVPKTINFO, 0);
    options("only the class", b, IPPROTO_IPV6, IPV6_2292PKTOPTIONS, 200);
    R(setsockopt(a, IPPROTO_IPV6, IPV6_2292PKTOPTIONS, "abcdefgh", 0));
    int u = MUST(socket(AF_INET6, SOCK_DGRAM, 0));
    options("datagrams", u, IPPROTO_IPV6, IPV6_2292PKTOPTIONS, 200);
}

CASE(headers_of_streams_of_both) {
    union address here, to;
    socklen_t size = sizeof here;
    int l = MUST(socket(AF_INET6, SOCK_STREAM, 0));
    set(l, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    here = at(AF_INET6, "::", 0);
    MUST(bind(l, (void *)&here, size_of(AF_INET6)));
    MUST(listen(l, 5));
    MUST(getsockname(l, (void *)&here, &size));
    all6(l);
    set(l, IPPROTO_IP, IP_RECVTTL, 1);
    set(l, IPPROTO_IP, IP_PKTINFO, 1);
    to = at(AF_INET, "127.0.0.1", ntohs(here.v6.sin6_port));
    int a = MUST(socket(AF_INET, SOCK_STREAM, 0));
    set(a, IPPROTO_IP, IP_TTL, 33);
    MUST(connect(a, (void *)&to, size_of(AF_INET)));
    int b = MUST(accept(l, NULL, NULL));
    options("of IPv4", b, IPPROTO_IPV6, IPV6_2292PKTOPTIONS, 200);
    options("of IPv4", b, IPPROTO_IP, IP_PKTOPTIONS, 200);
    to = at(AF_INET6, "::1", ntohs(here.v6.sin6_port));
    a = MUST(socket(AF_INET6, SOCK_STREAM, 0));
    MUST(connect(a, (void *)&to, size_of(AF_INET6)));
    b = MUST(accept(l, NULL, NULL));
    options("of IPv6", b, IPPROTO_IP, IP_PKTOPTIONS, 200);
}

static void path_of(int fd) {
    unsigned char info[40];
    memset(info, 0xee, sizeof info);
    for (socklen_t room = 40; room > 28; room -= 4) {
        socklen_t size = room;
        if (R(getsockopt(fd, IPPROTO_IPV6, IPV6_PATHMTU, info, &size)))
            continue;
        int is_zero = 1;
        for (int n = 0; n < 28; n++)
            is_zero &= !info[n];
        uint32_t mtu;
        memcpy(&mtu, info + 28, 4);
        say("%u bytes, address %s, %u\n", size, is_zero ? "empty" : "given", mtu);
    }
}

static long send_with(int fd, size_t len, int df) {
    static char bytes[70000];
    _Alignas(8) char control[CMSG_SPACE(4)] = {0};
    struct iovec data = {bytes, len};
    struct msghdr m = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = IPPROTO_IPV6;
    c->cmsg_type = IPV6_DONTFRAG;
    c->cmsg_len = CMSG_LEN(4);
    memcpy(CMSG_DATA(c), &df, 4);
    return sendmsg(fd, &m, 0);
}

/* Receives what there is: a datagram, or word of one that was too long. */
static void take(int fd, int flags) {
    static char bytes[70000];
    _Alignas(8) char control[256];
    struct sockaddr_in6 from;
    memset(&from, 0xee, sizeof from);
    struct iovec data = {bytes, sizeof bytes};
    struct msghdr m = {.msg_name = &from,
                       .msg_namelen = sizeof from,
                       .msg_iov = &data,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof control};
    if (R(recvmsg(fd, &m, MSG_DONTWAIT | flags)) < 0)
        return;
    say("flags %#x, name of %u\n", m.msg_flags, m.msg_namelen);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        struct {
            struct sockaddr_in6 address;
            uint32_t mtu;
        } info;
        say("level %d, type %d, %zu bytes\n", c->cmsg_level, c->cmsg_type, (size_t)c->cmsg_len);
        if (c->cmsg_level != IPPROTO_IPV6 || c->cmsg_type != IPV6_PATHMTU)
            continue;
        char text[64];
        memcpy(&info, CMSG_DATA(c), sizeof info);
        inet_ntop(AF_INET6, &info.address.sin6_addr, text, sizeof text);
        say("family %d, %s, port %d, scope %u, MTU %u\n", info.address.sin6_family, text, ntohs(info.address.sin6_port),
            info.address.sin6_scope_id, info.mtu);
        inet_ntop(AF_INET6, &from.sin6_addr, text, sizeof text);
        say("from %s, port %d, family %d\n", text, ntohs(from.sin6_port), from.sin6_family);
    }
}

static int readable_now(int fd) {
    struct pollfd p = {fd, POLLIN, 0};
    return poll(&p, 1, 0);
}

CASE(headers_never_split) {
    static char bytes[70000];
    union address here = at(AF_INET6, "::1", 0);
    socklen_t size = size_of(AF_INET6);
    int value, b = MUST(socket(AF_INET6, SOCK_DGRAM, 0)), a = MUST(socket(AF_INET6, SOCK_DGRAM, 0));
    static const int names[] = {IPV6_DONTFRAG, IPV6_RECVPATHMTU, IPV6_PATHMTU};
    for (int n = 0; n < 3; n++)
        for (int v = 0; v < 3; v++) {
            int stream = MUST(socket(AF_INET6, SOCK_STREAM, 0)), fds[] = {a, stream};
            for (int f = 0; f < 2; f++) {
                R(setsockopt(fds[f], IPPROTO_IPV6, names[n], &v, sizeof v));
                size = sizeof value;
                if (names[n] != IPV6_PATHMTU) {
                    R(getsockopt(fds[f], IPPROTO_IPV6, names[n], &value, &size));
                    say("%d\n", value);
                }
            }
            R(setsockopt(a, IPPROTO_IPV6, names[n], &v, 3));
            MUST(close(stream));
        }
    MUST(close(a));
    a = MUST(socket(AF_INET6, SOCK_DGRAM, 0));
    size = size_of(AF_INET6);
    MUST(bind(b, (void *)&here, size));
    MUST(getsockname(b, (void *)&here, &size));
    path_of(a);
    MUST(connect(a, (void *)&here, size));
    path_of(a);
    set(a, IPPROTO_IPV6, IPV6_DONTFRAG, 1);
    R(send(a, bytes, 65488, 0));
    R(send(a, bytes, 65489, 0));
    R(write(a, bytes, 65489));
    take(a, 0);
    set(a, IPPROTO_IPV6, IPV6_RECVPATHMTU, 1);
    take(a, 0);
    R(send(a, bytes, 65489, 0));
    R(readable_now(a));
    take(a, MSG_PEEK);
    take(a, 0);
    set(a, IPPROTO_IPV6, IPV6_MTU, 1280);
    path_of(a);
    R(send(a, bytes, 1232, 0));
    R(send(a, bytes, 1233, 0));
    R(write(a, bytes, 1234));
    take(a, 0);
    take(a, 0);
    R(send_with(a, 1300, 0));
    R(send_with(a, 1300, 1));
    R(send_with(a, 1300, 2));
    R(send_with(a, 1300, -1));
    take(a, 0);
    set(a, IPPROTO_IPV6, IPV6_DONTFRAG, 0);
    R(send(a, bytes, 1300, 0));
    R(send_with(a, 1300, 1));
    take(a, 0);
    for (int n = 0; n < 5; n++)
        take(b, 0);
}

/* Values that are too short, and for options that there are not. */
CASE(headers_short_values) {
    static const int names[] = {IPV6_V6ONLY, IPV6_UNICAST_HOPS, IPV6_TCLASS, IPV6_RECVPKTINFO, IPV6_MTU,
                                IPV6_MTU_DISCOVER, IPV6_RECVERR, IPV6_DONTFRAG, IPV6_RECVPATHMTU, IPV6_PATHMTU,
                                IPV6_2292PKTOPTIONS, 250};
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM};
    for (int t = 0; t < 2; t++) {
        int fd = MUST(socket(AF_INET6, types[t], 0)), value = 0;
        for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
            say("type %d, option %d\n", types[t], names[n]);
            for (int len = 0; len < 4; len += 3)
                if (names[n] != IPV6_2292PKTOPTIONS || len == 0)
                    R(setsockopt(fd, IPPROTO_IPV6, names[n], &value, len));
            char room[4];
            socklen_t size = 3;
            if (names[n] != IPV6_MTU && !R(getsockopt(fd, IPPROTO_IPV6, names[n], room, &size)))
                say("%u bytes\n", size);
        }
        MUST(close(fd));
    }
}

/* Receives a message into a buffer of so many bytes for control messages, and writes what these are then. */
static void raw(int fd, size_t room) {
    _Alignas(8) unsigned char control[128];
    char byte;
    memset(control, 0xee, sizeof control);
    struct iovec data = {&byte, 1};
    struct msghdr m = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = room};
    R(recvmsg(fd, &m, 0));
    say("flags %#x, %zu bytes, then %#x:", m.msg_flags, (size_t)m.msg_controllen, control[m.msg_controllen]);
    for (size_t n = 0; n < m.msg_controllen; n++)
        say(" %02x", control[n]);
    say("\n");
}

/* What lies between control messages is not written. */
CASE(headers_padding) {
    union address here = at(AF_INET, "127.0.0.1", 0);
    socklen_t size = size_of(AF_INET);
    int b = MUST(socket(AF_INET, SOCK_DGRAM, 0)), a = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    MUST(bind(b, (void *)&here, size));
    MUST(getsockname(b, (void *)&here, &size));
    set(b, IPPROTO_IP, IP_RECVTTL, 1);
    set(b, IPPROTO_IP, IP_RECVTOS, 1);
    for (size_t room = 64; room > 14; room -= 7) {
        MUST(sendto(a, "x", 1, 0, (void *)&here, size));
        raw(b, room);
    }
    int pair[2], fd = MUST(dup(a));
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    _Alignas(8) char control[CMSG_SPACE(4)] = {0};
    struct iovec data = {"x", 1};
    struct msghdr m = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(4);
    memcpy(CMSG_DATA(c), &fd, 4);
    MUST(sendmsg(pair[0], &m, 0));
    raw(pair[1], 64);
}
