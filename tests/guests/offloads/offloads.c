/*
 * Sends frames that make the network card work for it: checksums that it fills in, TCP data that it
 * makes segments of, frames longer than 1,500 bytes. The content is random. After each the peer
 * (tests/emulated/offloads_peer.py) sends a frame of random bytes back.
 *
 * Prints the digests of all data sent and of all data received. It takes the place of a protocol
 * stack: packets go to the driver through a packet socket with the kernel's virtio_net_hdr.
 *
 * usage: offloads ROUNDS
 */
#include "../linux/common/fail.h"
#include "../linux/common/sha256.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>

#define CARD        "eth0"
#define PEER_PORT   7000
#define GUEST_PORT  7001
#define ANSWER_TYPE 0x88b5 /* IEEE 802: for local experiments */
#define ANSWER_MAX  2048
#define ANSWER_WAIT 20 /* seconds */
#define DATA_MAX    60000

static const uint8_t peer_mac[ETH_ALEN] = {0x52, 0x54, 0x00, 0x4c, 0x56, 0x01};

/* What a frame is sent as: `segment` bytes of data in each packet that the card makes of it. */
static const struct kind {
    uint8_t protocol;
    uint16_t data, segment;
    int offload;
} kinds[] = {
    {IPPROTO_TCP, DATA_MAX, 1448, 1}, /* segments */
    {IPPROTO_UDP, 1400, 0, 1},        /* a checksum */
    {IPPROTO_UDP, 8900, 0, 1},        /* the same of a jumbo frame */
    {IPPROTO_TCP, DATA_MAX, 8948, 1}, /* jumbo segments */
    {IPPROTO_UDP, 1000, 0, 0},        /* nothing: all is done in software */
};

struct frame {
    struct virtio_net_hdr offload;
    struct ether_header ethernet;
    struct iphdr ip;
    union {
        struct tcphdr tcp;
        struct udphdr udp;
    } u;
};

_Static_assert(offsetof(struct frame, ip) ==
                   sizeof(struct virtio_net_hdr) + sizeof(struct ether_header),
               "nothing is between them");

static uint8_t buffer[sizeof(struct frame) + DATA_MAX] __attribute__((aligned(8)));
static uint8_t own_mac[ETH_ALEN];
static struct sockaddr_ll to_card; /* packets of IP: the kernel asks the socket, not the frame */

static int open_card(void)
{
    int card = socket(AF_PACKET, SOCK_RAW, htons(ANSWER_TYPE)), on = 1;
    struct timeval timeout = {.tv_sec = ANSWER_WAIT};
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ANSWER_TYPE)};
    struct ifreq request = {.ifr_name = CARD};

    if (card < 0 || ioctl(card, SIOCGIFHWADDR, &request) < 0)
        fail("socket");
    memcpy(own_mac, request.ifr_hwaddr.sa_data, ETH_ALEN);
    address.sll_ifindex = (int)if_nametoindex(CARD);
    to_card = address;
    to_card.sll_protocol = htons(ETHERTYPE_IP);
    if (bind(card, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        setsockopt(card, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) < 0 ||
        setsockopt(card, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0)
        fail("bind");
    return card;
}

/* The sum of RFC 1071, not yet complemented. */
static uint16_t sum(uint32_t total, const void *data, size_t size)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i + 1 < size; i += 2)
        total += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
    if (size % 2)
        total += (uint32_t)(bytes[size - 1] << 8);
    while (total >> 16)
        total = (total & 0xffff) + (total >> 16);
    return (uint16_t)total;
}

static void fill_ip(struct iphdr *ip, uint8_t protocol, size_t size)
{
    ip->version = 4;
    ip->ihl = 5;
    ip->tot_len = htons((uint16_t)(sizeof(*ip) + size));
    ip->ttl = 64;
    ip->protocol = protocol;
    inet_pton(AF_INET, "192.168.77.2", &ip->saddr);
    inet_pton(AF_INET, "192.168.77.1", &ip->daddr);
    ip->check = htons((uint16_t)~sum(0, ip, sizeof(*ip)));
}

/* The sum over what is not in the packet: addresses, protocol, length. */
static uint16_t pseudo_sum(const struct iphdr *ip, size_t size)
{
    return sum((uint32_t)ip->protocol + (uint32_t)size, &ip->saddr, 8);
}

/* Puts the headers before the data at the buffer's end; the length of all. */
static size_t fill(const struct kind *kind, uint32_t sequence)
{
    int tcp = kind->protocol == IPPROTO_TCP;
    size_t header = tcp ? sizeof(struct tcphdr) : sizeof(struct udphdr);
    size_t start = offsetof(struct frame, u), size = header + kind->data;
    struct frame *frame = (struct frame *)buffer;
    uint16_t *check = tcp ? &frame->u.tcp.check : &frame->u.udp.check;

    memset(frame, 0, start + header);
    if (getrandom(buffer + start + header, kind->data, 0) != (ssize_t)kind->data)
        fail("getrandom");
    memcpy(frame->ethernet.ether_dhost, peer_mac, ETH_ALEN);
    memcpy(frame->ethernet.ether_shost, own_mac, ETH_ALEN);
    frame->ethernet.ether_type = htons(ETHERTYPE_IP);
    fill_ip(&frame->ip, kind->protocol, size);
    if (tcp) {
        frame->u.tcp.source = htons(GUEST_PORT);
        frame->u.tcp.dest = htons(PEER_PORT);
        frame->u.tcp.seq = htonl(sequence);
        frame->u.tcp.doff = sizeof(struct tcphdr) / 4;
        frame->u.tcp.ack = 1;
        frame->u.tcp.psh = 1;
    } else {
        frame->u.udp.source = htons(GUEST_PORT);
        frame->u.udp.dest = htons(PEER_PORT);
        frame->u.udp.len = htons((uint16_t)size);
    }
    *check = htons(pseudo_sum(&frame->ip, size));
    if (!kind->offload)
        *check = htons((uint16_t)~sum(0, &frame->u, size));
    else
        frame->offload = (struct virtio_net_hdr){
            .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
            .gso_type = kind->segment ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_NONE,
            .hdr_len = (uint16_t)(start - sizeof(frame->offload) + header),
            .gso_size = kind->segment,
            .csum_start = (uint16_t)(start - sizeof(frame->offload)),
            .csum_offset = tcp ? offsetof(struct tcphdr, check) : offsetof(struct udphdr, check),
        };
    return start + size;
}

static void receive(int card, struct sha256 *received)
{
    static uint8_t answer[sizeof(struct virtio_net_hdr) + ANSWER_MAX];
    size_t header = sizeof(struct virtio_net_hdr) + sizeof(struct ether_header);
    ssize_t size = recv(card, answer, sizeof(answer), 0);

    if (size < (ssize_t)header)
        fail("no answer");
    sha256_update(received, answer + header, (size_t)size - header);
}

static void print_digest(const char *what, struct sha256 *hash)
{
    uint8_t digest[32];

    sha256_final(hash, digest);
    printf("offloads: %s ", what);
    for (unsigned int i = 0; i < sizeof(digest); i++)
        printf("%02x", digest[i]);
    printf("\n");
}

int main(int argc, char **argv)
{
    unsigned long rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;
    int card = open_card();
    struct sha256 sent, received;
    uint32_t sequence = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    sha256_init(&sent);
    sha256_init(&received);
    for (unsigned long i = 0; i < rounds; i++)
        for (unsigned int k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
            size_t size = fill(&kinds[k], sequence);

            if (sendto(card, buffer, size, 0, (struct sockaddr *)&to_card, sizeof(to_card)) !=
                (ssize_t)size)
                fail("send");
            sha256_update(&sent, buffer + size - kinds[k].data, kinds[k].data);
            sequence += kinds[k].data;
            receive(card, &received);
        }
    print_digest("sent", &sent);
    print_digest("received", &received);
    return 0;
}
