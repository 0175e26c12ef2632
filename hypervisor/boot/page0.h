/* Physical page 0 (interrupt vectors and BIOS data area), as the firmware left it. */
#ifndef LVMM_BOOT_PAGE0_H
#define LVMM_BOOT_PAGE0_H

/* Must be called before paging_init() unmaps page 0. */
void boot_save_page0(void);
/* The copy, which is the guest's: before the guest starts its loader may change it. */
void *boot_page0(void);

#endif
