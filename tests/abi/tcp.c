/* TCP's finer points: tcp(7), socket(7). */
#include "abi.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>

static void connected(int *a, int *b) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int listener = MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(bind(listener, (void *)&at, sizeof at));
    MUST(listen(listener, 5));
    MUST(getsockname(listener, (void *)&at, &size));
    *a = MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(connect(*a, (void *)&at, size));
    *b = MUST(accept(listener, NULL, NULL));
    MUST(close(listener));
}

static int readable(int fd, int wait_ms) {
    struct pollfd p = {fd, POLLIN, 0};
    return poll(&p, 1, wait_ms);
}

static void drain(int fd, int expected) {
    char buf[256];
    int n = 0;
    while (n < expected) {
        int got = recv(fd, buf, sizeof buf, 0);
        if (got <= 0)
            break;
        n += got;
    }
    say("came %d\n", n);
}

CASE(tcp_cork) {
    int a, b, on = 1, off = 0;
    connected(&a, &b);
    R(setsockopt(a, IPPROTO_TCP, TCP_CORK, &on, sizeof on));
    R(send(a, "head", 4, 0));
    R(send(a, "body", 4, 0));
    /* Linux holds a part of a segment back for 200 ms at most. */
    R(readable(b, 50));
    R(setsockopt(a, IPPROTO_TCP, TCP_CORK, &off, sizeof off));
    R(readable(b, 10000));
    drain(b, 8);
    R(setsockopt(a, IPPROTO_TCP, TCP_CORK, &on, sizeof on));
    R(send(a, "more", 4, 0));
    R(readable(b, 10000));
    drain(b, 4);
    R(send(a, "end", 3, 0));
    R(shutdown(a, SHUT_WR));
    drain(b, 3);
}

CASE(tcp_more) {
    int a, b, on = 1;
    connected(&a, &b);
    R(setsockopt(a, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
    R(send(a, "head", 4, MSG_MORE));
    R(readable(b, 50));
    R(send(a, "body", 4, 0));
    R(readable(b, 10000));
    drain(b, 8);
    int fd = MUST(open("f", O_CREAT | O_RDWR, 0600));
    MUST(write(fd, "of the file", 11));
    off_t from = 0;
    R(send(a, "head ", 5, MSG_MORE));
    R(sendfile(a, fd, &from, 11));
    drain(b, 16);
}

CASE(tcp_option_values) {
    int a, b;
    connected(&a, &b);
    static const struct {
        int level, name;
        const char *text;
        int value;
    } options[] = {{SOL_SOCKET, SO_KEEPALIVE, "SO_KEEPALIVE", 1},
                   {SOL_SOCKET, SO_REUSEADDR, "SO_REUSEADDR", 1},
                   {SOL_SOCKET, SO_REUSEPORT, "SO_REUSEPORT", 1},
                   {SOL_SOCKET, SO_BROADCAST, "SO_BROADCAST", 1},
                   {SOL_SOCKET, SO_OOBINLINE, "SO_OOBINLINE", 1},
                   {SOL_SOCKET, SO_DONTROUTE, "SO_DONTROUTE", 1},
                   {SOL_SOCKET, SO_PRIORITY, "SO_PRIORITY", 6},
                   {SOL_SOCKET, SO_RCVLOWAT, "SO_RCVLOWAT", 3},
                   {SOL_SOCKET, SO_TIMESTAMP, "SO_TIMESTAMP", 1},
                   {IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY", 1},
                   {IPPROTO_TCP, TCP_KEEPIDLE, "TCP_KEEPIDLE", 77},
                   {IPPROTO_TCP, TCP_KEEPINTVL, "TCP_KEEPINTVL", 7},
                   {IPPROTO_TCP, TCP_KEEPCNT, "TCP_KEEPCNT", 3},
                   {IPPROTO_TCP, TCP_USER_TIMEOUT, "TCP_USER_TIMEOUT", 5000},
                   {IPPROTO_IP, IP_TOS, "IP_TOS", 16},
                   {IPPROTO_IP, IP_TTL, "IP_TTL", 33}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        int value = options[i].value, back = -1;
        socklen_t size = sizeof back;
        errno = 0;
        int set = setsockopt(a, options[i].level, options[i].name, &value, sizeof value);
        int set_error = errno, get = getsockopt(a, options[i].level, options[i].name, &back, &size);
        say("%s: %d %s, %d %d size %d\n", options[i].text, set, set ? strerrorname_np(set_error) : "", get, back, size);
    }
}

static int segment_of(int fd) {
    int value = -1;
    socklen_t size = sizeof value;
    MUST(getsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &value, &size));
    return value;
}

/* What is set before holds for both ways, and for who is accepted. */
CASE(tcp_longest_segment) {
    for (int n = 0; n < 3; n++) {
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof at;
        int l = MUST(socket(AF_INET, SOCK_STREAM, 0)), c = MUST(socket(AF_INET, SOCK_STREAM, 0)), most = 1200;
        say("%d %d\n", segment_of(l), segment_of(c));
        if (n)
            R(setsockopt(n == 1 ? l : c, IPPROTO_TCP, TCP_MAXSEG, &most, sizeof most));
        say("%d %d\n", segment_of(l), segment_of(c));
        MUST(bind(l, (void *)&at, sizeof at));
        MUST(listen(l, 5));
        MUST(getsockname(l, (void *)&at, &size));
        MUST(connect(c, (void *)&at, size));
        int a = MUST(accept(l, NULL, NULL));
        say("%d %d %d\n", segment_of(l), n ? segment_of(c) : 0, n ? segment_of(a) : 0);
        close(a), close(c), close(l);
    }
    static const int odd[] = {-1, 0, 1, 87, 88, 32767, 32768, 65536 + 1000};
    int s = MUST(socket(AF_INET, SOCK_STREAM, 0));
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        say("%d\n", odd[i]);
        R(setsockopt(s, IPPROTO_TCP, TCP_MAXSEG, &odd[i], sizeof odd[i]));
        say("%d\n", segment_of(s));
    }
}

CASE(tcp_option_facts) {
    int a, b, value = -1;
    connected(&a, &b);
    static const struct {
        int level, name;
        const char *text;
    } facts[] = {{SOL_SOCKET, SO_TYPE, "SO_TYPE"},
                 {SOL_SOCKET, SO_DOMAIN, "SO_DOMAIN"},
                 {SOL_SOCKET, SO_PROTOCOL, "SO_PROTOCOL"},
                 {SOL_SOCKET, SO_ERROR, "SO_ERROR"},
                 {SOL_SOCKET, SO_ACCEPTCONN, "SO_ACCEPTCONN"},
                 {SOL_SOCKET, SO_SNDLOWAT, "SO_SNDLOWAT"},
                 {SOL_SOCKET, SO_KEEPALIVE, "SO_KEEPALIVE"},
                 {IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY"},
                 {IPPROTO_TCP, TCP_CORK, "TCP_CORK"},
                 {IPPROTO_TCP, TCP_KEEPIDLE, "TCP_KEEPIDLE"},
                 {IPPROTO_TCP, TCP_KEEPINTVL, "TCP_KEEPINTVL"},
                 {IPPROTO_TCP, TCP_KEEPCNT, "TCP_KEEPCNT"},
                 {IPPROTO_IP, IP_TOS, "IP_TOS"},
                 {IPPROTO_IP, IP_TTL, "IP_TTL"},
                 {SOL_SOCKET, 9999, "unknown"},
                 {IPPROTO_TCP, 9999, "unknown"},
                 {9999, 1, "unknown level"}};
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        socklen_t size = sizeof value;
        value = -1;
        errno = 0;
        int result = getsockopt(a, facts[i].level, facts[i].name, &value, &size);
        say("%s: %d %s %d\n", facts[i].text, result, result ? strerrorname_np(errno) : "", value);
    }
    socklen_t short_size = 1;
    unsigned char byte = 9;
    R(getsockopt(a, SOL_SOCKET, SO_TYPE, &byte, &short_size));
    say("%d %d\n", byte, short_size);
    int bad = -1;
    R(setsockopt(a, SOL_SOCKET, SO_KEEPALIVE, &bad, 2));
    R(setsockopt(a, SOL_SOCKET, SO_TYPE, &bad, sizeof bad));
    R(setsockopt(a, IPPROTO_TCP, TCP_KEEPIDLE, &bad, sizeof bad));
    R(setsockopt(a, SOL_SOCKET, SO_KEEPALIVE, NULL, sizeof bad));
    R(setsockopt(1, SOL_SOCKET, SO_KEEPALIVE, &bad, sizeof bad));
    R(getsockopt(a, SOL_SOCKET, SO_TYPE, &bad, NULL));
    struct linger linger = {1, 5}, got = {0};
    socklen_t size = sizeof got;
    R(setsockopt(a, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    R(getsockopt(a, SOL_SOCKET, SO_LINGER, &got, &size));
    say("%d %d\n", got.l_onoff, got.l_linger);
    struct timeval wait = {1, 500000}, told = {0};
    size = sizeof told;
    R(setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait));
    R(getsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &told, &size));
    say("%ld.%06ld\n", (long)told.tv_sec, (long)told.tv_usec);
}

CASE(tcp_receive_timeout) {
    int a, b;
    connected(&a, &b);
    struct timeval wait = {0, 50000};
    MUST(setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait));
    char buf[8];
    long begin = now_ms();
    R(recv(a, buf, sizeof buf, 0));
    say("waited %d\n", now_ms() - begin >= 49);
    R(recv(a, buf, sizeof buf, MSG_DONTWAIT));
}

CASE(tcp_peek_and_wait_all) {
    int a, b;
    connected(&a, &b);
    char buf[16] = {0};
    MUST(send(a, "abcdef", 6, 0));
    readable(b, 10000);
    R(recv(b, buf, 3, MSG_PEEK));
    R(recv(b, buf, 3, 0));
    say("%.3s\n", buf);
    R(recv(b, buf, 2, MSG_TRUNC));
    int unread = -1;
    R(ioctl(b, FIONREAD, &unread));
    say("%d\n", unread);
    pid_t child = MUST(fork());
    if (child == 0) {
        sleep_ms(20);
        send(a, "xy", 2, 0);
        sleep_ms(20);
        send(a, "z", 1, 0);
        _exit(0);
    }
    R(recv(b, buf, 4, MSG_WAITALL));
    say("%.4s\n", buf);
    reap("sender", child);
    R(recv(b, buf, 4, MSG_OOB));
    R(recv(b, buf, 4, MSG_ERRQUEUE));
}

CASE(tcp_information) {
    int a, b;
    connected(&a, &b);
    struct tcp_info info;
    memset(&info, 0xff, sizeof info);
    socklen_t size = 104;
    R(getsockopt(a, IPPROTO_TCP, TCP_INFO, &info, &size));
    say("size %d state %d\n", size, info.tcpi_state);
    MUST(shutdown(a, SHUT_WR));
    char c;
    R(recv(b, &c, 1, 0));
    R(getsockopt(b, IPPROTO_TCP, TCP_INFO, &info, &size));
    say("state %d\n", info.tcpi_state);
    int value = 0;
    size = sizeof value;
    R(getsockopt(a, IPPROTO_TCP, TCP_MAXSEG, &value, &size));
    say("%d\n", value > 500);
}

/* What comes after the peer's FIN does not keep anybody from reading to the end: SOCK_DONE. */
CASE(tcp_end_before_reset) {
    for (int has_asked = 0; has_asked < 2; has_asked++) {
        int a, b;
        connected(&a, &b);
        char buf[16] = {0};
        MUST(send(a, "last words", 10, 0));
        MUST(shutdown(a, SHUT_WR));
        MUST(send(b, "too late", 8, 0));
        readable(a, 10000);
        /* Closing with unread data resets the connection. */
        MUST(close(a));
        struct pollfd reset = {.fd = b};
        R(poll(&reset, 1, 10000));
        say("events %x\n", reset.revents);
        int error = 0;
        socklen_t size = sizeof error;
        if (has_asked) {
            R(getsockopt(b, SOL_SOCKET, SO_ERROR, &error, &size));
            say("error %d\n", error);
        }
        R(recv(b, buf, 4, 0));
        R(recv(b, buf, sizeof buf, 0));
        R(recv(b, buf, sizeof buf, 0));
        R(recv(b, buf, sizeof buf, MSG_PEEK));
        R(send(b, "x", 1, MSG_NOSIGNAL));
        R(recv(b, buf, sizeof buf, 0));
        R(getsockopt(b, SOL_SOCKET, SO_ERROR, &error, &size));
        say("error %d\n", error);
        R(send(b, "x", 1, MSG_NOSIGNAL));
        MUST(close(b));
    }
}

/* What an accepted connection has of its listener: all that the listener had when the connection was made. */
CASE(tcp_inherits) {
    static const struct {
        int level, name, value;
    } set[] = {
        {SOL_SOCKET, SO_DEBUG, 1},       {SOL_SOCKET, SO_REUSEADDR, 1},    {SOL_SOCKET, SO_DONTROUTE, 1},
        {SOL_SOCKET, SO_BROADCAST, 1},   {SOL_SOCKET, SO_KEEPALIVE, 1},    {SOL_SOCKET, SO_OOBINLINE, 1},
        {SOL_SOCKET, SO_REUSEPORT, 1},   {SOL_SOCKET, SO_TIMESTAMP, 1},    {SOL_SOCKET, SO_PRIORITY, 3},
        {SOL_SOCKET, SO_MARK, 9},        {SOL_SOCKET, SO_RCVLOWAT, 7},     {SOL_SOCKET, SO_SNDBUF, 30000},
        {SOL_SOCKET, SO_RCVBUF, 40000},  {IPPROTO_TCP, TCP_NODELAY, 1},    {IPPROTO_TCP, TCP_CORK, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, 77}, {IPPROTO_TCP, TCP_KEEPINTVL, 11}, {IPPROTO_TCP, TCP_KEEPCNT, 3},
        {IPPROTO_TCP, TCP_LINGER2, 20},  {IPPROTO_TCP, TCP_SYNCNT, 2},     {IPPROTO_TCP, TCP_USER_TIMEOUT, 4321},
        {IPPROTO_IP, IP_TTL, 33},        {IPPROTO_IP, IP_TOS, 0x10},       {IPPROTO_IP, IP_RECVTOS, 1},
        {IPPROTO_IP, IP_RECVTTL, 1},     {IPPROTO_IP, IP_PKTINFO, 1},      {IPPROTO_IP, IP_RECVERR, 1},
    };
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    struct linger linger = {1, 5};
    struct timeval receive = {3, 500000}, send = {4, 0}, time;
    int listener = MUST(socket(AF_INET, SOCK_STREAM, 0)), a = MUST(socket(AF_INET, SOCK_STREAM, 0));
    for (size_t n = 0; n < sizeof set / sizeof *set; n++)
        OK(setsockopt(listener, set[n].level, set[n].name, &set[n].value, sizeof(int)));
    OK(setsockopt(listener, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    OK(setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &receive, sizeof receive));
    OK(setsockopt(listener, SOL_SOCKET, SO_SNDTIMEO, &send, sizeof send));
    MUST(bind(listener, (void *)&at, sizeof at));
    MUST(listen(listener, 5));
    MUST(getsockname(listener, (void *)&at, &size));
    MUST(connect(a, (void *)&at, size));
    int b = MUST(accept(listener, NULL, NULL));
    for (size_t n = 0; n < sizeof set / sizeof *set; n++) {
        int value = -1;
        size = sizeof value;
        R(getsockopt(b, set[n].level, set[n].name, &value, &size));
        say("%d %d: %d\n", set[n].level, set[n].name, value);
    }
    size = sizeof linger;
    R(getsockopt(b, SOL_SOCKET, SO_LINGER, &linger, &size));
    say("linger %d %d\n", linger.l_onoff, linger.l_linger);
    for (int name = SO_RCVTIMEO; name <= SO_SNDTIMEO; name++) {
        size = sizeof time;
        R(getsockopt(b, SOL_SOCKET, name, &time, &size));
        say("time %ld %ld\n", (long)time.tv_sec, (long)time.tv_usec);
    }
}
