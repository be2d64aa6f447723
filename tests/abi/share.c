/* SO_REUSEPORT: socket(7). Which socket of a group is chosen is a hash; that each gets its share is tested elsewhere. */
#include "abi.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static const int on = 1, off = 0;

static struct sockaddr_in at(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static int sharing(int type, int port, const int *shares, const int *address) {
    struct sockaddr_in a = at(port);
    int s = MUST(socket(AF_INET, type | SOCK_NONBLOCK, 0));
    MUST(setsockopt(s, SOL_SOCKET, SO_REUSEPORT, shares, sizeof on));
    MUST(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, address, sizeof on));
    R(bind(s, (void *)&a, sizeof a));
    return s;
}

static int get(int s, int option) {
    int value = -1;
    socklen_t size = sizeof value;
    getsockopt(s, SOL_SOCKET, option, &value, &size);
    return value;
}

CASE(share_conflicts) {
    for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
        int a = sharing(type, 5921, &on, &off), b = sharing(type, 5921, &on, &off);
        int c = sharing(type, 5921, &off, &off), d = sharing(type, 5921, &off, &on);
        int e = sharing(type, 5921, &on, &on);
        if (type == SOCK_STREAM) {
            R(listen(a, 4));
            R(listen(b, 4));
            R(listen(e, 4));
            R(listen(e, 5));
            int f = sharing(type, 5921, &on, &off), g = sharing(type, 5921, &off, &on);
            R(listen(f, 4));
            (void)g;
        }
        int h = sharing(type, 5922, &off, &off), i = sharing(type, 5922, &on, &off);
        (void)c, (void)d, (void)h, (void)i;
    }
}

static int dial(int port, int flags) {
    struct sockaddr_in a = at(port);
    int c = MUST(socket(AF_INET, SOCK_STREAM | flags, 0));
    MUST(connect(c, (void *)&a, sizeof a));
    return c;
}

/* All connections are queued somewhere, and a closed listener's are reset. */
CASE(share_listeners) {
    enum { LISTENERS = 3, CLIENTS = 48 };
    int l[LISTENERS], c[CLIENTS], accepted[LISTENERS] = {0};
    for (int n = 0; n < LISTENERS; n++) {
        l[n] = sharing(SOCK_STREAM, 5923, &on, &off);
        R(listen(l[n], CLIENTS));
    }
    for (int n = 0; n < CLIENTS; n++)
        c[n] = dial(5923, 0);
    /* The first listener goes with all it has; the others are asked. */
    MUST(close(l[0]));
    int total = 0, reset = 0, lives = 0;
    for (int n = 1; n < LISTENERS; n++)
        for (int s; (s = accept(l[n], NULL, NULL)) >= 0; total++, accepted[n]++)
            if (total == 0)
                say("inherits %d\n", get(s, SO_REUSEPORT));
    for (int n = 0; n < CLIENTS; n++) {
        char byte;
        long got = recv(c[n], &byte, 1, MSG_DONTWAIT);
        reset += got < 0 && errno == ECONNRESET;
        lives += got < 0 && errno == EAGAIN;
    }
    say("every one %d, reset those of the first %d %d\n", reset + lives == CLIENTS, lives == total, reset > 0);
    say("each got some %d %d\n", accepted[1] > 0, accepted[2] > 0);
    /* New ones go to those that are left, and to nobody when none is. */
    dial(5923, 0);
    say("one more %d\n", (accept(l[1], NULL, NULL) >= 0) + (accept(l[2], NULL, NULL) >= 0));
    MUST(close(l[1]));
    MUST(close(l[2]));
    struct sockaddr_in a = at(5923);
    int last = MUST(socket(AF_INET, SOCK_STREAM, 0));
    R(connect(last, (void *)&a, sizeof a));
}

CASE(share_datagrams) {
    enum { SOCKETS = 3, SENDERS = 48 };
    int s[SOCKETS], got[SOCKETS] = {0}, total = 0;
    for (int n = 0; n < SOCKETS; n++)
        s[n] = sharing(SOCK_DGRAM, 5924, &on, &off);
    struct sockaddr_in a = at(5924);
    char bytes[8];
    for (int n = 0; n < SENDERS; n++) {
        int c = MUST(socket(AF_INET, SOCK_DGRAM, 0));
        /* The same sender always meets the same socket. */
        for (int again = 0; again < 3; again++) {
            MUST(sendto(c, "x", 1, 0, (void *)&a, sizeof a));
            for (int i = 0; i < SOCKETS; i++)
                if (recv(s[i], bytes, sizeof bytes, 0) == 1) {
                    if (again == 0)
                        got[i] += 3;
                    got[i]--, total++;
                }
        }
        MUST(close(c));
    }
    say("all %d; same %d %d %d\n", total == 3 * SENDERS, got[0], got[1], got[2]);
    /* A connected socket is preferred to the group. */
    int c = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    struct sockaddr_in own = at(5925);
    MUST(bind(c, (void *)&own, sizeof own));
    R(connect(s[2], (void *)&own, sizeof own));
    for (int n = 0; n < 8; n++)
        MUST(sendto(c, "x", 1, 0, (void *)&a, sizeof a));
    for (total = 0; recv(s[2], bytes, sizeof bytes, 0) == 1; total++)
        ;
    say("connected got %d\n", total);
}

/* Without SO_REUSEPORT the one that came last gets all. */
CASE(share_address_only) {
    int s[3];
    for (int n = 0; n < 3; n++)
        s[n] = sharing(SOCK_DGRAM, 5926, &off, &on);
    struct sockaddr_in a = at(5926);
    char bytes[8];
    for (int n = 0; n < 8; n++) {
        int c = MUST(socket(AF_INET, SOCK_DGRAM, 0));
        MUST(sendto(c, "x", 1, 0, (void *)&a, sizeof a));
    }
    for (int n = 0, got = 0; n < 3; n++, got = 0) {
        while (recv(s[n], bytes, sizeof bytes, 0) == 1)
            got++;
        say("socket %d got %d\n", n, got);
    }
}

static int address_at(const char *ip, int port, const int *shares) {
    struct sockaddr_in a = at(port);
    inet_pton(AF_INET, ip, &a.sin_addr);
    int s = MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, shares, sizeof on));
    long result = R(bind(s, (void *)&a, sizeof a));
    if (result == 0)
        R(listen(s, 4));
    MUST(close(s));
    return 0;
}

/* A port that nobody uses: what is left of an earlier run must not be in the way. */
static int listen_anywhere(int s) {
    struct sockaddr_in a = at(0);
    socklen_t size = sizeof a;
    MUST(bind(s, (void *)&a, sizeof a));
    MUST(getsockname(s, (void *)&a, &size));
    MUST(listen(s, 4));
    return ntohs(a.sin_port);
}

/* What is left of a connection keeps the port from others unless both it and they say SO_REUSEADDR. */
CASE(share_with_what_is_left) {
    for (int shares = 0; shares < 2; shares++) {
        int l = MUST(socket(AF_INET, SOCK_STREAM, 0));
        MUST(setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &shares, sizeof shares));
        int port = listen_anywhere(l);
        int c = dial(port, 0), s = MUST(accept(l, NULL, NULL));
        say("accepted shares %d\n", get(s, SO_REUSEADDR));
        MUST(close(l));
        for (int left = 0; left < 2; left++) {
            address_at("127.0.0.1", port, &off);
            address_at("127.0.0.1", port, &on);
            address_at("0.0.0.0", port, &off);
            address_at("0.0.0.0", port, &on);
            address_at("127.0.0.2", port, &off);
            if (left == 0) {
                char byte;
                MUST(close(s));
                R(recv(c, &byte, 1, 0));
                MUST(close(c));
            }
        }
    }
}

/* It is what the connection says that counts, not what its listener did. */
CASE(share_is_the_connections_own) {
    int l = MUST(socket(AF_INET, SOCK_STREAM, 0));
    int port = listen_anywhere(l);
    int c = dial(port, 0), s = MUST(accept(l, NULL, NULL));
    MUST(close(l));
    address_at("127.0.0.1", port, &on);
    R(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
    address_at("127.0.0.1", port, &on);
    address_at("127.0.0.1", port, &off);
    R(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &off, sizeof off));
    address_at("127.0.0.1", port, &on);
    R(close(c));
}
