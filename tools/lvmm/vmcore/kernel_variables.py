"""Types of some variables of a Linux kernel, of which its BTF does not tell them."""

# Those that drgn's helpers start from. BTF of Linux has the types of what is in per-CPU
# memory only; these are their types in the kernel's sources.
VARIABLES = {
    "init_task": "struct task_struct",
    "init_pid_ns": "struct pid_namespace",
    "init_uts_ns": "struct uts_namespace",
    "init_mm": "struct mm_struct",
    "init_net": "struct net",
    "modules": "struct list_head",
    "net_namespace_list": "struct list_head",
    "super_blocks": "struct list_head",
    "slab_caches": "struct list_head",
    "__cpu_online_mask": "struct cpumask",
    "__cpu_possible_mask": "struct cpumask",
    "__cpu_present_mask": "struct cpumask",
    "nr_cpu_ids": "unsigned int",
    "__per_cpu_offset": "unsigned long [8192]",
    "jiffies": "unsigned long",
    "prb": "struct printk_ringbuffer *",
    "page_offset_base": "unsigned long",
    "vmalloc_base": "unsigned long",
    "vmemmap_base": "unsigned long",
    "panic_cpu": "atomic_t",
    "init_fs": "struct fs_struct",
    "root_task_group": "struct task_group",
    "saved_command_line": "char *",
}
