/* The kernel's limit: one thread sends with sendmmsg to N sockets, one receives them from one epoll set. No Python, no
 * accounting, no stamps, nobody looking: what any program of this shape could reach here at best.
 *
 * usage: kernel_limit CLIENTS SECONDS DATAGRAM_BYTES [RATE_PER_S]     prints one JSON object
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SLICE_NS = 5000000, RECEIVE_BUFFER = 256 << 10, SEND_BUFFER = 4 << 20, BURST = 512, BYTES_MAX = 1472 };

static int clients, datagram_bytes, epoll_fd;
static double rate_per_s; /* 0: as fast as it goes */
static int *sockets;
static struct sockaddr_in *addresses;
static atomic_long sent, received, stop;

static double now_s(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void die(const char *what) {
    perror(what);
    exit(3);
}

static void *send_all(void *cpu_s) {
    int out = socket(AF_INET, SOCK_DGRAM, 0), size = SEND_BUFFER;
    setsockopt(out, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    char *payload = calloc(1, BYTES_MAX);
    struct iovec vector = {payload, datagram_bytes};
    struct mmsghdr *messages = calloc(clients, sizeof *messages);
    for (int i = 0; i < clients; i++)
        messages[i].msg_hdr = (struct msghdr){
            .msg_name = &addresses[i], .msg_namelen = sizeof *addresses, .msg_iov = &vector, .msg_iovlen = 1};
    double begun_s = now_s(CLOCK_MONOTONIC);
    long done = 0;
    int next = 0;
    while (!stop) {
        long due = rate_per_s > 0 ? (long)((now_s(CLOCK_MONOTONIC) - begun_s) * rate_per_s) - done : BURST;
        while (due > 0 && !stop) {
            int some = due < clients - next ? due : clients - next;
            int count = sendmmsg(out, messages + next, some < BURST ? some : BURST, 0);
            if (count < 0 && errno != EINTR && errno != ENOBUFS && errno != EAGAIN) die("sendmmsg");
            if (count <= 0) continue;
            done += count, due -= count, sent += count;
            next = (next + count) % clients;
        }
        if (rate_per_s > 0) nanosleep(&(struct timespec){0, SLICE_NS}, NULL);
    }
    *(double *)cpu_s = now_s(CLOCK_THREAD_CPUTIME_ID);
    return NULL;
}

static void *receive_all(void *cpu_s) {
    static struct epoll_event events[4096];
    char payload[BYTES_MAX];
    while (!stop) {
        int count = epoll_wait(epoll_fd, events, 4096, 100);
        for (int i = 0; i < count; i++)
            if (recv(events[i].data.fd, payload, sizeof payload, MSG_DONTWAIT) >= 0) received++;
    }
    *(double *)cpu_s = now_s(CLOCK_THREAD_CPUTIME_ID);
    return NULL;
}

static void open_sockets(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    sockets = calloc(clients, sizeof *sockets);
    addresses = calloc(clients, sizeof *addresses);
    epoll_fd = epoll_create1(0);
    for (int i = 0; i < clients; i++) {
        int size = RECEIVE_BUFFER;
        socklen_t length = sizeof *addresses;
        addresses[i] = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        sockets[i] = socket(AF_INET, SOCK_DGRAM, 0);
        if (sockets[i] < 0 || bind(sockets[i], (struct sockaddr *)&addresses[i], length)) die("socket");
        setsockopt(sockets[i], SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
        getsockname(sockets[i], (struct sockaddr *)&addresses[i], &length);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = sockets[i]};
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, sockets[i], &event)) die("epoll_ctl");
    }
}

int main(int argc, char **argv) {
    if (argc < 4) return fprintf(stderr, "usage: %s CLIENTS SECONDS DATAGRAM_BYTES [RATE_PER_S]\n", argv[0]), 2;
    clients = atoi(argv[1]), datagram_bytes = atoi(argv[3]), rate_per_s = argc > 4 ? atof(argv[4]) : 0;
    if (clients < 1 || datagram_bytes < 0 || datagram_bytes > BYTES_MAX) return 2;
    open_sockets();
    pthread_t sender, receiver;
    double send_cpu_s, receive_cpu_s;
    pthread_create(&receiver, NULL, receive_all, &receive_cpu_s);
    pthread_create(&sender, NULL, send_all, &send_cpu_s);
    usleep(300000);
    double begun_s = now_s(CLOCK_MONOTONIC);
    long sent_before = sent, received_before = received;
    usleep(atof(argv[2]) * 1e6);
    double took_s = now_s(CLOCK_MONOTONIC) - begun_s;
    double sent_per_s = (sent - sent_before) / took_s, delivered_per_s = (received - received_before) / took_s;
    stop = 1;
    pthread_join(sender, NULL);
    pthread_join(receiver, NULL);
    printf("{\"clients\": %d, \"sent_per_s\": %.0f, \"delivered_per_s\": %.0f, \"cpu_us_per_datagram\": %.3f}\n", clients,
           sent_per_s, delivered_per_s, (send_cpu_s + receive_cpu_s) / received * 1e6);
    return 0;
}
