/* Sources of multicast groups: RFC 3678, ip(7). On the loopback interface, whose addresses are the sources. */
#include "abi.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define GROUP "239.1.2.3"
#define PORT 5903

static const int on = 1, off = 0;

static struct in_addr ip(const char *text) {
    struct in_addr a;
    inet_pton(AF_INET, text, &a);
    return a;
}

static int bound(const char *address, int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = ip(address)};
    int s = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    MUST(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
    MUST(bind(s, (void *)&a, sizeof a));
    return s;
}

static int sender(const char *address) {
    struct in_addr local = ip("127.0.0.1");
    int s = bound(address, 0);
    MUST(setsockopt(s, IPPROTO_IP, IP_MULTICAST_IF, &local, sizeof local));
    return s;
}

static long set(int s, int option, const void *value, size_t size) {
    return setsockopt(s, IPPROTO_IP, option, value, (socklen_t)size);
}

static long source(int s, int option, const char *from) {
    struct ip_mreq_source m = {ip(GROUP), ip("127.0.0.1"), ip(from)};
    return set(s, option, &m, sizeof m);
}

static void put4(struct sockaddr_storage *to, const char *address) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = ip(address)};
    memcpy(to, &a, sizeof a);
}

static void put6(struct sockaddr_storage *to, const char *address) {
    struct sockaddr_in6 a = {.sin6_family = AF_INET6};
    inet_pton(AF_INET6, address, &a.sin6_addr);
    memcpy(to, &a, sizeof a);
}

/* Sends from two sources and writes which of them each socket heard. */
static void say_heard(const char *when, const int *senders, const int *sockets, int count) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr = ip(GROUP)};
    for (int i = 0; i < 2; i++)
        MUST(sendto(senders[i], i ? "2" : "1", 1, 0, (void *)&to, sizeof to));
    say("%s:", when);
    for (int i = 0; i < count; i++) {
        char byte;
        say(" [");
        while (recv(sockets[i], &byte, 1, MSG_DONTWAIT) == 1)
            say("%c", byte);
        say("]");
    }
    say("\n");
}

/* Writes the filter as IP_MSFILTER tells it, with room for so many sources. */
static void say_filter(int s, unsigned room) {
    char bytes[sizeof(struct ip_msfilter) + 64];
    memset(bytes, 0xee, sizeof bytes);
    struct ip_msfilter *f = (void *)bytes;
    f->imsf_multiaddr = ip(GROUP);
    f->imsf_interface = ip("127.0.0.1");
    f->imsf_numsrc = room;
    socklen_t size = sizeof bytes;
    if (R(getsockopt(s, IPPROTO_IP, IP_MSFILTER, f, &size)) != 0)
        return;
    say("mode %u, %u sources, size %u, interface %#x:", f->imsf_fmode, f->imsf_numsrc, size,
        ntohl(f->imsf_interface.s_addr));
    struct in_addr *list = (void *)(bytes + IP_MSFILTER_SIZE(0));
    for (unsigned i = 0; i < room && i < f->imsf_numsrc; i++)
        say(" %s", inet_ntoa(list[i]));
    say(", then %#x\n", ntohl(list[room < f->imsf_numsrc ? room : f->imsf_numsrc].s_addr));
}

CASE(source_include) {
    int senders[2] = {sender("127.0.0.1"), sender("127.0.0.2")};
    int s[2] = {bound("0.0.0.0", PORT), bound("0.0.0.0", PORT)};
    say_heard("before", senders, s, 2);
    R(source(s[0], IP_DROP_SOURCE_MEMBERSHIP, "127.0.0.1"));
    R(source(s[0], IP_ADD_SOURCE_MEMBERSHIP, "127.0.0.1"));
    R(source(s[0], IP_ADD_SOURCE_MEMBERSHIP, "127.0.0.1"));
    /* The other would hear everything that the interface takes in. */
    say_heard("first", senders, s, 2);
    R(source(s[1], IP_ADD_SOURCE_MEMBERSHIP, "127.0.0.2"));
    say_heard("one each", senders, s, 2);
    R(source(s[0], IP_ADD_SOURCE_MEMBERSHIP, "127.0.0.2"));
    R(source(s[0], IP_BLOCK_SOURCE, "127.0.0.2"));
    R(source(s[0], IP_UNBLOCK_SOURCE, "127.0.0.2"));
    say_filter(s[0], 9);
    say_heard("both", senders, s, 2);
    R(source(s[0], IP_DROP_SOURCE_MEMBERSHIP, "127.0.0.1"));
    R(source(s[0], IP_DROP_SOURCE_MEMBERSHIP, "127.0.0.1"));
    say_heard("second", senders, s, 2);
    MUST(close(s[1]));
    R(source(s[0], IP_DROP_SOURCE_MEMBERSHIP, "127.0.0.2"));
    say_filter(s[0], 9);
    R(source(s[0], IP_DROP_SOURCE_MEMBERSHIP, "127.0.0.2"));
    say_heard("none", senders, s, 1);
}

CASE(source_exclude) {
    struct ip_mreq m = {ip(GROUP), ip("127.0.0.1")};
    int senders[2] = {sender("127.0.0.1"), sender("127.0.0.2")};
    int s[2] = {bound("0.0.0.0", PORT), bound("0.0.0.0", PORT)};
    R(source(s[0], IP_BLOCK_SOURCE, "127.0.0.1"));
    R(set(s[0], IP_ADD_MEMBERSHIP, &m, sizeof m));
    R(source(s[0], IP_UNBLOCK_SOURCE, "127.0.0.1"));
    R(source(s[0], IP_BLOCK_SOURCE, "127.0.0.1"));
    R(source(s[0], IP_BLOCK_SOURCE, "127.0.0.1"));
    say_filter(s[0], 9);
    say_heard("one blocks", senders, s, 2);
    R(set(s[1], IP_ADD_MEMBERSHIP, &m, sizeof m));
    say_heard("other joins", senders, s, 2);
    R(source(s[1], IP_BLOCK_SOURCE, "127.0.0.2"));
    say_heard("one each", senders, s, 2);
    R(set(s[1], IP_MULTICAST_ALL, &off, sizeof off));
    R(set(s[1], IP_DROP_MEMBERSHIP, &m, sizeof m));
    say_heard("other leaves", senders, s, 2);
    R(source(s[0], IP_UNBLOCK_SOURCE, "127.0.0.1"));
    say_heard("none blocked", senders, s, 2);
    /* There was a list, so that the mode stays. */
    R(source(s[0], IP_ADD_SOURCE_MEMBERSHIP, "127.0.0.1"));
    say_filter(s[0], 9);
    R(set(s[0], IP_DROP_MEMBERSHIP, &m, sizeof m));
    R(set(s[0], IP_ADD_MEMBERSHIP, &m, sizeof m));
    R(source(s[0], IP_ADD_SOURCE_MEMBERSHIP, "127.0.0.2"));
    say_heard("without a list", senders, s, 2);
    R(set(s[0], IP_DROP_MEMBERSHIP, &m, sizeof m));
    R(set(s[0], IP_ADD_MEMBERSHIP, &m, sizeof m));
    /* This fails, and yet nobody is heard from then on. */
    R(source(s[0], IP_DROP_SOURCE_MEMBERSHIP, "127.0.0.2"));
    say_filter(s[0], 9);
    say_heard("mode changed", senders, s, 2);
}

CASE(source_requests) {
    struct ip_mreq_source m = {ip("10.0.0.1"), ip("127.0.0.1"), ip("127.0.0.2")};
    int s = bound("0.0.0.0", PORT), tcp = MUST(socket(AF_INET, SOCK_STREAM, 0));
    R(set(s, IP_ADD_SOURCE_MEMBERSHIP, &m, sizeof m));
    R(set(s, IP_BLOCK_SOURCE, &m, sizeof m));
    m.imr_multiaddr = ip(GROUP);
    R(set(s, IP_ADD_SOURCE_MEMBERSHIP, &m, sizeof m - 1));
    R(set(s, IP_ADD_SOURCE_MEMBERSHIP, &m, sizeof m + 1));
    m.imr_interface = ip("10.99.98.97");
    R(set(s, IP_ADD_SOURCE_MEMBERSHIP, &m, sizeof m));
    R(set(s, IP_DROP_SOURCE_MEMBERSHIP, &m, sizeof m));
    for (unsigned i = 0; i < 12; i++) {
        char from[32];
        snprintf(from, sizeof from, "10.0.0.%u", i);
        if (source(s, IP_ADD_SOURCE_MEMBERSHIP, from) != 0)
            say("source %u: %s\n", i, strerrorname_np(errno));
    }
    R(source(s, IP_DROP_SOURCE_MEMBERSHIP, "10.0.0.4"));
    R(source(s, IP_ADD_SOURCE_MEMBERSHIP, "10.0.0.99"));
    say_filter(s, 12);
    R(getsockopt(tcp, IPPROTO_IP, IP_MSFILTER, &m, &(socklen_t){sizeof m}));
}

/* Sets a filter of so many sources, with this many bytes more or less. */
static long filter(int s, const char *group, unsigned mode, unsigned count, int more) {
    char bytes[sizeof(struct ip_msfilter) + 128] = {0};
    struct ip_msfilter *f = (void *)bytes;
    f->imsf_multiaddr = ip(group);
    f->imsf_interface = ip("127.0.0.1");
    f->imsf_fmode = mode;
    f->imsf_numsrc = count;
    struct in_addr *list = (void *)(bytes + IP_MSFILTER_SIZE(0));
    for (unsigned i = 0; i < count && i < 16; i++)
        list[i].s_addr = htonl(0x7f000001u + i);
    return set(s, IP_MSFILTER, f, IP_MSFILTER_SIZE(count) + (size_t)more);
}

CASE(source_filters) {
    struct ip_mreq m = {ip(GROUP), ip("127.0.0.1")};
    int senders[2] = {sender("127.0.0.1"), sender("127.0.0.2")};
    int s = bound("0.0.0.0", PORT);
    R(filter(s, GROUP, MCAST_INCLUDE, 1, 0));
    R(filter(s, GROUP, MCAST_INCLUDE, 0, 0));
    R(set(s, IP_ADD_MEMBERSHIP, &m, sizeof m));
    R(filter(s, GROUP, MCAST_INCLUDE, 1, -1));
    R(filter(s, GROUP, MCAST_INCLUDE, 0, -1));
    R(filter(s, GROUP, 2, 1, 0));
    R(filter(s, "10.0.0.1", MCAST_INCLUDE, 1, 0));
    R(filter(s, GROUP, MCAST_INCLUDE, 11, 0));
    say_filter(s, 2);
    R(filter(s, GROUP, MCAST_INCLUDE, 1, 3));
    say_filter(s, 2);
    say_heard("include", senders, &s, 1);
    R(filter(s, GROUP, MCAST_EXCLUDE, 1, 0));
    say_heard("exclude", senders, &s, 1);
    R(filter(s, GROUP, MCAST_INCLUDE, 10, 0));
    say_filter(s, 10);
    say_filter(s, 2);
    say_filter(s, 0);
    R(source(s, IP_ADD_SOURCE_MEMBERSHIP, "127.0.0.77"));
    R(filter(s, GROUP, MCAST_EXCLUDE, 0, 0));
    say_filter(s, 2);
    R(source(s, IP_ADD_SOURCE_MEMBERSHIP, "127.0.0.2"));
    say_heard("mode without a list", senders, &s, 1);
    R(filter(s, GROUP, MCAST_INCLUDE, 0, 0));
    say_filter(s, 2);
    R(filter(s, GROUP, MCAST_INCLUDE, 0, 0));
    socklen_t size = 15;
    char bytes[16] = {0};
    R(getsockopt(s, IPPROTO_IP, IP_MSFILTER, bytes, &size));
    size = 16;
    R(getsockopt(s, IPPROTO_IP, IP_MSFILTER, bytes, &size));
    R(getsockopt(s, IPPROTO_IP, IP_MSFILTER, NULL, &size));
}

/* The options of both families, for one of them. */
struct family {
    int level, family, interface;
    const char *group, *one, *two;
    void (*put)(struct sockaddr_storage *, const char *);
};

static long group(const struct family *f, int s, int option, const char *address, int interface, size_t size) {
    struct group_req r = {.gr_interface = (uint32_t)interface};
    f->put(&r.gr_group, address);
    return setsockopt(s, f->level, option, &r, (socklen_t)size);
}

static long of_source(const struct family *f, int s, int option, const char *address, int interface) {
    struct group_source_req r = {.gsr_interface = (uint32_t)interface};
    f->put(&r.gsr_group, f->group);
    f->put(&r.gsr_source, address);
    return setsockopt(s, f->level, option, &r, sizeof r);
}

static void say_group_filter(const struct family *f, int s, unsigned room) {
    char bytes[GROUP_FILTER_SIZE(70)];
    memset(bytes, 0xee, sizeof bytes);
    struct group_filter *g = (void *)bytes;
    g->gf_interface = 1;
    memset(&g->gf_group, 0, sizeof g->gf_group);
    f->put(&g->gf_group, f->group);
    g->gf_numsrc = room;
    socklen_t size = sizeof bytes;
    if (R(getsockopt(s, f->level, MCAST_MSFILTER, g, &size)) != 0)
        return;
    say("mode %u, %u sources, size %u, interface %u:", g->gf_fmode, g->gf_numsrc, size, g->gf_interface);
    struct sockaddr_storage *list = (void *)(bytes + GROUP_FILTER_SIZE(0));
    for (unsigned i = 0; i < room && i < g->gf_numsrc && i < 4; i++) {
        char text[INET6_ADDRSTRLEN];
        const void *address = f->family == AF_INET ? (void *)&((struct sockaddr_in *)&list[i])->sin_addr
                                                   : (void *)&((struct sockaddr_in6 *)&list[i])->sin6_addr;
        int rest = 0;
        for (size_t b = sizeof(struct sockaddr_in6); b < sizeof list[i]; b++)
            rest |= ((char *)&list[i])[b];
        say(" %s %d %d", inet_ntop(f->family, address, text, sizeof text), list[i].ss_family, rest);
    }
    say("\n");
}

static long group_filter(const struct family *f, int s, unsigned mode, unsigned count, int interface, int more) {
    static char bytes[GROUP_FILTER_SIZE(70)];
    memset(bytes, 0, sizeof bytes);
    struct group_filter *g = (void *)bytes;
    g->gf_interface = (uint32_t)interface;
    f->put(&g->gf_group, f->group);
    g->gf_fmode = mode;
    g->gf_numsrc = count;
    struct sockaddr_storage *list = (void *)(bytes + GROUP_FILTER_SIZE(0));
    for (unsigned i = 0; i < count; i++) {
        f->put(&list[i], f->one);
        ((char *)&list[i])[7] = (char)(f->family == AF_INET ? i : 0);
        ((char *)&list[i])[23] = (char)(f->family == AF_INET ? 0 : i);
    }
    return setsockopt(s, f->level, MCAST_MSFILTER, g, (socklen_t)(GROUP_FILTER_SIZE(count) + (size_t)more));
}

static void both_families(const struct family *f, unsigned most) {
    int s = MUST(socket(f->family, SOCK_DGRAM, 0));
    const char *unicast = f->one;
    R(group(f, s, MCAST_JOIN_GROUP, unicast, 1, sizeof(struct group_req)));
    R(group(f, s, MCAST_LEAVE_GROUP, f->group, 1, sizeof(struct group_req)));
    R(group(f, s, MCAST_JOIN_GROUP, f->group, 77, sizeof(struct group_req)));
    R(group(f, s, MCAST_JOIN_GROUP, f->group, 1, sizeof(struct group_req) - 1));
    R(group(f, s, MCAST_JOIN_GROUP, f->group, 1, sizeof(struct group_req)));
    R(group(f, s, MCAST_JOIN_GROUP, f->group, 1, sizeof(struct group_req)));
    R(of_source(f, s, MCAST_UNBLOCK_SOURCE, f->one, 1));
    R(of_source(f, s, MCAST_BLOCK_SOURCE, f->one, 1));
    R(of_source(f, s, MCAST_BLOCK_SOURCE, f->two, 1));
    R(of_source(f, s, MCAST_BLOCK_SOURCE, f->two, 1));
    R(of_source(f, s, MCAST_BLOCK_SOURCE, f->two, 77));
    R(of_source(f, s, MCAST_JOIN_SOURCE_GROUP, f->two, 1));
    say_group_filter(f, s, 5);
    R(of_source(f, s, MCAST_UNBLOCK_SOURCE, f->one, 1));
    say_group_filter(f, s, 5);
    R(group(f, s, MCAST_LEAVE_GROUP, f->group, 77, sizeof(struct group_req)));
    R(group(f, s, MCAST_LEAVE_GROUP, f->group, 1, sizeof(struct group_req)));
    R(group(f, s, MCAST_LEAVE_GROUP, f->group, 1, sizeof(struct group_req)));
    say_group_filter(f, s, 5);
    R(of_source(f, s, MCAST_LEAVE_SOURCE_GROUP, f->one, 1));
    R(of_source(f, s, MCAST_JOIN_SOURCE_GROUP, f->one, 1));
    R(of_source(f, s, MCAST_JOIN_SOURCE_GROUP, f->two, 1));
    R(of_source(f, s, MCAST_LEAVE_SOURCE_GROUP, f->one, 1));
    say_group_filter(f, s, 5);
    R(of_source(f, s, MCAST_LEAVE_SOURCE_GROUP, f->two, 1));
    R(of_source(f, s, MCAST_LEAVE_SOURCE_GROUP, f->two, 1));
    R(group_filter(f, s, MCAST_INCLUDE, 1, 1, 0));
    R(group_filter(f, s, MCAST_INCLUDE, 0, 1, 0));
    R(group(f, s, MCAST_JOIN_GROUP, f->group, 1, sizeof(struct group_req)));
    R(group_filter(f, s, MCAST_INCLUDE, most, 1, 0));
    say_group_filter(f, s, 2);
    say_group_filter(f, s, 70);
    R(group_filter(f, s, MCAST_INCLUDE, most + 1, 1, 0));
    R(group_filter(f, s, MCAST_INCLUDE, 2, 1, -1));
    R(group_filter(f, s, MCAST_INCLUDE, 0, 1, -1));
    R(group_filter(f, s, 3, 2, 1, 0));
    R(group_filter(f, s, MCAST_EXCLUDE, 2, 77, 0));
    R(group_filter(f, s, MCAST_EXCLUDE, 2, 1, 0));
    say_group_filter(f, s, 2);
    R(group_filter(f, s, MCAST_INCLUDE, 0, 1, 0));
    say_group_filter(f, s, 2);
    socklen_t size = GROUP_FILTER_SIZE(0) - 1;
    char bytes[GROUP_FILTER_SIZE(0)] = {0};
    R(getsockopt(s, f->level, MCAST_MSFILTER, bytes, &size));
    size = sizeof bytes;
    R(getsockopt(s, f->level, MCAST_MSFILTER, bytes, &size));
    /* Addresses of the other family. */
    struct family wrong = *f;
    wrong.put = f->put == put4 ? put6 : put4;
    wrong.group = f->put == put4 ? "ff05::77" : GROUP;
    wrong.one = f->put == put4 ? "fd00::1" : "10.0.0.1";
    R(group(&wrong, s, MCAST_JOIN_GROUP, wrong.group, 1, sizeof(struct group_req)));
    R(of_source(&wrong, s, MCAST_JOIN_SOURCE_GROUP, wrong.one, 1));
    R(group_filter(&wrong, s, MCAST_INCLUDE, 1, 1, 0));
    say_group_filter(&wrong, s, 2);
}

CASE(source_groups) {
    struct family f = {IPPROTO_IP, AF_INET, 1, GROUP, "10.0.0.1", "10.0.0.2", put4};
    both_families(&f, 10);
}

CASE(source_groups_v6) {
    struct family f = {IPPROTO_IPV6, AF_INET6, 1, "ff05::77", "fd00::1", "fd00::2", put6};
    both_families(&f, 64);
    int s = MUST(socket(AF_INET6, SOCK_DGRAM, 0));
    /* Whichever interface is meant once it is a member. */
    R(group(&f, s, MCAST_JOIN_GROUP, f.group, 1, sizeof(struct group_req)));
    R(group(&f, s, MCAST_JOIN_GROUP, f.group, 0, sizeof(struct group_req)));
    R(group(&f, s, MCAST_LEAVE_GROUP, f.group, 0, sizeof(struct group_req)));
    R(group(&f, s, MCAST_LEAVE_GROUP, f.one, 0, sizeof(struct group_req)));
    /* A socket of IPv6 takes the options of IPv4, too. */
    struct family four = {IPPROTO_IP, AF_INET, 1, GROUP, "10.0.0.1", "10.0.0.2", put4};
    R(of_source(&four, s, MCAST_JOIN_SOURCE_GROUP, four.one, 1));
    say_group_filter(&four, s, 5);
}
