/* Counters of the protocols and tables of the network: proc_pid_net(5). */
#include "abi.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

/* Where namespaces exist, goes into one with a loopback interface alone, so that nobody else counts. */
static void alone(void) {
    if (unshare(CLONE_NEWNET) != 0) {
        if (errno != ENOSYS && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
            MUST(-1);
        if (errno == ENOSYS)
            return;
    }
    struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int s = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    MUST(ioctl(s, SIOCSIFFLAGS, &r));
    MUST(close(s));
}

/* Returns a counter of snmp or netstat, or -1 without it. */
static long count(const char *file, const char *protocol, const char *name) {
    char path[64], names[4096], values[4096];
    snprintf(path, sizeof path, "/proc/self/net/%s", file);
    FILE *f = fopen(path, "r");
    MUST(f ? 0 : -1);
    long found = -1;
    while (found == -1 && fgets(names, sizeof names, f) && fgets(values, sizeof values, f)) {
        size_t len = strlen(protocol);
        if (strncmp(names, protocol, len) || names[len] != ':')
            continue;
        char *n, *v, *value = strtok_r(values, " \n", &v);
        for (char *word = strtok_r(names, " \n", &n); word && value; word = strtok_r(0, " \n", &n)) {
            if (!strcmp(word, name))
                found = atol(value);
            value = strtok_r(0, " \n", &v);
        }
    }
    fclose(f);
    return found;
}

/* Returns a counter of snmp6, or -1 without it. */
static long count6(const char *name) {
    char line[128], word[64];
    long value, found = -1;
    FILE *f = fopen("/proc/self/net/snmp6", "r");
    MUST(f ? 0 : -1);
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "%63s %ld", word, &value) == 2 && !strcmp(word, name))
            found = value;
    fclose(f);
    return found;
}

#define MOST 16
static struct counter {
    const char *file, *protocol, *name;
    long before;
} counters[MOST];
static int counter_count;

static long now(const struct counter *c) {
    return c->protocol ? count(c->file, c->protocol, c->name) : count6(c->name);
}

static void watch(const char *file, const char *protocol, const char *name) {
    struct counter *c = &counters[counter_count++];
    *c = (struct counter){file, protocol, name, 0};
    c->before = now(c);
}

/* Writes how much the counters that are watched have grown. */
static void say_counts(const char *when) {
    say("%s:", when);
    for (struct counter *c = counters; c < counters + counter_count; c++) {
        long value = now(c);
        say(" %s %ld", c->name, value - c->before);
        c->before = value;
    }
    say("\n");
}

static void has(const char *file, const char *protocol, const char *const *names) {
    for (; *names; names++)
        say("%s %s %s: %d\n", file, protocol ? protocol : "", *names,
            (protocol ? count(file, protocol, *names) : count6(*names)) != -1);
}

CASE(netcount_names) {
    static const char *const ip[] = {"Forwarding", "DefaultTTL", "InReceives", "InHdrErrors", "InAddrErrors",
                                     "ForwDatagrams", "InUnknownProtos", "InDiscards", "InDelivers", "OutRequests",
                                     "OutDiscards", "OutNoRoutes", "ReasmTimeout", "ReasmReqds", "ReasmOKs",
                                     "ReasmFails", "FragOKs", "FragFails", "FragCreates", 0};
    static const char *const icmp[] = {"InMsgs", "InErrors", "InCsumErrors", "InDestUnreachs", "InTimeExcds", "InEchos",
                                       "InAddrMaskReps", "OutMsgs", "OutErrors", "OutDestUnreachs", "OutEchoReps",
                                       "OutAddrMaskReps", 0};
    static const char *const tcp[] = {"RtoAlgorithm", "RtoMin", "RtoMax", "MaxConn", "ActiveOpens", "PassiveOpens",
                                      "AttemptFails", "EstabResets", "CurrEstab", "InSegs", "OutSegs", "RetransSegs",
                                      "InErrs", "OutRsts", "InCsumErrors", 0};
    static const char *const udp[] = {"InDatagrams", "NoPorts", "InErrors", "OutDatagrams", "RcvbufErrors",
                                      "SndbufErrors", "InCsumErrors", "IgnoredMulti", "MemErrors", 0};
    static const char *const ext[] = {"SyncookiesSent", "SyncookiesRecv", "SyncookiesFailed", "EmbryonicRsts", "TW",
                                      "ListenOverflows", "ListenDrops", "TCPTimeWaitOverflow", "TCPReqQFullDoCookies",
                                      0};
    static const char *const ip_ext[] = {"InNoRoutes", "InTruncatedPkts", "InMcastPkts", "OutMcastPkts", "InBcastPkts",
                                         "OutBcastPkts", "InOctets", "OutOctets", "InMcastOctets", "OutMcastOctets",
                                         "InCsumErrors", "InNoECTPkts", "InECT1Pkts", "InECT0Pkts", "InCEPkts", 0};
    static const char *const six[] = {"Ip6InReceives", "Ip6InDelivers", "Ip6OutRequests", "Ip6OutNoRoutes",
                                      "Ip6InMcastPkts", "Ip6InOctets", "Ip6InNoECTPkts", "Icmp6InMsgs", "Icmp6OutMsgs",
                                      "Icmp6InEchos", "Icmp6OutMLDv2Reports", "Udp6InDatagrams", "Udp6NoPorts",
                                      "Udp6MemErrors", "UdpLite6MemErrors", "UdpLite6IgnoredMulti", 0};
    has("snmp", "Ip", ip);
    has("snmp", "Icmp", icmp);
    has("snmp", "Tcp", tcp);
    has("snmp", "Udp", udp);
    has("snmp", "UdpLite", udp);
    has("netstat", "TcpExt", ext);
    has("netstat", "IpExt", ip_ext);
    has("snmp6", 0, six);
    say("%ld %ld %ld %ld %ld\n", count("snmp", "Ip", "DefaultTTL"), count("snmp", "Tcp", "RtoAlgorithm"),
        count("snmp", "Tcp", "RtoMin"), count("snmp", "Tcp", "RtoMax"), count("snmp", "Tcp", "MaxConn"));
    static const char *const files[] = {"arp", "igmp", "ipv6_route", "netstat", "snmp", "snmp6"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[64], line[4096];
        struct stat st;
        snprintf(path, sizeof path, "/proc/net/%s", files[i]);
        MUST(stat(path, &st));
        FILE *f = fopen(path, "r");
        MUST(f && fgets(line, sizeof line, f) ? 0 : -1);
        /* The first route is that of a network. */
        const char *start = strcmp(files[i], "ipv6_route") ? line : "";
        say("%s %o %ld: %.25s\n", files[i], st.st_mode, (long)st.st_size, start);
        fclose(f);
    }
}

static int inet(int family, int kind, struct sockaddr_storage *at, socklen_t *len) {
    int s = MUST(socket(family, kind, 0));
    memset(at, 0, sizeof *at);
    if (family == AF_INET) {
        *(struct sockaddr_in *)at =
            (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        *len = sizeof(struct sockaddr_in);
    } else {
        *(struct sockaddr_in6 *)at = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
        *len = sizeof(struct sockaddr_in6);
    }
    MUST(bind(s, (void *)at, *len));
    MUST(getsockname(s, (void *)at, len));
    return s;
}

static void connections(int family) {
    struct sockaddr_storage at, none;
    socklen_t len, none_len;
    int listener = inet(family, SOCK_STREAM, &at, &len);
    MUST(close(inet(family, SOCK_STREAM, &none, &none_len)));
    MUST(listen(listener, 0));
    int c = MUST(socket(family, SOCK_STREAM, 0));
    MUST(connect(c, (void *)&at, len));
    int s = MUST(accept(listener, 0, 0));
    MUST(send(c, "hello", 5, 0));
    sleep_ms(100);
    say_counts("connected");
    MUST(close(s));
    sleep_ms(50);
    say_counts("closed with data unread");
    MUST(close(c));
    c = MUST(socket(family, SOCK_STREAM, 0));
    R(connect(c, (void *)&none, none_len));
    say_counts("refused");
    MUST(close(c));
    c = MUST(socket(family, SOCK_STREAM, 0));
    MUST(connect(c, (void *)&at, len));
    s = MUST(accept(listener, 0, 0));
    MUST(close(c));
    sleep_ms(50);
    say_counts("one end closed");
    MUST(close(s));
    sleep_ms(50);
    say_counts("the other, too");
    /* One waits to be accepted; the next is not let in. */
    int first = MUST(socket(family, SOCK_STREAM, 0)), second = MUST(socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0));
    MUST(connect(first, (void *)&at, len));
    say_counts("one waits");
    R(connect(second, (void *)&at, len));
    sleep_ms(100);
    say_counts("another is not let in");
    MUST(close(second));
    MUST(close(listener));
    sleep_ms(50);
    say_counts("listener closed");
}

CASE(netcount_tcp) {
    alone();
    static const char *const names[] = {"ActiveOpens", "PassiveOpens", "AttemptFails", "EstabResets", "CurrEstab",
                                        "OutRsts", "RetransSegs", "InErrs", "InCsumErrors"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        watch("snmp", "Tcp", names[i]);
    watch("netstat", "TcpExt", "ListenOverflows");
    watch("netstat", "TcpExt", "ListenDrops");
    long in = count("snmp", "Tcp", "InSegs"), out = count("snmp", "Tcp", "OutSegs");
    connections(AF_INET);
    connections(AF_INET6);
    in = count("snmp", "Tcp", "InSegs") - in;
    out = count("snmp", "Tcp", "OutSegs") - out;
    say("as many came as went: %d, some: %d\n", in == out, in > 20);
}

static void datagrams(int family, const char *in_errors, const char *full) {
    char bytes[1000] = {0};
    struct sockaddr_storage at, none;
    socklen_t len, none_len;
    int s = inet(family, SOCK_DGRAM, &at, &len), c = MUST(socket(family, SOCK_DGRAM, 0));
    MUST(close(inet(family, SOCK_DGRAM, &none, &none_len)));
    for (int i = 0; i < 3; i++)
        MUST(sendto(c, bytes, 10, 0, (void *)&at, len));
    say_counts("three sent");
    R(recv(s, bytes, sizeof bytes, MSG_PEEK));
    say_counts("looked at");
    R(recv(s, bytes, sizeof bytes, 0));
    R(recv(s, bytes, sizeof bytes, 0));
    say_counts("two received");
    MUST(sendto(c, bytes, 10, 0, (void *)&none, none_len));
    sleep_ms(20);
    say_counts("to nobody");
    int small = 2304;
    MUST(setsockopt(s, SOL_SOCKET, SO_RCVBUF, &small, sizeof small));
    long errors = family == AF_INET ? count("snmp", "Udp", in_errors) : count6(in_errors);
    long lost = family == AF_INET ? count("snmp", "Udp", full) : count6(full);
    for (int i = 0; i < 50; i++)
        MUST(sendto(c, bytes, sizeof bytes, 0, (void *)&at, len));
    errors = (family == AF_INET ? count("snmp", "Udp", in_errors) : count6(in_errors)) - errors;
    lost = (family == AF_INET ? count("snmp", "Udp", full) : count6(full)) - lost;
    int received = 0;
    while (recv(s, bytes, sizeof bytes, MSG_DONTWAIT) >= 0)
        received++;
    /* One of the three was there before. */
    say("lost some %d, as many errors %d, the others received %d\n", lost > 0, errors == lost, received + lost == 51);
}

CASE(netcount_udp) {
    alone();
    watch("snmp", "Udp", "InDatagrams");
    watch("snmp", "Udp", "OutDatagrams");
    watch("snmp", "Udp", "NoPorts");
    watch("snmp", "Ip", "InReceives");
    watch("snmp", "Ip", "InDelivers");
    watch("snmp", "Ip", "OutRequests");
    watch("netstat", "IpExt", "InOctets");
    watch("netstat", "IpExt", "OutOctets");
    watch("netstat", "IpExt", "InNoECTPkts");
    watch("snmp", "Icmp", "InMsgs");
    watch("snmp", "Icmp", "InDestUnreachs");
    watch("snmp", "Icmp", "OutMsgs");
    watch("snmp", "Icmp", "OutDestUnreachs");
    datagrams(AF_INET, "InErrors", "RcvbufErrors");
}

CASE(netcount_udp6) {
    alone();
    /* Whoever gets an address tells the network of its groups. */
    sleep_ms(100);
    watch(0, 0, "Udp6InDatagrams");
    watch(0, 0, "Udp6OutDatagrams");
    watch(0, 0, "Udp6NoPorts");
    watch(0, 0, "Icmp6InDestUnreachs");
    watch(0, 0, "Icmp6OutDestUnreachs");
    datagrams(AF_INET6, "Udp6InErrors", "Udp6RcvbufErrors");
}

/* Writes the groups of lo. */
static void say_groups(const char *when) {
    char line[128];
    int is_lo = 0;
    FILE *f = fopen("/proc/self/net/igmp", "r");
    MUST(f ? 0 : -1);
    say("%s:\n", when);
    while (fgets(line, sizeof line, f)) {
        if (line[0] != '\t')
            is_lo = strstr(line, "lo  ") != 0;
        if (is_lo)
            say("%s", line);
    }
    fclose(f);
}

CASE(netcount_groups) {
    alone();
    struct ip_mreq m = {{inet_addr("239.1.2.3")}, {htonl(INADDR_LOOPBACK)}};
    say_groups("before");
    int s = MUST(socket(AF_INET, SOCK_DGRAM, 0)), t = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    MUST(setsockopt(s, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof m));
    say_groups("joined");
    MUST(setsockopt(t, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof m));
    m.imr_multiaddr.s_addr = inet_addr("224.0.0.1");
    MUST(setsockopt(t, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof m));
    say_groups("joined by both");
    MUST(close(s));
    MUST(close(t));
    say_groups("left");
    char line[256];
    FILE *f = fopen("/proc/self/net/ipv6_route", "r");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "00000000000000000000000000000001", 32))
            say("%.*s %s", 113, line, line + 132);
}
