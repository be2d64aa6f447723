/* Addresses of sockets, of either family. */
#ifndef TYN_ADDRESS_H
#define TYN_ADDRESS_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

union address {
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static union address at(int family, const char *ip, int port) {
    union address a;
    memset(&a, 0, sizeof a);
    if (family == AF_INET) {
        a.v4.sin_family = AF_INET;
        a.v4.sin_port = htons((uint16_t)port);
        inet_pton(AF_INET, ip, &a.v4.sin_addr);
    } else {
        a.v6.sin6_family = AF_INET6;
        a.v6.sin6_port = htons((uint16_t)port);
        inet_pton(AF_INET6, ip, &a.v6.sin6_addr);
    }
    return a;
}

static socklen_t size_of(int family) {
    return family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

#endif
