/* The real-mode code with which a guest starts from the machine's own disk: what the monitor puts
 * into the top of conventional memory. Offsets are into that code (disk_start.S), whose segment
 * begins at its first byte. */
#ifndef LVMM_BOOT_DISK_START_H
#define LVMM_BOOT_DISK_START_H

#define DISK_START_OLD_INT15  0  /* far pointer: the BIOS's own handler */
#define DISK_START_MAP_COUNT  4  /* u32: entries of the memory map */
#define DISK_START_LOW_KIB    8  /* u16: RAM from 1 MiB on, 15 MiB of it at most */
#define DISK_START_HIGH_UNITS 10 /* u16: RAM from 16 MiB on, in 64 KiB */
#define DISK_START_BELOW_64M  12 /* u16: RAM from 1 MiB on in KiB, up to 64 MiB */
#define DISK_START_DRIVE      14 /* u8: the BIOS's number of the disk */
#define DISK_START_CODE       16
#define DISK_START_MAP        0x200 /* entries of 20 bytes, as INT 15h AX=E820h gives them */
#define DISK_START_ENTRY_SIZE 20

/* Bytes of conventional memory that are taken from the guest, whole KiB. */
#define DISK_START_SIZE 2048

#endif
