/* "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual" (317453):
   chapter 3 (descriptors), chapter 13 (registers). */
#ifndef APPLIANCE_E1000_REGISTERS_H
#define APPLIANCE_E1000_REGISTERS_H

#include "cpu.h"

#define E1000_82540EM 0x100e8086u /* device << 16 | vendor */

#define CTRL     0x0000
#define CTRL_SLU (1u << 6) /* set link up */
#define CTRL_RST (1u << 26)

/* A word of the EEPROM; the first three are the card's address. */
#define EERD               0x0014
#define EERD_START         (1u << 0)
#define EERD_DONE          (1u << 4)
#define EERD_ADDRESS_SHIFT 8
#define EERD_DATA_SHIFT    16

/* Interrupt cause (reading clears it), mask set, mask clear. */
#define ICR      0x00c0
#define IMS      0x00d0
#define IMC      0x00d8
#define INT_TXDW (1u << 0) /* a transmit descriptor was written back */
#define INT_RXO  (1u << 6) /* no descriptor for a frame */
#define INT_RXT0 (1u << 7) /* a frame was received */

#define RCTL       0x0100
#define RCTL_EN    (1u << 1)
#define RCTL_BAM   (1u << 15) /* accept broadcasts */
#define RCTL_SECRC (1u << 26) /* leave out the frame check sequence; buffers of 2048 bytes */
#define RDBAL      0x2800
#define RDBAH      0x2804
#define RDLEN      0x2808
#define RDH        0x2810
#define RDT        0x2818

#define TCTL        0x0400
#define TCTL_EN     (1u << 1)
#define TCTL_PSP    (1u << 3)    /* pad short frames */
#define TCTL_CT     (0x10u << 4) /* the manual's values for full duplex */
#define TCTL_COLD   (0x40u << 12)
#define TIPG        0x0410
#define TIPG_COPPER (10u | 8u << 10 | 6u << 20)
#define TDBAL       0x3800
#define TDBAH       0x3804
#define TDLEN       0x3808
#define TDH         0x3810
#define TDT         0x3818

#define MTA       0x5200 /* multicast table */
#define MTA_WORDS 128
#define RAL0      0x5400 /* the card's own address, low and high part */
#define RAH0      0x5404
#define RAH_AV    (1u << 31) /* address valid */

struct rx_descriptor {
    u64 address;
    u16 length, checksum;
    u8 status, errors;
    u16 special;
};

#define RX_DD  (1u << 0)
#define RX_EOP (1u << 1)

/* Legacy format. */
struct tx_descriptor {
    u64 address;
    u16 length;
    u8 checksum_offset, command;
    u8 status, checksum_start;
    u16 special;
};

#define TX_EOP  (1u << 0)
#define TX_IFCS (1u << 1) /* insert the frame check sequence */
#define TX_RS   (1u << 3) /* report status */
#define TX_DD   (1u << 0)

#endif
