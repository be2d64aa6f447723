/* ipv6(7): sockets of IPv6 on the loopback interface, by themselves and beside IPv4. */
#include "abi.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>

static struct sockaddr_in6 v6(const char *text, int port) {
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    MUST(inet_pton(AF_INET6, text, &a.sin6_addr) == 1 ? 0 : -1);
    return a;
}

static struct sockaddr_in v4(const char *text, int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    MUST(inet_pton(AF_INET, text, &a.sin_addr) == 1 ? 0 : -1);
    return a;
}

static int port_of(int fd) {
    struct sockaddr_in6 a;
    socklen_t len = sizeof a;
    MUST(getsockname(fd, (struct sockaddr *)&a, &len));
    return ntohs(a.sin6_port);
}

static void say_address(const char *what, const struct sockaddr_in6 *a, socklen_t len) {
    char text[64] = "?";
    if (a->sin6_family == AF_INET6)
        inet_ntop(AF_INET6, &a->sin6_addr, text, sizeof text);
    else
        inet_ntop(AF_INET, &((struct sockaddr_in *)a)->sin_addr, text, sizeof text);
    say("%s: family %d, %s, length %u, port %s", what, a->sin6_family, text, len, a->sin6_port ? "set" : "0");
    if (a->sin6_family == AF_INET6)
        say(", scope %u, flow %u", a->sin6_scope_id, a->sin6_flowinfo);
    say("\n");
}

static void say_own(const char *what, int fd) {
    struct sockaddr_in6 a = {0};
    socklen_t len = sizeof a;
    if (getsockname(fd, (struct sockaddr *)&a, &len) == 0)
        say_address(what, &a, len);
}

static void say_peer(const char *what, int fd) {
    struct sockaddr_in6 a = {0};
    socklen_t len = sizeof a;
    if (R(getpeername(fd, (struct sockaddr *)&a, &len)) == 0)
        say_address(what, &a, len);
}

static int bind6(int fd, const char *text, int port) {
    struct sockaddr_in6 a = v6(text, port);
    return bind(fd, (struct sockaddr *)&a, sizeof a);
}

static int connect6(int fd, const char *text, int port) {
    struct sockaddr_in6 a = v6(text, port);
    return connect(fd, (struct sockaddr *)&a, sizeof a);
}

static int connect4(int fd, const char *text, int port) {
    struct sockaddr_in a = v4(text, port);
    return connect(fd, (struct sockaddr *)&a, sizeof a);
}

static int tcp6(void) {
    return MUST(socket(AF_INET6, SOCK_STREAM, 0));
}

static int udp6(void) {
    return MUST(socket(AF_INET6, SOCK_DGRAM, 0));
}

static void set(int fd, int level, int name, int value) {
    MUST(setsockopt(fd, level, name, &value, sizeof value));
}

static void await(int fd, short events) {
    struct pollfd p = {fd, events, 0};
    if (poll(&p, 1, 5000) != 1)
        say("nothing came\n");
}

CASE(inet6_tcp) {
    int l = tcp6(), c = tcp6();
    say_own("fresh", l);
    R(bind6(l, "::1", 0));
    say_own("bound", l);
    R(listen(l, 4));
    R(connect6(c, "::1", port_of(l)));
    struct sockaddr_in6 a = {0};
    socklen_t len = sizeof a;
    int s = MUST(accept(l, (struct sockaddr *)&a, &len));
    say_address("accepted", &a, len);
    say("from the client's port: %d\n", ntohs(a.sin6_port) == port_of(c));
    say_own("client", c);
    say_peer("client's peer", c);
    say_own("server", s);
    say_peer("server's peer", s);
    static char data[200000], back[200000];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = i % 251;
    pid_t child = MUST(fork());
    if (child == 0) {
        close(s);
        for (size_t sent = 0; sent < sizeof data;)
            sent += MUST(send(c, data + sent, sizeof data - sent, 0));
        shutdown(c, SHUT_WR);
        _exit(0);
    }
    close(c);
    size_t got = 0;
    ssize_t n;
    while ((n = recv(s, back + got, sizeof back - got, 0)) > 0)
        got += n;
    say("got %zu, then %zd, right: %d\n", got, n, memcmp(data, back, got) == 0);
    reap("client", child);
    int r = tcp6();
    int port = port_of(l);
    close(l);
    R(connect6(r, "::1", port));
    int any = tcp6(), d = tcp6();
    R(listen(any, 1));
    say_own("listening unbound", any);
    R(connect6(d, "::", port_of(any)));
    say_peer("connected to any", d);
}

CASE(inet6_dual_stack) {
    int l = tcp6();
    R(bind6(l, "::", 0));
    R(listen(l, 8));
    int port = port_of(l);
    int c4 = MUST(socket(AF_INET, SOCK_STREAM, 0)), c6 = tcp6(), mapped = tcp6();
    R(connect4(c4, "127.0.0.1", port));
    struct sockaddr_in6 a = {0};
    socklen_t len = sizeof a;
    int s = MUST(accept(l, (struct sockaddr *)&a, &len));
    say_address("of IPv4", &a, len);
    say_own("its end", s);
    say_peer("its peer", s);
    R(connect6(c6, "::1", port));
    len = sizeof a;
    s = MUST(accept(l, (struct sockaddr *)&a, &len));
    say_address("of IPv6", &a, len);
    R(connect6(mapped, "::ffff:127.0.0.1", port));
    len = sizeof a;
    s = MUST(accept(l, (struct sockaddr *)&a, &len));
    say_address("mapped", &a, len);
    say_own("mapped client", mapped);
    say_peer("mapped client's peer", mapped);
    R(send(mapped, "hello", 5, 0));
    char buf[8] = {0};
    R(recv(s, buf, 8, 0));
    say("%s\n", buf);
    /* An address of IPv4 for a socket of IPv6. */
    int m = tcp6();
    R(bind6(m, "::ffff:127.0.0.1", 0));
    say_own("bound to IPv4", m);
    R(listen(m, 1));
    int d = MUST(socket(AF_INET, SOCK_STREAM, 0));
    R(connect4(d, "127.0.0.1", port_of(m)));
    int e = tcp6();
    R(connect6(e, "::1", port_of(m)));
}

CASE(inet6_only) {
    int l = tcp6();
    set(l, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    R(bind6(l, "::", 0));
    int port = port_of(l), off = 0;
    R(setsockopt(l, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off));
    R(listen(l, 4));
    int c4 = MUST(socket(AF_INET, SOCK_STREAM, 0)), m = tcp6();
    R(connect4(c4, "127.0.0.1", port));
    R(connect6(m, "::ffff:127.0.0.1", port));
    int o = tcp6();
    set(o, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    R(connect6(o, "::ffff:127.0.0.1", port));
    R(bind6(o, "::ffff:127.0.0.1", 0));
    R(connect6(o, "::1", port));
    int l4 = MUST(socket(AF_INET, SOCK_STREAM, 0));
    struct sockaddr_in a = v4("0.0.0.0", port);
    R(bind(l4, (struct sockaddr *)&a, sizeof a));
    R(listen(l4, 1));
    c4 = MUST(socket(AF_INET, SOCK_STREAM, 0));
    R(connect4(c4, "127.0.0.1", port));
    int u = udp6();
    set(u, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    struct sockaddr_in6 to = v6("::ffff:127.0.0.1", port);
    R(sendto(u, "x", 1, 0, (struct sockaddr *)&to, sizeof to));
    struct sockaddr_in to4 = v4("127.0.0.1", port);
    R(sendto(u, "x", 1, 0, (struct sockaddr *)&to4, sizeof to4));
    R(connect4(u, "127.0.0.1", port));
}

/* Which binds exclude each other. */
CASE(inet6_bind_conflicts) {
    static const struct {
        const char *first, *second;
        int first_only, second_only;
    } pairs[] = {{"::", "0.0.0.0", 0, 0},   {"::", "0.0.0.0", 1, 0},   {"::", "127.0.0.1", 0, 0},
                 {"::", "127.0.0.1", 1, 0}, {"::", "::1", 0, 0},       {"::", "::1", 1, 1},
                 {"::1", "127.0.0.1", 0, 0}, {"::1", "0.0.0.0", 0, 0}, {"::1", "::", 0, 0},
                 {"0.0.0.0", "::", 0, 0},   {"0.0.0.0", "::", 0, 1},   {"127.0.0.1", "::", 0, 0},
                 {"::", "::", 0, 1},        {"::", "::", 1, 1},        {"::ffff:127.0.0.1", "127.0.0.1", 0, 0}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
            int fds[2], port = 0, result[2];
            for (int k = 0; k < 2; k++) {
                const char *text = k ? pairs[i].second : pairs[i].first;
                int is6 = strchr(text, ':') != NULL;
                fds[k] = MUST(socket(is6 ? AF_INET6 : AF_INET, type, 0));
                if (k ? pairs[i].second_only : pairs[i].first_only)
                    set(fds[k], IPPROTO_IPV6, IPV6_V6ONLY, 1);
                struct sockaddr_in a = {0};
                if (!is6)
                    a = v4(text, port);
                result[k] = is6 ? bind6(fds[k], text, port) : bind(fds[k], (struct sockaddr *)&a, sizeof a);
                if (k == 0)
                    port = port_of(fds[0]);
            }
            say("%s%s then %s%s, type %d: %d %d\n", pairs[i].first, pairs[i].first_only ? " only" : "", pairs[i].second,
                pairs[i].second_only ? " only" : "", type, result[0], result[1]);
            close(fds[0]);
            close(fds[1]);
        }
}

CASE(inet6_errors) {
    int s = tcp6();
    struct sockaddr_in a4 = v4("127.0.0.1", 1);
    struct sockaddr_in6 a = v6("::1", 0);
    R(bind(s, (struct sockaddr *)&a4, sizeof a4));
    R(bind(s, (struct sockaddr *)&a, 23));
    R(connect(s, (struct sockaddr *)&a4, sizeof a4));
    R(connect(s, (struct sockaddr *)&a, 16));
    a.sin6_family = AF_UNIX;
    R(bind(s, (struct sockaddr *)&a, sizeof a));
    R(connect(s, (struct sockaddr *)&a, sizeof a));
    R(bind6(s, "2001:db8::1", 0));
    R(bind6(s, "fe80::1234", 0));
    R(connect6(s, "fe80::1234", 80));
    R(bind6(s, "::ffff:203.0.113.9", 0));
    a = v6("::1", 0);
    R(bind(s, (struct sockaddr *)&a, 24));
    say_own("without scope", s);
    R(bind6(s, "::1", 0));
    struct sockaddr_in6 got;
    memset(&got, 0x55, sizeof got);
    socklen_t len = 10;
    R(getsockname(s, (struct sockaddr *)&got, &len));
    say("length %u, byte beyond %#x\n", len, ((unsigned char *)&got)[10]);
    int u = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    a = v6("::1", 9);
    R(sendto(u, "x", 1, 0, (struct sockaddr *)&a, sizeof a));
    R(connect(u, (struct sockaddr *)&a, sizeof a));
    R(bind(u, (struct sockaddr *)&a, sizeof a));
    R(socket(AF_INET6, SOCK_STREAM, IPPROTO_UDP));
    R(socket(AF_INET6, SOCK_SEQPACKET, 0));
    int pair[2];
    R(socketpair(AF_INET6, SOCK_STREAM, 0, pair));
}

static void say_control(struct msghdr *m) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        say("  level %d, type %d, %zu bytes", c->cmsg_level, c->cmsg_type, c->cmsg_len - CMSG_LEN(0));
        if (c->cmsg_type == IPV6_PKTINFO && c->cmsg_level == IPPROTO_IPV6) {
            struct in6_pktinfo info;
            char text[64];
            memcpy(&info, CMSG_DATA(c), sizeof info);
            say(": %s %u", inet_ntop(AF_INET6, &info.ipi6_addr, text, sizeof text), info.ipi6_ifindex);
        } else if (c->cmsg_type == IP_PKTINFO && c->cmsg_level == IPPROTO_IP) {
            struct in_pktinfo info;
            char text[64];
            memcpy(&info, CMSG_DATA(c), sizeof info);
            say(": %d", info.ipi_ifindex);
            say(" %s", inet_ntop(AF_INET, &info.ipi_spec_dst, text, sizeof text));
            say(" %s", inet_ntop(AF_INET, &info.ipi_addr, text, sizeof text));
        } else if (c->cmsg_len == CMSG_LEN(4)) {
            int value;
            memcpy(&value, CMSG_DATA(c), 4);
            say(": %d", value);
        } else if (c->cmsg_len == CMSG_LEN(1))
            say(": %d", *CMSG_DATA(c));
        say("\n");
    }
}

static void receive(int fd) {
    char buf[32] = {0}, control[256];
    struct sockaddr_in6 from = {0};
    struct iovec v = {buf, sizeof buf - 1};
    struct msghdr m = {&from, sizeof from, &v, 1, control, sizeof control, 0};
    await(fd, POLLIN);
    if (R(recvmsg(fd, &m, MSG_DONTWAIT)) < 0)
        return;
    say("'%s' ", buf);
    say_address("from", &from, m.msg_namelen);
    say_control(&m);
}

CASE(inet6_udp) {
    int a = udp6(), b = udp6();
    R(bind6(b, "::", 0));
    int port = port_of(b);
    struct sockaddr_in6 to = v6("::1", port), mapped = v6("::ffff:127.0.0.1", port);
    struct sockaddr_in to4 = v4("127.0.0.1", port);
    R(sendto(a, "six", 3, 0, (struct sockaddr *)&to, sizeof to));
    receive(b);
    say_own("sender", a);
    R(sendto(a, "mapped", 6, 0, (struct sockaddr *)&mapped, sizeof mapped));
    receive(b);
    R(sendto(a, "four", 4, 0, (struct sockaddr *)&to4, sizeof to4));
    receive(b);
    int old = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    R(sendto(old, "old", 3, 0, (struct sockaddr *)&to4, sizeof to4));
    receive(b);
    set(b, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    set(b, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
    set(b, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
    set(a, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 17);
    set(a, IPPROTO_IPV6, IPV6_TCLASS, 0x20);
    R(sendto(a, "control", 7, 0, (struct sockaddr *)&to, sizeof to));
    receive(b);
    R(sendto(old, "control of 4", 12, 0, (struct sockaddr *)&to4, sizeof to4));
    receive(b);
    R(connect6(a, "::1", port));
    say_own("connected", a);
    say_peer("connected", a);
    R(send(a, "connected", 9, 0));
    receive(b);
    R(connect4(a, "127.0.0.1", port));
    close(b);
    int c = udp6();
    R(connect6(c, "::1", port));
    R(send(c, "nobody", 6, 0));
    await(c, POLLERR);
    R(recv(c, (char[8]){0}, 8, MSG_DONTWAIT));
    static char huge[65600];
    R(sendto(c, huge, 65528, 0, NULL, 0));
    int d = udp6();
    R(bind6(d, "::1", 0));
    to = v6("::1", port_of(d));
    int big = 400000;
    setsockopt(d, SOL_SOCKET, SO_RCVBUF, &big, sizeof big);
    R(sendto(c, huge, 65527, 0, (struct sockaddr *)&to, sizeof to));
    await(d, POLLIN);
    R(recv(d, huge, sizeof huge, MSG_DONTWAIT));
}

CASE(inet6_udp_of_ipv4_control) {
    int a = MUST(socket(AF_INET, SOCK_DGRAM, 0)), b = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    struct sockaddr_in to = v4("127.0.0.1", 0);
    socklen_t len = sizeof to;
    MUST(bind(b, (struct sockaddr *)&to, sizeof to));
    MUST(getsockname(b, (struct sockaddr *)&to, &len));
    set(b, IPPROTO_IP, IP_PKTINFO, 1);
    set(b, IPPROTO_IP, IP_RECVTTL, 1);
    set(b, IPPROTO_IP, IP_RECVTOS, 1);
    set(a, IPPROTO_IP, IP_TTL, 9);
    set(a, IPPROTO_IP, IP_TOS, 0x10);
    R(sendto(a, "x", 1, 0, (struct sockaddr *)&to, sizeof to));
    receive(b);
    to.sin_addr.s_addr = htonl(0x7f000105);
    int any = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    struct sockaddr_in at = v4("0.0.0.0", 0);
    MUST(bind(any, (struct sockaddr *)&at, sizeof at));
    set(any, IPPROTO_IP, IP_PKTINFO, 1);
    to.sin_port = htons(port_of(any));
    R(sendto(a, "y", 1, 0, (struct sockaddr *)&to, sizeof to));
    receive(any);
}

CASE(inet6_options) {
    static const struct {
        int name;
        const char *text;
    } options[] = {{IPV6_V6ONLY, "V6ONLY"},           {IPV6_UNICAST_HOPS, "UNICAST_HOPS"},
                   {IPV6_TCLASS, "TCLASS"},           {IPV6_RECVPKTINFO, "RECVPKTINFO"},
                   {IPV6_RECVHOPLIMIT, "RECVHOPLIMIT"}, {IPV6_RECVTCLASS, "RECVTCLASS"}};
    for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
        int s = MUST(socket(AF_INET6, type, 0)), value;
        socklen_t len = sizeof value;
        R(getsockopt(s, SOL_SOCKET, SO_DOMAIN, &value, &len));
        say("domain %d\n", value);
        for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
            len = sizeof value;
            int before = getsockopt(s, IPPROTO_IPV6, options[i].name, &value, &len);
            say("%s: %d %d", options[i].text, before, value);
            value = 1;
            say(" %d", setsockopt(s, IPPROTO_IPV6, options[i].name, &value, sizeof value));
            len = sizeof value;
            say(" %d", getsockopt(s, IPPROTO_IPV6, options[i].name, &value, &len));
            say(" %d\n", value);
        }
        for (int bad = -2; bad <= 256; bad += 258) {
            R(setsockopt(s, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &bad, sizeof bad));
            R(setsockopt(s, IPPROTO_IPV6, IPV6_TCLASS, &bad, sizeof bad));
        }
        value = -1;
        R(setsockopt(s, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &value, sizeof value));
        len = sizeof value;
        R(getsockopt(s, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &value, &len));
        say("default %d\n", value);
        R(setsockopt(s, IPPROTO_IPV6, IPV6_TCLASS, &value, 2));
        R(setsockopt(s, IPPROTO_IPV6, 12345, &value, sizeof value));
        R(getsockopt(s, IPPROTO_IPV6, 12345, &value, &len));
        int old = MUST(socket(AF_INET, type, 0));
        R(setsockopt(old, IPPROTO_IPV6, IPV6_V6ONLY, &value, sizeof value));
        close(s);
        close(old);
    }
}

/* Who binds to an address of IPv6 speaks nothing else. */
CASE(inet6_only_by_binding) {
    static const char *addresses[] = {"::", "::1", "::ffff:127.0.0.1"};
    for (int i = 0; i < 3; i++)
        for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
            int s = MUST(socket(AF_INET6, type, 0)), value = -1;
            socklen_t len = sizeof value;
            MUST(bind6(s, addresses[i], 0));
            MUST(getsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &value, &len));
            say("%s, type %d: %d\n", addresses[i], type, value);
            R(connect6(s, "::ffff:127.0.0.1", 9));
            close(s);
        }
}

/* Type of service and traffic class are two things. */
CASE(inet6_class_and_service) {
    int a = udp6(), b = udp6(), tos = 0x10, class = 0x20, value;
    socklen_t len = sizeof value;
    R(bind6(b, "::", 0));
    int port = port_of(b);
    set(b, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
    set(b, IPPROTO_IP, IP_RECVTOS, 1);
    R(setsockopt(a, IPPROTO_IPV6, IPV6_TCLASS, &class, sizeof class));
    R(setsockopt(a, IPPROTO_IP, IP_TOS, &tos, sizeof tos));
    R(getsockopt(a, IPPROTO_IPV6, IPV6_TCLASS, &value, &len));
    say("class %#x\n", value);
    struct sockaddr_in6 to = v6("::1", port), mapped = v6("::ffff:127.0.0.1", port);
    R(sendto(a, "six", 3, 0, (struct sockaddr *)&to, sizeof to));
    receive(b);
    R(sendto(a, "four", 4, 0, (struct sockaddr *)&mapped, sizeof mapped));
    receive(b);
}

static void send_control(int fd, void *to, socklen_t len, int level, int type, void *data, size_t size) {
    char control[64] = {0};
    struct iovec v = {"c", 1};
    struct msghdr m = {to, len, &v, 1, control, CMSG_SPACE(size), 0};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(c), data, size);
    say("level %d, type %d, %zu bytes: ", level, type, size);
    R(sendmsg(fd, &m, 0));
}

CASE(inet6_control_of_one_datagram) {
    int a = udp6(), b = udp6();
    R(bind6(b, "::", 0));
    set(b, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
    set(b, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
    struct sockaddr_in6 to = v6("::1", port_of(b));
    static const struct {
        int type, value;
    } six[] = {{IPV6_HOPLIMIT, 3}, {IPV6_HOPLIMIT, -1}, {IPV6_HOPLIMIT, 256}, {IPV6_TCLASS, 0x40}, {IPV6_TCLASS, -2}, {12345, 1}};
    for (size_t i = 0; i < sizeof six / sizeof *six; i++) {
        int value = six[i].value;
        send_control(a, &to, sizeof to, IPPROTO_IPV6, six[i].type, &value, sizeof value);
    }
    for (int i = 0; i < 3; i++)
        receive(b);
    struct in6_pktinfo info = {.ipi6_addr = v6("2001:db8::9", 0).sin6_addr};
    send_control(a, &to, sizeof to, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
    info.ipi6_addr = in6addr_loopback;
    send_control(a, &to, sizeof to, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
    receive(b);
    int value = 5;
    send_control(a, &to, sizeof to, IPPROTO_TCP, 1, &value, sizeof value);
    send_control(a, &to, sizeof to, SOL_SOCKET, 12345, &value, sizeof value);
    int c = MUST(socket(AF_INET, SOCK_DGRAM, 0)), d = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    struct sockaddr_in at = v4("127.0.0.1", 0);
    MUST(bind(d, (struct sockaddr *)&at, sizeof at));
    at.sin_port = htons(port_of(d));
    set(d, IPPROTO_IP, IP_RECVTTL, 1);
    set(d, IPPROTO_IP, IP_RECVTOS, 1);
    static const struct {
        int type, value;
    } four[] = {{IP_TTL, 3}, {IP_TTL, 0}, {IP_TTL, 256}, {IP_TOS, 0x10}, {IP_TOS, 256}, {12345, 1}};
    for (size_t i = 0; i < sizeof four / sizeof *four; i++) {
        value = four[i].value;
        send_control(c, &at, sizeof at, IPPROTO_IP, four[i].type, &value, sizeof value);
    }
    unsigned char byte = 0x08;
    send_control(c, &at, sizeof at, IPPROTO_IP, IP_TOS, &byte, 1);
    for (int i = 0; i < 3; i++)
        receive(d);
}

/* What dissolving an association leaves of the own address: what was chosen. */
CASE(inet6_udp_disconnect) {
    static const char *six[] = {"::", "::1"}, *four[] = {"0.0.0.0", "127.0.0.1"};
    for (int family = 0; family < 2; family++)
        for (int how = 0; how < 4; how++) {
            int s = MUST(socket(family ? AF_INET6 : AF_INET, SOCK_DGRAM, 0));
            int port = 0;
            if (how == 3) {
                /* A port of one's own: one that was free a moment ago. */
                int t = udp6();
                MUST(bind6(t, "::", 0));
                port = port_of(t);
                close(t);
            }
            struct sockaddr_in a = v4(four[how == 2], port);
            if (how > 0)
                R(family ? bind6(s, six[how == 2], port) : bind(s, (struct sockaddr *)&a, sizeof a));
            R(family ? connect6(s, "::1", 9) : connect4(s, "127.0.0.1", 9));
            say_own("connected", s);
            int before = port_of(s);
            struct sockaddr none = {.sa_family = AF_UNSPEC};
            R(connect(s, &none, sizeof none));
            say_own("not any more", s);
            R(send(s, "x", 1, 0));
            R(family ? connect6(s, "::1", 10) : connect4(s, "127.0.0.1", 10));
            say_own("again", s);
            if (how == 3)
                say("same port %d\n", port_of(s) == before);
            close(s);
        }
}

/* netdevice(7): what ioctl tells of the loopback interface. The C library asks with a socket of AF_UNIX. */
CASE(inet_interface_ioctls) {
    static const struct {
        int code;
        const char *text;
    } calls[] = {{SIOCGIFADDR, "ADDR"}, {SIOCGIFDSTADDR, "DSTADDR"}, {SIOCGIFBRDADDR, "BRDADDR"}, {SIOCGIFNETMASK, "NETMASK"}};
    static const int families[] = {AF_INET, AF_INET6, AF_UNIX, AF_NETLINK};
    for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
        int s = MUST(socket(families[f], SOCK_DGRAM, 0));
        struct ifreq all[16], r = {.ifr_name = "lo"};
        struct ifconf c = {.ifc_len = sizeof all, .ifc_req = all};
        R(ioctl(s, SIOCGIFCONF, &c));
        for (size_t i = 0; i < c.ifc_len / sizeof *all; i++)
            if (!strcmp(all[i].ifr_name, "lo"))
                say_address("lo", (struct sockaddr_in6 *)&all[i].ifr_addr, sizeof(struct sockaddr_in));
        int whole = c.ifc_len;
        c.ifc_req = NULL;
        R(ioctl(s, SIOCGIFCONF, &c));
        say("length %d\n", c.ifc_len == whole);
        c = (struct ifconf){.ifc_len = sizeof *all - 1, .ifc_req = all};
        R(ioctl(s, SIOCGIFCONF, &c));
        say("length %d\n", c.ifc_len);
        for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
            memset(&r.ifr_addr, 0x55, sizeof r.ifr_addr);
            say("%s: %d ", calls[i].text, ioctl(s, calls[i].code, &r));
            say_address("lo", (struct sockaddr_in6 *)&r.ifr_addr, sizeof(struct sockaddr_in));
        }
        R(ioctl(s, SIOCGIFFLAGS, &r));
        say("flags %#x\n", r.ifr_flags);
        R(ioctl(s, SIOCGIFINDEX, &r));
        say("index %d\n", r.ifr_ifindex);
        memset(r.ifr_name, 0, sizeof r.ifr_name);
        R(ioctl(s, SIOCGIFNAME, &r));
        say("name %s\n", r.ifr_name);
        R(ioctl(s, SIOCGIFMTU, &r));
        say("mtu %d\n", r.ifr_mtu);
        R(ioctl(s, SIOCGIFHWADDR, &r));
        say("hardware %d %d\n", r.ifr_hwaddr.sa_family, r.ifr_hwaddr.sa_data[0]);
        strcpy(r.ifr_name, "none0");
        R(ioctl(s, SIOCGIFADDR, &r));
        r.ifr_ifindex = 9999;
        R(ioctl(s, SIOCGIFNAME, &r));
        close(s);
    }
    say("lo is %u\n", if_nametoindex("lo"));
    char name[IF_NAMESIZE] = "";
    say("1 is %s\n", if_indextoname(1, name) ? name : strerror(errno));
}

CASE(inet6_interfaces) {
    struct ifaddrs *all;
    if (R(getifaddrs(&all)) != 0)
        return;
    for (struct ifaddrs *i = all; i; i = i->ifa_next) {
        if (strcmp(i->ifa_name, "lo") || !i->ifa_addr || i->ifa_addr->sa_family != AF_INET6)
            continue;
        say_address("lo", (struct sockaddr_in6 *)i->ifa_addr, sizeof(struct sockaddr_in6));
        char text[64];
        struct sockaddr_in6 *mask = (struct sockaddr_in6 *)i->ifa_netmask;
        say("mask %s\n", inet_ntop(AF_INET6, &mask->sin6_addr, text, sizeof text));
    }
    freeifaddrs(all);
}
