#include "net.h"
#include "checksum.h"
#include "formats.h"
#include "memory.h"

static const u8 address[4] = NET_ADDRESS;
static const u8 quit[] = {'q', 'u', 'i', 't'};
static struct net_counters counters;

/* What a frame turns out to be. */
enum verdict {
    IGNORED,
    ANSWER, /* the buffer holds it now */
    QUIT,
};

static enum verdict answer_arp(struct arp *arp, u32 length)
{
    if (length < sizeof(*arp) || arp->hardware != wire16(ARP_ETHERNET) ||
        arp->protocol != wire16(TYPE_IPV4) || arp->operation != wire16(ARP_REQUEST) ||
        memcmp(&arp->target_ip, address, sizeof(address)) != 0)
        return IGNORED;
    arp->operation = wire16(ARP_REPLY);
    arp->target_ip = arp->sender_ip;
    memcpy(arp->target_mac, arp->sender_mac, MAC_BYTES);
    memcpy(&arp->sender_ip, address, sizeof(address));
    memcpy(arp->sender_mac, e1000_mac(), MAC_BYTES);
    counters.arp++;
    return ANSWER;
}

static enum verdict answer_icmp(struct icmp *icmp, u32 length)
{
    if (length < sizeof(*icmp) || icmp->type != ICMP_ECHO_REQUEST || checksum(0, icmp, length) != 0)
        return IGNORED;
    icmp->type = ICMP_ECHO_REPLY;
    icmp->checksum = 0;
    icmp->checksum = checksum(0, icmp, length);
    counters.digest = crc32(counters.digest, icmp + 1, length - sizeof(*icmp));
    counters.icmp++;
    return ANSWER;
}

/* The sum over the addresses, the protocol and the length, which UDP's checksum includes. */
static u32 pseudo_header(const struct ipv4 *ip, u16 udp_length)
{
    u16 tail[2] = {wire16(IPV4_UDP), udp_length};
    return sum(sum(0, &ip->from, 8), tail, sizeof(tail));
}

static enum verdict answer_udp(const struct ipv4 *ip, struct udp *udp, u32 length)
{
    if (length < sizeof(*udp) || wire16(udp->length) < sizeof(*udp) || wire16(udp->length) > length)
        return IGNORED;
    length = wire16(udp->length);
    if (udp->checksum != 0 && checksum(pseudo_header(ip, udp->length), udp, length) != 0)
        return IGNORED;
    if (udp->to == wire16(UDP_DISCARD) && length == sizeof(*udp) + sizeof(quit) &&
        memcmp(udp + 1, quit, sizeof(quit)) == 0)
        return QUIT;
    if (udp->to != wire16(UDP_ECHO))
        return IGNORED;
    /* The ends change places, here and in the IP header: the checksum stays. */
    udp->to = udp->from;
    udp->from = wire16(UDP_ECHO);
    counters.digest = crc32(counters.digest, udp + 1, length - sizeof(*udp));
    counters.udp++;
    return ANSWER;
}

static enum verdict answer_ipv4(struct ipv4 *ip, u32 length)
{
    if (length < sizeof(*ip) || ip->version_words != IPV4_VERSION_WORDS ||
        wire16(ip->length) < sizeof(*ip) || wire16(ip->length) > length ||
        (wire16(ip->fragment) & IPV4_FRAGMENT) != 0 || checksum(0, ip, sizeof(*ip)) != 0 ||
        memcmp(&ip->to, address, sizeof(address)) != 0)
        return IGNORED;
    enum verdict verdict = IGNORED;
    length = wire16(ip->length) - sizeof(*ip);
    if (ip->protocol == IPV4_ICMP)
        verdict = answer_icmp((struct icmp *)(ip + 1), length);
    else if (ip->protocol == IPV4_UDP)
        verdict = answer_udp(ip, (struct udp *)(ip + 1), length);
    ip->to = ip->from;
    memcpy(&ip->from, address, sizeof(address));
    ip->time_to_live = IPV4_TTL;
    ip->checksum = 0;
    ip->checksum = checksum(0, ip, sizeof(*ip));
    return verdict;
}

bool net_receive(struct buffer *frame)
{
    struct ethernet *ethernet = (struct ethernet *)frame->data;
    enum verdict verdict = IGNORED;
    u32 length = frame->length - sizeof(*ethernet);
    if (frame->length < sizeof(*ethernet) || frame->length > FRAME_MAX_BYTES)
        verdict = IGNORED;
    else if (ethernet->type == wire16(TYPE_ARP))
        verdict = answer_arp((struct arp *)(ethernet + 1), length);
    else if (ethernet->type == wire16(TYPE_IPV4))
        verdict = answer_ipv4((struct ipv4 *)(ethernet + 1), length);
    if (verdict == ANSWER) {
        memcpy(ethernet->to, ethernet->from, MAC_BYTES);
        memcpy(ethernet->from, e1000_mac(), MAC_BYTES);
        e1000_send(frame->data, frame->length);
    }
    if (verdict == IGNORED)
        counters.ignored++;
    return verdict == QUIT;
}

struct net_counters net_counters(void)
{
    return counters;
}
