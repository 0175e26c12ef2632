#include "dma/guest.h"
#include "lib/string.h"

u64 dma_get_field(const u8 *descriptor, struct dma_field field)
{
    const u8 *at = descriptor + field.offset;
    u64 value = 0;

    switch (field.width) {
    case 2:
        __builtin_memcpy(&value, at, 2);
        break;
    case 4:
        __builtin_memcpy(&value, at, 4);
        break;
    case 8:
        __builtin_memcpy(&value, at, 8);
        break;
    default:
        memcpy(&value, at, field.width);
    }
    return value;
}

void dma_put_field(u8 *descriptor, struct dma_field field, u64 value)
{
    memcpy(descriptor + field.offset, &value, field.width);
}

bool dma_guest_range_is_sane(u64 gpa, u32 len)
{
    return gpa + len - 1 >= gpa;
}

u32 dma_page_part(u64 gpa, u32 len)
{
    u32 room = (u32)(PAGE_SIZE - (gpa & PAGE_MASK));

    return len < room ? len : room;
}

int dma_read_guest(struct dma_device *device, u64 gpa, void *buf, u32 len)
{
    if (!dma_guest_range_is_sane(gpa, len) ||
        device->env.guest_read(device->env.ctx, gpa, buf, len) < 0) {
        device->stats.guest_faults++;
        return ERR_FAULT;
    }
    return 0;
}

int dma_write_guest(struct dma_device *device, u8 stream, u64 gpa, const void *data, u32 len)
{
    if (!dma_guest_range_is_sane(gpa, len) ||
        device->env.guest_write(device->env.ctx, gpa, data, len) < 0) {
        device->stats.guest_faults++;
        return ERR_FAULT;
    }
    device->env.emit(device->env.ctx, stream, gpa, data, len);
    return 0;
}

void dma_own(struct dma_device *device, u8 stream, u64 gpa, u32 len, bool owned)
{
    if (device->env.own != NULL && len != 0) {
        device->env.own(device->env.ctx, stream, gpa, len, owned);
    }
}

void dma_write_register(struct dma_device *device, u32 reg, u8 size, u64 value)
{
    device->env.device_write(device->env.ctx, reg, size, value);
}

void dma_refuse(struct dma_device *device, bool *forward)
{
    device->stats.refused_writes++;
    *forward = false;
}
