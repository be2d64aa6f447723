/* Multicast on the loopback interface: ip(7), ipv6(7). */
#include "abi.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

static const int on = 1, off = 0, two = 2;

static struct sockaddr_in at(const char *ip, int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, ip, &a.sin_addr);
    return a;
}

static int bound(const char *ip) {
    struct sockaddr_in a = at(ip, 5901);
    int s = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    MUST(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
    R(bind(s, (void *)&a, sizeof a));
    return s;
}

static long heard(int s) {
    char bytes[16];
    return recv(s, bytes, sizeof bytes, MSG_DONTWAIT);
}

static long set(int s, int option, const void *value, socklen_t size) {
    return setsockopt(s, IPPROTO_IP, option, value, size);
}

static long set6(int s, int option, const void *value, socklen_t size) {
    return setsockopt(s, IPPROTO_IPV6, option, value, size);
}

static int get(int s, int level, int option) {
    int value = -1;
    socklen_t size = sizeof value;
    R(getsockopt(s, level, option, &value, &size));
    say("size %d\n", (int)size);
    return value;
}

static struct ip_mreq request(const char *group, const char *interface) {
    struct ip_mreq m;
    inet_pton(AF_INET, group, &m.imr_multiaddr);
    inet_pton(AF_INET, interface, &m.imr_interface);
    return m;
}

CASE(multicast_members) {
    struct sockaddr_in to = at("239.1.2.3", 5901);
    struct ip_mreq m = request("239.1.2.3", "127.0.0.1");
    int any = bound("0.0.0.0"), other = bound("0.0.0.0"), group = bound("239.1.2.3"), host = bound("127.0.0.1");
    int sender = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    R(set(sender, IP_MULTICAST_IF, &m.imr_interface, sizeof m.imr_interface));
    R(sendto(sender, "none", 4, 0, (void *)&to, sizeof to));
    R(heard(any));
    R(set(any, IP_ADD_MEMBERSHIP, &m, sizeof m));
    R(set(any, IP_ADD_MEMBERSHIP, &m, sizeof m));
    R(sendto(sender, "one", 3, 0, (void *)&to, sizeof to));
    R(heard(any));
    R(heard(other));
    R(heard(group));
    R(heard(host));
    /* Who wants only what it joined itself; who wants its own not to be heard, which this interface does not heed. */
    R(set(other, IP_MULTICAST_ALL, &off, sizeof off));
    R(set(sender, IP_MULTICAST_LOOP, &off, sizeof off));
    R(sendto(sender, "two", 3, 0, (void *)&to, sizeof to));
    R(heard(any));
    R(heard(other));
    R(heard(group));
    R(set(any, IP_DROP_MEMBERSHIP, &m, sizeof m));
    R(set(any, IP_DROP_MEMBERSHIP, &m, sizeof m));
    R(sendto(sender, "three", 5, 0, (void *)&to, sizeof to));
    R(heard(any));
    R(set(any, IP_ADD_MEMBERSHIP, &m, sizeof m));
    MUST(close(any));
    R(sendto(sender, "four", 4, 0, (void *)&to, sizeof to));
    R(heard(group));
}

CASE(multicast_requests) {
    struct ip_mreq m = request("10.0.0.1", "127.0.0.1");
    struct ip_mreqn n = {.imr_ifindex = 1};
    inet_pton(AF_INET, "239.1.2.3", &n.imr_multiaddr);
    int s = bound("0.0.0.0");
    R(set(s, IP_ADD_MEMBERSHIP, &n, sizeof n));
    R(set(s, IP_ADD_MEMBERSHIP, &n, 7));
    n.imr_ifindex = 77;
    R(set(s, IP_ADD_MEMBERSHIP, &n, sizeof n));
    R(set(s, IP_DROP_MEMBERSHIP, &n, sizeof n));
    n.imr_ifindex = 0;
    inet_pton(AF_INET, "10.99.98.97", &n.imr_address);
    R(set(s, IP_ADD_MEMBERSHIP, &n, sizeof n));
    R(set(s, IP_MULTICAST_IF, &n, sizeof n));
    R(set(s, IP_MULTICAST_IF, &n, 3));
    R(set(s, IP_ADD_MEMBERSHIP, &m, sizeof m));
    R(set(s, IP_DROP_MEMBERSHIP, &m, sizeof m));
    n.imr_ifindex = 1;
    for (unsigned i = 0; i < 21; i++) {
        n.imr_multiaddr.s_addr = htonl(0xef010300u + i);
        if (set(s, IP_ADD_MEMBERSHIP, &n, sizeof n) != 0)
            say("member of %u: %s\n", i + 1, strerrorname_np(errno));
    }
}

CASE(multicast_options) {
    struct in_addr local = {htonl(INADDR_LOOPBACK)};
    int s = bound("0.0.0.0"), tcp = MUST(socket(AF_INET, SOCK_STREAM, 0));
    struct ip_mreq m = request("239.1.2.3", "127.0.0.1");
    R(get(s, IPPROTO_IP, IP_MULTICAST_IF));
    R(set(s, IP_MULTICAST_IF, &local, sizeof local));
    R(get(s, IPPROTO_IP, IP_MULTICAST_IF) == (int)local.s_addr);
    R(get(s, IPPROTO_IP, IP_MULTICAST_LOOP));
    R(set(s, IP_MULTICAST_LOOP, &off, sizeof off));
    R(get(s, IPPROTO_IP, IP_MULTICAST_LOOP));
    R(set(s, IP_MULTICAST_LOOP, &two, sizeof two));
    R(get(s, IPPROTO_IP, IP_MULTICAST_ALL));
    R(set(s, IP_MULTICAST_ALL, &two, sizeof two));
    R(set(s, IP_MULTICAST_ALL, &off, sizeof off));
    R(get(s, IPPROTO_IP, IP_MULTICAST_ALL));
    R(set(s, IP_MULTICAST_TTL, &two, sizeof two));
    R(get(s, IPPROTO_IP, IP_MULTICAST_TTL));
    R(set(tcp, IP_ADD_MEMBERSHIP, &m, sizeof m));
    R(set(tcp, IP_MULTICAST_IF, &local, sizeof local));
    R(set(tcp, IP_MULTICAST_LOOP, &on, sizeof on));
    R(set(tcp, IP_MULTICAST_TTL, &on, sizeof on));
}

CASE(multicast_v6) {
    struct sockaddr_in6 here = {.sin6_family = AF_INET6, .sin6_port = htons(5902)}, to = here;
    struct ipv6_mreq m = {.ipv6mr_interface = 1};
    inet_pton(AF_INET6, "ff05::77", &m.ipv6mr_multiaddr);
    to.sin6_addr = m.ipv6mr_multiaddr;
    const int none = 77;
    int s = MUST(socket(AF_INET6, SOCK_DGRAM, 0)), sender = MUST(socket(AF_INET6, SOCK_DGRAM, 0));
    int tcp = MUST(socket(AF_INET6, SOCK_STREAM, 0));
    R(bind(s, (void *)&here, sizeof here));
    R(set6(s, IPV6_JOIN_GROUP, &m, sizeof m));
    R(set6(s, IPV6_JOIN_GROUP, &m, sizeof m));
    R(set6(s, IPV6_JOIN_GROUP, &m, 19));
    R(get(sender, IPPROTO_IPV6, IPV6_MULTICAST_IF));
    R(set6(sender, IPV6_MULTICAST_IF, &on, sizeof on));
    R(get(sender, IPPROTO_IPV6, IPV6_MULTICAST_IF));
    R(set6(sender, IPV6_MULTICAST_IF, &none, sizeof none));
    R(sendto(sender, "six", 3, 0, (void *)&to, sizeof to));
    R(set6(sender, IPV6_MULTICAST_LOOP, &two, sizeof two));
    R(set6(sender, IPV6_MULTICAST_LOOP, &off, sizeof off));
    R(get(sender, IPPROTO_IPV6, IPV6_MULTICAST_LOOP));
    R(get(sender, IPPROTO_IPV6, IPV6_MULTICAST_HOPS));
    R(set6(s, IPV6_LEAVE_GROUP, &m, sizeof m));
    R(set6(s, IPV6_LEAVE_GROUP, &m, sizeof m));
    m.ipv6mr_interface = 77;
    R(set6(s, IPV6_JOIN_GROUP, &m, sizeof m));
    m = (struct ipv6_mreq){.ipv6mr_interface = 1, .ipv6mr_multiaddr = in6addr_loopback};
    R(set6(s, IPV6_JOIN_GROUP, &m, sizeof m));
    R(set6(s, IPV6_LEAVE_GROUP, &m, sizeof m));
    R(set6(tcp, IPV6_JOIN_GROUP, &m, sizeof m));
    R(set6(tcp, IPV6_MULTICAST_IF, &on, sizeof on));
    R(set6(tcp, IPV6_MULTICAST_LOOP, &on, sizeof on));
    R(set6(tcp, IPV6_MULTICAST_HOPS, &on, sizeof on));
}
