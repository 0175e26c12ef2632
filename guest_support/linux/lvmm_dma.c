// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0
/* Lets the lvmm monitor record devices that it has no DMA profile of, with their drivers as they
 * are: what a driver says by the DMA API is told to the monitor, by operations of the device's own
 * (struct dma_map_ops). Load it before the drivers; it stays. */
#include <linux/device.h>
#include <linux/dma-map-ops.h>
#include <linux/gfp.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/scatterlist.h>

#include "../lvmm.h"

#define ADDRESS_LENGTH 7 /* "00:04.0" */

static char *devices = "";
module_param(devices, charp, 0444);
MODULE_PARM_DESC(devices,
                 "PCI addresses as in 00:04.0,01:00.1; without it: all that have no profile");

static unsigned long number_of(struct device *dev)
{
    struct pci_dev *pci = to_pci_dev(dev);

    return LVMM_DEVICE(pci->bus->number, PCI_SLOT(pci->devfn), PCI_FUNC(pci->devfn));
}

/* --- one buffer --- */

static unsigned long kind_of(enum dma_data_direction direction)
{
    switch (direction) {
    case DMA_TO_DEVICE:
        return LVMM_DMA_TO_DEVICE;
    case DMA_FROM_DEVICE:
        return LVMM_DMA_FROM_DEVICE;
    default:
        return LVMM_DMA_BIDIRECTIONAL;
    }
}

static dma_addr_t declare(struct device *dev, phys_addr_t address, size_t size, unsigned long kind,
                          u64 mask)
{
    unsigned long number = number_of(dev);
    unsigned long result =
        lvmm_dma_call(LVMM_CALL_DMA_MAP, address, size, number | kind << LVMM_DMA_KIND_SHIFT);

    if (lvmm_dma_failed(result)) {
        dev_warn_ratelimited(dev, "lvmm: %zu bytes for DMA are refused: error %ld\n", size,
                             (long)result);
        return DMA_MAPPING_ERROR;
    }
    if (result + size - 1 > mask) {
        lvmm_dma_call(LVMM_CALL_DMA_UNMAP, result, 0, number);
        dev_warn_once(dev, "lvmm: the device does not reach the monitor's memory\n");
        return DMA_MAPPING_ERROR;
    }
    return result;
}

static void undo(struct device *dev, dma_addr_t address)
{
    lvmm_dma_call(LVMM_CALL_DMA_UNMAP, address, 0, number_of(dev));
}

static dma_addr_t map_page(struct device *dev, struct page *page, unsigned long offset, size_t size,
                           enum dma_data_direction direction, unsigned long attributes)
{
    return declare(dev, page_to_phys(page) + offset, size, kind_of(direction), dma_get_mask(dev));
}

static void unmap_page(struct device *dev, dma_addr_t address, size_t size,
                       enum dma_data_direction direction, unsigned long attributes)
{
    undo(dev, address);
}

static void sync_for_cpu(struct device *dev, dma_addr_t address, size_t size,
                         enum dma_data_direction direction)
{
    lvmm_dma_call(LVMM_CALL_DMA_SYNC_FOR_CPU, address, size, number_of(dev));
}

static void sync_for_device(struct device *dev, dma_addr_t address, size_t size,
                            enum dma_data_direction direction)
{
    lvmm_dma_call(LVMM_CALL_DMA_SYNC_FOR_DEVICE, address, size, number_of(dev));
}

/* --- lists of buffers --- */

static void unmap_sg(struct device *dev, struct scatterlist *list, int count,
                     enum dma_data_direction direction, unsigned long attributes)
{
    for (; count > 0; count--, list = sg_next(list))
        undo(dev, sg_dma_address(list));
}

static int map_sg(struct device *dev, struct scatterlist *list, int count,
                  enum dma_data_direction direction, unsigned long attributes)
{
    struct scatterlist *one = list;

    for (int i = 0; i < count; i++, one = sg_next(one)) {
        sg_dma_address(one) =
            map_page(dev, sg_page(one), one->offset, one->length, direction, attributes);
        if (sg_dma_address(one) == DMA_MAPPING_ERROR) {
            unmap_sg(dev, list, i, direction, attributes);
            return -ENOMEM;
        }
        sg_dma_len(one) = one->length;
    }
    return count;
}

static void sync_sg_for_cpu(struct device *dev, struct scatterlist *list, int count,
                            enum dma_data_direction direction)
{
    for (; count > 0; count--, list = sg_next(list))
        sync_for_cpu(dev, sg_dma_address(list), list->length, direction);
}

static void sync_sg_for_device(struct device *dev, struct scatterlist *list, int count,
                               enum dma_data_direction direction)
{
    for (; count > 0; count--, list = sg_next(list))
        sync_for_device(dev, sg_dma_address(list), list->length, direction);
}

/* --- memory that is allocated for DMA --- */

static void *allocate(struct device *dev, size_t size, dma_addr_t *address, gfp_t flags,
                      unsigned long attributes)
{
    void *memory = alloc_pages_exact(size, (flags & ~__GFP_COMP) | __GFP_ZERO);

    if (memory == NULL)
        return NULL;
    *address = declare(dev, virt_to_phys(memory), PAGE_ALIGN(size), LVMM_DMA_SHARED,
                       dev->coherent_dma_mask);
    if (*address == DMA_MAPPING_ERROR) {
        free_pages_exact(memory, size);
        return NULL;
    }
    return memory;
}

static void release(struct device *dev, size_t size, void *memory, dma_addr_t address,
                    unsigned long attributes)
{
    undo(dev, address);
    free_pages_exact(memory, size);
}

static struct page *allocate_pages(struct device *dev, size_t size, dma_addr_t *address,
                                   enum dma_data_direction direction, gfp_t flags)
{
    struct page *page = alloc_pages(flags | __GFP_ZERO, get_order(size));

    if (page == NULL)
        return NULL;
    *address = declare(dev, page_to_phys(page), size, kind_of(direction), dev->coherent_dma_mask);
    if (*address == DMA_MAPPING_ERROR) {
        __free_pages(page, get_order(size));
        return NULL;
    }
    return page;
}

static void release_pages_of(struct device *dev, size_t size, struct page *page, dma_addr_t address,
                             enum dma_data_direction direction)
{
    undo(dev, address);
    __free_pages(page, get_order(size));
}

static int map_for_user(struct device *dev, struct vm_area_struct *area, void *memory,
                        dma_addr_t address, size_t size, unsigned long attributes)
{
    unsigned long pages = PAGE_ALIGN(size) >> PAGE_SHIFT;

    if (area->vm_pgoff >= pages || vma_pages(area) > pages - area->vm_pgoff)
        return -ENXIO;
    return remap_pfn_range(area, area->vm_start,
                           (virt_to_phys(memory) >> PAGE_SHIFT) + area->vm_pgoff,
                           vma_pages(area) << PAGE_SHIFT, area->vm_page_prot);
}

static int make_list(struct device *dev, struct sg_table *table, void *memory, dma_addr_t address,
                     size_t size, unsigned long attributes)
{
    int error = sg_alloc_table(table, 1, GFP_KERNEL);

    if (error == 0)
        sg_set_page(table->sgl, virt_to_page(memory), PAGE_ALIGN(size), 0);
    return error;
}

static const struct dma_map_ops operations = {
    .alloc = allocate,
    .free = release,
    .alloc_pages = allocate_pages,
    .free_pages = release_pages_of,
    .mmap = map_for_user,
    .get_sgtable = make_list,
    .map_page = map_page,
    .unmap_page = unmap_page,
    .map_sg = map_sg,
    .unmap_sg = unmap_sg,
    .sync_single_for_cpu = sync_for_cpu,
    .sync_single_for_device = sync_for_device,
    .sync_sg_for_cpu = sync_sg_for_cpu,
    .sync_sg_for_device = sync_sg_for_device,
};

/* --- which devices --- */

static bool is_named(struct pci_dev *pci)
{
    char address[ADDRESS_LENGTH + 1];

    scnprintf(address, sizeof(address), "%02x:%02x.%x", pci->bus->number, PCI_SLOT(pci->devfn),
              PCI_FUNC(pci->devfn));
    return strstr(devices, address) != NULL;
}

static bool is_wanted(struct pci_dev *pci)
{
    if (pci_domain_nr(pci->bus) != 0 || pci->hdr_type != PCI_HEADER_TYPE_NORMAL)
        return false;
    return *devices == '\0' || is_named(pci);
}

/* A device that the monitor refuses has a profile; it keeps the kernel's own operations. */
static void take(struct device *dev)
{
    long error;

    if (get_dma_ops(dev) == &operations)
        return;
    if (get_dma_ops(dev) != NULL) {
        dev_warn(dev, "lvmm: the device is behind an IOMMU: boot with intel_iommu=off\n");
        return;
    }
    error = lvmm_dma_call(LVMM_CALL_DMA_ATTACH, 0, 0, number_of(dev));
    if (error == 0) {
        set_dma_ops(dev, &operations);
        dev_info(dev, "lvmm: the monitor is told of its DMA\n");
    } else if (*devices != '\0') {
        dev_warn(dev, "lvmm: the monitor has a profile of it, or no room: error %ld\n", error);
    }
}

static void give_back(struct device *dev)
{
    if (get_dma_ops(dev) != &operations)
        return;
    lvmm_dma_call(LVMM_CALL_DMA_DETACH, 0, 0, number_of(dev));
    set_dma_ops(dev, NULL);
}

static int on_bus(struct notifier_block *block, unsigned long what, void *data)
{
    struct device *dev = data;

    if (what == BUS_NOTIFY_BIND_DRIVER && is_wanted(to_pci_dev(dev)))
        take(dev);
    else if (what == BUS_NOTIFY_UNBOUND_DRIVER)
        give_back(dev);
    return NOTIFY_DONE;
}

static struct notifier_block bus_block = {.notifier_call = on_bus};

static int tell_if_too_late(struct device *dev, void *data)
{
    if (*devices != '\0' && dev->driver != NULL && is_wanted(to_pci_dev(dev)))
        dev_warn(dev, "lvmm: it has its driver already: unbind and bind it\n");
    return 0;
}

static int __init lvmm_dma_init(void)
{
    int error;

    if (lvmm_present() < 3)
        return -ENODEV;
    error = bus_register_notifier(&pci_bus_type, &bus_block);
    if (error == 0)
        bus_for_each_dev(&pci_bus_type, NULL, NULL, tell_if_too_late);
    return error;
}

module_init(lvmm_dma_init);

MODULE_DESCRIPTION("Tells the lvmm monitor of devices' DMA");
MODULE_LICENSE("Dual BSD/GPL");
