#include "arch/cpu.h"
#include "core/device_access.h"

u64 raw_memory_read(u64 address, u8 size)
{
    switch (size) {
    case 1:
        return *(volatile u8 *)address;
    case 2:
        return *(volatile u16 *)address;
    case 4:
        return *(volatile u32 *)address;
    default:
        return *(volatile u64 *)address;
    }
}

void raw_memory_write(u64 address, u8 size, u64 value)
{
    switch (size) {
    case 1:
        *(volatile u8 *)address = (u8)value;
        break;
    case 2:
        *(volatile u16 *)address = (u16)value;
        break;
    case 4:
        *(volatile u32 *)address = (u32)value;
        break;
    default:
        *(volatile u64 *)address = value;
        break;
    }
}

u64 raw_port_read(u16 port, u8 size)
{
    switch (size) {
    case 1:
        return inb(port);
    case 2:
        return inw(port);
    default:
        return inl(port);
    }
}

void raw_port_write(u16 port, u8 size, u64 value)
{
    switch (size) {
    case 1:
        outb(port, (u8)value);
        break;
    case 2:
        outw(port, (u16)value);
        break;
    default:
        outl(port, (u32)value);
        break;
    }
}

void raw_port_read_string(u16 port, u8 size, u8 *buf, u32 count)
{
    switch (size) {
    case 1:
        insb(port, buf, count);
        break;
    case 2:
        insw(port, buf, count);
        break;
    default:
        insl(port, buf, count);
        break;
    }
}
