#include "boot/multiboot2.h"
#include "lib/string.h"
#include "lib/text.h"

#define TAG_END     0
#define TAG_CMDLINE 1
#define TAG_MODULE  3
#define TAG_MMAP    6
#define TAG_ACPI_1  14 /* a copy of the root pointer, of the first version or a later one */
#define TAG_ACPI_2  15

struct tag {
    u32 type, size;
};

struct tag_module {
    struct tag tag;
    u32 start, end;
    char string[];
};

struct tag_mmap {
    struct tag tag;
    u32 entry_size, entry_version;
};

struct mmap_entry {
    u64 base, length;
    u32 type, reserved;
};

static int add_module(const struct tag_module *t, struct boot_info *out)
{
    struct boot_module *m = &out->modules[out->module_count];
    const char *s = t->string;
    unsigned int n = 0;

    if (out->module_count == BOOT_MODULES_MAX)
        return ERR_NO_SPACE;
    m->start = t->start;
    m->size = t->end - t->start;
    for (; *s != 0 && *s != ' '; s++)
        if (n + 1 < sizeof(m->role))
            m->role[n++] = *s;
    m->role[n] = 0;
    while (*s == ' ')
        s++;
    if (text_copy(m->args, sizeof(m->args), s) < 0)
        return ERR_NO_SPACE;
    out->module_count++;
    return 0;
}

static int add_mmap(const struct tag_mmap *t, struct boot_info *out)
{
    for (u32 at = sizeof(*t); at + sizeof(struct mmap_entry) <= t->tag.size; at += t->entry_size) {
        const struct mmap_entry *e = (const void *)((const u8 *)t + at);

        if (out->mmap_count == BOOT_MMAP_MAX || t->entry_size < sizeof(*e))
            return ERR_NO_SPACE;
        out->mmap[out->mmap_count++] = (struct memory_range){e->base, e->length, e->type};
    }
    return 0;
}

/* There may be one of each version, and then the later one follows. */
static void keep_rsdp(const struct tag *t, struct boot_info *out)
{
    u32 size = t->size - (u32)sizeof(*t);

    out->rsdp_size = size < sizeof(out->rsdp) ? size : sizeof(out->rsdp);
    memcpy(out->rsdp, t + 1, out->rsdp_size);
}

int multiboot2_parse(u64 info, struct boot_info *out)
{
    u32 total = *(const u32 *)info;
    u64 at = info + 8;

    while (at + sizeof(struct tag) <= info + total) {
        const struct tag *t = (const struct tag *)at;
        int error = 0;

        if (t->type == TAG_END)
            return 0;
        if (t->size < sizeof(*t))
            return ERR_INVALID;
        if (t->type == TAG_CMDLINE)
            error = text_copy(out->cmdline, sizeof(out->cmdline), (const char *)(t + 1));
        else if (t->type == TAG_MODULE)
            error = add_module((const struct tag_module *)t, out);
        else if (t->type == TAG_MMAP)
            error = add_mmap((const struct tag_mmap *)t, out);
        else if (t->type == TAG_ACPI_1 || t->type == TAG_ACPI_2)
            keep_rsdp(t, out);
        if (error < 0)
            return error;
        at += ALIGN_UP(t->size, 8);
    }
    return ERR_INVALID;
}

const struct boot_module *boot_module_find(const struct boot_info *info, const char *role)
{
    for (unsigned int i = 0; i < info->module_count; i++)
        if (text_equal(info->modules[i].role, role))
            return &info->modules[i];
    return NULL;
}
