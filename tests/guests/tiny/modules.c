/* Prints what the boot loader passed: the command line and the modules, as text. */
#include "runtime.h"

#define MULTIBOOT_COMMAND_LINE 4u
#define MULTIBOOT_MODULES      8u

/* Multiboot specification 0.6.96, 3.3; only what is used. */
struct multiboot_info {
    u32 flags, memory_lower, memory_upper, boot_device, command_line, module_count, modules;
};

struct multiboot_module {
    u32 start, end, text, reserved;
};

void guest_main(u32 magic, u32 address) {
    const struct multiboot_info *info = (const struct multiboot_info *)address;
    (void)magic;
    if (info->flags & MULTIBOOT_COMMAND_LINE)
        print("command line: %s\n", info->command_line);
    if (!(info->flags & MULTIBOOT_MODULES))
        return;
    const struct multiboot_module *module = (const struct multiboot_module *)info->modules;
    for (u32 i = 0; i < info->module_count; i++, module++) {
        print("module %s: ", module->text);
        for (u32 at = module->start; at < module->end; at++) {
            char text[2] = {*(const char *)at, 0};
            print("%s", text);
        }
        print("\n");
    }
}
