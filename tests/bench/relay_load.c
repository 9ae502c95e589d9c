/* Datagrams of many clients into a relay, and what came out behind it. Loopback only; prints one line of JSON.
 *
 *   load --to PORT --sink PORT --flows N --size BYTES --seconds S (--window N | --rate N)
 *        [--gso K] [--echo] [--delay] [--send-cpu N] [--sink-cpu N]
 *
 * --window N  closed loop: at most N between sender and sink     --rate N  open loop: N a second
 * --gso K     K datagrams of one client in one call              --echo    the sink answers, clients count the answers
 * --delay     from the sender's clock to the kernel's stamp at the sink's socket
 *
 * A client is a connected socket; each in turn sends one datagram (or K). Payload: client u32, number u32, sent i64 ns.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#define BATCH 128
#define MAX_SAMPLES 4000000

struct head { uint32_t client, number; int64_t sent_ns; } __attribute__((packed));

static int to_port, sink_port, flows = 1, size = 100, gso = 1, echo, delay, send_cpu = -1, sink_cpu = -1, sink_fd;
static int *clients;
static double seconds = 2, rate;
static long window_size;
static _Atomic long received, answered, overtaken;
static _Atomic int running = 1;
static uint32_t *highest;
static int32_t *samples;
static _Atomic long n_samples;

static int64_t now_ns(int clock) { struct timespec t; clock_gettime(clock, &t); return t.tv_sec * 1000000000LL + t.tv_nsec; }

static void pin(int cpu) {
    if (cpu < 0) return;
    cpu_set_t set; CPU_ZERO(&set); CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static int open_socket(void) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0), large = 16 << 20;
    if (fd < 0) { perror("socket"); exit(1); }
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &large, sizeof large)) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &large, sizeof large);
    return fd;
}

static struct sockaddr_in loopback(int port) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void prepare(struct mmsghdr *m, struct iovec *iov, uint8_t *data, int width) {
    for (int i = 0; i < BATCH; i++) { iov[i] = (struct iovec){data + (size_t)i * width, width}; m[i].msg_hdr.msg_iov = &iov[i]; m[i].msg_hdr.msg_iovlen = 1; }
}

static void *sink(void *unused) {
    (void)unused; pin(sink_cpu);
    enum { WIDTH = 2048, CONTROL = 128 };
    uint8_t *data = calloc(BATCH, WIDTH), *control = calloc(BATCH, CONTROL);
    struct mmsghdr *m = calloc(BATCH, sizeof *m); struct iovec *iov = calloc(BATCH, sizeof *iov);
    struct sockaddr_in *names = calloc(BATCH, sizeof *names);
    while (running) {
        prepare(m, iov, data, WIDTH);
        for (int i = 0; i < BATCH; i++) {
            m[i].msg_hdr.msg_name = &names[i]; m[i].msg_hdr.msg_namelen = sizeof names[i];
            m[i].msg_hdr.msg_control = control + CONTROL * i; m[i].msg_hdr.msg_controllen = delay ? CONTROL : 0;
        }
        int n = recvmmsg(sink_fd, m, BATCH, MSG_WAITFORONE, NULL);
        for (int i = 0; i < n; i++) {
            struct head *h = iov[i].iov_base;
            if (m[i].msg_len < sizeof *h || h->client >= (uint32_t)flows) { iov[i].iov_len = m[i].msg_len; continue; }
            if (h->number <= highest[h->client]) overtaken++; else highest[h->client] = h->number;
            for (struct cmsghdr *c = CMSG_FIRSTHDR(&m[i].msg_hdr); delay && c; c = CMSG_NXTHDR(&m[i].msg_hdr, c))
                if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS && n_samples < MAX_SAMPLES) {
                    struct timespec t; memcpy(&t, CMSG_DATA(c), sizeof t);
                    samples[n_samples++] = (int32_t)(t.tv_sec * 1000000000LL + t.tv_nsec - h->sent_ns);
                }
            received++;
            iov[i].iov_len = m[i].msg_len; m[i].msg_hdr.msg_control = NULL; m[i].msg_hdr.msg_controllen = 0;
        }
        for (int at = 0; echo && at < n;) { int k = sendmmsg(sink_fd, m + at, n - at, 0); at += k > 0 ? k : 1; }
    }
    return NULL;
}

static void *answers(void *unused) {
    (void)unused; pin(sink_cpu);
    int ep = epoll_create1(0);
    for (int i = 0; i < flows; i++) epoll_ctl(ep, EPOLL_CTL_ADD, clients[i], &(struct epoll_event){.events = EPOLLIN, .data.fd = clients[i]});
    struct epoll_event ready[256]; struct mmsghdr m[BATCH]; struct iovec iov[BATCH]; uint8_t *data = calloc(BATCH, 2048);
    memset(m, 0, sizeof m); prepare(m, iov, data, 2048);
    while (running) {
        int k = epoll_wait(ep, ready, 256, 50);
        for (int i = 0; i < k; i++) { int n = recvmmsg(ready[i].data.fd, m, BATCH, MSG_DONTWAIT, NULL); if (n > 0) answered += n; }
    }
    return NULL;
}

static int by_value(const void *a, const void *b) { int32_t x = *(const int32_t *)a, y = *(const int32_t *)b; return (x > y) - (x < y); }
static double at(double part) { return n_samples ? samples[(long)(part * (n_samples - 1))] / 1e3 : -1; }

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--echo")) { echo = 1; continue; }
        if (!strcmp(argv[i], "--delay")) { delay = 1; continue; }
        if (i + 1 >= argc) { fprintf(stderr, "%s needs a value\n", argv[i]); return 2; }
        const char *name = argv[i], *value = argv[++i];
        if (!strcmp(name, "--to")) to_port = atoi(value); else if (!strcmp(name, "--sink")) sink_port = atoi(value);
        else if (!strcmp(name, "--flows")) flows = atoi(value); else if (!strcmp(name, "--size")) size = atoi(value);
        else if (!strcmp(name, "--seconds")) seconds = atof(value); else if (!strcmp(name, "--rate")) rate = atof(value);
        else if (!strcmp(name, "--window")) window_size = atol(value); else if (!strcmp(name, "--gso")) gso = atoi(value);
        else if (!strcmp(name, "--send-cpu")) send_cpu = atoi(value); else if (!strcmp(name, "--sink-cpu")) sink_cpu = atoi(value);
        else { fprintf(stderr, "unknown: %s\n", name); return 2; }
    }
    if (size < (int)sizeof(struct head) || size > 2048 || flows < 1 || (rate <= 0 && window_size < 1)) { fprintf(stderr, "bad size, flows, rate or window\n"); return 2; }
    struct rlimit files; getrlimit(RLIMIT_NOFILE, &files); files.rlim_cur = files.rlim_max; setrlimit(RLIMIT_NOFILE, &files);
    highest = calloc(flows, sizeof *highest); clients = calloc(flows, sizeof *clients);
    if (delay) samples = malloc(sizeof *samples * MAX_SAMPLES);
    struct sockaddr_in here = loopback(sink_port), to = loopback(to_port);
    sink_fd = open_socket();
    if (bind(sink_fd, (void *)&here, sizeof here)) { perror("bind"); return 1; }
    setsockopt(sink_fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){0, 50000}, sizeof(struct timeval));
    if (delay) setsockopt(sink_fd, SOL_SOCKET, SO_TIMESTAMPNS, &(int){1}, sizeof(int));
    for (int i = 0; i < flows; i++) {
        clients[i] = open_socket();
        if (connect(clients[i], (void *)&to, sizeof to)) { perror("connect"); return 1; }
        if (gso > 1) setsockopt(clients[i], SOL_UDP, UDP_SEGMENT, &size, sizeof size);
    }
    pthread_t first, second;
    pthread_create(&first, NULL, sink, NULL);
    if (echo) pthread_create(&second, NULL, answers, NULL);
    pin(send_cpu); prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    uint8_t *data = calloc(gso, size); uint32_t *number = calloc(flows, sizeof *number);
    long sent = 0; int client = 0;
    /* Every client once, so that its flow exists before the clock runs. */
    for (int i = 0; i < flows; i++) { struct head h = {i, ++number[i], 0}; memcpy(data, &h, sizeof h); send(clients[i], data, size, 0); if (i % 50 == 49) usleep(2000); }
    for (int i = 0; i < 250 && received < flows; i++) usleep(20000);
    long warm = received, warm_answered, lost = 0; usleep(100000);
    warm = received; warm_answered = answered; n_samples = 0;
    int64_t start = now_ns(CLOCK_MONOTONIC), stop = start + (int64_t)(seconds * 1e9), progress = start, now;
    long seen = received;
    while ((now = now_ns(CLOCK_MONOTONIC)) < stop) {
        if (rate > 0) {
            int64_t due = start + (int64_t)(sent / rate * 1e9);
            if (due > now) { if (due - now > 3000) { struct timespec t = {due / 1000000000, due % 1000000000}; clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL); } continue; }
        } else {
            if (received != seen) { seen = received; progress = now; }
            if (sent - (received - warm) - lost >= window_size) {
                if (now - progress > 50000000) { lost = sent - (received - warm); progress = now; }  /* they will not come any more */
                sched_yield(); continue;
            }
        }
        int64_t stamp = delay ? now_ns(CLOCK_REALTIME) : 0;
        for (int k = 0; k < gso; k++) { struct head h = {client, ++number[client], stamp}; memcpy(data + (size_t)k * size, &h, sizeof h); }
        if (send(clients[client], data, (size_t)gso * size, 0) > 0) sent += gso;
        client = client + 1 == flows ? 0 : client + 1;
    }
    double took = (now_ns(CLOCK_MONOTONIC) - start) * 1e-9;
    long in_time = received - warm;
    for (int quiet = 0, i = 0; quiet < 5 && i < 150; i++) { long before = received + answered; usleep(20000); quiet = before == received + answered ? quiet + 1 : 0; }
    running = 0;
    pthread_join(first, NULL); if (echo) pthread_join(second, NULL);
    if (delay) qsort(samples, n_samples, sizeof *samples, by_value);
    long in = received - warm;
    printf("{\"sent\": %ld, \"received\": %ld, \"answered\": %ld, \"overtaken\": %ld, \"sent_per_s\": %.0f, \"received_per_s\": %.0f, \"loss\": %.6f, "
           "\"delay_us\": {\"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f}}\n",
           sent, in, (long)answered - warm_answered, (long)overtaken, sent / took, in_time / took, sent ? 1 - (double)in / sent : 0, at(.5), at(.9), at(.99));
    return 0;
}
