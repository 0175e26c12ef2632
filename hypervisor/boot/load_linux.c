#include "boot/guest_loader.h"
#include "core/guest_memory.h"
#include "lib/printk.h"
#include "lib/string.h"

#define BOOT_PARAMS  0x10000ULL
#define COMMAND_LINE 0x20000ULL
#define KERNEL_START 0x100000ULL

/* Offsets in the boot sector and in struct boot_params alike. */
#define SETUP_SECTS      0x1f1
#define BOOT_FLAG        0x1fe
#define SETUP_JUMP       0x201
#define HEADER_MAGIC     0x202
#define PROTOCOL_VERSION 0x206
#define TYPE_OF_LOADER   0x210
#define LOADFLAGS        0x211
#define RAMDISK_IMAGE    0x218
#define RAMDISK_SIZE     0x21c
#define CMD_LINE_PTR     0x228
#define INITRD_ADDR_MAX  0x22c
#define CMDLINE_SIZE     0x238
#define PREF_ADDRESS     0x258
#define INIT_SIZE        0x260
#define SETUP_HEADER     0x1f1
#define E820_ENTRIES     0x1e8
#define E820_TABLE       0x2d0

#define MAGIC_HDRS       0x53726448
#define LOADED_HIGH      0x01
#define LOADER_UNDEFINED 0xff
#define E820_SIZE        20

static u32 get32(const u8 *p)
{
    u32 v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static void put32(u8 *p, u32 v)
{
    memcpy(p, &v, sizeof(v));
}

static void put_e820(u8 *params)
{
    const struct memory_range *map;
    unsigned int count = guest_memory_e820(&map);

    params[E820_ENTRIES] = (u8)count;
    for (unsigned int i = 0; i < count; i++) {
        u8 *entry = params + E820_TABLE + i * E820_SIZE;

        memcpy(entry, &map[i].base, 8);
        memcpy(entry + 8, &map[i].length, 8);
        put32(entry + 16, map[i].type);
    }
}

static int place_initrd(const struct boot_module *initrd, const u8 *image, u64 kernel_end,
                        u8 *params)
{
    u64 top = guest_memory_size(), start;

    if (top > (u64)get32(image + INITRD_ADDR_MAX) + 1)
        top = (u64)get32(image + INITRD_ADDR_MAX) + 1;
    start = (top - initrd->size) & ~PAGE_MASK;
    if (initrd->size > top || start < kernel_end) {
        printk("lvmm: %lu MiB of guest memory is too little for this kernel and initrd\n",
               guest_memory_size() >> 20);
        return ERR_NO_SPACE;
    }
    memcpy((void *)start, (const void *)initrd->start, initrd->size);
    put32(params + RAMDISK_IMAGE, (u32)start);
    put32(params + RAMDISK_SIZE, (u32)initrd->size);
    return 0;
}

int load_linux(const struct boot_info *info, const struct boot_module *kernel,
               struct start_state *start)
{
    const u8 *image = (const u8 *)kernel->start;
    const struct boot_module *initrd = boot_module_find(info, "initrd");
    u8 *params = (u8 *)BOOT_PARAMS;
    u64 setup_size, pref, kernel_end;
    size_t line = strlen(kernel->args);

    if (kernel->size < 0x1000 || image[BOOT_FLAG] != 0x55 || image[BOOT_FLAG + 1] != 0xaa ||
        get32(image + HEADER_MAGIC) != MAGIC_HDRS || !(image[LOADFLAGS] & LOADED_HIGH) ||
        (get32(image + PROTOCOL_VERSION) & 0xffff) < 0x20a) {
        printk("lvmm: the linux image is no bzImage of boot protocol 2.10 or later\n");
        return ERR_INVALID;
    }
    setup_size = ((u64)(image[SETUP_SECTS] != 0 ? image[SETUP_SECTS] : 4) + 1) * 512;
    memcpy(&pref, image + PREF_ADDRESS, 8);
    kernel_end = (pref > KERNEL_START ? pref : KERNEL_START) + get32(image + INIT_SIZE);
    if (setup_size >= kernel->size || kernel_end > guest_memory_size() ||
        KERNEL_START + kernel->size > guest_memory_size()) {
        printk("lvmm: %lu MiB of guest memory is too little for this kernel (it needs %lu MiB)\n",
               guest_memory_size() >> 20, (kernel_end >> 20) + 1);
        return ERR_NO_SPACE;
    }
    if (line >= get32(image + CMDLINE_SIZE)) {
        printk("lvmm: the kernel command line is too long\n");
        return ERR_NO_SPACE;
    }
    memset(params, 0, PAGE_SIZE);
    memcpy(params + SETUP_HEADER, image + SETUP_HEADER, 0x202u + image[SETUP_JUMP] - SETUP_HEADER);
    params[TYPE_OF_LOADER] = LOADER_UNDEFINED;
    memcpy((void *)COMMAND_LINE, kernel->args, line + 1);
    put32(params + CMD_LINE_PTR, COMMAND_LINE);
    put_e820(params);
    if (initrd != NULL && place_initrd(initrd, image, kernel_end, params) < 0)
        return ERR_NO_SPACE;
    memcpy((void *)KERNEL_START, image + setup_size, kernel->size - setup_size);
    *start = (struct start_state){.rip = KERNEL_START, .rsi = BOOT_PARAMS, .rsp = BOOT_PARAMS};
    return 0;
}
