/* C: cc -o client client.c && ./client [HOST] [PORT] */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

int main(int argc, char **argv) {
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(argc > 2 ? atoi(argv[2]) : 12345)};
    inet_pton(AF_INET, argc > 1 ? argv[1] : "127.0.0.1", &server.sin_addr);
    int sock = socket(AF_INET, SOCK_DGRAM, 0);
    sendto(sock, "connect", 7, 0, (struct sockaddr *)&server, sizeof server);
    char colour[2048];
    for (ssize_t length; (length = recv(sock, colour, sizeof colour, 0)) >= 0;) {
        printf("Received colour: %.*s\n", (int)length, colour);
        fflush(stdout);
    }
    return 1;
}
