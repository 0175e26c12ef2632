/* Panics by hypercall, three calls deep. */
#include "runtime.h"

#include "lvmm.h"

__attribute__((noipa)) static void check_cookies(u32 left) {
    if (left == 0)
        lvmm_panic("out of \"cookies\"\n");
    print("still there\n");
}

__attribute__((noipa)) static void eat_cookies(u32 left) {
    while (left-- > 0)
        check_cookies(left);
    print("unexpected: no panic\n");
}

void guest_main(u32 magic, u32 info) {
    (void)magic;
    (void)info;
    lvmm_mark("before the panic");
    print("interface %u\n", (u32)lvmm_present());
    eat_cookies(3);
    print("unexpected: eaten\n");
}
