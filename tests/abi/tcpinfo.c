/* What TCP_INFO counts: tcp(7). Each step is waited for by the other side. A machine that stands still for longer than a
 * retransmission time-out sends something again; what is told does not show that. */
#include "abi.h"

#include <linux/tcp.h>
#include <netinet/in.h>

/* What every Linux since 5.5 fills. */
#define SIZE (offsetof(struct tcp_info, tcpi_snd_wnd) + 4)

static struct tcp_info information(int s) {
    struct tcp_info i;
    memset(&i, 0xff, sizeof i);
    socklen_t size = SIZE;
    R(getsockopt(s, IPPROTO_TCP, TCP_INFO, &i, &size));
    say("size %d\n", size == SIZE);
    return i;
}

static void counters(const char *who, struct tcp_info i) {
    say("%s: state %d congestion %d retransmits %d probes %d backoff %d options %x scales %d\n", who, i.tcpi_state,
        i.tcpi_ca_state, i.tcpi_retransmits, i.tcpi_probes, i.tcpi_backoff, i.tcpi_options & 7,
        i.tcpi_snd_wscale == i.tcpi_rcv_wscale);
    say("unacked %u sacked %u lost %u retrans %u reordering %u notsent %u\n", i.tcpi_unacked, i.tcpi_sacked, i.tcpi_lost,
        i.tcpi_retrans, i.tcpi_reordering, i.tcpi_notsent_bytes);
    say("acked %llu received %llu sent once %llu\n", (unsigned long long)i.tcpi_bytes_acked,
        (unsigned long long)i.tcpi_bytes_received, (unsigned long long)(i.tcpi_bytes_sent - i.tcpi_bytes_retrans));
    say("data segments in %d out once %u delivered %u ce %u early %u\n", i.tcpi_data_segs_in > 0,
        i.tcpi_data_segs_out - i.tcpi_total_retrans, i.tcpi_delivered, i.tcpi_delivered_ce, i.tcpi_rcv_ooopack);
}

static void estimates(struct tcp_info i) {
    say("mss %d %d %d pmtu %d\n", i.tcpi_snd_mss > 1000, i.tcpi_rcv_mss >= 536, i.tcpi_advmss > 1000,
        i.tcpi_pmtu > 1000);
    say("rto %d rtt %d rttvar %d min %d\n", i.tcpi_rto >= 200000, i.tcpi_rtt > 0, i.tcpi_rttvar > 0,
        i.tcpi_min_rtt > 0 && i.tcpi_min_rtt <= i.tcpi_rtt + 1000000);
    say("cwnd %d ssthresh %d space %d ssthresh %d window %d\n", i.tcpi_snd_cwnd > 0, i.tcpi_snd_ssthresh > 0,
        i.tcpi_rcv_space > 0, i.tcpi_rcv_ssthresh > 0, i.tcpi_snd_wnd > 0);
    say("segments in %d out %d\n", i.tcpi_segs_in >= i.tcpi_data_segs_in, i.tcpi_segs_out >= i.tcpi_data_segs_out);
}

/* A fresh socket and a listener. */
CASE(tcp_info_without_connection) {
    int s = MUST(socket(AF_INET, SOCK_STREAM, 0));
    struct tcp_info i = information(s);
    counters("fresh", i);
    say("rto %u mss %u %u cwnd %u ssthresh %x rtt %u rttvar %u min %x\n", i.tcpi_rto, i.tcpi_snd_mss, i.tcpi_rcv_mss,
        i.tcpi_snd_cwnd, i.tcpi_snd_ssthresh, i.tcpi_rtt, i.tcpi_rttvar, i.tcpi_min_rtt);
    say("pacing %d %d advmss %u pmtu %u space %u %u ato %u in %u out %u\n", i.tcpi_pacing_rate == ~0ull,
        i.tcpi_max_pacing_rate == ~0ull, i.tcpi_advmss, i.tcpi_pmtu, i.tcpi_rcv_space, i.tcpi_rcv_ssthresh, i.tcpi_ato,
        i.tcpi_segs_in, i.tcpi_segs_out);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    MUST(bind(s, (void *)&at, sizeof at));
    MUST(getsockname(s, (void *)&at, &length));
    MUST(listen(s, 7));
    int c = MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(connect(c, (void *)&at, sizeof at));
    struct pollfd p = {.fd = s, .events = POLLIN};
    MUST(poll(&p, 1, -1));
    i = information(s);
    counters("listener", i);
    say("rto %u cwnd %u mss %u\n", i.tcpi_rto, i.tcpi_snd_cwnd, i.tcpi_snd_mss);
}

static void arrived(int s, int bytes) {
    char buf[32768];
    while (bytes > 0) {
        long n = MUST(recv(s, buf, sizeof buf, 0));
        bytes -= (int)n;
    }
}

/* What was sent is acknowledged: an answer came. */
CASE(tcp_info_counts) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    int l = MUST(socket(AF_INET, SOCK_STREAM, 0)), a = MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(bind(l, (void *)&at, sizeof at));
    MUST(getsockname(l, (void *)&at, &length));
    MUST(listen(l, 1));
    MUST(connect(a, (void *)&at, sizeof at));
    int b = MUST(accept(l, NULL, NULL));
    struct tcp_info i = information(a);
    counters("client", i);
    say("segments %d %d\n", i.tcpi_segs_in >= 1, i.tcpi_segs_out >= 2);
    i = information(b);
    counters("server", i);
    say("segments %d\n", i.tcpi_segs_in >= 2);
    static char bytes[10000];
    for (int n = 0; n < 4; n++) {
        MUST(send(a, bytes, 1000, 0));
        arrived(b, 1000);
        MUST(send(b, bytes, 300, 0));
        arrived(a, 300);
    }
    /* The last answer is acknowledged by what follows. */
    MUST(send(a, bytes, 1, 0));
    arrived(b, 1);
    i = information(b);
    counters("server", i);
    estimates(i);
    MUST(send(b, bytes, 1, 0));
    arrived(a, 1);
    i = information(a);
    counters("client", i);
    estimates(i);
    MUST(shutdown(a, SHUT_WR));
    char c;
    R(recv(b, &c, 1, 0));
    say("received %llu\n", (unsigned long long)information(b).tcpi_bytes_received);
    MUST(shutdown(b, SHUT_WR));
    R(recv(a, &c, 1, 0));
    R(recv(b, &c, 1, 0));
    say("acked %llu\n", (unsigned long long)information(a).tcpi_bytes_acked);
}
