#include "e1000.h"
#include "e1000_registers.h"
#include "interrupts.h"
#include "memory.h"
#include "panic.h"
#include "pci.h"

#define RX_COUNT 16
#define TX_COUNT 16

#define FRAME_KIND 12 /* in an Ethernet header: two bytes */

/* A received frame waits here between the interrupt handler, which alone writes `in`, and the main
   loop, which alone writes `out`: no more guard is needed. There is room for all buffers. */
static struct {
    struct buffer *frames[POOL_BUFFERS];
    volatile u32 in, out;
} queue;

static struct {
    volatile struct rx_descriptor ring[RX_COUNT] __attribute__((aligned(128)));
    struct buffer *buffers[RX_COUNT]; /* those in the ring */
    u32 next;
} rx;

static struct {
    volatile struct tx_descriptor ring[TX_COUNT] __attribute__((aligned(128)));
    u8 frames[TX_COUNT][BUFFER_BYTES];
    u32 next;
} tx;

static volatile u32 *registers;
static bool impatient;
static u8 mac[MAC_BYTES];
static struct e1000_counters counters;

static u32 get(u32 offset)
{
    return registers[offset / 4];
}

static void set(u32 offset, u32 value)
{
    registers[offset / 4] = value;
}

static void rx_start(void)
{
    for (u32 i = 0; i < RX_COUNT; i++) {
        rx.buffers[i] = pool_take(OWNER_CARD);
        rx.ring[i].address = (u32)rx.buffers[i]->data;
    }
    set(RDBAL, (u32)rx.ring);
    set(RDBAH, 0);
    set(RDLEN, sizeof(rx.ring));
    set(RDH, 0);
    set(RDT, RX_COUNT - 1);
    set(RCTL, RCTL_EN | RCTL_BAM | RCTL_SECRC);
}

static void tx_start(void)
{
    for (u32 i = 0; i < TX_COUNT; i++) {
        tx.ring[i].address = (u32)tx.frames[i];
        tx.ring[i].status = TX_DD;
    }
    set(TDBAL, (u32)tx.ring);
    set(TDBAH, 0);
    set(TDLEN, sizeof(tx.ring));
    set(TDH, 0);
    set(TDT, 0);
    set(TIPG, TIPG_COPPER);
    set(TCTL, TCTL_EN | TCTL_PSP | TCTL_CT | TCTL_COLD);
}

/* The frame of the descriptor goes to the queue and a fresh buffer takes its place; where there is
   none, the frame is dropped and its buffer stays. */
static void rx_frame(u32 index)
{
    volatile struct rx_descriptor *descriptor = &rx.ring[index];
    struct buffer *frame = rx.buffers[index];
    if (!(descriptor->status & RX_EOP) || descriptor->errors) {
        counters.damaged++;
        return;
    }
    struct buffer *fresh = pool_take(OWNER_CARD);
    if (fresh == 0) {
        counters.dropped++;
        return;
    }
    frame->owner = OWNER_STACK;
    frame->length = descriptor->length;
    queue.frames[queue.in % POOL_BUFFERS] = frame;
    queue.in++;
    counters.received++;
    rx.buffers[index] = fresh;
    descriptor->address = (u32)fresh->data;
}

/* The kind of a frame that may not be there yet: the card is still to say so. */
__attribute__((noinline)) static u32 look_ahead(u32 index)
{
    const volatile u8 *data = rx.buffers[index]->data;
    return (u32)data[FRAME_KIND] << 8 | data[FRAME_KIND + 1];
}

static void on_interrupt(void)
{
    u32 causes = get(ICR);
    counters.interrupts++;
    if (causes & INT_RXO)
        counters.dropped++;
    while (rx.ring[rx.next].status & RX_DD) {
        u32 index = rx.next;
        rx_frame(index);
        rx.ring[index].status = 0;
        set(RDT, index);
        rx.next = (index + 1) % RX_COUNT;
    }
    if (impatient)
        counters.foreseen += look_ahead(rx.next) != 0;
}

static u32 eeprom_word(u32 number)
{
    set(EERD, EERD_START | number << EERD_ADDRESS_SHIFT);
    while (!(get(EERD) & EERD_DONE))
        __asm__ volatile("pause");
    return get(EERD) >> EERD_DATA_SHIFT;
}

static void set_address(void)
{
    for (u32 i = 0; i < MAC_BYTES; i += 2) {
        u32 word = eeprom_word(i / 2);
        mac[i] = (u8)word;
        mac[i + 1] = (u8)(word >> 8);
    }
    set(RAL0, mac[0] | mac[1] << 8 | mac[2] << 16 | (u32)mac[3] << 24);
    set(RAH0, mac[4] | mac[5] << 8 | RAH_AV);
    for (u32 i = 0; i < MTA_WORDS; i++)
        set(MTA + 4 * i, 0);
}

static void reset_card(void)
{
    set(IMC, ~0u);
    set(CTRL, CTRL_RST);
    while (get(CTRL) & CTRL_RST)
        __asm__ volatile("pause");
    set(IMC, ~0u);
    get(ICR);
    set(CTRL, CTRL_SLU);
}

u32 e1000_start(bool is_impatient)
{
    impatient = is_impatient;
    u32 device = pci_find(E1000_82540EM);
    if (device == PCI_NONE)
        panic("there is no 82540EM");
    pci_write(device, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    registers = (volatile u32 *)(pci_read(device, PCI_BAR0) & PCI_BAR_ADDRESS);
    reset_card();
    set_address();
    rx_start();
    tx_start();
    u32 line = pci_read(device, PCI_INTERRUPT) & PCI_INTERRUPT_LINE;
    interrupts_claim(line, on_interrupt);
    set(IMS, INT_TXDW | INT_RXO | INT_RXT0);
    return line;
}

const u8 *e1000_mac(void)
{
    return mac;
}

struct e1000_counters e1000_counters(void)
{
    return counters;
}

struct buffer *e1000_receive(void)
{
    if (queue.out == queue.in)
        return 0;
    struct buffer *frame = queue.frames[queue.out % POOL_BUFFERS];
    queue.out++;
    return frame;
}

void e1000_send(const u8 *frame, u32 length)
{
    volatile struct tx_descriptor *descriptor = &tx.ring[tx.next];
    u32 eflags = interrupts_off();
    while (!(descriptor->status & TX_DD))
        wait_for_interrupt();
    interrupts_restore(eflags);
    memcpy(tx.frames[tx.next], frame, length);
    descriptor->length = (u16)length;
    descriptor->command = TX_EOP | TX_IFCS | TX_RS;
    descriptor->status = 0;
    tx.next = (tx.next + 1) % TX_COUNT;
    counters.sent++;
    set(TDT, tx.next);
}
