// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0
/* Tells the lvmm monitor when Linux panics, so that the run ends there and not in the endless loop
 * after it. */
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/panic_notifier.h>

#include "../lvmm.h"

/* `text` is the formatted message of panic(). */
static int on_panic(struct notifier_block *block, unsigned long event, void *text)
{
    lvmm_panic(text);
    return NOTIFY_DONE;
}

static struct notifier_block panic_block = {
    .notifier_call = on_panic,
    .priority = INT_MAX, /* before others change what is to be looked at */
};

static int __init lvmm_guest_init(void)
{
    if (!lvmm_present())
        return -ENODEV;
    lvmm_mark("lvmm_guest loaded");
    return atomic_notifier_chain_register(&panic_notifier_list, &panic_block);
}

static void __exit lvmm_guest_exit(void)
{
    atomic_notifier_chain_unregister(&panic_notifier_list, &panic_block);
}

module_init(lvmm_guest_init);
module_exit(lvmm_guest_exit);

MODULE_DESCRIPTION("Reports panics to the lvmm monitor");
MODULE_LICENSE("Dual BSD/GPL");
