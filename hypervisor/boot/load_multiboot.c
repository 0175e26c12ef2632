#include "boot/guest_loader.h"
#include "core/guest_memory.h"
#include "lib/printk.h"
#include "lib/string.h"

#define HEADER_MAGIC     0x1badb002
#define BOOTLOADER_MAGIC 0x2badb002
#define HEADER_SEARCH    8192

#define INFO_ADDRESS 0x9000ULL
#define INFO_MEMORY  BIT(0)
#define INFO_CMDLINE BIT(2)
#define INFO_MODULES BIT(3)
#define INFO_MMAP    BIT(6)
#define MODULES_MAX  6
#define STRING_SIZE  256

#define ELF_MAGIC 0x464c457f
#define ELF_32    1
#define ELF_X86   3
#define PT_LOAD   1

struct elf32_header {
    u32 magic;
    u8 class, data, version, pad[9];
    u16 type, machine;
    u32 version2, entry, phoff, shoff, flags;
    u16 ehsize, phentsize, phnum;
};

struct elf32_segment {
    u32 type, offset, vaddr, paddr, filesz, memsz, flags, align;
};

/* Multiboot specification, section 3.3; with what it points to, in one block of guest memory. */
struct info_block {
    u32 flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4];
    u32 mmap_length, mmap_addr, rest[18];
    struct {
        u32 start, end, string, reserved;
    } modules[MODULES_MAX];
    struct {
        u32 size;
        u64 base, length;
        u32 type;
    } __attribute__((packed)) mmap[GUEST_E820_MAX];
    char cmdline_text[BOOT_STRING_MAX];
    char module_text[MODULES_MAX][STRING_SIZE];
};

static bool has_header(const struct boot_module *m)
{
    for (u64 at = 0; at + 12 <= m->size && at < HEADER_SEARCH; at += 4) {
        const u32 *h = (const u32 *)(m->start + at);

        if (h[0] == HEADER_MAGIC && h[0] + h[1] + h[2] == 0)
            return true;
    }
    return false;
}

/* Guest RAM from 1 MiB on is where a kernel may be. */
static bool fits(u64 start, u64 size)
{
    return start >= 0x100000 && start + size <= guest_memory_size();
}

static int load_segments(const struct boot_module *m, u64 *end)
{
    const struct elf32_header *elf = (const struct elf32_header *)m->start;

    *end = 0x100000;
    if (m->size < sizeof(*elf) || elf->magic != ELF_MAGIC || elf->class != ELF_32 ||
        elf->machine != ELF_X86 || elf->phentsize != sizeof(struct elf32_segment) ||
        elf->phoff + (u64)elf->phnum * elf->phentsize > m->size)
        return ERR_INVALID;
    for (u32 i = 0; i < elf->phnum; i++) {
        const struct elf32_segment *s = (const void *)(m->start + elf->phoff + i * sizeof(*s));

        if (s->type != PT_LOAD || s->memsz == 0)
            continue;
        if (s->filesz > s->memsz || s->offset + (u64)s->filesz > m->size)
            return ERR_INVALID;
        if (!fits(s->paddr, s->memsz))
            return ERR_NO_SPACE;
        memcpy((void *)(u64)s->paddr, (const void *)(m->start + s->offset), s->filesz);
        memset((void *)((u64)s->paddr + s->filesz), 0, s->memsz - s->filesz);
        if (s->paddr + (u64)s->memsz > *end)
            *end = s->paddr + (u64)s->memsz;
    }
    return 0;
}

static int place_modules(const struct boot_info *boot, struct info_block *b, u64 end)
{
    for (unsigned int i = 0; i < boot->module_count; i++) {
        const struct boot_module *m = &boot->modules[i];
        u32 n = b->mods_count;

        if (strncmp(m->role, "module", sizeof(m->role)) != 0)
            continue;
        end = ALIGN_UP(end, PAGE_SIZE);
        if (n == MODULES_MAX || !fits(end, m->size) || strlen(m->args) >= STRING_SIZE)
            return ERR_NO_SPACE;
        memcpy((void *)end, (const void *)m->start, m->size);
        memcpy(b->module_text[n], m->args, strlen(m->args) + 1);
        b->modules[n].start = (u32)end;
        b->modules[n].end = (u32)(end + m->size);
        b->modules[n].string = (u32)(u64)b->module_text[n];
        b->mods_count++;
        end += m->size;
    }
    return 0;
}

static void place_memory_map(struct info_block *b)
{
    const struct memory_range *map;
    unsigned int count = guest_memory_e820(&map);

    for (unsigned int i = 0; i < count; i++) {
        b->mmap[i].size = sizeof(b->mmap[i]) - sizeof(b->mmap[i].size);
        b->mmap[i].base = map[i].base;
        b->mmap[i].length = map[i].length;
        b->mmap[i].type = map[i].type;
    }
    b->mmap_length = count * (u32)sizeof(b->mmap[0]);
    b->mmap_addr = (u32)(u64)b->mmap;
    b->mem_lower = 639;
    b->mem_upper = (u32)(guest_memory_size() / 1024 - 1024);
}

int load_multiboot(const struct boot_info *boot, const struct boot_module *kernel,
                   struct start_state *start)
{
    struct info_block *b = (struct info_block *)INFO_ADDRESS;
    const struct elf32_header *elf = (const struct elf32_header *)kernel->start;
    u64 end;
    int error = has_header(kernel) ? load_segments(kernel, &end) : ERR_INVALID;

    if (error == ERR_INVALID)
        printk("lvmm: the multiboot image is no 32-bit ELF file with a Multiboot header\n");
    if (error == ERR_NO_SPACE)
        printk("lvmm: %lu MiB of guest memory is too little for this image\n",
               guest_memory_size() >> 20);
    if (error < 0)
        return error;
    memset(b, 0, sizeof(*b));
    if (place_modules(boot, b, end) < 0) {
        printk("lvmm: the multiboot modules do not fit\n");
        return ERR_NO_SPACE;
    }
    memcpy(b->cmdline_text, kernel->args, strlen(kernel->args) + 1);
    b->cmdline = (u32)(u64)b->cmdline_text;
    b->mods_addr = (u32)(u64)b->modules;
    b->flags = INFO_MEMORY | INFO_CMDLINE | INFO_MODULES | INFO_MMAP;
    place_memory_map(b);
    *start = (struct start_state){
        .rip = elf->entry, .rax = BOOTLOADER_MAGIC, .rbx = INFO_ADDRESS, .rsp = INFO_ADDRESS};
    return 0;
}

int load_boot_sector(const struct boot_module *sector, struct start_state *start)
{
    if (sector->size != 512) {
        printk("lvmm: a boot sector has 512 bytes, this one %lu\n", sector->size);
        return ERR_INVALID;
    }
    memcpy((void *)0x7c00, (const void *)sector->start, 512);
    *start = (struct start_state){.real_mode = true, .rip = 0x7c00, .rsp = 0x7c00, .rdx = 0x80};
    return 0;
}
