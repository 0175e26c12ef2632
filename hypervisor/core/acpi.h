/* The firmware's tables (ACPI specification 6.5, section 5.2). */
#ifndef LVMM_CORE_ACPI_H
#define LVMM_CORE_ACPI_H

#include "lib/types.h"

#define ACPI_RSDP_SIZE 36 /* of the first version: 20 */

/* Memory of the firmware's: `length` bytes at `address`; NULL where the monitor cannot read them.
 */
typedef const void *(*acpi_memory)(u64 address, u64 length);

/* The table with this signature, of the `rsdp_size` bytes of a root pointer; its length in *length.
 * NULL: there is none with the right checksum, or no way to it. */
const u8 *acpi_find(const u8 *rsdp, u32 rsdp_size, acpi_memory memory, const char *signature,
                    u32 *length);

#endif
