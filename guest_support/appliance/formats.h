/* What is on the wire: Ethernet II, ARP (RFC 826), IPv4 (RFC 791), ICMP (RFC 792), UDP (RFC 768).
   Numbers of more than a byte are big-endian: see wire16(). */
#ifndef APPLIANCE_FORMATS_H
#define APPLIANCE_FORMATS_H

#include "e1000.h"

/* The same in both directions. */
static inline u16 wire16(u32 value)
{
    return __builtin_bswap16((u16)value);
}

struct ethernet {
    u8 to[MAC_BYTES], from[MAC_BYTES];
    u16 type;
} __attribute__((packed));

#define TYPE_IPV4 0x0800
#define TYPE_ARP  0x0806

struct arp {
    u16 hardware, protocol;
    u8 hardware_bytes, protocol_bytes;
    u16 operation;
    u8 sender_mac[MAC_BYTES];
    u32 sender_ip;
    u8 target_mac[MAC_BYTES];
    u32 target_ip;
} __attribute__((packed));

#define ARP_ETHERNET 1
#define ARP_REQUEST  1
#define ARP_REPLY    2

struct ipv4 {
    u8 version_words, service; /* version << 4 | the header's length in words of 32 bits */
    u16 length, identification, fragment;
    u8 time_to_live, protocol;
    u16 checksum;
    u32 from, to;
} __attribute__((packed));

#define IPV4_VERSION_WORDS 0x45
#define IPV4_FRAGMENT      0x3fff /* more fragments follow, or an offset */
#define IPV4_ICMP          1
#define IPV4_UDP           17
#define IPV4_TTL           64

struct icmp {
    u8 type, code;
    u16 checksum, identifier, sequence;
} __attribute__((packed));

#define ICMP_ECHO_REPLY   0
#define ICMP_ECHO_REQUEST 8

struct udp {
    u16 from, to, length, checksum;
} __attribute__((packed));

#define UDP_ECHO    7 /* RFC 862 */
#define UDP_DISCARD 9 /* RFC 863 */

#endif
