/* What programs learn of packets' headers, and of what would have fitted: ip(7), ipv6(7), RFC 2292, RFC 3542. */
#include "abi.h"
#include "address.h"

static void set(int fd, int level, int name, int value) {
    MUST(setsockopt(fd, level, name, &value, sizeof value));
}

/* Values that are too short, and for options that there are not. */
CASE(headers_short_values) {
    static const int names[] = {IPV6_V6ONLY, IPV6_UNICAST_HOPS, IPV6_TCLASS, IPV6_RECVPKTINFO, IPV6_MTU,
                                IPV6_MTU_DISCOVER, IPV6_RECVERR, 250};
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
