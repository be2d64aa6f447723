/* What programs learn of packets' headers, and of what would have fitted: ip(7), ipv6(7), RFC 2292, RFC 3542. */
#include "abi.h"
#include "address.h"

static void set(int fd, int level, int name, int value) {
    MUST(setsockopt(fd, level, name, &value, sizeof value));
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
                                IPV6_MTU_DISCOVER, IPV6_RECVERR, IPV6_DONTFRAG, IPV6_RECVPATHMTU, IPV6_PATHMTU, 250};
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM};
    for (int t = 0; t < 2; t++) {
        int fd = MUST(socket(AF_INET6, types[t], 0)), value = 0;
        for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
            say("type %d, option %d\n", types[t], names[n]);
            for (int len = 0; len < 4; len += 3)
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
