/* SO_BINDTODEVICE: socket(7). Only the loopback interface is the same everywhere. */
#include "abi.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static struct sockaddr_in at(const char *ip, int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, ip, &a.sin_addr);
    return a;
}

static long to_device(int s, const char *name, socklen_t size) {
    return setsockopt(s, SOL_SOCKET, SO_BINDTODEVICE, name, size);
}

static void device(int s, socklen_t size) {
    char name[32] = "??";
    R(getsockopt(s, SOL_SOCKET, SO_BINDTODEVICE, name, &size));
    say("%d '%.16s'\n", (int)size, name);
}

CASE(device_names) {
    for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
        int s = MUST(socket(AF_INET, type, 0));
        device(s, 16);
        device(s, 0);
        R(to_device(s, "lo", 3));
        device(s, 16);
        device(s, 15);
        device(s, 32);
        R(to_device(s, "nosuch0", 8));
        R(to_device(s, "loo", 2));
        device(s, 16);
        R(to_device(s, "", 0));
        device(s, 16);
        R(to_device(s, "lo\0and much more than sixteen", 30));
        device(s, 16);
        R(to_device(s, "a name of more than fifteen bytes", 33));
        R(to_device(s, "", 1));
        device(s, 16);
        R(to_device(s, NULL, 4));
        R(to_device(s, "lo", -1));
    }
}

static long heard(int s) {
    char bytes[16];
    return recv(s, bytes, sizeof bytes, MSG_DONTWAIT);
}

static int bound(const char *name, const char *ip) {
    const int on = 1;
    struct sockaddr_in a = at(ip, 5911);
    int s = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    R(to_device(s, name, (socklen_t)strlen(name)));
    R(bind(s, (void *)&a, sizeof a));
    R(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
    return s;
}

CASE(device_datagrams) {
    struct sockaddr_in here = at("127.0.0.1", 5911), far = at("192.0.2.1", 5911);
    int bound_lo = bound("lo", "0.0.0.0");
    R(sendto(bound_lo, "self", 4, 0, (void *)&here, sizeof here));
    R(heard(bound_lo));
    /* Nobody is there, and nobody says so. */
    R(sendto(bound_lo, "away", 4, 0, (void *)&far, sizeof far));
    R(heard(bound_lo));
    int other = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    R(bind(other, (void *)&here, sizeof here));
    int s6 = MUST(socket(AF_INET6, SOCK_DGRAM, 0));
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
    inet_pton(AF_INET6, "2001:db8::1", &six.sin6_addr);
    R(to_device(s6, "lo", 2));
    R(sendto(s6, "away", 4, 0, (void *)&six, sizeof six));
}

/* The socket that is bound to the device is preferred. */
CASE(device_preferred) {
    const int on = 1;
    struct sockaddr_in any = at("0.0.0.0", 5912), here = at("127.0.0.1", 5912);
    int s[3];
    for (int n = 0; n < 3; n++) {
        s[n] = MUST(socket(AF_INET, SOCK_DGRAM, 0));
        R(setsockopt(s[n], SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
        if (n == 1)
            R(to_device(s[n], "lo", 2));
        R(bind(s[n], (void *)&any, sizeof any));
    }
    int sender = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    R(sendto(sender, "x", 1, 0, (void *)&here, sizeof here));
    for (int n = 0; n < 3; n++)
        R(heard(s[n]));
    R(to_device(s[1], "", 0));
    R(sendto(sender, "x", 1, 0, (void *)&here, sizeof here));
    for (int n = 0; n < 3; n++)
        R(heard(s[n]));
}

CASE(device_connections) {
    struct sockaddr_in here = at("127.0.0.1", 5913);
    int l = MUST(socket(AF_INET, SOCK_STREAM, 0)), c = MUST(socket(AF_INET, SOCK_STREAM, 0));
    R(to_device(l, "lo", 2));
    R(bind(l, (void *)&here, sizeof here));
    R(listen(l, 4));
    R(to_device(c, "lo", 2));
    R(connect(c, (void *)&here, sizeof here));
    int a = MUST(accept(l, NULL, NULL));
    device(a, 16);
    R(send(a, "x", 1, 0));
    char byte;
    R(recv(c, &byte, 1, 0));
    int far = MUST(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    struct sockaddr_in away = at("192.0.2.1", 5913);
    R(to_device(far, "lo", 2));
    R(connect(far, (void *)&away, sizeof away));
}
